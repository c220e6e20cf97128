"""Every night, unattended: what is new is loaded, whatever has happened, and failures are told."""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from records import event, load_data, read_tables, song, write_data, write_lines
from scripts import PROJECT, assert_fails_in_one_line, environment_of, run
from test_server import IS_ROOT, free_port

import create_tables
import etl
from sparkify import blocks, files, server

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full on this system")
needs_sockets = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="the server has no Unix socket on this system"
)


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

    def run_etl(*arguments):
        monkeypatch.setattr(sys, "argv", ["etl.py", *map(str, arguments)])
        status = etl.main()
        output, errors = capsys.readouterr()
        if isinstance(status, str):  # as sys.exit takes it
            return 1, output, [*errors.splitlines(), status]
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
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start_script


def read_error(process):
    """Return the first line of errors, or what there is of it after half a minute."""
    timer = threading.Timer(30, process.kill)
    timer.start()
    try:
        return process.stderr.readline()
    finally:
        timer.cancel()


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


# What is new


def test_a_file_that_is_unchanged_is_not_opened(night, data, tables, expect, loader):
    expected = expect(data)
    assert night(data, "--load", loader)[0] == 0
    damage(data)
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (0, [])
    assert "\nNothing new\n" in output
    assert tables() == expected
    status, output, errors = night(data, "--load", loader, "--all")
    assert (status, errors) == (3, [])
    assert "4 lines were set aside" in output
    assert tables() == expected


def test_a_file_that_grew_is_read_again_whole(night, data, tables, expect, recorded, loader):
    grown = data / "log_data" / "events.json"
    night(data, "--load", loader)
    append(grown, event(ts=5, level="paid"), "bad")
    status, output, _ = night(data, "--load", loader)
    assert status == 3
    assert "0 song files: 0 songs\n1 log file: 3 plays and 1 page view\n" in output
    assert recorded()["events.json"] == [grown.stat().st_size, 4, 1]
    assert len(recorded()) == 4
    found = tables()
    assert found == expect(data)


def test_what_is_noted_of_a_file_is_of_its_last_load(night, data, conn, cur, loader):
    night(data, "--load", loader)
    cur.execute("SELECT * FROM loaded_files ORDER BY uri")
    *noted, first_loaded_at = zip(*cur, strict=True)
    assert all(0 < seconds < 60 for seconds in noted[-1])
    cur.execute(
        """
        UPDATE loaded_files
        SET kind = '', size = 0, modified = 'epoch', rows_loaded = 9, lines_set_aside = 9,
            seconds = 1e6, loaded_at = 'epoch'
        """
    )
    conn.commit()
    night(data, "--load", loader)
    cur.execute("SELECT * FROM loaded_files ORDER BY uri")
    *noted_again, loaded_at = zip(*cur, strict=True)
    assert noted_again[:-1] == noted[:-1]
    assert all(0 < seconds < 60 for seconds in noted_again[-1])
    assert min(loaded_at) > max(first_loaded_at)


def test_the_seconds_of_the_files_are_together_less_than_those_of_the_run(night, data, cur, loader):
    _, output, _ = night(data, "--load", loader, "--log-json")
    *files, run = map(json.loads, output.splitlines())
    assert 0 < sum(facts["seconds"] for facts in files) <= run["seconds"] + 0.001


def rewrite(path):
    """Change a file but not its size."""
    path.write_text(path.read_text().replace('"free"', '"paid"'))
    os.utime(path, (1, 1))


def insert_spaces(path):
    """Change a file and its size but not its modification time."""
    info = path.stat()
    path.write_text(path.read_text().replace('"free"', '"paid" '))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


@pytest.mark.parametrize("change", [rewrite, insert_spaces])
def test_a_file_that_changed_is_read_again(night, data, tables, expect, loader, change):
    night(data, "--load", loader)
    change(data / "log_data" / "more.json")
    status, output, _ = night(data, "--load", loader)
    assert status == 0
    assert "0 song files: 0 songs\n1 log file: 2 plays" in output
    found = tables()
    assert "Nothing new" in night(data)[1]
    assert found == expect(data)
    assert "Nothing new" not in night(data)[1]


