"""What create_tables.py makes, and that whatever stops it changes nothing."""

import contextlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pytest
from scripts import PROJECT, assert_fails_in_one_line, call, environment_of, run, thorough
from test_server import QUOTED, connect_until_ready, free_port, running_server

import create_tables
from sparkify.messages import ServerError
from sparkify.server import connect
from sql_queries import table_names


@pytest.fixture
def url(server):
    """The DATABASE_URL of a database that isn't there yet, and of roles that log in to it."""
    with contextlib.closing(connect("postgres")) as admin, admin.cursor() as cur:
        admin.autocommit = True
        info = admin.info
        yield f"postgresql://{{role}}@/fresh?host={info.host}&port={info.port}".format
        cur.execute("DROP DATABASE IF EXISTS fresh WITH (FORCE)")
        for role in ("analyst", "owner"):
            cur.execute(f"DROP ROLE IF EXISTS {role}")


@contextlib.contextmanager
def session(url, **options):
    """A cursor whose every statement takes effect at once."""
    with contextlib.closing(psycopg2.connect(url, **options)) as conn, conn.cursor() as cur:
        conn.autocommit = True
        yield cur


def fetch(url, query):
    with session(url) as cur:
        cur.execute(query)
        return cur.fetchall()


def execute(url, *statements):
    with session(url) as cur:
        for statement in statements:
            cur.execute(statement)


def create(url, how=call):
    result = how("create_tables.py", DATABASE_URL=url)
    assert (result.stderr, result.returncode) == ("", 0)
    return result


def start(url):
    return subprocess.Popen(
        [sys.executable, PROJECT / "create_tables.py"],
        env=environment_of(DATABASE_URL=url),
        stderr=subprocess.PIPE,
        text=True,
    )


def add_artist(url):
    execute(url, "INSERT INTO artists VALUES ('AR1', 'Nina', '', NULL, NULL)")


def artists(url):
    return fetch(url, "SELECT name FROM artists")


def test_missing_database_is_created_in_utf8_and_utc(url):
    me = url(role="postgres")
    result = create(me, how=run)
    encoding = "SELECT current_setting('server_encoding'), current_setting('timezone')"
    assert fetch(me, encoding) == [("UTF8", "UTC")]
    tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    assert fetch(me, tables) == [(name,) for name in sorted(table_names)]
    assert result.stdout.count("\n") == 1
    assert "fresh on /" in result.stdout


def test_second_run_empties_the_tables(url):
    me = url(role="postgres")
    create(me)
    add_artist(me)
    create(me)
    assert artists(me) == []


def test_database_that_is_there_becomes_utc(url):
    execute(url(role="postgres").replace("/fresh", "/postgres"), "CREATE DATABASE fresh")
    execute(url(role="postgres"), "ALTER DATABASE fresh SET timezone TO 'Asia/Tokyo'")
    create(url(role="postgres"))
    assert fetch(url(role="postgres"), "SHOW timezone") == [("UTC",)]


def test_idle_connection_does_no_harm(url):
    me = url(role="postgres")
    create(me)
    with session(me) as cur:
        cur.execute("SELECT * FROM artists")
        create(me)
        cur.execute("SELECT count(*) FROM artists")
        assert cur.fetchone() == (0,)


@contextlib.contextmanager
def transaction_that_reads(url):
    """The number of a notebook's session that is idle in a transaction, after a SELECT."""
    options = {"application_name": "ipykernel_launcher.py"}
    with contextlib.closing(psycopg2.connect(url, **options)) as conn, conn.cursor() as cur:
        cur.execute("SELECT * FROM artists")
        yield conn.info.backend_pid


def test_session_with_a_lock_is_named_and_nothing_is_lost(url):
    me = url(role="postgres")
    create(me)
    add_artist(me)
    with transaction_that_reads(me) as pid:
        result = call("create_tables.py", DATABASE_URL=me)
        words = [f"session {pid} (user postgres, a notebook, idle in transaction)"]
        assert_fails_in_one_line(result, "fresh on /", "nothing was changed", *words)
        assert artists(me) == [("Nina",)]
        command = result.stderr.strip().partition(" or end it with ")[2]
        environment = environment_of(DATABASE_URL=me)
        subprocess.run(shlex.split(command), cwd=PROJECT, env=environment, check=True)
        create(me)


