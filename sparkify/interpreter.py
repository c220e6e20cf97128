"""The Python that runs: whether it will do, and how it is named in a command.

It is imported first, after interrupts. Both use no library, and nothing that Python 3.6 lacks, so
that an old Python gets as far as to say that it won't do.
"""

import importlib.util
import os
import shlex
import sys

from sparkify import interrupts

OLDEST, NEWEST = (3, 11), (3, 14)  # the newest that there is an embedded server for
VERSIONS = "Python {}.{} to {}.{}".format(*(OLDEST + NEWEST))
LIBRARIES = ("numpy", "pandas", "psycopg2", "pyarrow", "tqdm", "wcwidth")  # no script runs without
PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(PROJECT, ".venv")


def require_python():
    """End the process with one line where this Python won't do, saying which one to use.

    In another program's process, raises ImportError instead. Later on, a library that can't be
    imported ends a script in one line, too.
    """
    fault = find_fault(sys.version_info[:2])
    if fault:
        if not interrupts.owns_process():
            raise ImportError(f"sparkify: {fault}; {find_remedy()}")
        sys.exit(f"{script_name()}: {fault}; {find_remedy()}")
    if interrupts.owns_process():
        sys.excepthook = tell_failed_import


def script_name():
    return os.path.basename(sys.argv[0]).replace("__main__.py", "sparkify")


def tell_failed_import(kind, error, traceback):
    """Say what keeps a library from being imported: a file of it is broken, or memory is short."""
    if not issubclass(kind, (ImportError, MemoryError)):
        sys.__excepthook__(kind, error, traceback)
        return
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    said = str(error).partition("\n")[0] or "out of memory"
    remedy = "let it have more memory (ulimit -v), or remove .venv and install again"
    print(f"{script_name()}: can't import a library: {said}; {remedy}", file=sys.stderr)


def find_fault(version):
    """Return what keeps a Python of this version from running the scripts, None where nothing does.

    A newer Python than NEWEST will do if it has all the libraries.
    """
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if version < OLDEST or (version > NEWEST and missing):
        fault = "old" if version < OLDEST else "new"
        return "Python {}.{} is too {}: {} is needed".format(*(version + (fault, VERSIONS)))
    return f"{name_python(sys.executable)} lacks {', '.join(missing)}" if missing else None


def find_remedy():
    """Return what to do: use the project's own Python, or install it anew if that is the one."""
    folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    python = os.path.join(VENV, folder, name)
    if os.path.exists(python) and os.path.realpath(sys.prefix) != os.path.realpath(VENV):
        return f"use {name_python(python)}"
    first = "remove .venv and " if os.path.exists(VENV) else ""  # venv leaves its Python as it is
    return f"{first}run the first command in README.md with {VERSIONS}"


def command(words):
    """Return the command that runs a script or a module by this Python, in the project's folder."""
    return f"{name_python(sys.executable)} {words}"


def name_python(path):
    """Return a Python as one types it in the project's folder."""
    inside = path.startswith(PROJECT + os.sep)
    name = os.path.relpath(path, PROJECT) if inside else path
    return name[: -len(".exe")] if name.endswith(".exe") else shlex.quote(name)