def test_a_song_that_comes_a_night_later_is_matched(night, data, tables, expect, loader):
    night(data, "--load", loader)
    write_lines(data / "song_data" / "new.json", [song(song_id="SO3", title="Unheard of")])
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (0, [])
    assert "1 song file: 1 song\n0 log files: 0 plays" in output
    assert "4 of 4 plays found their song" in output
    found = tables()
    assert found == expect(data)
    assert found["unmatched_songplays"] == []


def test_after_create_tables_everything_is_new(night, data, tables, conn, cur, recorded):
    night(data)
    expected = tables()
    create_tables.reset_tables(cur, conn)
    assert recorded() == {}
    status, output, _ = night(data)
    assert status == 0
    assert "2 song files: 2 songs\n2 log files: 4 plays" in output
    assert tables() == expected


def test_lines_set_aside_are_told_in_the_night_they_come_alone(night, data, recorded, tmp_path):
    write_lines(data / "log_data" / "x.json", [event(ts=9), "bad", event(ts=8, level=None)])
    assert night(data)[0] == 3
    before = (tmp_path / "rejected.jsonl").read_bytes()
    assert recorded()["x.json"][1:] == [1, 2]
    status, output, errors = night(data)
    assert (status, errors) == (0, [])
    assert "Nothing new" in output
    assert (tmp_path / "rejected.jsonl").read_bytes() == before


def test_a_file_that_cannot_be_read_is_tried_every_night(night, data, tables, recorded, loader):
    late = data / "log_data" / "late.json"
    late.symlink_to("elsewhere")
    for _ in range(2):
        status, _, errors = night(data, "--load", loader)
        assert (status, errors) == (3, [f"etl.py: can't read {late}: No such file or directory"])
    assert len(recorded()) == 4
    write_lines(data / "log_data" / "elsewhere", [event(ts=9)])
    assert night(data, "--load", loader)[0] == 0
    assert recorded()["late.json"][1:] == [1, 0]
    assert len(tables()["songplays"]) == 5


def test_with_strict_a_file_with_a_bad_line_stays_new(night, data, recorded, loader):
    bad = write_lines(data / "log_data" / "f.json", [event(ts=8), "bad"])
    for _ in range(2):
        status, _, [error] = night(data, "--load", loader, "--strict")
        assert status == 1
        assert error.startswith(f"etl.py: {bad}, line 2: ")
        assert len(recorded()) == (3 if loader == "rows" else 0)


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


def test_a_full_disk_of_the_database(night, data, conn, cur, tables, expect, recorded, loader):
    expected, full = expect(data), 'could not extend file "base/1": No space left on device'
    with failing(conn, cur, "53100", full):
        status, _, [error] = night(data, "--load", loader)
        assert status == 1
        assert f": {full}" in error
        found = [play[2] for play in tables()["songplays"]]
    assert (found, len(recorded())) == ((["free"] * 2, 3) if loader == "rows" else ([], 0))
    if loader == "rows":  # which goes on from there
        damage(data / "song_data")
    assert night(data, "--load", loader)[0] == 0
    assert tables() == expected


# Files that change while they are being loaded


@pytest.fixture
def after_listing(monkeypatch):
    """Has a function called after the files were listed and before they are read."""

    def call(function):
        choose = etl.choose_loader

        def call_and_choose(*arguments):
            monkeypatch.setattr(etl, "choose_loader", choose)
            function()
            return choose(*arguments)

        monkeypatch.setattr(etl, "choose_loader", call_and_choose)

    return call


def test_a_file_that_grows_meanwhile_is_read_again(
    night, data, after_listing, tables, expect, loader
):
    grown = data / "log_data" / "more.json"
    after_listing(lambda: append(grown, event(ts=9)))
    assert night(data, "--load", loader)[0] == 0
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (0, [])
    assert "1 log file: 3 plays" in output
    found = tables()
    assert found == expect(data)


