"""The report shows what test.ipynb answers, in one file; only a whole one replaces an old one."""

import contextlib
import copy
import io
import os
import shutil
import socket
import sys

import nbformat
import pytest
from bs4 import BeautifulSoup
from notebooks import (
    assert_is_committed,
    assert_warns_of_nothing,
    opened,
    printed,
    read_cells,
    read_text,
)
from scripts import assert_fails_in_one_line, run
from test_docs import EXAMPLES, RUN_ELSEWHERE

from sparkify.analysis import html_report
from sparkify.errors import LoadError, ServerError
from sparkify.interpreter import command
from sparkify.read.storage import DATA

HERE = {"SPARKIFY_PGDATA": os.environ["SPARKIFY_PGDATA"]}
WARNING = "\033[38;5;208m[WARNING] "
WRITTEN = "events from 2018-11-01 to 2018-11-30\n"


def test_the_pages_show_what_is_printed():
    [shown] = [output for _, line, output in EXAMPLES if line == RUN_ELSEWHERE]
    assert shown == f"Wrote report.html: {WRITTEN}"


def run_report(*arguments, **variables):
    return run("sparkify", "report", *arguments, **HERE | variables)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def written(sample, folder):
    """The cells of test.ipynb as they ran for the report, which was written over an older one."""
    notebook, ran, output = folder / "test.ipynb", [], io.StringIO()
    notebook.write_bytes(read_text("test.ipynb"))
    (folder / "report.html").write_text("yesterday's")
    (folder / "report.html").chmod(0o640)
    (folder / "link.html").symlink_to(folder / "report.html")

    def run_and_keep(*arguments):
        found = run_notebook(*arguments)
        ran.extend(copy.deepcopy(found.cells))
        return found

    run_notebook = html_report.run_notebook
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setenv("IPYTHONDIR", "")  # which it changes
        patch.setattr(html_report, "NOTEBOOK", notebook)
        patch.setattr(html_report, "run_notebook", run_and_keep)
        html_report.write_report([str(folder / "link.html")])
    assert output.getvalue() == f"Wrote {folder / 'link.html'}: {WRITTEN}"
    assert notebook.read_bytes() == read_text("test.ipynb")
    notebook.unlink()
    return ran


@pytest.fixture(scope="module")
def report(written, folder):
    """The report of the sample as a tree."""
    return BeautifulSoup((folder / "report.html").read_bytes(), "html.parser")


def test_its_notebook_warns_of_nothing(written):
    assert_warns_of_nothing(written)


def test_its_notebook_is_committed_as_it_ran(written):
    assert_is_committed("test.ipynb", written)


@pytest.mark.thorough
def test_it_is_written_by_the_program(sample, tmp_path):
    result = run_report(tmp_path / "report.html")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"Wrote {tmp_path / 'report.html'}: {WRITTEN}"
    assert "Call the Parade" in (tmp_path / "report.html").read_text()


def test_an_old_file_is_replaced_through_a_link_and_keeps_its_rights(report, folder):
    assert {path.name for path in folder.iterdir()} == {"report.html", "link.html"}
    assert (folder / "link.html").is_symlink()
    assert (folder / "report.html").stat().st_mode & 0o777 == 0o640


def test_it_says_of_which_data_it_is(report):
    assert report.h1.get_text() == "Sparkify, 1 to 30 November 2018"
    source = f"{DATA} in sparkifydb on the embedded server ({HERE['SPARKIFY_PGDATA']})"
    assert report.title.get_text() == f"{report.h1.get_text()}: {source}"
    said = " ".join(report.header.p.get_text().split())
    assert said.startswith(
        f"From {source}. Events from 1 November 2018, 00:01 to 30 November 2018, 23:59 UTC; hours "
        "and weekdays are those of UTC. Made"
    )


