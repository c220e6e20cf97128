"""`python -m sparkify serve`: who comes in over TCP, what they may do, and that it ends with it."""

import contextlib
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import psycopg2
import pytest
from psycopg2 import errors
from scripts import PROJECT, assert_fails_in_one_line, environment_of, run, script_of
from servers import free_port, psql, server_pid, using
from test_backup import BACKUP, RESTORE, run_recipe

from sparkify.interpreter import command
from sparkify.postgres import relay

READER = "sparkify_reader"
unix_only = pytest.mark.skipif(os.name == "nt", reason="sockets and modes are those of Unix")


@contextlib.contextmanager
def data_folder():
    """The data folder of an embedded server with empty tables, which stands still."""
    with tempfile.TemporaryDirectory(prefix="sparkify-db-") as folder:
        data = Path(folder) / "pg"
        assert run("create_tables.py", SPARKIFY_PGDATA=data).returncode == 0
        yield data


@pytest.fixture(scope="module")
def data():
    """The data folder of the server whose tables are served all the time."""
    with data_folder() as data:
        yield data


@pytest.fixture(scope="module")
def resting():
    """The data folder of another server, which only runs while a test uses it."""
    with data_folder() as data:
        yield data


@contextlib.contextmanager
def serving(data, port=0):
    """Serve until the block ends; yield the process and what it says to type, by name."""
    command = [sys.executable, *script_of("sparkify"), "serve", "--port", str(port)]
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        env=environment_of(SPARKIFY_PGDATA=data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        while "as a URL" not in said:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said += line
        yield process, dict(re.findall(r"(\w+):? +(\S+)\n", said))
    finally:
        if process.poll() is None:
            end(process)


def end(process, number=signal.SIGTERM):
    """End serve by a signal, and return its exit status and what it said then."""
    process.send_signal(number)
    said = process.communicate(timeout=60)
    return process.returncode, *said


@pytest.fixture(scope="module")
def served(data):
    """How to connect to the tables while they are served."""
    with serving(data) as (_, typed):
        yield typed


@contextlib.contextmanager
def session(typed, **changes):
    """A cursor of a program that has typed in what serve says, but for the changes."""
    names = {"host": "host", "port": "port", "database": "dbname", "user": "user"}
    parameters = {names[name]: typed[name] for name in names} | {"password": typed["password"]}
    with contextlib.closing(psycopg2.connect(**parameters | changes)) as conn:
        conn.autocommit = True
        yield conn.cursor()


def fetch(cur, query):
    cur.execute(query)
    return cur.fetchall()


# Who comes in


def test_what_is_printed_leads_to_the_tables(served):
    query = "SELECT current_user::text, current_database()::text, count(*) FROM listening"
    expected = [(READER, "sparkifydb", 0)]
    with session(served) as cur:
        assert fetch(cur, query) == expected
    with contextlib.closing(psycopg2.connect(served["URL"])) as conn:
        assert fetch(conn.cursor(), query) == expected


def test_programs_that_would_rather_encrypt_come_in(served):
    with session(served, sslmode="prefer", gssencmode="prefer") as cur:
        assert fetch(cur, "SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong"}, f'password authentication failed for user "{READER}"'),
        ({"password": ""}, "no password supplied"),
        ({"user": "postgres"}, f"only the user {READER} is served here"),
        ({"user": f"{READER}x"}, f"only the user {READER} is served here"),
        ({"dbname": "postgres"}, "only the database sparkifydb is served here"),
    ],
)
def test_nobody_else_comes_in(served, changes, words):
    with pytest.raises(psycopg2.OperationalError, match=words), session(served, **changes):
        pass


def start_message(*words, version=3 << 16):
    body = b"".join(word + b"\0" for word in words) + b"\0"
    return struct.pack("!II", 8 + len(body), version) + body


NAME = READER.encode()
WHO = (b"user", NAME, b"database", b"sparkifydb")


