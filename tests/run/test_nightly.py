"""The nightly command: what is loaded, checked and said, and what is only suspicious."""

import contextlib
import json
import os
import re
import signal
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
from nights import append
from records import event, write_lines
from scripts import run

import etl
from sparkify import __main__, interrupts
from sparkify.analysis.questions import analytics_queries
from sparkify.checks import freshness

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ([0-9a-f]{8}) "


@pytest.fixture
def command(conn, tmp_path, monkeypatch, capsys):
    """Runs a command in this process; returns its exit status, output and error lines."""
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments):
        status = __main__.main([*map(str, arguments)])
        output, errors = capsys.readouterr()
        return status, output.splitlines(), errors.splitlines()

    return run_command


def test_a_night_from_the_load_to_the_report(command, data):
    status, output, errors = command("nightly", data, "--load", "copy")
    assert (status, errors) == (0, [])
    assert output[-2:] == [
        "All 108 sanity checks passed",
        "The night: all that was new is loaded; the checks have passed; exit status 0",
    ]
    append(data / "log_data" / "events.json", "bad")
    status, output, errors = command("nightly", data, "--report", data / "nowhere" / "x.html")
    assert (status, len(errors)) == (1, 1) and "there is no folder" in errors[0]
    assert output[-1] == (
        "The night: loaded, but lines or files were set aside; the checks have passed; "
        "there is no new report; exit status 1"
    )
    status, output, errors = command("nightly", data, "--newer-than", "26h")
    assert (status, errors) == (1, [])
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert f"1 line is set aside in rejected.jsonl since {today}" in output
    assert output[-2:] == [
        "[WARNING] freshness: the newest event is of 2018-11-01 21:01 UTC, not of the last 26h",
        "The night: all that was new is loaded; checks have failed; exit status 1",
    ]
    assert command("nightly", data / "nowhere")[0] == 2
    _, output, _ = command("ask", "how the loads went", "--json")
    runs = json.loads("".join(output))
    assert [(r["outcome"], r["files"], r["rows_loaded"], r["lines_set_aside"]) for r in runs] == [
        ("all loaded", 0, 0, 0),
        ("some set aside", 1, 3, 1),
        ("all loaded", 4, 7, 0),
    ]
    assert command("nightly", "--newer-than", "soon")[0] == 2


def test_how_interrupted_runs_went(data, cur, monkeypatch):
    for end in (interrupts.Interrupted(signal.SIGTERM), KeyboardInterrupt()):  # etl.py's, Jupyter's
        monkeypatch.setattr(etl, "load_files", Mock(side_effect=end))
        with contextlib.suppress(KeyboardInterrupt):
            etl.main([str(data)])
    cur.execute("SELECT exit_status, files, seconds < 60 FROM load_runs ORDER BY started_at")
    assert cur.fetchall() == [(143, None, True), (130, None, True)]
    cur.execute(analytics_queries["how the loads went"])
    assert [outcome for _, outcome, *_ in cur] == ["interrupted"] * 2


def test_a_night_for_machines_and_one_that_loads_nothing(command, data, tables):
    before = tables()
    status, output, _ = command("nightly", data, "--dry-run", "--log-json")
    [plan] = map(json.loads, output)
    assert (status, plan["event"], plan["files"], plan["loader"]) == (0, "plan", 4, "rows")
    assert plan["seconds"] is None
    assert tables() == before
    status, output, errors = command("nightly", data, "--log-json")
    *files, load, night = map(json.loads, output)
    assert (status, night["event"], night["exit_status"], load["files"]) == (0, "night", 0, 4)
    assert len({facts["run"] for facts in (*files, load, night)}) == 1
    assert "All 108 sanity checks passed" in errors
    path = data / "log_data" / "more.json"
    size = path.stat().st_size
    write_lines(path, [event(ts=2, userId="9")])
    _, output, _ = command("nightly", data, "--dry-run", "--log-json")
    [suspicion, plan] = map(json.loads, output)
    assert (plan["files"], plan["bytes"]) == (1, path.stat().st_size) and plan["seconds"] < 9
    shrunk = f"{path} has shrunk from {size} to {plan['bytes']} bytes since it was loaded; "
    assert suspicion["text"] == f"{shrunk}what it gave then stays in the tables"


def test_each_line_of_a_log_has_time_and_run(conn, data):
    variables = {"SPARKIFY_PGDATA": os.environ["SPARKIFY_PGDATA"]}
    append(data / "song_data" / "000.json", "bad")
    (data / "log_data" / "gone.json").symlink_to("nowhere")
    result = run("sparkify", "nightly", data, "--rejects", os.devnull, **variables)
    assert result.returncode == 3
    lines = [*result.stdout.splitlines(), *result.stderr.splitlines()]
    assert len(lines) > 15 and len({re.match(STAMP, line)[1] for line in lines}) == 1
    assert re.search(f"{STAMP}etl.py: can't read .*gone.json: ", result.stderr)


INSERT = "INSERT INTO page_views (start_time, session_id, page) VALUES (%s, %s, 'Home')"


def test_days_that_look_incomplete(cur, data, tmp_path, monkeypatch, capsys):
    first = datetime.now(UTC).replace(hour=12) - timedelta(days=61)
    counts = dict.fromkeys(range(60), 20) | {0: 1, 30: 0, 40: 0, 45: 1, 50: 2, 59: 1}
    rows = [(first + timedelta(day), n) for day, events in counts.items() for n in range(events)]
    cur.executemany(INSERT, [*rows, (first + timedelta(3000), 1)])
    low, none = (f"{first + timedelta(day):%Y-%m-%d}" for day in (45, 40))
    assert list(freshness.find_suspicions(cur)) == [
        f"{none} has 0 events, where half of its weekdays have 20 or more",
        f"{low} has 1 event, where half of its weekdays have 20 or more",
    ]
    cur.connection.commit()
    monkeypatch.chdir(tmp_path)
    __main__.main(["nightly", str(data), "--log-json"])
    facts = list(map(json.loads, capsys.readouterr().out.splitlines()))
    said = [fact["text"] for fact in facts if fact["event"] == "suspicion"]
    assert said == list(freshness.find_suspicions(cur))
    assert len(said) == 2
    cur.execute("DELETE FROM loaded_files")
    assert list(freshness.find_stale(cur, "61h")) == [
        ("freshness", "the newest load is missing, not of the last 61h")
    ]
    assert len(list(freshness.find_stale(cur, "35h"))) == 2
