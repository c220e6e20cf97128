"""python etl.py, as a user or a cron job runs it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from records import event, read_tables, song, write_data, write_lines
from scripts import PROJECT, call, run, thorough

from sparkify.interpreter import command
from sparkify.postgres.locks import load_lock_select


@pytest.fixture
def data(tmp_path):
    """A data folder with two songs and two plays, in a path that needs care."""
    songs = [song(), song(song_id="SO2", title="Other")]
    events = [event(), event(ts=1, song="Unheard of"), event(page="Home", userId="")]
    return write_data(tmp_path / "my data, 100%", songs, events)


@pytest.fixture
def etl(conn, tmp_path):
    """Runs etl.py in a temporary folder; returns its exit status, output and error lines."""

    def run_etl(*arguments, how=call):
        server = os.environ["SPARKIFY_PGDATA"]
        result = how("etl.py", *arguments, cwd=tmp_path, SPARKIFY_PGDATA=server)
        assert "Traceback" not in result.stderr
        return result.returncode, result.stdout, result.stderr.splitlines()

    return run_etl


def rejected(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_says_what_it_loaded_and_a_second_adds_nothing(etl, data, cur):
    status, output, errors = etl(data, how=run)
    assert (status, errors) == (0, [])
    folder = os.environ["SPARKIFY_PGDATA"]
    *lines, seconds = output.splitlines()
    assert lines == [
        f"Loading {data} into sparkifydb on the embedded server ({folder}), row by row",
        "2 song files: 2 songs",
        "1 log file: 2 plays and 1 page view",
        "",
        "table                       rows       added",
        "songplays                      2          +2",
        "users                          1          +1",
        "songs                          2          +2",
        "artists                        1          +1",
        "time                           2          +2",
        "unmatched_songplays            1          +1",
        "page_views                     1          +1",
        "",
        "1 of 2 plays found their song in the catalogue",
    ]
    assert seconds.startswith("Done in ")
    before = read_tables(cur)
    status, output, errors = etl(data)
    assert (status, errors) == (0, [])
    assert output.splitlines()[1:3] == ["Nothing new", "3 files are loaded already (--all: again)"]
    status, output, errors = etl(data, "--all")
    assert (status, errors) == (0, [])
    assert "songplays                      2          +0" in output
    assert read_tables(cur) == before
    assert not (data.parent / "rejected.jsonl").exists()


def test_bad_lines_are_recorded_and_the_rest_loads(etl, data, cur, tmp_path):
    log = write_lines(
        data / "log_data" / "more.json", [event(ts=5), '{"cut', b'{"\xff"}', "", "[]"]
    )
    status, output, errors = etl(data)
    assert (status, errors) == (3, [])
    assert "3 lines were set aside: see rejected.jsonl" in output
    assert len(read_tables(cur)["songplays"]) == 3
    entries = rejected(tmp_path / "rejected.jsonl")
    assert all(entry.pop("set_aside") for entry in entries)
    log = {"file": log, "kind": "log"}
    assert entries == [
        log | {"line": 2, "reason": entries[0]["reason"], "text": '{"cut'},
        log | {"line": 3, "reason": "not UTF-8", "text": '{"\udcff"}'},
        log | {"line": 5, "reason": "no JSON object", "text": "[]"},
    ]
    assert entries[1]["text"].encode(errors="surrogateescape") == b'{"\xff"}'


def test_a_line_is_recorded_once_however_often_it_is_met(etl, data, tmp_path):
    write_lines(data / "log_data" / "more.json", ["bad", "bad"])
    assert etl(data)[0] == 3
    assert etl(data, "--all")[0] == 3
    assert [entry["line"] for entry in rejected(tmp_path / "rejected.jsonl")] == [1, 2]


def test_rejects_can_go_to_another_place(etl, data, tmp_path):
    write_lines(data / "song_data" / "x.json", [song(title=None)])
    status, output, _ = etl(data, "--rejects", "set aside.jsonl")
    assert status == 3
    assert "1 line was set aside: see set aside.jsonl" in output
    assert rejected(tmp_path / "set aside.jsonl")[0]["reason"] == "title is missing"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on this system")
def test_a_place_where_no_reject_can_be_recorded_is_told_before_the_load(night, data, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    no_file, missing = "it is no plain file", tmp_path / "missing"
    for place, fault in (
        (tmp_path, no_file),
        (tmp_path / "pipe", no_file),
        (missing / "rejected.jsonl", f"there is no folder {missing}"),
    ):
        message = f"etl.py: can't record rejected lines in {place}: {fault}"
        errors = [f"{message}; --rejects names another file"]
        assert night(data, "--rejects", place) == (1, "", errors)


def test_strict_stops_at_the_first_bad_line_with_nothing_of_its_file(etl, data, cur, tmp_path):
    bad = write_lines(data / "log_data" / "f.json", [event(ts=1), event(ts=2, level=None)])
    write_lines(data / "log_data" / "g.json", [event(ts=3)])
    status, _, errors = etl(data, "--strict")
    assert status == 1
    assert errors == [
        f"etl.py: {bad}, line 2: level is missing; nothing of this file was loaded; "
        "correct the line, or leave --strict out"
    ]
    assert len(read_tables(cur)["songplays"]) == 2
    assert not (tmp_path / "rejected.jsonl").exists()


def test_a_file_that_cannot_be_read_is_reported_and_does_not_stop_the_others(etl, data, cur):
    broken = data / "log_data" / "a.json"
    broken.symlink_to("nowhere")
    status, output, errors = etl(data)
    assert status == 3
    assert errors == [f"etl.py: can't read {broken}: No such file or directory"]
    assert "1 file or folder could not be read" in output
    assert len(read_tables(cur)["songplays"]) == 2


def test_with_strict_a_file_that_cannot_be_read_ends_the_run(etl, data, cur):
    (data / "song_data" / "a.json").symlink_to("nowhere")
    status, _, errors = etl(data, "--strict")
    assert status == 1
    assert errors == [f"etl.py: can't read {data}/song_data/a.json: No such file or directory"]


@pytest.mark.parametrize("missing", ["song_data", "log_data"])
def test_data_must_hold_both_folders(etl, data, missing):
    (data / missing).rename(data / "elsewhere")
    status, _, errors = etl(data)
    assert status == 2
    assert errors == [
        f"etl.py: there is no folder {data / missing}; DATA must hold song_data/ and log_data/"
    ]


def test_wrong_arguments(etl):
    assert etl("--no-such-option", how=run)[0] == 2
    assert etl("a", "b")[0] == 2


def test_help_names_the_exit_statuses(etl):
    status, output, _ = etl("--help")
    assert status == 0
    assert "3 loaded, but some lines or files were set aside" in " ".join(output.split())


def test_data_without_any_file_is_a_wrong_argument(night, tmp_path):
    data = write_data(tmp_path / "empty")
    status, output, errors = night(data)
    assert (status, output) == (2, "")
    missing = f"there is no data file, such as *.json, in song_data/ or log_data/ of {data}"
    assert errors == [f"etl.py: {missing}"]
    (data / "log_data" / "broken.json").symlink_to("nowhere")
    status, output, errors = night(data)
    assert (status, output.splitlines()[1]) == (3, "Nothing that can be read")


def test_files_of_another_folder_than_those_loaded_are_told_of_at_first(etl, data, tmp_path):
    other = write_data(tmp_path / "my data, 100% other", [song()], [event(userId="9")])
    (first, *_) = sorted(data.rglob("*.json"))
    note = f"The tables hold files of other folders, such as {first}; another service's users"
    assert note not in etl(data)[1]
    assert note in etl(other, "--dry-run")[1]
    lines = [line for line in etl(other)[1].splitlines() if line.startswith(note)]
    assert [line.endswith("or name another database") for line in lines] == [True]
    write_lines(other / "log_data" / "more.json", [event(ts=1)])
    for folder in (other, data):
        assert note not in etl(folder, "--all")[1]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, file names are Unicode by rule")
@pytest.mark.parametrize("loader", [thorough("rows"), "copy"])
def test_a_path_may_be_no_utf_8(etl, data, cur, loader):
    strange = data.rename(data.parent / os.fsdecode(b"d\xff"))
    log = write_lines(strange / "log_data" / os.fsdecode(b"\xfe.json"), [event(ts=9), "bad"])
    status, output, errors = etl(strange, "--load", loader, "--log-json", how=run)
    assert status == 3
    assert errors[0].startswith(f"Loading {data.parent}/d\\udcff into")
    assert log in [json.loads(line).get("uri") for line in output.splitlines()]
    assert len(read_tables(cur)["songplays"]) == 3
    assert "Nothing new" in etl(strange)[1]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, file names are Unicode by rule")
@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_a_path_may_look_like_another_one_that_is_no_utf_8(etl, data, cur, loader):
    for number, name in enumerate([b"\xfe.json", rb"\udcfe.json"]):
        write_lines(data / "log_data" / os.fsdecode(name), [event(ts=7 + number)])
    assert etl(data, "--load", loader)[0] == 0
    assert len(read_tables(cur)["songplays"]) == 4


def test_without_tables_it_says_what_to_do(etl, data, conn, cur):
    cur.execute("DROP VIEW listening; DROP TABLE unmatched_songplays")
    conn.commit()
    status, _, errors = etl(data, how=run)
    assert (status, errors) == (
        1,
        [
            'etl.py: relation "unmatched_songplays" does not exist; '
            f"run {command('create_tables.py')}"
        ],
    )


@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_without_a_column_it_says_what_to_do(etl, data, conn, cur, loader):
    cur.execute("ALTER TABLE songs DROP COLUMN artist_name CASCADE")
    conn.commit()
    status, _, [error] = etl(data, "--load", loader)
    assert status == 1
    assert "artist_name" in error and error.endswith(f"; run {command('create_tables.py')}")


def test_an_error_of_the_database_names_the_file(etl, data, conn, cur):
    cur.execute("ALTER TABLE users ADD CONSTRAINT adults CHECK (user_id > 8)")
    conn.commit()
    status, _, [error] = etl(data)
    assert status == 1
    assert error.startswith(
        f'etl.py: {data}/log_data/events.json: new row for relation "users" violates'
    )
    assert len(read_tables(cur)["songs"]) == 2


@pytest.fixture
def waiting_etl(conn, cur, data, tmp_path):
    """A run of etl.py that waits, and says so, for the load that conn is about to commit."""
    cur.execute(load_lock_select)
    process = subprocess.Popen(
        [sys.executable, PROJECT / "etl.py", data],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline().startswith("etl.py: waiting for another load to end")
    yield process
    process.kill()
    process.communicate()


def test_a_load_waits_for_another_one(waiting_etl, conn, cur):
    conn.commit()
    output, errors = waiting_etl.communicate(timeout=60)
    assert (waiting_etl.returncode, errors) == (0, "")
    assert len(read_tables(cur)["songplays"]) == 2


def test_ctrl_c_ends_tidily(waiting_etl):
    waiting_etl.send_signal(signal.SIGINT)
    _, errors = waiting_etl.communicate(timeout=60)
    assert waiting_etl.returncode == 130
    assert errors == "etl.py: interrupted; nothing was loaded, run it again\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on this system")
def test_a_pipe_is_no_file_to_wait_for(etl, data):
    os.mkfifo(data / "log_data" / "pipe.json")
    status, _, errors = etl(data)
    assert status == 3
    assert errors == [f"etl.py: can't read {data}/log_data/pipe.json: not a regular file"]


def test_links_to_folders_are_followed_once(etl, data, cur, tmp_path):
    write_lines(tmp_path / "elsewhere" / "more.json", [event(ts=5)])
    (data / "log_data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(data / "log_data")
    status, output, errors = etl(data)
    assert (status, errors) == (0, [])
    assert "2 log files: 3 plays" in output


@pytest.mark.parametrize("start", ["{", '{"file": "a", "li'])
def test_a_record_of_rejects_that_was_cut_off_is_mended(etl, data, tmp_path, start):
    write_lines(data / "log_data" / "more.json", ["bad"])
    (tmp_path / "rejected.jsonl").write_text(start)
    assert etl(data)[0] == 3
    cut, entry = (tmp_path / "rejected.jsonl").read_text().splitlines()
    assert cut == start
    assert json.loads(entry)["text"] == "bad"


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="there is no /dev/null on this system")
def test_rejects_can_be_thrown_away(etl, data):
    write_lines(data / "log_data" / "more.json", ["bad"])
    assert etl(data, "--rejects", "/dev/null")[0] == 3


def test_output_that_nobody_reads_is_no_traceback(conn, data, cur):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, PROJECT / "etl.py", data], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert result.returncode == 1
    assert result.stderr == "etl.py: can't write the output: Broken pipe\n"
