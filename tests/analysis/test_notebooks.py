"""etl.ipynb runs on the sample and leaves it as it was; a Try gives the answer folded below it."""

import re

import nbformat
import pytest
from notebooks import assert_is_committed, assert_warns_of_nothing, opened, read_cells
from records import read_tables

import create_tables

ANSWER = r"<details>.*?```python\n(.*?)\n```\n\nIt prints:\n\n```text\n(.*?)\n```\n\n</details>"


def find_answers(cell):
    """Return the answers folded into a cell, as code and what it prints."""
    return re.findall(ANSWER, cell.source, re.DOTALL) if cell.cell_type == "markdown" else []


ANSWERS = {cell.id: answer for cell in read_cells("etl.ipynb") for answer in find_answers(cell)}


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


def test_it_warns_of_nothing(tried):
    assert_warns_of_nothing(tried[0])


def test_it_is_committed_as_it_ran(tried):
    assert_is_committed("etl.ipynb", tried[0])


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
