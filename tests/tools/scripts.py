"""Run the scripts as a user does: as programs, in an environment of which every part is known."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
PASSWORD = "s3cr@t:/%w0rd"
PASSWORD_PARTS = ("s3cr", "w0rd")
always_start = False  # as with --times 2 or more
# The modules whose main is called where a script need not be started.
MODULES = {
    "create_tables.py": "create_tables",
    "etl.py": "etl",
    "sparkify": "sparkify.__main__",
}


def thorough(*values):
    """Return the values of a case that is much like others: it is tried with --times 2 or more."""
    return pytest.param(*values, marks=pytest.mark.thorough)


def environment_of(**variables):
    home = os.devnull  # so that nobody's ~/.pgpass or ~/.psqlrc counts
    return {"PATH": os.environ["PATH"], "HOME": home} | {
        name: str(value) for name, value in variables.items()
    }


def run(script, *arguments, cwd=None, **variables):
    """Run a script of the project with these environment variables; return the ended process.

    The script "sparkify" is the package, which is run in the project's folder.
    """
    return subprocess.run(
        [sys.executable, *script_of(script), *arguments],
        cwd=PROJECT if script == "sparkify" else cwd,
        env=environment_of(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def call(script, *arguments, cwd=None, **variables):
    """Do what run does by calling the script's main in this process or, as asked, by a start.

    A start, with its imports, takes longer than most tests. This is not for what writes past
    Python, such as psql, nor for a server of the test's own, which would stay for as long as this
    process does.
    """
    if always_start:
        return run(script, *arguments, cwd=cwd, **variables)
    module, words = import_module(MODULES[script]), list(map(str, arguments))
    environment = environment_of(**variables)
    output, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        for name in list(os.environ):
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", [module.__file__, *words])
        patch.chdir(cwd or PROJECT)
        status = module.main(words)
    return subprocess.CompletedProcess([script, *words], status, read_all(output), read_all(errors))


def read_all(stream):
    stream.seek(0)
    return stream.read()


def script_of(name):
    """Return what Python is told to run a script of the project."""
    return ["-m", name] if name == "sparkify" else [PROJECT / name]


def read_committed(name):
    """Return a file's bytes as git has them, staged or committed, or None where there is no git.

    A notebook in the folder is its reader's: Jupyter saves in it what it told them of their data,
    and what they tried.
    """
    try:
        command = ["git", "-c", "safe.directory=*", "show", f":./{name}"]
        result = subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=120)
    except FileNotFoundError:
        return None
    return None if result.returncode else result.stdout


def without_waiting(errors):
    """Return the lines of errors without those that only say for whom a script waited.

    How long one script is in another's way is the machine's business; it is said after a second.
    """
    return [line for line in errors.splitlines() if ".py: waiting for " not in line]


def assert_fails_in_one_line(result, *words):
    """Check that a script failed as it should, and said these words in its only line."""
    assert result.returncode == 1, result
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert [word for word in words if str(word) not in result.stderr] == [], result.stderr
    assert not any(part in result.stderr for part in PASSWORD_PARTS)
