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
from records import event, song, write_data
from scripts import (
    PROJECT,
    assert_fails_in_one_line,
    call,
    environment_of,
    run,
    thorough,
    without_waiting,
)
from servers import QUOTED, connect_until_ready, free_port, running_server

import create_tables
from sparkify.errors import ServerError
from sparkify.postgres.connection import connect
from sparkify.postgres.rights import OWN_SCHEMA
from sql_queries import COLUMN_TYPES, table_names


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


def test_a_time_limit_does_not_end_the_making_of_the_database(url):
    """Here that waits for a lock; where the disk is slow, it takes as long."""
    admin = url(role="postgres").replace("/fresh", "/postgres")
    execute(admin, "CREATE ROLE owner LOGIN CREATEDB", "ALTER ROLE owner SET lock_timeout = '1s'")
    waiting = "SELECT FROM pg_stat_activity WHERE usename = 'owner' AND wait_event_type = 'Lock'"
    with contextlib.closing(psycopg2.connect(admin)) as conn, conn.cursor() as cur:
        cur.execute("LOCK TABLE pg_database IN SHARE MODE")
        process = start(url(role="owner"))
        while not fetch(admin, waiting):
            assert process.poll() is None
        time.sleep(1.2)
    assert process.communicate(timeout=30) == (None, "")
    assert process.returncode == 0


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
    monkeypatch.setenv("DATABASE_URL", url(role="owner"))
    execute(url(role="postgres").replace("/fresh", "/postgres"), "CREATE ROLE owner LOGIN CREATEDB")
    assert create_tables.main() == 0
    with transaction_that_reads(url(role="postgres")) as pid:
        assert create_tables.main() == 1
    said = capsys.readouterr().err
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
    lines = without_waiting("".join(said))
    assert [line for line in lines if "at work; run it again" not in line] == []
    assert "pg_database" not in "".join(said)  # only the tables may have been in each other's way


def test_two_at_once_create_the_tables(url):
    me = url(role="postgres")
    create(me)
    processes = [start(me), start(me)]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert without_waiting("".join(said)) == []