def test_it_begins_with_what_stands_out_and_ends_with_rows_checks_and_schema(report):
    headings = [heading.get_text() for heading in report.find_all("h2")]
    assert headings == [
        "What stands out",
        "Key figures",
        "Contents",
        "The analytics team's questions",
        "The tables",
        "Sanity tests",
        "The schema",
    ]
    assert [item.get_text() for item in report.main.ul.find_all("li")] == [
        "91 users played songs 6,645 times in the 30 days from 1 to 30 November 2018: 222 plays a "
        "day.",
        '"Call the Parade" by Duluth Riot is played most, 618 times by 39 users; the catalogue has '
        "the songs of 81.3% of the plays.",
        "The most active tenth of the users, 9 of 91, make 73.4% of the plays; half of the users "
        "have 15 plays or fewer.",
        "The hour of the day with the most plays begins at 3:00 UTC: it has 11.2% of them.",
        "6 of 8,000 requests were errors; users changed to the level paid 6 times, back to free 1 "
        "time.",
    ]


def test_it_loads_nothing_from_elsewhere(report):
    assert report.find_all(["script", "link", "iframe", "object"]) == []
    assert {tag["src"].partition(",")[0] for tag in report.select("[src]")} == {
        "data:image/png;base64"
    }
    assert {tag["href"][0] for tag in report.select("[href]")} == {"#"}
    styles = " ".join(style.get_text() for style in report.find_all("style"))
    assert "url(" not in styles and "@import" not in styles


def test_it_shows_no_code(report):
    assert report.select(".input, .prompt, .highlight") == []
    assert "SQL" not in {summary.get_text() for summary in report.select("summary")}
    assert "analytics_queries" not in report.get_text()
    assert "SELECT" not in report.get_text()


def test_each_question_has_a_table_or_a_picture(report):
    for heading in report.main.find_all("h3"):
        after = heading.find_all_next(["h2", "h3", "table", "img"])
        assert after[0].name in ("table", "img"), heading
    assert len(report.find_all("img")) > 10


def test_it_shows_texts_for_readers_and_none_for_those_who_run_the_notebook(report):
    assert "A broken rule shows" in report.get_text()
    assert "sanity checks passed" in report.get_text()
    assert "run it as often" not in report.get_text()


def test_each_picture_is_named_by_its_title(report):
    names = [image["alt"] for image in report.find_all("img")]
    assert names[0] == '"Call the Parade" is played most, by 39 listeners'
    of_paid = "82% of the plays are by the 23% of users on the level paid, "
    assert f"{of_paid}78% without the most active of them" in names
    assert names[-1] == "The tables, and which of their columns refer to which"
    assert len(set(names)) == len(names)


def test_the_contents_lead_to_all_headings(report):
    links = [(link["href"], link.get_text()) for link in report.select("nav a")]
    headings = [tag for tag in report.main.find_all(["h2", "h3"]) if not tag.find_parent("nav")]
    assert links == [(f"#{heading['id']}", heading.get_text()) for heading in headings]
    ids = [tag["id"] for tag in report.select("[id]")]
    assert len(set(ids)) == len(ids)
    assert len(links) > 10


def test_texts_stand_to_the_left_and_numbers_to_the_right(report):
    table = next(table for table in report.find_all("table") if "Call the Parade" in str(table))
    aligned = {heading.get_text(): heading.get("class") for heading in table.thead.find_all("th")}
    assert aligned["title"] == ["text", "long"]
    assert aligned["in_catalogue"] == ["text"]
    assert aligned["plays"] is None
    assert [cell.get("class") for cell in table.tbody.tr.find_all("td")][:3] == [
        ["text", "long"],
        ["text", "long"],
        None,
    ]


# What can't be written