def test_session_of_another_user_is_named_too(url, monkeypatch, capsys):
    monkeypatch.setattr(create_tables, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(sys, "argv", ["create_tables.py"])
    monkeypatch.setenv("DATABASE_URL", url(role="owner"))
    execute(url(role="postgres").replace("/fresh", "/postgres"), "CREATE ROLE owner LOGIN CREATEDB")
    assert create_tables.main() == 0
    with transaction_that_reads(url(role="postgres")) as pid:
        said = create_tables.main()
    assert f"session {pid} (user postgres, a notebook, " in said
    assert "None" not in said


def test_interrupt_while_waiting_for_a_lock(url):
    me = url(role="postgres")
    create(me)
    add_artist(me)
    with transaction_that_reads(me):
        process = start(me)
        while not fetch(me, "SELECT pid FROM pg_locks WHERE NOT granted"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (said, process.returncode) == ("create_tables.py: interrupted\n", 130)
    assert artists(me) == [("Nina",)]


def test_view_that_depends_on_a_table_is_named_and_nothing_is_lost(url):
    me = url(role="postgres")
    create(me)
    add_artist(me)
    execute(me, "CREATE VIEW names AS SELECT name FROM artists")
    execute(me, "CREATE VIEW plays AS SELECT title FROM listening")
    result = call("create_tables.py", DATABASE_URL=me)
    assert_fails_in_one_line(result, "view plays", "fresh on /", "drop")
    execute(me, "DROP VIEW plays")
    result = call("create_tables.py", DATABASE_URL=me)
    assert_fails_in_one_line(result, "view names depends on table artists", "drop what depends")
    assert artists(me) == [("Nina",)]


def test_two_at_once_create_the_database(url):
    me = url(role="postgres")
    admin = me.replace("/fresh", "/postgres")
    deadline = time.monotonic() + 30
    with contextlib.closing(psycopg2.connect(admin)) as conn, conn.cursor() as cur:
        cur.execute("LOCK TABLE pg_database IN EXCLUSIVE MODE")  # both wait, then go at once
        processes = [start(me), start(me)]
        while len(fetch(admin, "SELECT FROM pg_locks WHERE NOT granted")) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert 0 in [process.returncode for process in processes]
    assert [text for text in said if text and "at work; run it again" not in text] == []
    assert "pg_database" not in "".join(said)  # only the tables may have been in each other's way


def test_two_at_once_create_the_tables(url):
    me = url(role="postgres")
    create(me)
    processes = [start(me), start(me)]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert said == ["", ""]


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ([], ["permission denied to create database", "may create databases"]),
        (
            ["CREATE DATABASE fresh", "ALTER DATABASE fresh SET timezone TO 'UTC'"],
            ["permission denied for schema public", "connect as the owner"],
        ),
        (["CREATE DATABASE fresh"], ["must be owner of database fresh", "connect as the owner"]),
    ],
    ids=["no database", "no tables", "no settings"],
)
def test_role_without_the_right_is_told_in_one_line(url, statements, words):
    execute(
        url(role="postgres").replace("/fresh", "/postgres"),
        "CREATE ROLE analyst LOGIN",
        *statements,
    )
    result = call("create_tables.py", DATABASE_URL=url(role="analyst"))
    assert_fails_in_one_line(result, "fresh on /", *words)


def test_the_statement_that_is_named_where_the_time_zone_cannot_be_set_is_the_remedy(url):
    admin = url(role="postgres")
    execute(admin.replace("/fresh", "/postgres"), "CREATE ROLE analyst LOGIN")
    execute(admin.replace("/fresh", "/postgres"), "CREATE DATABASE fresh")
    execute(admin, "GRANT ALL ON SCHEMA public TO analyst")
    result = call("create_tables.py", DATABASE_URL=url(role="analyst"))
    assert_fails_in_one_line(result, "must be owner of database fresh", "UTC", "administrator")
    execute(admin, re.search("run (ALTER DATABASE .*)", result.stderr)[1])
    create(url(role="analyst"))