def test_a_file_that_disappears_meanwhile_is_left_out(
    night, data, after_listing, tables, expect, recorded, loader
):
    gone = data / "log_data" / "events.json"
    after_listing(gone.unlink)
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (3, [f"etl.py: can't read {gone}: No such file or directory"])
    assert "1 file or folder could not be read" in output
    assert sorted(recorded()) == ["000.json", "001.json", "more.json"]
    found = tables()
    assert found == expect(data)


def write_large_log(data):
    """Write a log file that is read in ten parts, given BLOCK_BYTES of 1000."""
    events = [event(ts=100 + number, sessionId=number) for number in range(20)]
    return Path(write_lines(data / "log_data" / "large.json", events))


def test_a_file_that_disappears_while_it_is_read_leaves_nothing_in_the_tables(
    night, data, tables, expect, recorded, loader, monkeypatch
):
    expected, large = expect(data), write_large_log(data)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1000)
    open_file, parts = files.LocalStorage.open, []

    def open_or_remove(self, uri):
        if uri == str(large):
            parts.append(uri)
            if len(parts) == 5:
                large.unlink()
        return open_file(self, uri)

    monkeypatch.setattr(files.LocalStorage, "open", open_or_remove)
    status, _, errors = night(data, "--load", loader)
    assert (status, errors) == (3, [f"etl.py: can't read {large}: No such file or directory"])
    assert "large.json" not in recorded()
    assert tables() == expected


@pytest.mark.parametrize("block_bytes", [1000, blocks.BLOCK_BYTES], ids=["parts", "whole"])
def test_a_file_that_shrinks_meanwhile_is_loaded_as_it_is_and_read_again(
    night, data, after_listing, tables, expect, loader, monkeypatch, block_bytes
):
    large = write_large_log(data)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    lines = large.read_bytes().splitlines(keepends=True)
    after_listing(lambda: large.write_bytes(b"".join(lines[:7]) + lines[7][:50]))
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (3, [])
    assert "1 line was set aside" in output
    found = tables()
    assert len(found["songplays"]) == 4 + 7
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (3, [])
    assert "1 log file: 7 plays" in output
    assert tables() == found == expect(data)


# Rejects that can't be recorded


