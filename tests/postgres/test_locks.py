"""Waiting for one's turn, and for a server that is late or goes away."""

import contextlib
import os
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from nights import append, damage, failing
from records import event, read_tables, song, write_lines
from scripts import assert_fails_in_one_line, run, thorough, without_waiting
from servers import free_port

import create_tables
from sparkify.postgres import connection

needs_sockets = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="the server has no Unix socket on this system"
)


def read_error(process):
    """Return the first line of errors, or what there is of it after half a minute."""
    timer = threading.Timer(30, process.kill)
    timer.start()
    try:
        return process.stderr.readline()
    finally:
        timer.cancel()


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
    assert read_error(first).startswith("etl.py: waiting for session ")
    conn.rollback()
    for process, said in ((first, "2 log files: 4 plays"), (second, "Nothing new")):
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        assert said in output
    assert tables() == expected


@pytest.mark.parametrize(
    "arguments", [[], thorough(["--retry", "rejected.jsonl"])], ids=["load", "retry"]
)
def test_a_second_load_need_not_wait(busy, conn, data, tmp_path, arguments):
    (tmp_path / "rejected.jsonl").touch()
    first = busy()
    connection = os.environ["SPARKIFY_PGDATA"]
    options = ["--no-wait", *arguments]
    second = run("etl.py", data, *options, cwd=tmp_path, SPARKIFY_PGDATA=connection)
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
    assert read_error(load).startswith("etl.py: waiting for session ")
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
    with contextlib.closing(connection.connect()) as other, other.cursor() as cur:
        cur.execute("SET statement_timeout = '5s'")
        found = read_tables(cur)
    assert [play[0].microsecond for play in found["songplays"] if play[1] != 8] == [2000]
    assert len(found["songplays"]) == 4
    # Row by row, the song is committed by now.
    assert len(found["songs"]) == (3 if loader == "rows" else 2)
    assert len(found["unmatched_songplays"]) == (0 if loader == "rows" else 1)
    conn.rollback()
    _, errors = load.communicate(timeout=60)
    assert (load.returncode, without_waiting(errors)) == (0, [])


# A server that comes late, or goes away


class Forwarder:
    """A TCP port that leads to the tests' server while it is open."""

    def __init__(self):
        self.port = free_port()
        parameters = connection.server_parameters()
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
                connection = socket.socket(socket.AF_UNIX)
                self.sockets += [client, connection]
                connection.connect(self.target)
                for pair in ((client, connection), (connection, client)):
                    threading.Thread(target=self.carry, args=[*pair, client], daemon=True).start()

    def carry(self, source, target, client):
        """Carry bytes one way of a client's connection."""
        pump(source, target)

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
    assert errors[0].startswith(refused) and errors[0].endswith("; next try in 0.5 s")
    assert errors[1] == "etl.py: next try in 1.0 s"
    assert len(tables()["songplays"]) == 4


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that etl.py sleeps before it tries the server again, by a clock that does not."""
    pauses = []
    clock = SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
    monkeypatch.setattr(connection, "time", clock)
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
@pytest.mark.parametrize("end", [thorough(end_session), cut_connection])
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
    [error] = without_waiting(errors)
    assert error.startswith("etl.py: lost the connection to ")
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
