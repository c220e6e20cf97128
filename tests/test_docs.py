"""What README.md, data/README.md and docs/ show is what the commands print, and what is there."""

import base64
import json
import os
import re
import shlex

import pytest
from dictionary import MARK, make_dictionary
from scripts import MODULES, PROJECT, call, read_committed, run

from sparkify.__main__ import COMMANDS

PAGES = {
    str(path.relative_to(PROJECT)): path.read_text(encoding="utf-8")
    for path in [PROJECT / "README.md", PROJECT / "data/README.md", *PROJECT.glob("docs/*.md")]
}
README = PAGES["README.md"]
EXAMPLES = [
    (name, command, printed)
    for name, page in PAGES.items()
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    for command, printed in re.findall(
        r"^\$ \.venv/bin/python (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE
    )
]
PYTHON = r"\.venv(?:/bin/|\\Scripts\\)python "
SHOWN = sorted(
    {
        (name, script, command)
        for name, page in PAGES.items()
        for script, command in re.findall(
            rf"{PYTHON}((?:-m )?[\w./]+)((?: (?!>|\||&)[^ \n`]+)*)", page
        )
    }
)
TYPES = {"timestamp with time zone": "timestamptz", "integer": "int", "double precision": "float8"}


# Commands


@pytest.fixture(scope="module")
def sample():
    """The sample, loaded as the README's first command does it.

    Whole, for the examples need not be tried in their order, nor all by one process.
    """
    run_line("create_tables.py")
    run_line("etl.py")


def run_line(line):
    """Run a script as a line of a page does, and return what it prints."""
    words = shlex.split(line.removeprefix("-m "))
    how = run if "psql" in words else call  # which writes past Python
    result = how(*words, SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"])
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_there_are_examples():
    scripts = [re.match(r"-m sparkify \w+|\S+", command)[0] for _, command, _ in EXAMPLES]
    assert scripts[0] == "etl.py"
    assert {f"-m sparkify {name}" for name in ("psql", "check", "ask", "report")} < {*scripts}
    assert sum(page.count("$ .venv") for page in PAGES.values()) == len(EXAMPLES)


RUN_ELSEWHERE = "-m sparkify report report.html"  # it takes long, and test_page.py runs it


@pytest.mark.parametrize(
    ("page", "command", "expected"), [each for each in EXAMPLES if each[1] != RUN_ELSEWHERE]
)
def test_a_command_prints_what_the_page_shows(sample, page, command, expected):
    if "etl.py" in command:
        run_line("create_tables.py")
    printed = run_line(command)
    folder = os.environ["SPARKIFY_PGDATA"]
    printed = printed.replace(folder, "/home/you/sparkify/.postgres")
    printed = printed.replace(str(PROJECT), "/home/you/sparkify")
    seconds = r"Done in \d+\.\d s"
    assert re.sub(seconds, "", printed) == re.sub(seconds, "", expected)


def test_the_two_commands_stand_alone():
    commands = re.findall(r"```sh\n(python3 -m venv .*)\n```", README)
    assert len(commands) == 2
    assert commands[0].endswith(".venv/bin/python create_tables.py && .venv/bin/python etl.py")
    first = next(line for line in README.splitlines() if "pytest" in line)
    assert commands[1] == first


def test_scripts_commands_and_options_are_there(tmp_path):
    helps = {}
    for page, script, arguments in SHOWN:
        words = shlex.split(arguments)
        if script == "-m sparkify":
            command = words[0] if words else "--help"
            assert command in COMMANDS or command == "--help", (page, command)
            if command in ("psql", "pg_dump", "pg_restore"):  # their options are Postgres's
                continue
            script = f"sparkify {command}"
        elif script.startswith("-m "):  # another project's module
            continue
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        if options or script not in helps:
            helps.setdefault(script, run_help(*script.split(), cwd=tmp_path))
        assert [option for option in options if option not in helps[script]] == [], (page, script)
    assert len(helps) > 6


def run_help(script, *command, cwd):
    if script == "tests/tools/dictionary.py":  # it takes no arguments
        assert (PROJECT / script).exists()
        return ""
    result = (call if script in MODULES else run)(script, *command, "--help", cwd=cwd)
    assert (result.returncode, result.stderr) == (0, ""), script
    return result.stdout


def test_python_is_spelled_in_one_way():
    """The project's own Python, for not every machine has a `python`."""
    for name, page in PAGES.items():
        spelled = re.findall(r"[^\s`]*\bpython3? +[-\w./]+", re.sub(r"```mermaid.*?```", "", page))
        others = [words for words in spelled if not re.match(f"(ExecStart=/.*)?{PYTHON}", words)]
        assert {*others} <= {"python3 -m", "python3 --version"}, name


# Files, links, pictures, lengths


def slug(heading):
    """Return the anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_links_lead_somewhere():
    for name, page in PAGES.items():
        for link in re.findall(r"\]\((?!https?:)([^)]*)\)", page):
            file, _, anchor = link.partition("#")
            path = (PROJECT / name).parent / file if file else PROJECT / name
            assert path.exists(), (name, link)
            headings = re.findall(r"^#+ (.*)", path.read_text("utf-8"), re.M) if anchor else []
            assert not anchor or anchor in map(slug, headings), (name, link)


def test_each_page_is_found_from_the_readme():
    linked = set(re.findall(r"\]\(([^)#]*)", README))
    assert {name for name in PAGES if name != "README.md"} <= linked


def test_files_that_are_named_are_there():
    for name, page in PAGES.items():
        files = re.findall(r"`((?:sparkify|tests|data|docs)/[\w./]*|\w+\.(?:py|ipynb))`", page)
        missing = [file for file in files if not (PROJECT / file).exists()]
        missing = [file for file in missing if not (PROJECT / "sparkify" / file).exists()]
        assert missing == [], name


def test_the_pictures_are_those_of_the_notebook():
    notebook = json.loads(read_committed("test.ipynb") or pytest.skip("this folder is no clone"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    drawn = {output.get("data", {}).get("image/png", "").strip() for output in outputs}
    shown = {file for page in PAGES.values() for file in re.findall(r"!\[.*\]\((.*)\)", page)}
    assert len(shown) == 2
    for file in shown:
        picture = PROJECT / ".pictures" / os.path.basename(file)
        assert base64.b64encode(picture.read_bytes()).decode() in drawn


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 180
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    assert [line for line in prose.splitlines() if len(line) > 105] == []


# The schema


def test_the_dictionary_is_that_of_the_tables(cur):
    """If this fails: docs/development.md says how to renew it."""
    assert PAGES["docs/schema.md"].partition(MARK)[2].lstrip("\n") == make_dictionary(cur)


@pytest.mark.parametrize("page", ["README.md", "docs/schema.md"])
def test_diagrams_show_the_tables_as_they_are(cur, page):
    [diagram] = re.findall(r"```mermaid\nerDiagram\n(.*?)```", PAGES[page], re.DOTALL)
    tables = re.findall(r"^    (\w+) \{\n(.*?)^    \}", diagram, re.MULTILINE | re.DOTALL)
    for table, body in tables:
        shown = [tuple(line.split()[:2]) for line in body.splitlines()]
        columns = fetch_columns(cur, table)
        assert [column for column in columns if column in shown] == shown, table
        assert page == "README.md" or shown == columns
    assert {"songplays", "page_views"} <= {table for table, _ in tables}


def fetch_columns(cur, table):
    """Return type and name of each column of a table, in order, as diagrams have them."""
    cur.execute(
        "SELECT format_type(atttypid, atttypmod), attname FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
        (table,),
    )
    return [(TYPES.get(kind, kind), column) for kind, column in cur]
