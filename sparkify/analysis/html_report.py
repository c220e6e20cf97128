"""The page that shows the answers and pictures of test.ipynb to those who never open Jupyter."""

import base64
import contextlib
import html
import io
import os
import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from sparkify.analysis import ask
from sparkify.analysis.time_zones import join_offset, require_time_zone
from sparkify.checks import check
from sparkify.errors import LoadError, TablesEmpty
from sparkify.interpreter import PROJECT, command
from sparkify.interrupts import Interrupted
from sparkify.messages import count, name_period, one_line
from sparkify.postgres import connection, rights
from sparkify.postgres.transactions import fetch_value
from sparkify.replacing import replace_file
from sparkify.waiting import await_answer, begin

NOTEBOOK = Path(PROJECT, "test.ipynb")
TEMPLATE = Path(__file__).with_name("html_report.html")
INSTALL = f"run {command('-m pip install -q -r requirements.txt')}"
NUMBER = r"-?[\d.,]+%?|–|<NA>|NaN|\.\.\."  # as pandas shows it, or what stands in its place
SHORT = 12  # characters: a column of texts that are no longer is not wrapped
MANY = 9  # columns: more stand close together
READABLE = 0.8  # of a picture's size
CHECKS = "checks"  # the tag of a cell that prints them
PLACES = {"report-first": -1, "report-last": 1}  # by tag, where a section is that has it

folders_select = """
-- One row per folder of data that files were loaded from
SELECT DISTINCT regexp_replace(uri, '^(.*)/(song|log)_data/.*$', '\\1') AS folder
FROM loaded_files
ORDER BY folder
"""

plays_select = "SELECT EXISTS (SELECT FROM songplays)"


def write_report(arguments):
    """Do what the command's arguments say. Raises LoadError, ServerError, WrongArguments."""
    options = parse_arguments(arguments)
    path = find_place(options.file)
    with rights.session() as cur:
        period = ask.fetch_period(cur)
        require_plays(cur)
        require_time_zone(options.time_zone, cur)
        source = describe_source(cur)
    try:
        notebook = run_notebook(NOTEBOOK, options.time_zone)
        arrange_answers(notebook)
        page = make_page(notebook, source, options.time_zone, *period)
    except ImportError as error:
        raise LoadError(f"can't make the report: {one_line(error)}; {INSTALL}") from None
    try:
        replace_file(path, page)
    except OSError as error:
        raise LoadError(f"can't write {path}: {error.strerror}") from None
    first, last = (f"{moment.astimezone(UTC):%Y-%m-%d}" for moment in period)
    print(f"Wrote {options.file}: events from {first} to {last}")


