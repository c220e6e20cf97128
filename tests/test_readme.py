"""What the README shows is what its commands print."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```console\n\$ \.venv/bin/python (.*)\n([^`]*)```", README)


@pytest.fixture(scope="module")
def sample():
    """The sample, loaded as the README's first command does it."""
    run("create_tables.py")


def run(command):
    script, *arguments = shlex.split(command)
    result = subprocess.run(
        [sys.executable, PROJECT / script, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PSQLRC": os.devnull, "LC_ALL": "C.UTF-8"},
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_there_are_examples():
    assert [command.split()[0] for command, _ in EXAMPLES] == ["etl.py"] + ["database.py"] * 3


@pytest.mark.parametrize(("command", "expected"), EXAMPLES)
def test_a_command_prints_what_the_readme_shows(sample, command, expected):
    printed = run(command)
    folder = os.environ["SPARKIFY_PGDATA"]
    printed = printed.replace(folder, "/home/you/sparkify/.postgres")
    printed = printed.replace(str(PROJECT), "/home/you/sparkify")
    seconds = r"Done in \d+\.\d s"
    assert re.sub(seconds, "", printed) == re.sub(seconds, "", expected)