def test_role_that_does_not_own_the_tables_is_told_in_one_line(url):
    me = url(role="postgres")
    create(me)
    add_artist(me)
    execute(me, "CREATE ROLE analyst LOGIN", "GRANT ALL ON SCHEMA public TO analyst")
    result = call("create_tables.py", DATABASE_URL=url(role="analyst"))
    assert_fails_in_one_line(result, "must be owner of", "fresh on /", "connect as the owner")
    assert artists(me) == [("Nina",)]


def test_tables_are_kept_where_new_ones_are_refused(url):
    me = url(role="postgres")
    create(me)
    add_artist(me)
    owned = [f"ALTER TABLE {name} OWNER TO analyst" for name in (*table_names, "listening")]
    execute(me, "CREATE ROLE analyst LOGIN", *owned)
    result = call("create_tables.py", DATABASE_URL=url(role="analyst"))
    assert_fails_in_one_line(result, "permission denied for schema public", "fresh on /")
    assert artists(me) == [("Nina",)]


def test_owner_needs_no_superuser(url):
    execute(
        url(role="postgres").replace("/fresh", "/postgres"),
        "CREATE ROLE owner LOGIN",
        "CREATE DATABASE fresh OWNER owner",
    )
    create(url(role="owner"))


def test_database_in_another_encoding_is_told_and_left_alone(url):
    execute(
        url(role="postgres").replace("/fresh", "/postgres"),
        "CREATE DATABASE fresh ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    )
    execute(url(role="postgres"), "CREATE TABLE songs AS SELECT 'mine' AS title")
    result = call("create_tables.py", DATABASE_URL=url(role="postgres"))
    assert_fails_in_one_line(result, "fresh on /", "LATIN1", "drop that database, or name another")
    assert fetch(url(role="postgres"), "SELECT * FROM songs") == [("mine",)]


@pytest.fixture(scope="module", params=[thorough(16), 18])
def latin1(request):
    """The URL of a server whose locale is for LATIN1, in which no database can be in UTF-8."""
    name, folder = "en_US.ISO-8859-1", Path(tempfile.mkdtemp(prefix="sparkify-latin1-"))
    folder.chmod(0o755)
    definition = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", folder / name]
    if not shutil.which("localedef") or subprocess.run(definition, capture_output=True).returncode:
        pytest.skip("no locale can be made here")
    (folder / "server").mkdir()
    port = free_port()
    locale = {"initdb": (f"--locale={name}",), "LOCPATH": str(folder)}
    with running_server(folder / "server", port, request.param, **locale):
        url = f"postgresql://admin:{QUOTED}@127.0.0.1:{port}"
        connect_until_ready(f"{url}/postgres").close()
        assert fetch(f"{url}/postgres", "SHOW server_encoding") == [("LATIN1",)]
        yield url
    shutil.rmtree(folder)


def test_database_is_in_utf8_whatever_the_locale_of_the_server(latin1):
    create(latin1)
    assert fetch(f"{latin1}/sparkifydb", "SHOW server_encoding") == [("UTF8",)]


def test_the_statement_for_administrators_works_whatever_the_locale_of_the_server(latin1):
    page = (PROJECT / "docs/operations.md").read_text(encoding="utf-8")
    [statement, locale] = re.search("`(CREATE DATABASE .*)`, with `(LOCALE .*)`", page).groups()
    execute(f"{latin1}/postgres", "CREATE ROLE sparkify LOGIN")
    statement = statement.replace("sparkifydb", "administered")
    with pytest.raises(psycopg2.errors.InvalidParameterValue):
        execute(f"{latin1}/postgres", statement)
    execute(f"{latin1}/postgres", f"{statement} {locale}")
    assert fetch(f"{latin1}/administered", "SHOW server_encoding") == [("UTF8",)]


def test_help_says_that_data_is_lost():
    result = call("create_tables.py", "--help", PGHOST="no-such-host.invalid")
    assert result.returncode == 0
    assert "lost" in result.stdout


def test_wrong_argument_ends_with_status_2():
    result = call("create_tables.py", "now", PGHOST="no-such-host.invalid")
    assert result.returncode == 2
    assert "unrecognized arguments: now" in result.stderr


def test_a_server_that_is_too_old_is_told():
    old = SimpleNamespace(server_version=14_00_23, info=SimpleNamespace(parameter_status=repr))
    with pytest.raises(ServerError, match="is PostgreSQL 'server_version'; 15 or later is needed"):
        create_tables.check_version(old)