def test_role_that_may_create_no_database_is_told_in_one_line(url):
    admin = url(role="postgres").replace("/fresh", "/postgres")
    execute(admin, "CREATE ROLE analyst LOGIN")
    result = call("create_tables.py", DATABASE_URL=url(role="analyst"))
    words = ["fresh on /", "permission denied to create database", "may create databases"]
    assert_fails_in_one_line(result, *words)
    execute(admin, "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    result = call("create_tables.py", DATABASE_URL=url(role="analyst"))
    execute(admin, "GRANT CONNECT ON DATABASE postgres TO PUBLIC")
    words = ["there is no database fresh on /", 'permission denied for database "postgres"']
    assert_fails_in_one_line(result, *words, "have an administrator do it")


OWNER = 'ALTER DATABASE "fresh" OWNER TO "analyst"'
GRANT = 'GRANT CREATE ON SCHEMA "music" TO "analyst"'
IN_MUSIC = ["CREATE SCHEMA music", "ALTER ROLE analyst IN DATABASE fresh SET search_path TO music"]
IN_MUSIC += ["GRANT USAGE ON SCHEMA music TO analyst"]
IS_UTC = "ALTER DATABASE fresh SET timezone TO 'UTC'"


@pytest.mark.parametrize(
    ("statements", "needed"),
    [
        ([], OWNER),
        (["GRANT ALL ON SCHEMA public TO analyst"], OWNER),
        ([IS_UTC], OWNER),
        (IN_MUSIC, f"{OWNER}; {GRANT}"),
        ([*IN_MUSIC, IS_UTC], GRANT),
    ],
    ids=["neither", "no settings", "no tables", "schema of another", "its tables only"],
)
def test_all_that_a_role_lacks_is_named_at_once_and_is_the_remedy(url, statements, needed):
    me = url(role="postgres")
    execute(me.replace("/fresh", "/postgres"), "CREATE ROLE analyst LOGIN", "CREATE DATABASE fresh")
    execute(me, *statements)
    result = call("create_tables.py", DATABASE_URL=url(role="analyst"))
    assert_fails_in_one_line(result, "analyst may not", "fresh on /", "connect as the owner")
    assert result.stderr.endswith(f"the owner or an administrator run {needed}\n")
    execute(me, *needed.split("; "))
    create(url(role="analyst"))


def test_search_path_that_leads_to_no_schema_is_told_and_how_to_make_one(url):
    me = url(role="postgres")
    create(me)
    for option, path in (("-csearch_path=music", "music"), ("", '"$user", public')):
        result = call("create_tables.py", DATABASE_URL=me, PGOPTIONS=option)
        words = ["fresh on /", f"no schema of the search_path ({path}) that postgres may use"]
        assert_fails_in_one_line(result, *words, f"give Sparkify {OWN_SCHEMA}")
        execute(me, "DROP SCHEMA IF EXISTS public CASCADE")


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
    assert_fails_in_one_line(result, "fresh on /", OWNER)
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


# Whose the tables are

USERS = (
    "CREATE TABLE users AS SELECT 1 AS id, 'a@example.com' AS email FROM generate_series(1, 1500)"
)
MOMENT = ", ".join(f"1 AS {part}" for part in ("hour", "day", "week", "month", "year", "weekday"))
# Of each kind of relation, one of our names, the last four with all the columns of ours.
OTHERS = [
    *("CREATE TABLE people (id INT)", "CREATE INDEX songs ON people (id)", USERS),
    *("CREATE SEQUENCE artists", "CREATE TABLE songplays (at INT) PARTITION BY LIST (at)"),
    "CREATE FOREIGN DATA WRAPPER w",
    "CREATE SERVER s FOREIGN DATA WRAPPER w",
    "CREATE FOREIGN TABLE page_views (at INT) SERVER s",
    f"CREATE MATERIALIZED VIEW time AS SELECT now() AS start_time, {MOMENT}",
    "CREATE VIEW unmatched_songplays AS SELECT 1 AS songplay_id, '' AS title, '' AS artist, "
    "1.5 AS duration",
    f"CREATE TABLE listening AS SELECT {', '.join(f'1 AS {c}' for c in COLUMN_TYPES['listening'])}",
    f"CREATE TABLE loaded_files ({', '.join(f'{c} INT' for c in COLUMN_TYPES['loaded_files'])}) "
    "PARTITION BY LIST (size)",
]
KINDS = [
    'materialized view public."time" (not as ours are made)',
    "sequence public.artists (no column artist_id)",
    "table public.listening (1 row, not as ours are made)",
    "table public.loaded_files (0 rows, not as ours are made)",
    "foreign table public.page_views (no column page_view_id)",
    "table public.songplays (0 rows, no column songplay_id)",
    "index public.songs (no column song_id)",
    "view public.unmatched_songplays (not as ours are made)",
    "table public.users (1,500 rows, no column user_id)",
]
IN_AUTH = ["CREATE SCHEMA auth", "ALTER DATABASE fresh SET search_path TO auth, public"]


@pytest.fixture
def others(url):
    """The DATABASE_URL of a database that is another application's."""
    execute(url(role="postgres").replace("/fresh", "/postgres"), "CREATE DATABASE fresh")
    return url(role="postgres")


def read_everything(url):
    """Return what changes if anything is made anew or set, and the names of what has rows."""
    objects = "SELECT oid, relname FROM pg_class WHERE oid > 16383 ORDER BY oid"
    settings = "SELECT setdatabase, setconfig FROM pg_db_role_setting ORDER BY 1"
    return fetch(url, objects), fetch(url, settings)


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (OTHERS, ", ".join(KINDS)),
        (
            [*IN_AUTH, "CREATE TABLE auth.users (id INT)"],
            "table auth.users (0 rows, no column user_id)",
        ),
    ],
    ids=["each kind", "by search_path"],
)
def test_what_is_somebody_elses_is_named_and_left_alone(others, statements, said):
    execute(others, *statements)
    before = read_everything(others)
    result = call("create_tables.py", DATABASE_URL=others)
    assert_fails_in_one_line(result, f"left alone: {said} of fresh on /", "name another database")
    assert read_everything(others) == before


