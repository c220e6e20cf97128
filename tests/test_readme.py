"""What the README shows is what its commands print."""

import base64
import json
import os
import re
import shlex

import pytest
from scripts import PROJECT, run

README = (PROJECT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```console\n\$ \.venv/bin/python (.*)\n([^`]*)```", README)


@pytest.fixture(scope="module")
def sample():
    """The sample, loaded as the README's first command does it."""
    run_line("create_tables.py")


def run_line(line):
    """Run a script as a line of the README does, and return what it prints."""
    result = run(
        *shlex.split(line.removeprefix("-m ")), SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"]
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_there_are_examples():
    scripts = [re.match(r"-m sparkify \w+|\S+", command)[0] for command, _ in EXAMPLES]
    commands = [*["psql"] * 3, "check", "ask", "report"]
    assert scripts == ["etl.py", *(f"-m sparkify {command}" for command in commands)]


@pytest.mark.parametrize(("command", "expected"), EXAMPLES)
def test_a_command_prints_what_the_readme_shows(sample, tmp_path, command, expected):
    report = str(tmp_path / "report.html")
    printed = run_line(command.replace("report.html", shlex.quote(report)))
    printed = printed.replace(report, "report.html")
    folder = os.environ["SPARKIFY_PGDATA"]
    printed = printed.replace(folder, "/home/you/sparkify/.postgres")
    printed = printed.replace(str(PROJECT), "/home/you/sparkify")
    seconds = r"Done in \d+\.\d s"
    assert re.sub(seconds, "", printed) == re.sub(seconds, "", expected)


def test_the_pictures_are_those_of_the_notebook():
    notebook = json.loads((PROJECT / "test.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    drawn = {output.get("data", {}).get("image/png", "").strip() for output in outputs}
    shown = re.findall(r"!\[.*\]\((.*\.png)\)", README)
    assert len(shown) == 2
    for picture in shown:
        assert base64.b64encode((PROJECT / picture).read_bytes()).decode() in drawn


def test_the_files_that_are_explained_are_there():
    explained = re.findall(r"^\| `(.*?)` \|", README.partition("## Files")[2], re.MULTILINE)
    assert len(explained) > 8
    assert [name for name in explained if not (PROJECT / name).exists()] == []