def parse_arguments(arguments):
    """Return the name of the file to write, and of the time zone."""
    parser = ask.Parser(
        command("-m sparkify report"),
        description="Run test.ipynb afresh, and write its answers and pictures, without code, as "
        "one HTML file that needs nothing else. An existing file is replaced once all went well.",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", default="report.html")
    parser.add_argument(
        "--time-zone",
        metavar="ZONE",
        default="UTC",
        help="whose hours and weekdays count, such as America/New_York (default: UTC)",
    )
    return parser.parse_args(join_offset(arguments))


def describe_source(cur):
    """Return which folders were loaded into which database."""
    cur.execute(folders_select)
    folders = [folder for (folder,) in cur] or ["unknown files"]
    more = f" and {count(len(folders) - 3, 'more', 'more')}" if len(folders) > 3 else ""
    return f"{', '.join(folders[:3])}{more} in {connection.name_database(cur.connection)}"


def require_plays(cur):
    """Raise TablesEmpty where there are other events, but none that most questions are about."""
    if not fetch_value(cur, plays_select):
        target = connection.name_database(cur.connection)
        raise TablesEmpty(f"there are no plays in {target}, only page views; load logs with plays")


def find_place(file):
    """Return the path that is to be written; of a link, the one that it leads to."""
    path = Path(file).resolve()
    if path.exists() and not path.is_file():
        raise LoadError(f"can't write {file}: it is there, and no plain file; name another")
    if not path.parent.is_dir():
        raise LoadError(f"can't write {file}: there is no folder {path.parent}; create it first")
    return path


def run_notebook(path, time_zone):
    """Return a notebook as it is after a run in the project's folder.

    The time zone takes the place of its cell that is tagged `parameters`. What a cell tagged
    `checks` prints is made here meanwhile: the server would be idle while a kernel starts.
    Raises LoadError, and ImportError where a library is missing, also in the kernel.
    """
    with left_out("rfc3987_syntax"):  # a second, for IRIs, which no notebook has
        import nbformat
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if has_tag(cell, "parameters"):
            cell.source = f"TIME_ZONE = {time_zone!r}"
    checking = [cell for cell in notebook.cells if has_tag(cell, CHECKS)]
    said = begin(make_checks) if checking else None
    client = NotebookClient(
        notebook,
        timeout=None,
        resources={"metadata": {"path": PROJECT}},
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # it would warn of TCP between the two processes
        shutdown_kernel="immediate",  # it has nothing left to do
        skip_cells_with_tag=CHECKS,
    )
    try:
        with tempfile.TemporaryDirectory() as profile:  # nobody's own; not all have a home
            os.environ["IPYTHONDIR"] = profile
            # Not in the main thread, where nbclient would handle signals.
            await_answer(client.execute)
        for cell in checking:
            cell.outputs = [nbformat.v4.new_output("stream", text=await_answer(said.result))]
        return notebook
    except Interrupted:
        kill_kernel(client)
        raise
    except CellExecutionError as error:
        said = error.evalue.partition("\n")[0]
        if error.ename in ("ImportError", "ModuleNotFoundError"):
            raise ImportError(said) from None
        remedy = "run it in Jupyter, which shows where"
        raise LoadError(f"{path.name} failed: {said or 'a cell has an error'}; {remedy}") from None
    except NoSuchKernel:
        raise ImportError("No module named 'ipykernel'") from None
    except DeadKernelError as error:
        raise LoadError(f"{path.name} failed: {one_line(error)}") from None


def has_tag(cell, tag):
    return tag in cell.metadata.get("tags", ())


def make_checks():
    """Return what the checks print."""
    said = io.StringIO()
    with rights.session() as cur:
        check.print_checks(cur, file=said)
    return said.getvalue()


def kill_kernel(client):
    """End a kernel before Jupyter interrupts it: a Python that is starting would print a fault."""
    if process := getattr(client.km and client.km.provisioner, "process", None):
        client.log.disabled = True  # that it died
        process.kill()


@contextlib.contextmanager
def left_out(module):
    """Have others, if they import a module that they can do without, do without it."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None
    try:
        yield
    finally:
        del sys.modules[module]


def arrange_answers(notebook):
    """Leave out what precedes the first section, and the SQL that unfolds; move tagged sections."""
    begins = [at for at, cell in enumerate(notebook.cells) if cell.source.startswith("## ")]
    ends = [*begins[1:], None]
    sections = [notebook.cells[begin:end] for begin, end in zip(begins, ends, strict=True)]
    sections.sort(key=find_place_of)
    for heading, *_ in sections:
        heading.source = re.sub(r"^## \d+\. ", "## ", heading.source)
    notebook.cells = sum(sections, [])
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_folded(output)]


def find_place_of(section):
    return sum(PLACES.get(tag, 0) for tag in section[0].metadata.get("tags", ()))


def is_folded(output):
    return output.get("data", {}).get("text/markdown", "").startswith("<details>")


def make_page(notebook, source, time_zone, first, last):
    """Return the page of a notebook, of events from the first to the last."""
    answers = render(notebook)
    tidy(answers)
    lay_out_tables(answers)
    contents = "\n".join(list_contents(answers))
    moments = {"first": first, "last": last, "made": datetime.now(UTC)}
    texts = {name: describe_moment(moment) for name, moment in moments.items()}
    days = (moment.astimezone(UTC).date() for moment in (first, last))
    texts |= {"title": f"Sparkify, {name_period(*days)}", "source": source, "time_zone": time_zone}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        {name: html.escape(text) for name, text in texts.items()},
        findings=take_sections(answers, 2),
        contents=contents,
        answers=answers,
    )


def take_sections(answers, number):
    """Return the HTML of the first sections, and leave the others."""
    next_heading = answers.find_all("h2")[number]
    taken = reversed(list(next_heading.previous_siblings))
    return "".join(str(part.extract()) for part in taken)


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


def tidy(answers):
    """Leave out what only Jupyter needs, unfold all, and give tables and pictures a box each."""
    for tag in answers.select("style, summary"):
        tag.decompose()
    for tag in answers.select("div, details"):
        tag.unwrap()
    for image in answers.find_all("img"):
        width = READABLE * read_width(image["src"])
        image["style"] = f"min-width: {width:.0f}px"
    for wide in answers.select("table, img"):
        wide.wrap(answers.new_tag("div", attrs={"class": "wide", "tabindex": "0"}))


def read_width(url):
    """Return the width in pixels of a PNG, by its data URL."""
    return int.from_bytes(base64.b64decode(url.partition(",")[2][:32])[16:20])


def lay_out_tables(answers):
    """Mark the cells of each column of text, which stand to the left, and those that may wrap.

    A column's name may wrap where it has an underscore.
    """
    for table in answers.find_all("table"):
        rows = [row.find_all(["th", "td"]) for row in table.find_all("tr")]
        if len(rows[0]) > MANY:
            table["class"] = "dense"
        for column in zip(*rows, strict=False):
            cells = column[1:] if table.thead else column
            if not all(re.fullmatch(NUMBER, cell.get_text()) for cell in cells):
                is_long = any(len(cell.get_text()) > SHORT for cell in cells)
                for cell in column:
                    cell["class"] = "text long" if is_long else "text"
        for name in table.find_all("th"):
            parts = re.split("(?<=_)", name.get_text())
            name.clear()
            for part in parts:
                name.extend([part, answers.new_tag("wbr")])


def list_contents(answers):
    """Give each heading an id, and yield its item for the table of contents."""
    for number, heading in enumerate(answers.find_all(["h2", "h3"]), start=1):
        heading["id"] = f"section-{number}"
        text = html.escape(heading.get_text())
        yield f'<li class="{heading.name}"><a href="#{heading["id"]}">{text}</a></li>'


def describe_moment(moment):
    moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M}"
