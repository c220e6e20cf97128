"""Both notebooks run on the sample, again and again, and are committed as they ran."""

import contextlib
import copy
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from records import load_data, read_tables

import create_tables

PROJECT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ("etl.ipynb", "test.ipynb")
WARNING = "\033[38;5;208m[WARNING] "


def read_notebook(name):
    return nbformat.read(PROJECT / name, as_version=4)


@contextlib.contextmanager
def opened(name):
    """A function that runs cells of a notebook, all unless it is told their ids, in one kernel.

    It returns the cells with their outputs, and raises an exception where a cell does.
    """
    notebook = read_notebook(name)
    client = NotebookClient(
        notebook,
        timeout=60,
        resources={"metadata": {"path": PROJECT}},
        record_timing=False,
        coalesce_streams=True,
    )

    def run(*ids):
        for number, cell in enumerate(notebook.cells):
            if not ids or cell.id in ids:
                client.execute_cell(cell, number)
        return copy.deepcopy(notebook.cells)

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
def sample(server):
    """A connection to tables that hold the sample."""
    cur, conn = create_tables.create_database()
    with contextlib.closing(conn):
        load_data(cur, conn)
        yield conn


@pytest.fixture(scope="module")
def tables(sample):
    """What a run of etl.py leaves in the tables."""
    return fetch_tables(sample)


@pytest.fixture(scope="module", params=NOTEBOOKS)
def runs(request, sample, tables):
    """A notebook's name, and its cells as two runs in the same kernel left them."""
    with opened(request.param) as run:
        first, second = run(), run()
        assert fetch_other_sessions(sample) == []
    assert fetch_tables(sample) == tables
    return request.param, first, second


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


def test_a_notebook_warns_of_nothing(runs):
    _, *both = runs
    for cells in both:
        assert [output for output in outputs_of(cells) if output.get("name") == "stderr"] == []
        assert "[WARNING]" not in printed(cells)


def test_a_notebook_says_the_same_again(runs):
    _, first, second = runs
    assert texts_by_cell(first) == texts_by_cell(second)


def test_a_notebook_is_committed_as_it_ran(runs):
    """If this fails: open the notebook in JupyterLab, restart the kernel, run all cells, save."""
    name, first, _ = runs
    committed = read_notebook(name).cells
    code = [cell for cell in committed if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert [cell.metadata for cell in committed] == [{}] * len(committed)
    assert texts_by_cell(committed) == texts_by_cell(first)
    assert (PROJECT / name).stat().st_size < 1_000_000


def test_the_checks_are_made_and_the_pictures_drawn(runs):
    name, _, cells = runs
    if name == "test.ipynb":
        assert "sanity checks passed" in printed(cells)
        data = [output.data for output in outputs_of(cells) if "data" in output]
        assert sum("image/png" in kinds for kinds in data) > 10


def test_etl_ipynb_loads_empty_tables_as_etl_py_does_and_keeps_none_locked(sample, tables):
    with sample.cursor() as cur:
        create_tables.reset_tables(cur, sample)
    with opened("etl.ipynb") as run:
        for cell in read_notebook("etl.ipynb").cells:
            run(cell.id)
            assert set(fetch_other_sessions(sample)) <= {"idle"}, cell.id
    assert fetch_tables(sample) == tables


def test_a_broken_schema_makes_test_ipynb_warn(sample):
    load_data(sample.cursor(), sample)
    with sample, sample.cursor() as cur:
        cur.execute("ALTER TABLE songplays DROP CONSTRAINT songplays_user_id_fkey")
        cur.execute("UPDATE users SET level = 'gold' WHERE user_id = 7")
    with opened("test.ipynb") as run:
        lines = printed(run("setup-1", "setup-2", "sanity-1")).splitlines()
    warnings = [line for line in lines if line.startswith(WARNING)]
    assert [line for line in warnings if "songplays: foreign keys" in line]
    assert [line for line in warnings if "users: level" in line and '"user_id":7' in line]
