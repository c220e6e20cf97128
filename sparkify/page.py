"""The page that shows the answers and pictures of test.ipynb to those who never open Jupyter."""

import argparse
import contextlib
import html
import os
import re
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from sparkify import ask, server
from sparkify.interpreter import command
from sparkify.interrupts import Interrupted
from sparkify.messages import LoadError, one_line
from sparkify.patience import await_answer

PROJECT = Path(__file__).resolve().parent.parent
NOTEBOOK = PROJECT / "test.ipynb"
TEMPLATE = Path(__file__).with_name("page.html")
TITLE = "Sparkify report"
NUMBER = r"-?[\d.,]+%?|<NA>|NaN|\.\.\."  # as pandas shows it, or what stands in its place


def write_report(arguments):
    """Do what the command's arguments say. Raises LoadError, ServerError."""
    file = parse_arguments(arguments)
    path = find_place(file)
    with contextlib.closing(server.connect()) as conn, conn.cursor() as cur:
        period = ask.fetch_period(cur)
    notebook = run_notebook(NOTEBOOK)
    keep_answers(notebook)
    replace_file(path, make_page(notebook, *period))
    first, last = (f"{moment.astimezone(UTC):%Y-%m-%d}" for moment in period)
    print(f"Wrote {file}: events from {first} to {last}")


def parse_arguments(arguments):
    """Return the name of the file to write."""
    parser = argparse.ArgumentParser(
        command("-m sparkify report"),
        description="Run test.ipynb afresh, and write its answers and pictures, without code, as "
        "one HTML file that needs nothing else. An existing file is replaced once all went well.",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", default="report.html")
    return parser.parse_args(arguments).file


def find_place(file):
    """Return the path that is to be written; of a link, the one that it leads to."""
    path = Path(file).resolve()
    if path.exists() and not path.is_file():
        raise LoadError(f"can't write {file}: it is there, and no plain file; name another")
    if not path.parent.is_dir():
        raise LoadError(f"can't write {file}: there is no folder {path.parent}; create it first")
    return path


def run_notebook(path):
    """Return a notebook as it is after a run in the project's folder. Raises LoadError."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=None,
        resources={"metadata": {"path": PROJECT}},
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # it would warn of TCP between the two processes
    )
    try:
        with tempfile.TemporaryDirectory() as profile:  # nobody's own; not all have a home
            os.environ["IPYTHONDIR"] = profile
            # Not in the main thread, where nbclient would handle signals.
            return await_answer(client.execute)
    except Interrupted:
        client.shutdown_kernel = "immediate"
        raise
    except CellExecutionError as error:
        said = error.evalue.partition("\n")[0]
        raise LoadError(f"{path.name} failed: {error.ename}: {said}") from None
    except DeadKernelError as error:
        raise LoadError(f"{path.name} failed: {one_line(error)}") from None


def keep_answers(notebook):
    """Leave out what precedes the first section, and the SQL that unfolds."""
    sections = [at for at, cell in enumerate(notebook.cells) if cell.source.startswith("## ")]
    notebook.cells = notebook.cells[sections[0] :]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_folded(output)]


def is_folded(output):
    return output.get("data", {}).get("text/markdown", "").startswith("<details>")


def make_page(notebook, first, last):
    """Return the page of a notebook, of events from the first to the last."""
    answers = render(notebook)
    align_texts(answers)
    moments = {"first": first, "last": last, "made": datetime.now(UTC)}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        {name: describe_moment(moment) for name, moment in moments.items()},
        title=TITLE,
        contents="\n".join(list_contents(answers)),
        answers=answers,
    )


def render(notebook):
    """Return the texts and outputs of a notebook as a tree of HTML."""
    from bs4 import BeautifulSoup
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="basic",  # the others load scripts from elsewhere
        exclude_anchor_links=True,
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    return BeautifulSoup(exporter.from_notebook_node(notebook)[0], "html.parser")


def align_texts(answers):
    """Mark the cells of each column of text, which are to stand to the left; pandas doesn't."""
    for table in answers.select("table.dataframe"):
        rows = [row.find_all(["th", "td"]) for row in table.find_all("tr")]
        for heading, *cells in zip(*rows, strict=False):
            if not all(re.fullmatch(NUMBER, cell.get_text()) for cell in cells):
                for cell in (heading, *cells):
                    cell["class"] = "text"


def list_contents(answers):
    """Give each heading an id, and yield its item for the table of contents."""
    for number, heading in enumerate(answers.find_all(["h2", "h3"]), start=1):
        heading["id"] = f"section-{number}"
        text = html.escape(heading.get_text())
        yield f'<li class="{heading.name}"><a href="#{heading["id"]}">{text}</a></li>'


def describe_moment(moment):
    moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M}"


def replace_file(path, text):
    """Write a text to a file in place of what it holds, at once or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text, encoding="utf-8")
        if path.exists():
            shutil.copymode(path, new)
        os.replace(new, path)
    except OSError as error:
        raise LoadError(f"can't write {path}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            new.unlink()
