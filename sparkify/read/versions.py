"""Versions: whether another machine has the libraries that this one has, and so gives the same."""

import functools
import sys
from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("distributed", "numpy", "pandas", "pyarrow")  # that make a difference


@functools.cache
def find_versions() -> dict[str, str | None]:
    """Return the versions of Python and of the libraries, None for those that are missing."""
    python = "{}.{}".format(*sys.version_info)
    return {"Python": python} | {name: find_version(name) for name in LIBRARIES}


def find_version(library):
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def find_difference(versions: dict[str, str | None], wanted: dict[str, str | None]) -> str | None:
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
