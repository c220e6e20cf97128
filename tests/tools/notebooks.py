"""Run cells of the notebooks that git has, and read what they were saved with and what they say.

A notebook in the folder may hold its reader's own data and tries.
"""

import contextlib
import copy
import re

import nbformat
import pytest
from nbclient import NotebookClient
from scripts import PROJECT, read_committed


def read_text(name):
    return read_committed(name) or (PROJECT / name).read_bytes()


def read_cells(name):
    return nbformat.reads(read_text(name).decode(), as_version=4).cells


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
    columns = re.findall(r"<th>(\w*)</th>", output.data.get("text/html", ""))
    if "seconds" in columns:
        return columns
    return {kind: kind == "image/png" or text for kind, text in output.data.items()}


def assert_warns_of_nothing(cells):
    assert [output for output in outputs_of(cells) if output.get("name") == "stderr"] == []
    assert "[WARNING]" not in printed(cells)


def assert_is_committed(name, cells):
    """If this fails: in JupyterLab, restart the kernel and run all cells; save; `git add` it."""
    if not (text := read_committed(name)):
        pytest.skip("this folder is no clone: nobody knows what was committed")
    saved = read_cells(name)
    counts = [cell.execution_count for cell in saved if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert texts_by_cell(saved) == texts_by_cell(cells)
    assert len(text) < 1_000_000