@pytest.mark.parametrize(
    "message",
    [
        start_message(b"user", NAME, b"user", b"postgres", b"database", b"sparkifydb"),
        start_message(b"database", b"sparkifydb"),
        start_message(b"user", NAME, b"replication", b"true"),
        start_message(b"user", NAME, version=2 << 16),
        struct.pack("!II", 8, 3 << 16),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["two users", "no user", "no database", "protocol 2", "nothing", "http"],
)
def test_no_message_lets_another_user_in(served, message):
    assert answer(served, message)[:1] == b"E"


def test_whoever_asks_to_replicate_is_asked_for_the_password(served):
    message = start_message(*WHO, b"replication", b"true")
    kind, _, request = struct.unpack("!cII", answer(served, message)[:9])
    assert (kind, request) == (b"R", 10)  # SASL, not 0: authenticated


def test_what_follows_the_end_of_the_wishes_is_not_passed_on(served):
    message = start_message(*WHO, b"", b"user", b"postgres")
    assert struct.unpack("!cII", answer(served, message)[:9])[::2] == (b"R", 10)


def answer(typed, message):
    """Return the first bytes that are sent back to a program that sends a message."""
    with socket.create_connection((typed["host"], int(typed["port"])), timeout=30) as client:
        client.sendall(message)
        return client.recv(1000)


@pytest.mark.parametrize("message", [b"", b"\0\0\0", start_message(b"user", NAME)[:-3]])
def test_a_program_that_hangs_up_does_no_harm(served, message):
    with socket.create_connection((served["host"], int(served["port"]))) as client:
        client.sendall(message)
    with session(served) as cur:
        assert fetch(cur, "SELECT 1") == [(1,)]


@unix_only
def test_the_password_is_asked_for_at_the_socket_too(served, data):
    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        psycopg2.connect(host=data, user=READER, dbname="sparkifydb")


@unix_only
def test_the_password_is_kept_where_its_owner_alone_can_read_it(served, data):
    file = data.with_name("pg.password")
    assert file.read_text().strip() == served["password"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.stat().st_uid == os.geteuid()
    assert len(served["password"]) == 32


# What they may do


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO users VALUES (1, 'Ada', 'Reyes', 'F', 'free')",
        "DELETE FROM loaded_files",
        "TRUNCATE songplays CASCADE",
        "DROP VIEW listening",
        "CREATE TABLE mine (id INT)",
        "CREATE ROLE mine",
        "ALTER SYSTEM SET listen_addresses = '*'",
        "COPY users TO '/tmp/users'",
        "CREATE TEMPORARY TABLE mine (id INT)",
        "SELECT lo_create(0)",
        "SELECT lo_creat(-1)",
        "SELECT lo_from_bytea(0, 'mine')",
        "SELECT nextval('songplays_songplay_id_seq')",
    ],
)
def test_nothing_can_be_written(served, statement):
    with session(served) as cur, pytest.raises(errors.InsufficientPrivilege):
        cur.execute(statement)


def test_tables_made_anew_can_be_read_by_who_is_connected_already(served, data):
    with session(served) as cur:
        assert fetch(cur, "SELECT count(*) FROM songplays") == [(0,)]
        result = run("create_tables.py", SPARKIFY_PGDATA=data)
        assert (result.stderr, result.returncode) == ("", 0)
        psql("INSERT INTO users VALUES (1, 'Ada', 'Reyes', 'F', 'free')", SPARKIFY_PGDATA=data)
        assert fetch(cur, "SELECT first_name FROM users") == [("Ada",)]


def test_restored_tables_can_be_read(served, data, tmp_path):
    for recipe in (BACKUP, RESTORE):
        result = run_recipe(recipe, tmp_path / "sparkify.dump", {"SPARKIFY_PGDATA": data})
        assert (result.stderr, result.returncode) == ("", 0)
    with session(served) as cur:
        assert fetch(cur, "SELECT count(*) FROM listening") == [(0,)]


def test_large_results_arrive_whole(served):
    with session(served) as cur:
        cur.execute("SELECT number, repeat('x', 1000) FROM generate_series(1, 20000) AS number")
        rows = cur.fetchall()
    assert rows == [(number, "x" * 1000) for number in range(1, 20001)]


def test_a_query_can_be_cancelled(served):
    with session(served) as cur, pytest.raises(errors.QueryCanceled):
        timer = threading.Timer(0.5, cur.connection.cancel)
        timer.start()
        cur.execute("SELECT pg_sleep(60)")


def test_the_session_of_a_program_that_is_gone_ends(served, data):
    query = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{READER}'"
    with session(served) as cur:
        assert psql(query, SPARKIFY_PGDATA=data) == "1"
        socket.socket(fileno=os.dup(cur.connection.fileno())).shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + 30
        while psql(query, SPARKIFY_PGDATA=data) != "0":
            assert time.monotonic() < deadline


