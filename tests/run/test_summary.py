"""What a run says to machines, by --log-json."""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from time import time

import pytest
from nights import FULL, append, correct, needs_full
from records import event, write_lines
from scripts import PROJECT, environment_of
from servers import free_port


def read_events(output):
    """Return the objects in the output of --log-json, without what is never the same."""
    events = [json.loads(line) for line in output.splitlines()]
    for facts in events:
        assert facts.pop("at").endswith("+00:00")
        assert len(facts.pop("run")) == 8
        assert (facts.pop("server") or "sparkifydb on ").startswith("sparkifydb on ")
        if "seconds" in facts:
            assert 0 <= facts.pop("seconds") < 60
    return events


def test_a_log_for_machines(night, data, loader, tmp_path):
    path = data / "log_data" / "events.json"
    append(path, "bad", event(ts=4, artist="BjÃ¶rk"))
    missing = data / "song_data" / "z.json"
    missing.symlink_to("nowhere")
    status, output, errors = night(data, "--load", loader, "--log-json")
    *files, last = read_events(output)
    assert status == 3
    assert datetime.fromisoformat(last.pop("since")).timestamp() == pytest.approx(time(), abs=60)
    assert last.pop("waiting") == 1
    modified = path.stat().st_mtime
    by_uri = {facts["uri"]: facts for facts in files}
    assert sorted(by_uri) == sorted(str(path) for path in data.rglob("*.json"))
    loaded = by_uri[str(path)]
    assert "T" in loaded["modified"]
    assert datetime.fromisoformat(loaded.pop("modified")).timestamp() == pytest.approx(modified)
    assert loaded == {
        **{"event": "file", "status": "loaded", "uri": str(path), "kind": "log"},
        **{"size": path.stat().st_size, "records": 4, "loaded": 4, "page_views": 1, "set_aside": 1},
        "reencoded": 1,
    }
    assert by_uri[str(missing)] == {
        **{"event": "file", "status": "unreadable", "uri": str(missing)},
        "error": "No such file or directory",
    }
    assert last == {
        **{"event": "run", "exit_status": 3, "data": str(data), "loader": loader},
        **{"rejects": "rejected.jsonl", "files": 4, "unchanged": 0, "unreadable": 1},
        **{"passed_over": 0, "records": 8, "loaded": 8, "page_views": 1, "reencoded": 1},
        **{"set_aside": 1},
        "added": {
            **{"songplays": 5, "users": 2, "songs": 2, "artists": 2, "time": 5},
            **{"unmatched_songplays": 2, "page_views": 1},
        },
    }
    assert "1 play names a doubly encoded song or artist, stored as it was meant" in errors
    assert "1 line was set aside: see rejected.jsonl" in errors


def test_a_log_for_machines_of_a_night_without_news(night, data):
    night(data)
    status, output, errors = night(data, "--log-json")
    [last] = read_events(output)
    assert (status, last["event"], last["exit_status"]) == (0, "run", 0)
    assert (last["files"], last["unchanged"], last["added"]) == (0, 4, {})
    assert "Nothing new" in errors


def test_a_log_for_machines_of_a_night_that_fails(night, data, loader):
    bad = write_lines(data / "log_data" / "f.json", [event(ts=9), "bad"])
    status, output, errors = night(data, "--load", loader, "--log-json", "--strict")
    *files, last = read_events(output)
    assert status == 1
    assert [Path(facts["uri"]).name for facts in files] == (
        ["000.json", "001.json", "events.json"] if loader == "rows" else []
    )
    assert (last["event"], last["exit_status"]) == ("run", 1)
    assert last["error"].startswith(f"{bad}, line 2: ")
    assert errors[-1] == f"etl.py: {last['error']}"


def test_a_log_for_machines_names_no_file_whose_commit_failed(night, data, conn, cur, loader):
    cur.execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'not today'; END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON loaded_files
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
        """
    )
    conn.commit()
    status, output, errors = night(data, "--load", loader, "--log-json")
    cur.execute("DROP TRIGGER refuse ON loaded_files; DROP FUNCTION refuse")
    conn.commit()
    [last] = read_events(output)
    assert (status, last["event"]) == (1, "run")
    assert "not today" in errors[-1]


def test_a_log_for_machines_without_a_server(night, data, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://postgres@127.0.0.1:{free_port()}/")
    status, output, [error] = night(data, "--log-json", "--no-wait")
    [last] = read_events(output)
    assert last == {"event": "run", "exit_status": 1, "error": error.removeprefix("etl.py: ")}


def test_a_log_for_machines_without_data(night, data):
    status, output, [error] = night(data / "nowhere", "--log-json")
    [last] = read_events(output)
    assert error.startswith(f"etl.py: there is no folder {data / 'nowhere'}; ")
    assert last == {"event": "run", "exit_status": 2, "error": error.removeprefix("etl.py: ")}


def test_a_log_for_machines_of_a_retry(night, rejects):
    correct(rejects, _2=event(ts=77))
    status, output, _ = night("--retry", rejects, "--log-json")
    [last] = read_events(output)
    assert status == 3
    assert last == {
        **{"event": "run", "retry": str(rejects), "records": 1, "loaded": 1, "set_aside": 4},
        "exit_status": 3,
    }


@needs_full
def test_a_log_for_machines_that_cannot_be_written(conn, data, loader):
    with FULL.open("w") as full:
        result = subprocess.run(
            [sys.executable, PROJECT / "etl.py", data, "--load", loader, "--log-json"],
            env=environment_of(SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"]),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert result.returncode == 1
    said = [line for line in result.stderr.splitlines() if line.startswith("etl.py: ")]
    assert said == ["etl.py: can't write the output: No space left on device"]
    assert "Traceback" not in result.stderr


def test_the_seconds_of_the_files_are_together_less_than_those_of_the_run(night, data, cur, loader):
    _, output, _ = night(data, "--load", loader, "--log-json")
    *files, run = map(json.loads, output.splitlines())
    assert 0 < sum(facts["seconds"] for facts in files) <= run["seconds"] + 0.001
