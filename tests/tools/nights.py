"""Fixtures for nights, unattended runs of etl.py: data, the runs, and what they leave behind."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from records import event, load_data, read_tables, song, write_data, write_lines
from scripts import PROJECT, environment_of

import create_tables
import etl

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full on this system")


@pytest.fixture(params=["rows", "copy"])
def loader(request):
    return request.param


@pytest.fixture
def data(tmp_path):
    """A data folder with two song files and two log files."""
    songs = [song(), song(song_id="SO2", title="Other", artist_id="AR2")]
    events = [event(), event(ts=1, song="Unheard of"), event(page="Home", userId="")]
    folder = write_data(tmp_path / "data", songs, events)
    write_lines(folder / "log_data" / "more.json", [event(ts=2, userId="9"), event(ts=3)])
    return folder


@pytest.fixture
def night(conn, tmp_path, monkeypatch, capsys):
    """Runs etl.py in this process; returns its exit status, output and error lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["etl.py"])  # whose name its messages have

    def run_etl(*arguments):
        status = etl.main([*map(str, arguments)])
        output, errors = capsys.readouterr()
        return status, output, errors.splitlines()

    return run_etl


@pytest.fixture
def tables(conn, cur):
    """Reads all rows of all tables, and lets go of them."""

    def read():
        found = read_tables(cur)
        conn.rollback()
        return found

    return read


@pytest.fixture
def expect(conn, cur, tables):
    """Returns the tables that a data folder gives, and leaves them empty."""

    def load(folder):
        load_data(cur, conn, folder)
        found = tables()
        create_tables.reset_tables(cur, conn)
        return found

    return load


@pytest.fixture
def recorded(conn, cur):
    """Reads what is recorded of files: (bytes, rows loaded, lines set aside) by name."""

    def read():
        cur.execute("SELECT uri, size, rows_loaded, lines_set_aside FROM loaded_files")
        found = {Path(uri).name: facts for uri, *facts in cur}
        conn.rollback()
        return found

    return read


@pytest.fixture
def start(tmp_path):
    """Starts a script; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def start_script(script, *arguments, **variables):
            variables = {"SPARKIFY_PGDATA": os.environ["SPARKIFY_PGDATA"]} | variables
            process = subprocess.Popen(
                [sys.executable, PROJECT / script, *arguments],
                cwd=tmp_path,
                env=environment_of(**variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start_script


def append(path, *records):
    with open(path, "a") as file:
        file.writelines("\n" + json.dumps(record) for record in records)


def damage(folder):
    """Fill the files below a folder with nonsense that only those who open them can notice."""
    for path in folder.rglob("*.json"):
        info = path.stat()
        path.write_bytes(b"x" * info.st_size)
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def read_entries(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@contextlib.contextmanager
def failing(conn, cur, sqlstate, message):
    """Make the database refuse user 9, who is in the last file."""
    cur.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.user_id = 9 THEN
                RAISE EXCEPTION '{message}' USING ERRCODE = '{sqlstate}';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION refuse()
        """
    )
    conn.commit()
    yield
    cur.execute("DROP FUNCTION refuse CASCADE")
    conn.commit()


@pytest.fixture
def rejects(night, data, tmp_path):
    """The file of rejects of a night in which two songs and three plays were set aside."""
    write_lines(data / "song_data" / "x.json", [song(song_id="SO3", title=None)])
    write_lines(data / "song_data" / "y.json", [b'{"title": "\xff"}'])
    bad = [event(ts=50, level=None), event(ts=51), event(ts=52, userId=" 8"), '{"cut']
    write_lines(data / "log_data" / "x.json", bad)
    assert night(data)[0] == 3
    path = tmp_path / "rejected.jsonl"
    assert [entry["line"] for entry in read_entries(path)] == [1, 1, 1, 3, 4]
    return path


def correct(path, **texts):
    """Write other texts into the entries of a file of rejects, given by their position."""
    entries = read_entries(path)
    for position, record in texts.items():
        entries[int(position.strip("_"))]["text"] = json.dumps(record)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