@pytest.mark.parametrize(
    ("name", "value"), [("PGTZ", "US/Eastern"), ("PGOPTIONS", "-c TimeZone=US/Eastern")]
)
def test_each_session_begins_in_utc(served, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with session(served) as cur:
        assert fetch(cur, "SHOW timezone") == [("UTC",)]


def test_ours_are_the_settings_however_a_client_spells_them():
    wishes = {b"user": NAME, b"timezone": b"US/Eastern", b"TIMEZONE": b"", b"DateStyle": b"ISO"}
    kept = {b"user": NAME, b"DateStyle": b"ISO"}
    assert relay.settle(wishes) == kept | relay.SETTINGS
    assert relay.SETTINGS[b"TimeZone"] == b"UTC"


def test_a_reader_can_write_a_backup(served, data):
    assert run("create_tables.py", SPARKIFY_PGDATA=data).returncode == 0
    result = run("sparkify", "pg_dump", DATABASE_URL=served["URL"])
    assert (result.stderr, result.returncode) == ("", 0)
    assert "CREATE TABLE public.songplays" in result.stdout


HARM = f"""
ALTER ROLE {READER} SET search_path TO nowhere;
ALTER ROLE {READER} IN DATABASE sparkifydb SET statement_timeout TO 1;
ALTER ROLE {READER} PASSWORD 'another';
DROP OWNED BY {READER};
"""


def test_what_a_reader_does_to_its_own_role_ends_with_serve(resting):
    with serving(resting) as (_, typed), session(typed) as cur:
        cur.execute(HARM)
    with serving(resting) as (_, typed), session(typed) as cur:
        assert fetch(cur, "SELECT count(*), pg_sleep(0.1) FROM songplays") == [(0, "")]


# What else uses the server


def test_scripts_use_the_server_before_meanwhile_and_after(resting):
    with using(resting):
        server = server_pid(resting)
        with serving(resting) as (process, typed):
            assert server_pid(resting) == server
            assert psql("SELECT current_user", SPARKIFY_PGDATA=resting) == "postgres"
            assert end(process)[0] == 0
        assert not is_open(typed)
        assert server_pid(resting) == server
        assert psql("SELECT 1", SPARKIFY_PGDATA=resting) == "1"
    assert server_pid(resting) is None


def is_open(typed):
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection((typed["host"], int(typed["port"]))).close()
        return True
    return False


def test_it_listens_on_this_machine_alone_and_the_server_not_at_all(resting):
    with serving(resting) as (process, typed):
        assert listening(process.pid) == [("127.0.0.1", int(typed["port"]))]
        assert listening(server_pid(resting)) == []


def test_a_second_serve_and_a_port_that_is_taken(resting):
    with serving(resting, free_port()) as (_, typed):
        result = run("sparkify", "serve", "--port", typed["port"], SPARKIFY_PGDATA=resting)
        assert_fails_in_one_line(
            result, f"port {typed['port']}", "perhaps by another serve", "--port"
        )
        with serving(resting) as (_, second):
            assert second["password"] == typed["password"]
            with session(typed) as cur, session(second) as other:
                assert fetch(cur, "SELECT 1") == fetch(other, "SELECT 1")
    assert server_pid(resting) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://me:s3cr@db.invalid/"),
        ("PGHOST", "db.invalid"),
        ("PGHOSTADDR", "192.0.2.1"),
        ("PGSERVICE", "db.invalid"),
    ],
)
def test_another_server_is_not_served(name, value):
    result = run("sparkify", "serve", **{name: value})
    host = value if name == "PGHOSTADDR" else "db.invalid"
    assert_fails_in_one_line(result, "sparkify: ", "embedded", host, "unset DATABASE_URL, PGHOST")


def test_without_tables_it_says_how_to_make_them(tmp_path):
    result = run("sparkify", "serve", "--port", "0", SPARKIFY_PGDATA=tmp_path / "pg")
    assert_fails_in_one_line(result, "no database sparkifydb", f"run {command('create_tables.py')}")


@pytest.mark.parametrize(
    "arguments", [["--port", "many"], ["--port", "65536"], ["--port=-1"], ["now"]]
)
def test_wrong_arguments_end_with_status_2(arguments):
    result = run("sparkify", "serve", *arguments, PGHOST="no-such-host.invalid")
    assert result.returncode == 2
    assert arguments[-1].removeprefix("--port=") in result.stderr


def test_help_says_how_it_ends():
    result = run("sparkify", "serve", "--help", SPARKIFY_PGDATA="/tmp/x")
    assert result.returncode == 0
    assert "0 ended by Ctrl-C or SIGTERM" in " ".join(result.stdout.split())


