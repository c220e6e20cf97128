"""The notebooks run on the sample and leave it as it was; a Try gives the answer folded below it.

Those are tested that git has; a notebook in the folder may hold its reader's own data and tries.
"""

import contextlib
import copy
import re

import nbformat
import pytest
from nbclient import NotebookClient
from records import read_tables
from scripts import PROJECT, read_committed

import create_tables

WARNING = "\033[38;5;208m[WARNING] "
ANSWER = r"<details>.*?```python\n(.*?)\n```\n\nIt prints:\n\n```text\n(.*?)\n```\n\n</details>"


def read_cells(name):
    text = read_committed(name) or (PROJECT / name).read_bytes()
    return nbformat.reads(text.decode(), as_version=4).cells


def find_answers(cell):
    """Return the answers folded into a cell, as code and what it prints."""
    return re.findall(ANSWER, cell.source, re.DOTALL) if cell.cell_type == "markdown" else []


ANSWERS = {cell.id: answer for cell in read_cells("etl.ipynb") for answer in find_answers(cell)}


@contextlib.contextmanager
def opened():
    """A function that runs cells in one kernel, and returns them as they ran.

    It raises an exception where a cell does.
    """
    notebook = nbformat.v4.new_notebook()
    client = NotebookClient(
        notebook,
        timeout=300,
        resources={"metadata": {"path": PROJECT}},
        record_timing=False,
        coalesce_streams=True,
    )

    def run(cells):
        cells = copy.deepcopy(cells)
        for cell in cells:
            notebook.cells.append(cell)
            client.execute_cell(cell, len(notebook.cells) - 1)
        return cells

    with client.setup_kernel():
        yield run


def fetch_tables(conn):
    with conn, conn.cursor() as cur:
        return read_tables(cur)


def fetch_other_sessions(conn):
    with conn, conn.cursor() as cur:
        cur.execute(
            "SELECT state FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return [state for (state,) in cur]


@pytest.fixture(scope="module")
def tables(sample):
    """What a run of etl.py leaves in the tables."""
    return fetch_tables(sample)


@pytest.fixture(scope="module")
def walk(sample, tables):
    """A function that runs cells after those of etl.ipynb, which have run once, on empty tables."""
    with sample.cursor() as cur:
        create_tables.reset_tables(cur, sample)
    with opened() as run:
        for cell in read_cells("etl.ipynb"):
            run([cell])
            assert set(fetch_other_sessions(sample)) <= {"idle"}, cell.id
        assert fetch_tables(sample) == tables
        yield run


@pytest.fixture(scope="module")
def tried(walk):
    """The cells of a second run of etl.ipynb, and each Try as it ran where it stands and later.

    Later is after all cells, and begins with the last Try: none may need another one.
    """
    tries = {name: nbformat.v4.new_code_cell(code) for name, (code, _) in ANSWERS.items()}
    cells, there, later = [], {}, {}
    for cell in read_cells("etl.ipynb"):
        cells += walk([cell])
        if cell.id in tries:
            [there[cell.id]] = walk([tries[cell.id]])
    for name in reversed(tries):
        [later[name]] = walk([tries[name]])
    return cells, there, later


@pytest.fixture(scope="module")
def answered(sample):
    """The cells of test.ipynb as they ran, and a function that runs cells after them."""
    with opened() as run:
        yield run(read_cells("test.ipynb")), run


@pytest.fixture(params=["test.ipynb", "etl.ipynb"])  # which gives the plays other ids
def ran(request):
    """A notebook's name, and its cells as they ran on the sample."""
    fixture = {"test.ipynb": "answered", "etl.ipynb": "tried"}[request.param]
    return request.param, request.getfixturevalue(fixture)[0]


def outputs_of(cells):
    return [output for cell in cells for output in cell.get("outputs", [])]


def printed(cells):
    return "".join(output.get("text", "") for output in outputs_of(cells))


def texts_by_cell(cells):
    """Return what each code cell says in text by its id; pictures count as there."""
    return {cell.id: list(map(describe, cell.outputs)) for cell in cells if "outputs" in cell}


def describe(output):
    """Return what a cell says; of tables on how long loads took, their columns alone.

    No two loads take as long, or at the same time; nor is the data in the same folder everywhere.
    """
    if output.output_type == "stream":
        return output.name, output.text
    head = re.search("<thead>.*</thead>", output.data.get("text/html", ""), re.DOTALL)
    if head and "<th>seconds</th>" in head[0]:
        return head[0]
    return {kind: kind == "image/png" or text for kind, text in output.data.items()}


def test_a_notebook_warns_of_nothing(ran):
    _, cells = ran
    assert [output for output in outputs_of(cells) if output.get("name") == "stderr"] == []
    assert "[WARNING]" not in printed(cells)


def test_a_notebook_is_committed_as_it_ran(ran):
    """If this fails: in JupyterLab, restart the kernel and run all cells; save; `git add` it."""
    name, cells = ran
    if not (text := read_committed(name)):
        pytest.skip("this folder is no clone: nobody knows what was committed")
    saved = read_cells(name)
    counts = [cell.execution_count for cell in saved if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert texts_by_cell(saved) == texts_by_cell(cells)
    assert len(text) < 1_000_000


def test_each_try_has_an_answer():
    tries = [cell.id for cell in read_cells("etl.ipynb") if "**Try:**" in cell.source]
    assert list(ANSWERS) == tries
    assert len(tries) > 7


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("when", [1, 2], ids=["where it stands", "after all cells"])
def test_a_try_gives_its_answer(tried, when, name):
    _, answer = ANSWERS[name]
    said = [output.get("text") or output.data["text/plain"] for output in tried[when][name].outputs]
    assert "\n".join(text.rstrip() for text in said) == answer


def test_what_a_cell_writes_and_does_not_commit_is_undone(tried, walk, sample, tables):
    walk([nbformat.v4.new_code_cell("cur.execute(\"UPDATE users SET level = 'gold'\")")])
    assert set(fetch_other_sessions(sample)) == {"idle"}
    assert fetch_tables(sample) == tables


def test_the_checks_are_made_and_the_pictures_drawn(answered, sample):
    cells, _ = answered
    assert "sanity checks passed" in printed(cells)
    data = [output.data for output in outputs_of(cells) if "data" in output]
    assert sum("image/png" in kinds for kinds in data) > 10


def test_a_broken_schema_makes_test_ipynb_warn(answered, sample):
    _, run = answered
    with sample, sample.cursor() as cur:
        cur.execute("ALTER TABLE songplays DROP CONSTRAINT songplays_user_id_fkey")
        cur.execute("UPDATE users SET level = 'gold' WHERE user_id = 7")
    checks = [cell for cell in read_cells("test.ipynb") if cell.id == "sanity-1"]
    warnings = [line for line in printed(run(checks)).splitlines() if line.startswith(WARNING)]
    assert [line for line in warnings if "songplays: foreign keys" in line]
    assert [line for line in warnings if "users: level" in line and '"user_id":7' in line]
