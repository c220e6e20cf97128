"""The Python that runs: whether it will do, and how it is named in a command.

The first room that is entered: so that a Python which won't do can say so, it takes no library, and
nothing that Python 3.6 didn't have yet.
"""

import importlib.util
import os
import shlex
import sys

OLDEST = (3, 11)
LIBRARIES = ("numpy", "pandas", "psycopg2", "pyarrow", "tqdm", "wcwidth")  # no script runs without
PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(PROJECT, ".venv")


def require_python():
    """End the process with one line where this Python won't do, saying which one to use."""
    fault = find_fault(sys.version_info[:2])
    if fault:
        script = os.path.basename(sys.argv[0]).replace("__main__.py", "sparkify")
        sys.exit(f"{script}: {fault}; {find_remedy()}")


def find_fault(version):
    """Return what keeps a Python of this version from running the scripts, None where nothing does.

    Its libraries are those of the Python that runs.
    """
    if version < OLDEST:
        return "Python {}.{} is too old: {}.{} or later is needed".format(*version, *OLDEST)
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    return f"{name_python(sys.executable)} lacks {', '.join(missing)}" if missing else None


def find_remedy():
    """Return what to do: to use the project's own Python, or to make it anew if this is the one."""
    folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    python = os.path.join(VENV, folder, name)
    if os.path.exists(python) and os.path.realpath(sys.prefix) != os.path.realpath(VENV):
        return f"use {name_python(python)}"
    first = "remove .venv and " if os.path.exists(VENV) else ""  # venv leaves its Python as it is
    oldest = "{}.{}".format(*OLDEST)
    return f"{first}run the first command in README.md with Python {oldest} or later"


def command(words):
    """Return the command that runs a script or a module by this Python, in the project's folder."""
    return f"{name_python(sys.executable)} {words}"


def name_python(path):
    """Return a Python as one types it in the project's folder."""
    inside = path.startswith(PROJECT + os.sep)
    name = os.path.relpath(path, PROJECT) if inside else path
    return name[: -len(".exe")] if name.endswith(".exe") else shlex.quote(name)