def open_to_all(file):
    file.write_text("known\n")
    file.chmod(0o644)


def empty(file):
    file.touch(0o600)


def a_link(file):
    (file.parent / "other").write_text("known\n")
    (file.parent / "other").chmod(0o600)
    file.symlink_to(file.parent / "other")


@unix_only
@pytest.mark.parametrize("make", [open_to_all, empty, a_link])
def test_a_password_that_others_could_know_is_not_used(resting, make):
    file = resting.with_name("pg.password")
    file.unlink(missing_ok=True)
    make(file)
    try:
        result = run("sparkify", "serve", "--port", "0", SPARKIFY_PGDATA=resting)
    finally:
        file.unlink()
    assert_fails_in_one_line(result, file)


def test_a_new_password_replaces_one_whose_file_is_gone(resting):
    with serving(resting) as (_, before):
        pass
    resting.with_name("pg.password").unlink()
    with serving(resting) as (_, after):
        assert after["password"] != before["password"]
        old = pytest.raises(psycopg2.OperationalError, match="authentication failed")
        with old, session(after, password=before["password"]):
            pass
        with session(after) as cur:
            assert fetch(cur, "SELECT 1") == [(1,)]


def test_a_data_folder_whose_socket_is_elsewhere(tmp_path):
    data = tmp_path / "with a space" / "pg"
    assert run("create_tables.py", SPARKIFY_PGDATA=data).returncode == 0
    with serving(data) as (_, typed), session(typed) as cur:
        assert fetch(cur, "SELECT count(*) FROM songs") == [(0,)]


# How it ends


@unix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_nothing_listens_afterwards(resting, number):
    with serving(resting) as (process, typed), session(typed):
        said = f"Port {typed['port']} is closed\n"
        assert end(process, number) == (0, said, "")
    assert not is_open(typed)
    assert server_pid(resting) is None


@unix_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_afterwards_no_query_of_a_client_goes_on(resting, number):
    query = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{READER}'"
    with using(resting), serving(resting) as (process, typed), session(typed) as cur:
        waiting = threading.Thread(target=sleep_until_cut_off, args=[cur])
        waiting.start()
        while psql(f"{query} AND state = 'active'", SPARKIFY_PGDATA=resting) != "1":
            assert waiting.is_alive()
        end(process, number)
        waiting.join()
        deadline = time.monotonic() + 30
        while psql(query, SPARKIFY_PGDATA=resting) != "0":
            assert time.monotonic() < deadline


def sleep_until_cut_off(cur):
    with contextlib.suppress(psycopg2.OperationalError):
        cur.execute("SELECT pg_sleep(100)")


@unix_only
def test_killed_it_leaves_nothing_that_listens(resting):
    with serving(resting) as (process, typed):
        process.kill()
        process.wait()
    assert not is_open(typed)
    with contextlib.suppress(psutil.NoSuchProcess):  # the watcher may stop it now
        assert listening(server_pid(resting)) == []
    with using(resting):
        assert listening(server_pid(resting)) == []
        assert psql("SHOW listen_addresses", SPARKIFY_PGDATA=resting) == ""
    assert server_pid(resting) is None


@unix_only
def test_it_ends_when_the_server_is_killed(resting):
    with serving(resting) as (process, typed):
        os.kill(server_pid(resting), signal.SIGKILL)
        said = process.communicate(timeout=60)
        why = "sparkify: the embedded server has ended; run serve again, which starts it\n"
        assert (process.returncode, *said) == (1, "", why)
    assert not is_open(typed)


def listening(pid):
    """Return the addresses and ports at which a process or one of its children listens."""
    process = psutil.Process(pid)
    processes = [process, *process.children(recursive=True)]
    ports = [c for process in processes for c in process.net_connections("inet")]
    return [tuple(c.laddr) for c in ports if c.status == psutil.CONN_LISTEN]


def test_a_server_that_is_gone_is_told():
    port = free_port()
    with relay.Relay(0, ("127.0.0.1", port), READER, "sparkifydb") as door:
        threading.Thread(target=door.serve_forever, daemon=True).start()
        parameters = {"host": relay.HOST, "port": door.server_address[1], "user": READER}
        parameters["dbname"] = "sparkifydb"
        with pytest.raises(psycopg2.OperationalError, match="run serve again"):
            psycopg2.connect(**parameters)
        door.shutdown()