def test_what_is_half_ours_is_left_as_it_is(others, tmp_path):
    create(others)
    add_artist(others)
    execute(others, "DROP TABLE users CASCADE", USERS)
    before = read_everything(others)
    folder = write_data(tmp_path, [song(artist_id="AR2")], [event()])
    loads = [["etl.py", folder, "--load", how] for how in ("rows", "copy")]
    for script, *arguments in (["create_tables.py"], *loads):
        result = call(script, *arguments, cwd=tmp_path, DATABASE_URL=others)
        assert result.returncode == 1
        assert "table public.users (1,500 rows, no column user_id) of fresh" in result.stderr
        assert "run " not in result.stderr.replace("sparkify psql", "")
    assert read_everything(others) == before
    assert ("Nina",) in artists(others)


def test_a_schema_of_ones_own_is_the_remedy(others, tmp_path):
    execute(others, USERS)
    assert "table public.users" in call("sparkify", "ask", "1", DATABASE_URL=others).stderr
    said = call("create_tables.py", DATABASE_URL=others).stderr
    [make, option, parameter] = re.search(
        r"of its own: (.*), then set PGOPTIONS=(.*), or end DATABASE_URL in \?(.*)\n", said
    ).groups()
    subprocess.run(shlex.split(make), cwd=PROJECT, env=environment_of(DATABASE_URL=others))
    folder = write_data(tmp_path, [song()], [event()])
    ways = {"DATABASE_URL": f"{others}&{parameter}"}, {"DATABASE_URL": others, "PGOPTIONS": option}
    for variables in ways:
        for script, *arguments in (["create_tables.py"], ["etl.py", folder], ["sparkify", "check"]):
            result = call(script, *arguments, cwd=tmp_path, **variables)
            assert (result.stderr, result.returncode) == ("", 0)
    counts = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM sparkify.users)"
    assert fetch(others, counts) == [(1500, 1)]


COLUMNS = """
    SELECT table_name, column_name, col_description(table_name::regclass, ordinal_position)
    FROM information_schema.columns
    WHERE table_schema = 'public'
    ORDER BY table_name, ordinal_position
"""


# What each version so far has had in common: to be kept as it is when columns are added.
SHARED = {
    "songplays": "songplay_id start_time user_id level song_id artist_id session_id location "
    "user_agent",
    "users": "user_id first_name last_name gender level",
    "songs": "song_id title artist_id year duration",
    "artists": "artist_id name location latitude longitude",
    "time": "start_time hour day week month year weekday",
    "unmatched_songplays": "songplay_id title artist",
    "page_views": "page_view_id start_time user_id session_id item_in_session page method status "
    "auth level location user_agent",
    "loaded_files": "uri kind size modified rows_loaded lines_set_aside seconds loaded_at",
    "rejected_lines": "uri line reason text corrected set_aside met",
    "load_runs": "run_id started_at exit_status files rows_loaded lines_set_aside seconds",
}


def test_tables_of_an_earlier_version_and_without_comments_are_reset(others):
    create(others)
    expected = fetch(others, COLUMNS)
    execute(others, "DROP VIEW listening", f"DROP TABLE {', '.join(table_names)}")
    for table, columns in SHARED.items():
        execute(others, f"CREATE TABLE {table} ({columns.replace(' ', ' TEXT, ')} TEXT, more INT)")
    listening = f"{SHARED['songplays']} title artist duration".replace(" ", ", '' AS ")
    execute(others, f"CREATE VIEW listening AS SELECT '' AS {listening}")
    execute(others, "INSERT INTO artists VALUES ('AR1', 'Nina')")
    create(others)
    assert (fetch(others, COLUMNS), artists(others)) == (expected, [])


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


def test_no_database_is_created_on_a_server_that_is_too_old(url, monkeypatch):
    monkeypatch.setattr(create_tables, "OLDEST_VERSION", 99_00_00)
    me = url(role="postgres")
    monkeypatch.setenv("DATABASE_URL", me)
    with pytest.raises(ServerError, match="^fresh on /.* is PostgreSQL 18.*; 15 or later is "):
        create_tables.create_database()
    databases = "SELECT FROM pg_database WHERE datname = 'fresh'"
    assert fetch(me.replace("/fresh", "/postgres"), databases) == []
