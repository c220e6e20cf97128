"""Versions: whether another machine has the libraries that this one has, and so gives the same."""

import functools
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from sparkify.messages import LoadError

LIBRARIES = ("distributed", "numpy", "pandas", "pyarrow")  # that make a difference


@functools.cache
def find_versions():
    """Return the versions of Python and of the libraries, None for those that are missing."""
    python = "{}.{}".format(*sys.version_info)
    return {"Python": python} | {name: find_version(name) for name in LIBRARIES}


def find_version(library):
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def find_difference(versions, wanted):
    """Return what a machine with these versions lacks, None if it has what is wanted."""
    different = [name for name in wanted if versions.get(name) != wanted[name]]
    if not different:
        return None
    missing = [name for name in different if versions.get(name) is None]
    needed = ", ".join(f"{name} {wanted[name]}" for name in different)
    if missing:
        return f"lacks {', '.join(missing)}: install {needed} there"
    has = ", ".join(f"{name} {versions[name]}" for name in different)
    return f"has {has}: install {needed} there, as here"


def run_alike(wanted, function, *arguments):
    """Return what a function gives on a machine that has the versions wanted. Raises LoadError."""
    difference = find_difference(find_versions(), wanted)
    if difference:
        raise LoadError(f"can't use the cluster: its worker on {platform.node()} {difference}")
    return function(*arguments)