@pytest.mark.parametrize(
    ("file", "words"),
    [("", ["no plain file"]), ("none/report.html", ["no folder", "create it"])],
)
def test_a_file_that_cannot_be_written_is_told_before_anything_runs(tmp_path, file, words):
    url = "postgresql://nobody@127.0.0.1:1/"
    assert_fails_in_one_line(run_report(tmp_path / file, DATABASE_URL=url), *words)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_no_other(sample, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copymode", fail)
    monkeypatch.setattr(html_report, "run_notebook", lambda *_: None)
    monkeypatch.setattr(html_report, "arrange_answers", lambda *_: None)
    monkeypatch.setattr(html_report, "make_page", lambda *_: "new")
    with pytest.raises(LoadError, match="can't write .*report.html: No space left on device"):
        html_report.write_report([str(path)])
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_a_notebook_that_fails_is_told_in_one_line_and_leaves_the_old_file(
    sample, tmp_path, monkeypatch
):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell('TIME_ZONE = "UTC"', metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("import etl\nraise ValueError(f'no {TIME_ZONE}\\nsong')"),
    ]
    nbformat.write(notebook, tmp_path / "broken.ipynb")
    (tmp_path / "report.html").write_text("old")
    monkeypatch.setattr(html_report, "NOTEBOOK", tmp_path / "broken.ipynb")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LoadError) as failure:
        html_report.write_report(["--time-zone", "Asia/Tokyo"])
    said = "broken.ipynb failed: no Asia/Tokyo; run it in Jupyter, which shows where"
    assert str(failure.value) == said
    assert {path.name for path in tmp_path.iterdir()} == {"broken.ipynb", "report.html"}
    assert (tmp_path / "report.html").read_text() == "old"


@pytest.mark.parametrize(
    ("cell", "missing"),
    [("import none_such", "No module named 'none_such'"), ("", "import of nbclient halted")],
)
def test_a_library_that_is_missing_is_told(sample, tmp_path, monkeypatch, cell, missing):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    nbformat.write(notebook, tmp_path / "lacking.ipynb")
    monkeypatch.setattr(html_report, "NOTEBOOK", tmp_path / "lacking.ipynb")
    monkeypatch.chdir(tmp_path)
    if not cell:
        monkeypatch.setitem(sys.modules, "nbclient", None)
    with pytest.raises(LoadError, match=f"can't make the report: {missing}.*; run .*pip install"):
        html_report.write_report([])


def test_a_library_that_takes_long_to_import_is_left_out(tmp_path, monkeypatch):
    for name in ("nbformat", "rfc3987_syntax"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "nbformat.py").write_text("import rfc3987_syntax")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="import of rfc3987_syntax halted"):
        html_report.run_notebook(tmp_path / "none.ipynb", "UTC")
    assert "rfc3987_syntax" not in sys.modules


def run_code(*codes, tmp_path, tags=()):
    """Run cells as for a report, the last of them with tags, and return what that one shows."""
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    cells[-1].metadata["tags"] = list(tags)
    path = tmp_path / "some.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return html_report.run_notebook(path, "UTC").cells[-1].outputs


def test_the_kernel_ends_with_its_last_cell(tmp_path):
    path = tmp_path / "late"
    run_code(f"import atexit\natexit.register(open, {str(path)!r}, 'w')", tmp_path=tmp_path)
    assert not path.exists()


def test_the_checks_are_made_beside_the_kernel(sample, tmp_path, monkeypatch):
    [output] = run_code("1 / 0", tmp_path=tmp_path, tags=["checks"])
    assert output.text == "All 108 sanity checks passed\n"

    def fail(*_, **__):
        raise ServerError("gone")

    monkeypatch.setattr(html_report.check, "print_checks", fail)
    with pytest.raises(ServerError, match="gone"):
        run_code("1 / 0", tmp_path=tmp_path, tags=["checks"])


@pytest.mark.parametrize("zone", ["UTC+2", "-05:00", "Europe/Berln"])
def test_a_mistyped_time_zone_is_told_before_anything_runs(sample, tmp_path, zone):
    result = run_report(tmp_path / "report.html", "--time-zone", zone)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert zone in result.stderr and "Europe/Berlin" in result.stderr
    assert list(tmp_path.iterdir()) == []