@needs_full
def test_a_full_disk_for_rejects(data, conn, tables, recorded, loader):
    write_lines(data / "log_data" / "f.json", [event(ts=9), "bad"])
    result = subprocess.run(
        [sys.executable, PROJECT / "etl.py", data, "--load", loader, "--rejects", FULL],
        env=environment_of(SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"]),
        capture_output=True,
        text=True,
        preexec_fn=limit_memory,
    )
    message = "can't record rejected lines in /dev/full: No space left on device"
    remedy = "--rejects names another file"
    assert (result.returncode, result.stderr) == (1, f"etl.py: {message}; {remedy}\n")
    assert "f.json" not in recorded()
    assert len(tables()["songplays"]) == (2 if loader == "rows" else 0)


def limit_memory():
    """Keep whoever reads /dev/full, which has no end, from taking all memory."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def name_missing_folder(folder):
    return folder / "missing" / "rejected.jsonl"


def name_read_only_folder(folder):
    if IS_ROOT:
        return Path("/proc/rejected.jsonl")
    (folder / "fixed").mkdir(mode=0o500)
    return folder / "fixed" / "rejected.jsonl"


@pytest.mark.parametrize("place", [name_missing_folder, name_read_only_folder])
def test_rejects_where_no_file_can_be_made(night, data, tables, recorded, tmp_path, loader, place):
    write_lines(data / "log_data" / "f.json", [event(ts=9), "bad"])
    path = place(tmp_path)
    status, _, [error] = night(data, "--load", loader, "--rejects", path)
    assert status == 1
    assert error.startswith(f"etl.py: can't record rejected lines in {path}: ")
    assert "f.json" not in recorded()
    assert len(tables()["songplays"]) == (2 if loader == "rows" else 0)
    assert night(data, "--load", loader)[0] == 3
    assert len(tables()["songplays"]) == 5


# Two at once


def wait_until_blocked(process, cur):
    """Wait until a script waits for the table of users, which is locked."""
    deadline = time.monotonic() + 30
    blocked = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass"
    while cur.execute(blocked) or not cur.rowcount:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def busy(conn, cur, data, start):
    """Starts etl.py, which stays in the midst of its load for as long as conn's transaction."""

    def start_load(*arguments, **variables):
        cur.execute("LOCK TABLE users IN SHARE MODE")
        process = start("etl.py", data, *arguments, **variables)
        wait_until_blocked(process, cur)
        return process

    return start_load


def test_a_second_load_waits_until_the_first_has_ended(busy, start, data, conn, tables, expect):
    expected = expect(data)
    first = busy()
    second = start("etl.py", data)
    assert read_error(second).startswith("etl.py: waiting for another load to end")
    conn.rollback()
    for process, said in ((first, "2 log files: 4 plays"), (second, "Nothing new")):
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert said in output
    assert tables() == expected


@pytest.mark.parametrize("arguments", [[], ["--retry", "rejected.jsonl"]], ids=["load", "retry"])
def test_a_second_load_need_not_wait(busy, conn, data, tmp_path, arguments):
    (tmp_path / "rejected.jsonl").touch()
    first = busy()
    server = os.environ["SPARKIFY_PGDATA"]
    options = ["--no-wait", *arguments]
    second = run("etl.py", data, *options, cwd=tmp_path, SPARKIFY_PGDATA=server)
    assert_fails_in_one_line(second, "etl.py: another load is running")
    conn.rollback()
    first.communicate(timeout=60)
    assert first.returncode == 0


def test_tables_are_not_reset_between_two_files_of_a_load(busy, start, data, conn, tables):
    for number in range(30):
        write_lines(data / "log_data" / f"n{number}.json", [event(ts=100 + number)])
    load = busy()
    reset = start("create_tables.py")
    said = read_error(reset)
    assert said.startswith("create_tables.py: waiting for another load to end")
    conn.rollback()
    output, errors = load.communicate(timeout=60)
    assert (load.returncode, errors) == (0, "")
    assert "32 log files: 34 plays" in output
    assert "songplays                     34         +34" in output
    _, errors = reset.communicate(timeout=60)
    assert (reset.returncode, errors) == (0, "")
    assert {name: len(rows) for name, rows in tables().items()} == dict.fromkeys(tables(), 0)


def test_a_load_waits_until_the_tables_are_reset(start, data, conn, cur, tables, expect):
    expected = expect(data)
    cur.execute("LOCK TABLE users IN SHARE MODE")
    reset = start("create_tables.py")
    wait_until_blocked(reset, cur)
    load = start("etl.py", data)
    assert read_error(load).startswith("etl.py: waiting for another load to end")
    conn.rollback()
    for process in (reset, load):
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    assert tables() == expected


def test_analysts_go_on_asking_during_a_load(night, busy, data, conn, loader):
    night(data)
    write_lines(data / "log_data" / "new.json", [event(ts=9, userId="10")])
    write_lines(data / "song_data" / "new.json", [song(song_id="SO3", title="Unheard of")])
    load = busy("--load", loader)
    with contextlib.closing(server.connect()) as other, other.cursor() as cur:
        cur.execute("SET statement_timeout = '5s'")
        found = read_tables(cur)
    assert [play[0].microsecond for play in found["songplays"] if play[1] != 8] == [2000]
    assert len(found["songplays"]) == 4
    # Row by row, the song is committed by now.
    assert len(found["songs"]) == (3 if loader == "rows" else 2)
    assert len(found["unmatched_songplays"]) == (0 if loader == "rows" else 1)
    conn.rollback()
    _, errors = load.communicate(timeout=60)
    assert (load.returncode, errors) == (0, "")


# A server that comes late, or goes away


class Forwarder:
    """A TCP port that leads to the tests' server while it is open."""

    def __init__(self):
        self.port = free_port()
        parameters = server.server_parameters()
        self.target = f"{parameters['host']}/.s.PGSQL.{parameters['port']}"
        self.sockets = []

    @property
    def url(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/"

    def open(self):
        listener = socket.create_server(("127.0.0.1", self.port))
        self.sockets.append(listener)
        threading.Thread(target=self.accept, args=[listener], daemon=True).start()

    def accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self.sockets += [client, server]
                server.connect(self.target)
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    def cut(self):
        for end in self.sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.sockets.clear()


def pump(source, target):
    with contextlib.suppress(OSError):
        while received := source.recv(1 << 16):
            target.sendall(received)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def forwarder(conn):
    forwarder = Forwarder()
    yield forwarder
    forwarder.cut()


@needs_sockets
def test_a_server_that_comes_late_is_waited_for(night, data, forwarder, monkeypatch, tables):
    monkeypatch.setenv("DATABASE_URL", forwarder.url)
    timer = threading.Timer(1, forwarder.open)
    timer.start()
    status, output, errors = night(data)
    timer.join()
    assert status == 0
    assert "2 log files: 4 plays" in output
    assert len(errors) == 2
    refused = f"etl.py: can't connect to sparkifydb on 127.0.0.1:{forwarder.port}"
    for error, pause in zip(errors, ("0.5", "1.0"), strict=True):
        assert error.startswith(refused)
        assert error.endswith(f"next try in {pause} s")
    assert len(tables()["songplays"]) == 4


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that etl.py sleeps before it tries the server again, by a clock that does not."""
    pauses = []
    clock = SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
    monkeypatch.setattr(server, "time", clock)
    return pauses


def test_a_server_that_does_not_come_is_given_up(night, data, monkeypatch, pauses):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://postgres@127.0.0.1:{free_port()}/")
    status, output, errors = night(data)
    assert (status, output) == (1, "")
    assert 25 <= sum(pauses) <= 35
    assert pauses == sorted(pauses)
    assert len(errors) == len(pauses) + 1
    assert all("next try in" in error for error in errors[:-1])
    assert "next try" not in errors[-1]
    assert "refused" in errors[-1]


def test_with_no_wait_a_server_is_tried_once(night, data, monkeypatch, pauses):
    monkeypatch.setenv("DATABASE_URL", f"postgresql://postgres@127.0.0.1:{free_port()}/")
    status, output, [error] = night(data, "--no-wait")
    assert (status, output, pauses) == (1, "", [])
    assert error.startswith("etl.py: can't connect to sparkifydb on 127.0.0.1:")
    assert "next try" not in error


@needs_sockets
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("postgres@", "stranger@"), 'role "stranger" does not exist'),
        (("/$", "/none"), "there is no database none on 127.0.0.1"),
    ],
)
def test_what_waiting_does_not_mend_is_told_at_once(
    night, data, forwarder, monkeypatch, pauses, change, said
):
    forwarder.open()
    monkeypatch.setenv("DATABASE_URL", f"{forwarder.url}$".replace(*change).rstrip("$"))
    status, output, [error] = night(data)
    assert (status, output, pauses) == (1, "", [])
    assert said in error


def end_session(forwarder, cur):
    cur.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'etl.py'"
    )


def cut_connection(forwarder, cur):
    forwarder.cut()


@needs_sockets
@pytest.mark.parametrize("end", [end_session, cut_connection])
def test_a_server_that_goes_away_in_the_midst_of_a_load(
    night, busy, data, forwarder, conn, cur, tables, expect, recorded, loader, end
):
    expected = expect(data)
    create_tables.reset_tables(cur, conn)
    write_lines(data / "log_data" / "a.json", [event(ts=2, userId="9")])
    night(data, "--load", "rows")  # so that the tables are not empty
    write_lines(data / "song_data" / "new.json", [song(song_id="SO3", title="Unheard of")])
    append(data / "log_data" / "more.json", event(ts=77))
    before, files = tables(), recorded()
    forwarder.open()
    load = busy("--load", loader, DATABASE_URL=forwarder.url)
    end(forwarder, cur)
    _, errors = load.communicate(timeout=60)
    assert load.returncode == 1
    assert errors.startswith("etl.py: ")
    assert errors.count("\n") == 1
    conn.rollback()
    found = tables()
    if loader == "copy":
        assert (found, recorded()) == (before, files)
    else:
        assert found["songplays"] != before["songplays"] != []
        assert sorted(recorded()) == sorted([*files, "new.json"])
        assert recorded()["more.json"] == files["more.json"]
    status, output, _ = night(data, "--load", loader)
    assert status == 0
    assert f"{0 if loader == 'rows' else 1} song file" in output
    assert "1 log file: 3 plays" in output
    found = tables()
    assert found == expect(data) != expected


# Retry


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


def test_lines_that_were_corrected_are_loaded_and_the_others_kept(
    night, data, rejects, tables, tmp_path, expect
):
    before = read_entries(rejects)
    late_song, late_play = song(song_id="SO3", title="Unheard of"), event(ts=50)
    correct(rejects, _0=late_song, _2=late_play, _3=event(ts=52, sessionId=None))
    rejects.chmod(0o640)
    status, output, errors = night("--retry", rejects)
    assert (status, errors) == (3, [])
    assert "2 lines are good now, and loaded" in output
    assert f"3 lines are still set aside: see {rejects}" in output
    text = json.dumps(event(ts=52, sessionId=None))
    changed = {"line": 3, "reason": "sessionId is missing", "text": text}
    assert read_entries(rejects) == [before[1], before[3] | changed, before[4]]
    assert rejects.stat().st_mode & 0o777 == 0o640
    found = tables()
    write_lines(data / "song_data" / "x.json", [late_song])
    append(data / "log_data" / "x.json", late_play)
    assert found == expect(data)


def test_when_no_line_is_left_the_file_is_empty(night, rejects, tmp_path):
    good = {f"_{n}": song(song_id=f"S{n}") if n < 2 else event(ts=60 + n) for n in range(5)}
    correct(rejects, **good)
    assert night("--retry", "rejected.jsonl")[::2] == (0, [])
    assert rejects.read_bytes() == b""
    assert night("--retry", "rejected.jsonl")[::2] == (0, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "rejected.jsonl"]


def test_lines_that_are_as_bad_as_before_are_kept_as_they_are(night, rejects, tables):
    before, found = rejects.read_bytes(), tables()
    assert night("--retry", rejects)[0] == 3
    assert (rejects.read_bytes(), tables()) == (before, found)


def test_a_line_that_nothing_is_left_of_is_dropped(night, rejects):
    before = read_entries(rejects)
    entries = [before[0] | {"text": " "}, *before[1:]]
    rejects.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert night("--retry", rejects)[0] == 3
    assert read_entries(rejects) == before[1:]


def test_corrections_may_hold_any_character(night, rejects, tables):
    title, entries = "\x85\u2028é🎵", read_entries(rejects)
    entries[0]["text"] = json.dumps(song(song_id="SO3", title=title), ensure_ascii=False)
    first = json.dumps(entries[0], ensure_ascii=False)  # as an editor may have written it
    others = "".join(json.dumps(entry) + "\n" for entry in entries[1:])
    rejects.write_text(f"{first}\n{others}", encoding="utf-8")
    assert night("--retry", rejects)[::2] == (3, [])
    assert read_entries(rejects) == entries[1:]
    assert tables()["songs"][2][1] == title


ENTRY = {"file": "/x/log_data/a.json", "line": 1, "reason": "?", "text": json.dumps(event())}
NO_ENTRIES = {
    "nonsense": "nonsense",
    "blank": "",
    "list": "[]",
    "empty": "{}",
    "neither": json.dumps(ENTRY | {"file": "/x/data/a.json"}),
    "file": json.dumps(ENTRY | {"file": 1}),
    "text": json.dumps(ENTRY | {"text": None}),
    "line": json.dumps(ENTRY | {"line": "first"}),
    "infinite": json.dumps(ENTRY | {"line": 1e999}),
    "deep": "[" * 100_000,
    "surrogate": json.dumps(ENTRY | {"text": "\ud800"}),
    "cut off": json.dumps(ENTRY)[:-5],
}


@pytest.mark.parametrize("line", NO_ENTRIES.values(), ids=NO_ENTRIES)
def test_a_line_that_is_no_entry_stops_a_retry(night, tmp_path, tables, line):
    good, path = json.dumps(ENTRY), tmp_path / "r.jsonl"
    path.write_text(f"{good}\n{line}\n{good}\n")
    before = path.read_bytes()
    status, output, [error] = night("--retry", path)
    assert status == 1
    assert error.startswith(f"etl.py: {path}, line 2")
    assert "nothing was loaded" in error
    assert path.read_bytes() == before
    assert tables() == dict.fromkeys(tables(), [])


def test_a_file_of_rejects_that_cannot_be_read(night, tmp_path):
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        status, _, [error] = night("--retry", path)
        assert status == 1
        assert error.startswith(f"etl.py: can't read {path}: {reason}")


def test_a_retry_that_the_database_refuses_changes_nothing(night, rejects, conn, cur, tables):
    correct(rejects, _0=song(song_id="SO3"), _2=event(ts=50), _3=event(ts=52, userId="9"))
    before, found = rejects.read_bytes(), tables()
    with failing(conn, cur, "23514", "no 9"):
        status, _, [error] = night("--retry", rejects)
    assert status == 1
    assert error.startswith("etl.py: ") and "no 9" in error
    assert (rejects.read_bytes(), tables()) == (before, found)
    assert night("--retry", rejects)[0] == 3
    assert len(tables()["songplays"]) == len(found["songplays"]) + 2


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_file_of_rejects_that_cannot_be_rewritten_stays(
    night, rejects, tables, tmp_path, monkeypatch, function
):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    correct(rejects, _2=event(ts=77))
    before, songplays = rejects.read_bytes(), len(tables()["songplays"])
    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        status, _, [error] = night("--retry", rejects)
    assert status == 1
    assert f"{rejects} can't be rewritten: No space left on device" in error
    assert rejects.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "rejected.jsonl"]
    assert night("--retry", rejects)[0] == 3
    assert len(read_entries(rejects)) == 4
    assert len(tables()["songplays"]) == songplays + 1


# For machines


def read_events(output):
    """Return the objects in the output of --log-json, without what is never the same."""
    events = [json.loads(line) for line in output.splitlines()]
    for facts in events:
        assert facts.pop("at").endswith("+00:00")
        if "seconds" in facts:
            assert 0 <= facts.pop("seconds") < 60
    return events


def test_a_log_for_machines(night, data, loader, tmp_path):
    path = data / "log_data" / "events.json"
    append(path, "bad")
    missing = data / "song_data" / "z.json"
    missing.symlink_to("nowhere")
    status, output, errors = night(data, "--load", loader, "--log-json")
    *files, last = read_events(output)
    assert status == 3
    modified = path.stat().st_mtime
    by_uri = {facts["uri"]: facts for facts in files}
    assert sorted(by_uri) == sorted(str(path) for path in data.rglob("*.json"))
    loaded = by_uri[str(path)]
    assert "T" in loaded["modified"]
    assert datetime.fromisoformat(loaded.pop("modified")).timestamp() == pytest.approx(modified)
    assert loaded == {
        **{"event": "file", "status": "loaded", "uri": str(path), "kind": "log"},
        **{"size": path.stat().st_size, "records": 3, "loaded": 3, "page_views": 1, "set_aside": 1},
    }
    assert by_uri[str(missing)] == {
        **{"event": "file", "status": "unreadable", "uri": str(missing)},
        "error": "No such file or directory",
    }
    assert last == {
        **{"event": "run", "exit_status": 3, "data": str(data), "loader": loader},
        **{"rejects": "rejected.jsonl", "files": 4, "unchanged": 0, "unreadable": 1},
        **{"records": 7, "loaded": 7, "page_views": 1, "set_aside": 1},
        "added": {
            **{"songplays": 4, "users": 2, "songs": 2, "artists": 2, "time": 4},
            **{"unmatched_songplays": 1, "page_views": 1},
        },
    }
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
    assert error.startswith(f"etl.py: there is no folder {data / 'nowhere' / 'song_data'}")
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
