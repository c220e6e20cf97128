"""Which Python will do, how that is said, and how the commands in messages are spelled."""

import ast
import os
import subprocess
import sys

import pytest
from scripts import PROJECT, assert_fails_in_one_line, environment_of, run, script_of

from sparkify import interpreter

SCRIPTS = ["etl.py", "create_tables.py", "sparkify"]
# What a Python has read by the time it says that it won't do.
ENTERED = ["etl.py", "create_tables.py"] + [
    f"sparkify/{room}.py" for room in ("__main__", "__init__", "interrupts", "interpreter")
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_python_without_the_libraries_says_which_one_to_use(script):
    result = subprocess.run(
        [sys.executable, "-S", *script_of(script)],  # -S: without site-packages
        cwd=PROJECT,
        env=environment_of(),
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"{script}: ")
    assert " lacks numpy, pandas, psycopg2, pyarrow, tqdm, wcwidth; " in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_library_that_cannot_be_imported_is_told_in_one_line(tmp_path):
    """As where memory is limited: a file of it can't be mapped, which other libraries wrap."""
    lines = ["try: raise ImportError('libpq.so: failed to map\\nmore')", "except ImportError as e:"]
    (tmp_path / "psycopg2.py").write_text("\n".join([*lines, "    raise ImportError('x') from e"]))
    result = run("create_tables.py", PYTHONPATH=tmp_path)
    assert_fails_in_one_line(result, "create_tables.py: can't import a library: libpq.so: failed")


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        ((3, 8), "Python 3.8 is too old: Python 3.11 to 3.14 is needed"),
        ((3, 10), "Python 3.10 is too old: Python 3.11 to 3.14 is needed"),
        ((3, 11), None),
        ((3, 14), None),
        ((3, 15), None),
    ],
)
def test_an_old_python_is_told_so(version, fault):
    assert interpreter.find_fault(version) == fault


def test_a_python_that_is_too_new_is_told_so_unless_it_has_the_libraries(monkeypatch):
    monkeypatch.setattr(interpreter, "LIBRARIES", ("no_such_library",))
    fault = "Python 3.15 is too new: Python 3.11 to 3.14 is needed"
    assert interpreter.find_fault((3, 15)) == fault


@pytest.mark.parametrize("file", ENTERED)
def test_an_old_python_can_read_as_far_as_to_the_message(file):
    ast.parse((PROJECT / file).read_text(encoding="utf-8"), feature_version=(3, 6))


def test_the_projects_own_python_is_named_where_another_one_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter, "PROJECT", str(tmp_path))
    monkeypatch.setattr(interpreter, "VENV", str(tmp_path / ".venv"))
    again = "run the first command in README.md with Python 3.11 to 3.14"
    assert interpreter.find_remedy() == again
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    assert interpreter.find_remedy() == "use .venv/bin/python"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert interpreter.find_remedy() == f"remove .venv and {again}"


@pytest.mark.parametrize(
    ("python", "name"),
    [
        (os.path.join(interpreter.VENV, "bin", "python"), ".venv/bin/python"),
        (os.path.join(interpreter.VENV, "Scripts", "python.exe"), ".venv/Scripts/python"),
        ("/opt/my env/bin/python", "'/opt/my env/bin/python'"),
    ],
)
def test_commands_name_the_python_that_runs(monkeypatch, python, name):
    monkeypatch.setattr(sys, "executable", python)
    assert interpreter.command("etl.py --all") == f"{name} etl.py --all"


def test_pip_stops_at_another_python_with_what_is_needed():
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed, markers = next(line for line in lines if line[0] != "#").split(" ; ")
    name = f"{interpreter.VERSIONS} is needed".replace(" ", "-")
    assert needed == f"{name} @ file:///{name}"
    older, newer = (
        ".".join(map(str, v)) for v in (interpreter.OLDEST, (3, interpreter.NEWEST[1] + 1))
    )
    assert markers == f'python_version < "{older}" or python_version >= "{newer}"'