# Asking in the notebook


@pytest.fixture(scope="module")
def run_cells():
    """A function that runs cells in a kernel that has set test.ipynb up, as tests share it."""
    with opened() as run:
        run(
            [cell for cell in read_cells("test.ipynb") if cell.id in ("zone", "setup-1", "setup-2")]
        )
        yield run


def test_papermill_finds_the_time_zone():
    tagged = [cell for cell in read_cells("test.ipynb") if cell.metadata.get("tags")]
    [cell] = [cell for cell in tagged if "parameters" in cell.metadata["tags"]]
    assert cell.source == 'TIME_ZONE = "UTC"'


ASKED = {
    'ask("typical user")': "sessions per user",
    "ask('activity by hour', time_zone='UTC+2')": "Etc/GMT-2 is UTC+2; better a place, such as",
    "ask('activity by hour', timezone='UTC')": 'takes no timezone; did you mean "time_zone"?',
    'ask("most plaed songs")': 'did you mean "most played songs"?',
    'ask("recommend to a user")': "needs user_id",
    'ask("recommend to a user", user_id="x")': 'user_id must be a whole number, not "x"',
    'answer = ask("typical user"); None': "sessions per user",
    "answer": "sessions per user",
    "ask()": "typical user and session",
}


def test_one_asks_as_on_the_shell_and_is_answered_in_one_table_or_one_line(sample, run_cells):
    tags = {"tags": ["raises-exception"]}
    cells = run_cells([nbformat.v4.new_code_cell(code, metadata=tags) for code in ASKED])
    for cell, words in zip(cells, ASKED.values(), strict=True):
        errors = [output.traceback for output in cell.outputs if output.output_type == "error"]
        tables = [o for o in cell.outputs if "<table" in o.get("data", {}).get("text/html", "")]
        assert len(errors) + len(tables) + (cell.source == "ask()") == 1, cell
        said = "".join("".join(lines) for lines in errors) + str(tables) + printed([cell])
        assert words in said, cell
        assert [line for lines in errors for line in lines if "\n" in line] == []


def test_what_is_imported_is_not_searched_for_garbage(run_cells):
    cells = run_cells([nbformat.v4.new_code_cell("import gc\nprint(gc.get_freeze_count())")])
    assert int(printed(cells)) > 100_000


# Other tables than the sample's


def test_tables_without_a_play_are_told(conn, cur, tmp_path):
    cur.execute(
        "INSERT INTO page_views (start_time, session_id, page) VALUES ('2018-11-01', 1, 'Home')"
    )
    conn.commit()
    result = run_report(tmp_path / "report.html")
    assert_fails_in_one_line(result, "there are no plays in sparkifydb", "only page views")


def test_its_notebook_warns_of_a_broken_schema(conn, cur, run_cells):
    cur.execute("ALTER TABLE songplays DROP CONSTRAINT songplays_user_id_fkey")
    cur.execute("INSERT INTO users VALUES (7, NULL, NULL, NULL, 'gold')")
    conn.commit()
    cells = run_cells([cell for cell in read_cells("test.ipynb") if cell.id == "sanity-1"])
    warnings = [line for line in printed(cells).splitlines() if line.startswith(WARNING)]
    assert [line for line in warnings if "songplays: foreign keys" in line]
    assert [line for line in warnings if "users: level" in line and '"user_id":7' in line]


def test_empty_tables_say_what_to_run(conn, tmp_path):
    result = run_report(tmp_path / "report.html")
    assert_fails_in_one_line(result, "no events yet", f"run {command('etl.py')}")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_cannot_be_reached_is_told_in_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"postgresql://nobody@127.0.0.1:{port}/"
    result = run_report(tmp_path / "report.html", DATABASE_URL=url)
    assert_fails_in_one_line(result, f"127.0.0.1:{port}", "DATABASE_URL")
    assert list(tmp_path.iterdir()) == []
