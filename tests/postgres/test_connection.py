"""Which server is meant, how it is reached, and what is said when it can't be."""

import contextlib
import os
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import psycopg2
import pytest
from records import load_data, read_tables
from scripts import (
    PASSWORD,
    PROJECT,
    assert_fails_in_one_line,
    call,
    environment_of,
    run,
    script_of,
    thorough,
    without_waiting,
)
from servers import (
    IS_ROOT,
    QUOTED,
    connect_until_ready,
    free_port,
    needs_sigkill,
    psql,
    running_server,
    server_pid,
    using,
)

from sparkify import __main__
from sparkify.interpreter import command
from sparkify.postgres import connection, embedded, programs
from sparkify.postgres import psql as psql_module

unix_only = pytest.mark.skipif(os.name == "nt", reason="modes are those of Unix")


# Which server


@pytest.mark.parametrize(
    ("variables", "name", "dbname"),
    [
        ({}, f"the embedded server ({PROJECT / '.postgres'})", "sparkifydb"),
        ({"SPARKIFY_PGDATA": "/tmp/x"}, "the embedded server (/tmp/x)", "sparkifydb"),
        ({"PGHOST": "", "DATABASE_URL": ""}, f"({PROJECT / '.postgres'})", "sparkifydb"),
        ({"PGPORT": "1", "PGUSER": "u"}, "the embedded server", "sparkifydb"),
        ({"PGHOST": "a"}, "a (from the PG* variables)", "sparkifydb"),
        ({"PGHOST": "a", "PGPORT": "1"}, "a:1 (from the PG* variables)", "sparkifydb"),
        ({"PGHOST": "a", "PGDATABASE": "other"}, "a (from", "other"),
        ({"PGHOST": "a", "PGDATABASE": " other\r\n"}, "a (from", "other"),
        ({"PGHOST": "a", "PGDATABASE": ""}, "a (from", "sparkifydb"),
        ({"PGDATABASE": "other"}, "the embedded server", "sparkifydb"),
        ({"PGHOST": "a", "SPARKIFY_PGDATA": "/tmp/x"}, "a (from", "sparkifydb"),
        ({"PGHOSTADDR": "127.0.0.9"}, "127.0.0.9 (from the PG* variables)", "sparkifydb"),
        ({"PGSERVICE": "s"}, "service s (from the PG* variables)", "sparkifydb"),
        ({"PGSERVICE": "s", "PGHOST": "a"}, "service s (from", "sparkifydb"),
        ({"PGSERVICE": "s", "PGDATABASE": "other"}, "service s (from", "other"),
        ({"DATABASE_URL": "postgresql://b"}, "b (from DATABASE_URL)", "sparkifydb"),
        ({"DATABASE_URL": "postgres://b:2/named"}, "b:2 (from DATABASE_URL)", "named"),
        ({"DATABASE_URL": "postgresql://b/x", "PGHOST": "a"}, "b (from", "x"),
        ({"DATABASE_URL": "postgresql://b", "PGDATABASE": "other"}, "b (from", "sparkifydb"),
        ({"DATABASE_URL": "postgresql://b", "PGSERVICE": "s"}, "b (from", "sparkifydb"),
        ({"DATABASE_URL": " postgresql://b/x\r\n"}, "b (from", "x"),
        ({"DATABASE_URL": "postgresql://b/x?dbname="}, "b (from", "sparkifydb"),
        ({"DATABASE_URL": "postgresql://u:a#b;c@b/a%2Fb%23c"}, "b (from", "a/b#c"),
        ({"DATABASE_URL": "postgresql+psycopg2://u:p@b:5432/db"}, "b:5432 (from", "db"),
        ({"DATABASE_URL": "postgresql+psycopg://u@b/db?sslmode=require"}, "b (from", "db"),
        ({"DATABASE_URL": "postgresql://%2Ftmp%2Fs/x"}, "/tmp/s (from", "x"),
        ({"DATABASE_URL": "postgresql:///x?host=/tmp/s"}, "/tmp/s (from", "x"),
        ({"DATABASE_URL": "postgresql:///x?user=me@here"}, "localhost (from", "x"),
        ({"DATABASE_URL": "PostgreSQL+asyncpg://u@b/db"}, "b (from", "db"),
        ({"DATABASE_URL": "postgresql://[::1]:3,b:4/x"}, "::1:3,b:4 (from", "x"),
        ({"PGHOST": "a,b", "PGPORT": "3"}, "a:3,b:3 (from", "sparkifydb"),
        ({"PGHOST": "a,b"}, "a,b (from", "sparkifydb"),
    ],
)
def test_server_that_the_environment_names(monkeypatch, variables, name, dbname):
    monkeypatch.delenv("SPARKIFY_PGDATA")
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert name in connection.server_name()
    assert connection.named_parameters()["dbname"] == dbname
    assert connection.uses_embedded_server() == ("embedded" in connection.server_name())


def test_home_folder_in_sparkify_pgdata(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SPARKIFY_PGDATA", "~/pg")
    assert embedded.data_folder() == Path("/home/me/pg")


def test_client_encoding_is_utf8_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with contextlib.closing(connection.connect()) as conn, conn.cursor() as cur:
        cur.execute("SELECT %s", ("Σ",))
        assert cur.fetchone() == ("Σ",)


# A server over TCP, with passwords


@pytest.fixture(scope="module")
def tcp(server):
    """The PG* variables of a server over TCP, on which there is no sparkifydb."""
    port = free_port()
    name = tempfile.TemporaryDirectory(prefix="sparkify-tcp-")
    with name as folder, running_server(Path(folder), port):
        connect_until_ready(f"postgresql://admin:{QUOTED}@127.0.0.1:{port}/postgres").close()
        yield {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGUSER": "admin",
            "PGPASSWORD": PASSWORD,
        }


def by_variables(tcp, folder):
    return tcp


def by_address(tcp, folder):
    return {"PGHOSTADDR" if name == "PGHOST" else name: value for name, value in tcp.items()}


def by_url(tcp, folder):
    return {"DATABASE_URL": f"postgresql://admin:{QUOTED}@127.0.0.1:{tcp['PGPORT']}"}


def by_password_file(tcp, folder):
    password = PASSWORD.replace(":", r"\:")
    (folder / "pgpass").write_text(f"127.0.0.1:{tcp['PGPORT']}:*:admin:{password}\n")
    (folder / "pgpass").chmod(0o600)
    others = {name: value for name, value in tcp.items() if name != "PGPASSWORD"}
    return others | {"PGPASSFILE": folder / "pgpass"}


def by_service(tcp, folder):
    lines = ["[s]", *(f"{name[2:].lower()}={value}" for name, value in tcp.items()), "dbname=other"]
    (folder / "services").write_text("\n".join(lines))
    return {"PGSERVICE": "s", "PGSERVICEFILE": folder / "services"}


WAYS = [by_variables, by_address, by_url, by_password_file, by_service]


@pytest.mark.parametrize("way", WAYS)
def test_both_scripts_reach_a_server_over_tcp(tcp, tmp_path, way):
    variables = way(tcp, tmp_path) | {"SPARKIFY_PGDATA": tmp_path / "pg", "PGDATABASE": "other"}
    name = "sparkifydb" if way is by_url else "other"
    result = call("create_tables.py", **variables)
    assert (result.stderr, result.returncode) == ("", 0)
    query = "SELECT current_database(), inet_server_port(), count(*) FROM songplays"
    assert psql(query, **variables) == f"{name}|{tcp['PGPORT']}|0"
    assert not (tmp_path / "pg").exists()


def test_database_url_names_the_database(tcp):
    variables = {"DATABASE_URL": f"{by_url(tcp, None)['DATABASE_URL']}/of%20its%20own"}
    assert call("create_tables.py", **variables).returncode == 0
    assert psql("SELECT current_database()", **variables) == "of its own"


def test_bundled_psql_serves_where_there_is_none(tcp):
    assert call("create_tables.py", **tcp).returncode == 0
    assert psql("SELECT 1", **tcp | {"PATH": "/nowhere"}) == "1"


def test_psql_exit_status_is_passed_on(tcp):
    assert call("create_tables.py", **tcp).returncode == 0
    assert run("sparkify", "psql", "-c", r"\q", **tcp).returncode == 0
    assert run("sparkify", "psql", "-c", "nonsense", **tcp).returncode == 1
    script = ("-v", "ON_ERROR_STOP=1", "-f", Path(__file__))  # no SQL: psql says 3
    assert run("sparkify", "psql", *script, **tcp).returncode == 3


def test_password_is_not_on_the_command_line(tcp, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", by_url(tcp, None)["DATABASE_URL"])
    command, environment = psql_module.client_command(
        "psql", connection.server_parameters(), ["-c", "SELECT 1"]
    )
    assert not any(PASSWORD in word or QUOTED in word for word in command)
    assert environment["PGPASSWORD"] == PASSWORD
    assert command[-2:] == ["-c", "SELECT 1"]


@pytest.mark.parametrize("script", ["sparkify psql", "create_tables.py"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PGPASSWORD": f"x{PASSWORD}"}, ["password authentication failed", "~/.pgpass"]),
        ({"PGPASSWORD": "a"}, ['password authentication failed for user "admin"']),
        ({"PGUSER": "stranger"}, ["stranger", "127.0.0.1"]),
        ({"PGPORT": "1"}, ["127.0.0.1:1", "refused", "unset PGHOST"]),
        ({"PGHOST": "no-such-host.invalid"}, ["no-such-host.invalid", "unset PGHOST"]),
        ({"PGPORT": "many"}, ["many", "check the PG* variables"]),
        ({"PGSSLMODE": "often"}, ["often", "check the PG* variables"]),
        ({"PGSERVICE": "none"}, ["service none", "not found", "check the PG* variables"]),
    ],
)
def test_refusals_are_told_in_one_line(tcp, script, changes, words):
    result = call(*script.split(), **tcp | changes)
    assert_fails_in_one_line(result, script.split()[0] + ": ", "sparkifydb on", *words)
    assert "Is the server running" not in result.stderr  # libpq's own advice, less to the point


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{PASSWORD}@localhost/sparkifydb",
        "postgresql://me:s3cr@t@localhost/sparkifydb",
        "postgresql://me:s3cr/w0rd@localhost/sparkifydb",
        "postgresql://me:1/s3cr@localhost/sparkifydb",
        "postgresql://me:s3cr",
        "postgresql://me:s3cr%@localhost/sparkifydb",
        "postgresql://me:s3cr%FF@localhost/sparkifydb",
        "postgresql://me:s3cr/w0rd#x@localhost/sparkifydb",
        "postgresql://localhost/sparkifydb?password=a&s3cr=b",
        " ",
        "host=localhost password=s3cr",
        "nonsense",
    ],
)
def test_malformed_database_url_is_told_but_not_quoted(url):
    result = call("sparkify", "psql", DATABASE_URL=url)
    assert_fails_in_one_line(result, "DATABASE_URL", "postgresql://user:password@host", "%40")


@pytest.mark.parametrize("url", ["sqlite:///s3cr.db", "mysql+pymysql://me:s3cr@b/db"])
def test_a_url_of_another_kind_of_server_is_told_but_not_quoted(url):
    result = call("sparkify", "psql", DATABASE_URL=url)
    kind = "sqlite" if "sqlite" in url else "mysql"
    assert_fails_in_one_line(result, "DATABASE_URL", f"another kind of server, {kind};")
    assert "s3cr" not in result.stderr


URL_OF_DB = f"postgresql://me:{QUOTED}@localhost/db"


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"DATABASE_URL": f"'{URL_OF_DB}'"}, "DATABASE_URL has quotes around it"),
        ({"DATABASE_URL": f'{URL_OF_DB}"'}, "DATABASE_URL has quotes around it"),
        ({"DATABASE_URL": f"jdbc:{URL_OF_DB}"}, "DATABASE_URL has jdbc: before it"),
        ({"DATABASE_URL": f"{URL_OF_DB}#main"}, "DATABASE_URL has a fragment"),
        ({"DATABASE_URL": f"{URL_OF_DB}?sslmode=prefer#main"}, "DATABASE_URL has a fragment"),
        ({"DATABASE_URL": f"{URL_OF_DB}/"}, "DATABASE_URL has a / or ;"),
        ({"DATABASE_URL": f"{URL_OF_DB}/public"}, "DATABASE_URL has a / or ;"),
        ({"DATABASE_URL": f"{URL_OF_DB};"}, "DATABASE_URL has a / or ;"),
        ({"DATABASE_URL": f"{URL_OF_DB}&sslmode=prefer"}, "DATABASE_URL has an & with no ? before"),
        ({"DATABASE_URL": f"{URL_OF_DB},"}, "a database 'db,', with ',' in its name"),
        (
            {"DATABASE_URL": f"{URL_OF_DB}?pgbouncer=true&connection_limit=1&sslmode=prefer"},
            "DATABASE_URL has pgbouncer and connection_limit after the ?, which libpq doesn't know",
        ),
        ({"DATABASE_URL": f"{URL_OF_DB}?schema=public"}, "has schema after the ?, which libpq"),
        ({"DATABASE_URL": f"{URL_OF_DB}%0D"}, r"a database 'db\r', with '\r' in its name"),
        ({"DATABASE_URL": f"{URL_OF_DB}%20"}, "a database 'db ', with ' ' in its name"),
        ({"DATABASE_URL": f"{URL_OF_DB}\u200b?sslmode=prefer"}, r"with '\u200b' in its name"),
        ({"DATABASE_URL": "postgresql://localhost/'db'?sslmode=prefer"}, """with "'" in its"""),
        ({"PGHOST": "localhost", "PGDATABASE": "db/"}, "PGDATABASE names a database 'db/', with"),
        ({"PGHOST": "localhost", "PGDATABASE": '"db"'}, "PGDATABASE names a database '\"db\"'"),
    ],
)
def test_what_does_not_belong_to_a_setting_is_named(variables, fault):
    assert_fails_in_one_line(call("create_tables.py", **variables), fault, "; leave that out")


def test_all_addresses_tried_are_told(tcp):
    hosts = {"PGHOST": "127.0.0.2,127.0.0.1", "PGPASSWORD": "wrong"}
    result = call("sparkify", "psql", **tcp | hosts)
    assert_fails_in_one_line(result, "127.0.0.2", "refused", "password authentication failed")


def test_missing_database_is_told_in_one_line(tcp):
    url = f"{by_url(tcp, None)['DATABASE_URL']}/missing"
    result = call("sparkify", "psql", DATABASE_URL=url)
    assert_fails_in_one_line(result, "missing", "127.0.0.1", f"run {command('create_tables.py')}")


def test_a_backup_brings_everything_back(conn, cur, tmp_path):
    load_data(cur, conn)
    conn.commit()
    tables, files = read_tables(cur), read_loaded_files(cur)
    conn.commit()
    environment = {"SPARKIFY_PGDATA": os.environ["SPARKIFY_PGDATA"]}
    backup = tmp_path / "sparkify backup.dump"
    run_cleanly("sparkify", "pg_dump", "-Fc", "-f", backup, **environment)
    run_cleanly("create_tables.py", **environment)
    assert read_tables(cur)["songs"] == []
    conn.commit()
    restore = ("pg_restore", "--clean", "--if-exists", "--single-transaction", backup)
    run_cleanly("sparkify", *restore, **environment)
    assert (read_tables(cur), read_loaded_files(cur)) == (tables, files)
    conn.commit()
    assert "Nothing new" in run_cleanly("etl.py", **environment)


def run_cleanly(script, *arguments, **variables):
    result = run(script, *arguments, **variables)
    assert (result.stderr, result.returncode) == ("", 0)
    return result.stdout


def read_loaded_files(cur):
    cur.execute("SELECT * FROM loaded_files ORDER BY uri")
    return cur.fetchall()


def test_ctrl_c_cancels_the_query_in_psql(tcp):
    assert call("create_tables.py", **tcp).returncode == 0
    process = subprocess.Popen(
        [sys.executable, *script_of("sparkify"), "psql", "-c", "SELECT pg_sleep(60)"],
        cwd=PROJECT,
        env=environment_of(**tcp),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    while psql(sleeping, **tcp) == "0":
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert "canceling statement" in said
    assert "Traceback" not in said
    assert process.returncode == 1


def test_database_that_is_missing_is_told_where_only_its_password_is_known(tcp, tmp_path):
    password_file = by_password_file(tcp, tmp_path)
    path = tmp_path / "pgpass"
    path.write_text(path.read_text().replace("*", "absent"))
    result = call("create_tables.py", **password_file, PGDATABASE="absent")
    words = ["there is no database absent on 127.0.0.1", "no password supplied"]
    assert_fails_in_one_line(result, *words, "have an administrator do it")


@pytest.fixture(scope="module")
def restarted(server):
    """A folder for a server over TCP, its URL, and a function that runs it with more settings."""
    port = free_port()

    @contextlib.contextmanager
    def run_server(signal, configuration=""):
        (folder / "data" / signal).touch()
        with (folder / "data" / "postgresql.auto.conf").open("a") as file:
            file.write(configuration)
        with running_server(folder, port):
            yield

    with tempfile.TemporaryDirectory(prefix="sparkify-tcp-") as name:
        folder, url = Path(name), f"postgresql://admin:{QUOTED}@127.0.0.1:{port}"
        with running_server(folder, port):
            connect_until_ready(f"{url}/postgres").close()
            assert call("create_tables.py", DATABASE_URL=url).returncode == 0
        yield folder, url, run_server


def test_a_server_that_is_starting_is_waited_for(restarted, monkeypatch, capsys):
    """It must recover first, and waits for a file to be gone, which goes at our first pause."""
    folder, url, run_server = restarted
    hold, sleep = folder / "hold", time.sleep
    hold.touch()

    def let_go_and_sleep(seconds):
        hold.unlink(missing_ok=True)
        sleep(seconds)

    monkeypatch.setattr(connection.time, "sleep", let_go_and_sleep)
    monkeypatch.setenv("DATABASE_URL", url)
    waiting = f"restore_command = 'while test -e {hold}; do sleep 0.05; done; false'\n"
    with run_server("recovery.signal", waiting):
        while "starting up" not in refusal_of(url):
            sleep(0.05)
        assert __main__.main(["check"]) == 1
    first, *_, last = capsys.readouterr().err.splitlines()
    assert "the database system is starting up" in first
    assert first.endswith("; next try in 0.5 s")
    assert "nothing to check yet" in last


def refusal_of(url):
    try:
        psycopg2.connect(f"{url}/postgres").close()
    except psycopg2.OperationalError as error:
        return str(error)
    return ""


def test_a_standby_is_told(restarted, tmp_path):
    _, url, run_server = restarted
    scripts = [["etl.py", "--load", "rows"], ["etl.py", "--load", "copy"], ["create_tables.py"]]
    with run_server("standby.signal"):
        connect_until_ready(f"{url}/postgres").close()
        for script in scripts:
            result = call(*script, cwd=tmp_path, DATABASE_URL=url)
            [said] = result.stderr.splitlines()
            assert said.startswith(f"{script[0]}: sparkifydb on 127.0.0.1")
            assert said.endswith(
                "is a standby, which takes no changes; connect to the primary server"
            )
        result = call("create_tables.py", DATABASE_URL=f"{url}/other")
        assert_fails_in_one_line(result, "is a standby", "connect to the primary server")


# The embedded server


@pytest.fixture(scope="module")
def data():
    """The data folder of an embedded server with a sparkifydb, which stands still."""
    with tempfile.TemporaryDirectory(prefix="sparkify-db-") as folder:
        data = Path(folder) / "pg"
        assert run("create_tables.py", SPARKIFY_PGDATA=data).returncode == 0
        yield data


def assert_works_and_stops(data, **variables):
    assert psql("SELECT count(*) FROM songplays", SPARKIFY_PGDATA=data, **variables) == "0"
    assert server_pid(data) is None


@pytest.mark.parametrize(
    "folder",
    ["with space, comma and o'apostrophe", thorough("ü"), thorough("/".join(["long" * 10] * 3))],
    ids=["special", "umlaut", "long"],
)
def test_data_folder_may_have_any_path(tmp_path, folder):
    data, long = tmp_path / folder / "pg", tmp_path / ("long" * 25)
    long.mkdir()
    result = run("create_tables.py", SPARKIFY_PGDATA=data, TMPDIR=long)
    assert (result.stderr, result.returncode) == ("", 0)
    assert_works_and_stops(data, TMPDIR=long)
    if embedded.socket_folder(data) != data:
        embedded.socket_folder(data).rmdir()


@pytest.mark.parametrize("locale", ["xx_XX.UTF-8", thorough("C")])
def test_the_machines_locale_is_of_no_account(tmp_path, locale):
    """It may not be installed, or be for another encoding than UTF-8."""
    place = {"SPARKIFY_PGDATA": tmp_path / "pg", "LC_ALL": locale}
    result = run("create_tables.py", **place)
    assert (result.stderr, result.returncode) == ("", 0)
    query = """
    SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding), current_setting('lc_messages')
    FROM pg_database
    WHERE datname = current_database()
    """
    assert psql(query, **place) == "b|C.UTF-8|UTF8|C"


@pytest.mark.parametrize("variables", [{}, {"XDG_RUNTIME_DIR": "/no/such/folder"}])
def test_nothing_is_warned_of(data, variables):
    assert_works_and_stops(data, **variables)


def test_server_stops_when_the_last_process_ends(data):
    with using(data):
        first = server_pid(data)
        with using(data):
            pass
        assert server_pid(data) == first
        assert psql("SELECT 1", SPARKIFY_PGDATA=data) == "1"
        assert server_pid(data) == first
    assert server_pid(data) is None


def test_killed_process_does_not_keep_the_server_running(data):
    with using(data) as process:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 60
    while server_pid(data) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert_works_and_stops(data)


def test_without_its_watcher_the_next_to_end_stops_it(data):
    with using(data) as process:
        (watcher,) = psutil.Process(process.pid).children()
        watcher.kill()
        process.kill()
        process.wait()
    assert server_pid(data) is not None
    assert_works_and_stops(data)


def ended_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def bystander():
    """A process that has nothing to do with Postgres."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("lines", [8, thorough(5)])
def test_pid_file_that_names_another_program(data, bystander, lines):
    whole = [bystander.pid, data, 1, 5432, data, "", "1 2", "ready"]
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        (data / name).write_text("\n".join(map(str, whole[:lines])) + "\n")
    assert_works_and_stops(data)
    assert bystander.poll() is None


def test_pid_file_that_names_another_postgres(data, server):
    other = server_pid(Path(os.environ["SPARKIFY_PGDATA"]))
    (data / "postmaster.pid").write_text(f"{other}\n{data}\n1\n5432\n{data}\n\n1 2\nready\n")
    result = run("create_tables.py", SPARKIFY_PGDATA=data)
    (data / "postmaster.pid").unlink()
    assert_fails_in_one_line(result, data, 'lock file "postmaster.pid" already exists')
    assert psutil.pid_exists(other)
    assert_works_and_stops(data)


WHOLE = "{ended}\n/x\n1\n5432\n/x\n\n1 2\nready\n"


@pytest.mark.parametrize("text", ["", thorough("nonsense\n"), thorough("{ended}\n"), WHOLE])
def test_pid_file_of_a_server_that_is_gone(data, text):
    (data / "postmaster.pid").write_text(text.format(ended=ended_pid()))
    assert_works_and_stops(data)


def wait_until_gone(pid):
    deadline = time.monotonic() + 10  # some systems never clear a dead process away
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)


@needs_sigkill
def test_recovery_after_the_server_was_killed(data):
    with using(data):
        psql("CREATE TABLE kept AS SELECT 7 AS number", SPARKIFY_PGDATA=data)
        killed = server_pid(data)
        os.kill(killed, signal.SIGKILL)
        assert psql("SELECT number FROM kept", SPARKIFY_PGDATA=data) == "7"
        wait_until_gone(killed)
    assert server_pid(data) is None  # stopped by a process that had started another one
    assert_works_and_stops(data)


KILL = """
import os, select, signal, psycopg2
from sparkify.postgres import connection, embedded

def kill():
    text = (embedded.data_folder() / "postmaster.pid").read_text()
    os.kill(int(text.split()[0]), signal.SIGKILL)

def connect_and_kill(**parameters):
    psycopg2.connect = connect
    conn = connect(**parameters)
    kill()
    select.select([conn], [], [])
    return conn

connect = psycopg2.connect
"""


@needs_sigkill
@pytest.mark.parametrize(
    "when",
    ["connection.connect().close(); kill()", "psycopg2.connect = connect_and_kill"],
    ids=["between-two-connections", "while-connecting"],
)
def test_a_process_whose_server_was_killed_starts_another(data, when):
    connect = "conn = connection.connect(None, 20, connection.ServerUnreachable)"
    lines = [KILL, when, connect, "print(conn.info.dbname)"]
    result = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=PROJECT,
        env=environment_of(SPARKIFY_PGDATA=data),
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (0, "sparkifydb\n"), result.stderr
    assert all("can't connect" in line for line in result.stderr.splitlines())


@needs_sigkill
def test_a_server_that_is_killed_while_it_starts_is_told(tmp_path):
    data = tmp_path / "pg"
    assert run("create_tables.py", SPARKIFY_PGDATA=data).returncode == 0
    (data / "recovery.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as file:
        file.write("restore_command = 'kill -9 $(head -n 1 postmaster.pid)'\n")
    result = run("create_tables.py", SPARKIFY_PGDATA=data)
    words = [f"can't start in {data}: it ended while it was starting", str(data / "log")]
    assert_fails_in_one_line(result, *words)


def test_processes_that_start_at_once_share_the_server(tmp_path):
    commands = [[sys.executable, PROJECT / "create_tables.py"]] * 2
    environment = environment_of(SPARKIFY_PGDATA=tmp_path / "pg")
    processes = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert 0 in [process.returncode for process in processes]
    assert all("at work" in line for line in without_waiting("".join(said)))
    assert_works_and_stops(tmp_path / "pg")


def make_file(folder):
    (folder / "file").write_text("mine")
    return folder / "file"


def make_file_as_parent(folder):
    return make_file(folder) / "pg"


def make_other_folder(folder):
    make_file(folder)
    return folder


def name_read_only_folder(folder):
    if IS_ROOT:
        return "/proc/sparkify/pg"
    folder.chmod(0o500)
    return folder / "more" / "pg"


def make_folder_of_another_version(folder):
    (folder / "PG_VERSION").write_text("16\n")
    return folder


def name_shell_variable(folder):
    return folder / "$HOME"


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (make_file, "it is a file"),
        (make_file_as_parent, "file"),
        (make_other_folder, "neither empty nor a Postgres data folder"),
        (name_read_only_folder, ""),
        (name_shell_variable, "in a path"),
        (
            make_folder_of_another_version,
            "it was made by PostgreSQL 16, and the server is 18; set SPARKIFY_PGDATA to a new "
            "folder and load the files there, or dump it with the old version: docs/operations.md",
        ),
    ],
)
def test_unusable_data_folder_is_told_in_one_line(tmp_path, place, reason):
    data = place(tmp_path)
    owners = [path.stat().st_uid for path in (tmp_path, *tmp_path.iterdir())]
    result = run("create_tables.py", SPARKIFY_PGDATA=data)
    remedy = "" if "16" in reason else "set SPARKIFY_PGDATA to another folder"
    assert_fails_in_one_line(result, data, reason, remedy, "a server of your own")
    assert [path.stat().st_uid for path in (tmp_path, *tmp_path.iterdir())] == owners


@pytest.mark.skipif(not IS_ROOT, reason="only root can make a folder another user's")
def test_data_folder_of_another_user_is_left_alone(tmp_path):
    (tmp_path / "pg").mkdir()
    os.chown(tmp_path / "pg", 65534, -1)
    result = run("create_tables.py", SPARKIFY_PGDATA=tmp_path / "pg")
    assert_fails_in_one_line(result, "belongs to another user", "SPARKIFY_PGDATA")
    assert (tmp_path / "pg").stat().st_uid == 65534


@unix_only
def test_a_data_folder_that_was_opened_is_told(data):
    data.chmod(0o755)
    result = run("create_tables.py", SPARKIFY_PGDATA=data)
    data.chmod(0o700)
    assert_fails_in_one_line(result, "has invalid permissions; ", f"run chmod 700 {data}, or")
    assert_works_and_stops(data)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("-n 32", "insufficient file descriptors available to start server process; let this"),
        ("-v 150000", "could not map anonymous shared memory: Cannot allocate memory; let this"),
    ],
)
def test_limits_that_are_too_low_are_told(data, limit, words):
    command = shlex.join([sys.executable, str(PROJECT / "create_tables.py")])
    script = f"ulimit {limit}; exec {command}"
    result = subprocess.run(
        ["sh", "-c", script],
        env=environment_of(SPARKIFY_PGDATA=data),
        capture_output=True,
        text=True,
    )
    assert_fails_in_one_line(result, f"can't start in {data}: {words}", f"ulimit {limit[:2]}")
    assert "another folder" not in result.stderr


def run_as_nobody(script, *arguments, user="nobody", **variables):
    """Run a script as the user `nobody`; skip where that one can't read this Python or another."""
    packages = Path(psycopg2.__file__).parent.parent
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        with contextlib.suppress(PermissionError, FileNotFoundError):
            return subprocess.run(
                [python, *script_of(script), *arguments],
                env=environment_of(PYTHONPATH=f"{PROJECT}{os.pathsep}{packages}", **variables),
                cwd="/",
                user=user,
                group=65534,
                extra_groups=[],
                capture_output=True,
                text=True,
            )
    pytest.skip("the user nobody may not read this Python")


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_second_user_has_a_server_too(data):
    with using(data), tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 65534, -1)
        result = run_as_nobody("create_tables.py", SPARKIFY_PGDATA=f"{folder}/pg", HOME=folder)
        assert (result.stderr, result.returncode) == ("", 0)
        assert server_pid(Path(folder) / "pg") is None
        result = run_as_nobody("sparkify", "psql", SPARKIFY_PGDATA=data, HOME=folder)
        assert_fails_in_one_line(result, "SPARKIFY_PGDATA")
        assert psql("SELECT 1", SPARKIFY_PGDATA=data) == "1"


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_a_user_without_a_name_is_told():
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, 54321, -1)
        result = run_as_nobody("create_tables.py", user=54321, SPARKIFY_PGDATA=f"{folder}/pg")
    words = (
        "could not look up effective user ID 54321: user does not exist; give this user id a name"
    )
    assert_fails_in_one_line(result, words)


@pytest.mark.skipif(not IS_ROOT, reason="only root lets another user run the server")
def test_programs_that_were_installed_for_root_alone_are_opened(tmp_path, monkeypatch):
    files = ["package/18/bin/initdb", "package/18/share/a/sample", "package.libs/libpq.so"]
    paths = [tmp_path / file for file in files]
    for path, mode in zip(paths, (0o711, 0o600, 0o711), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.chmod(mode)
    folders = [path for path in (tmp_path, *tmp_path.rglob("*")) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o700)
    (tmp_path / "pg").mkdir()
    found = {programs.VERSION: paths[0].parent}
    monkeypatch.setattr(programs, "program_folders", lambda: found)
    programs.admit_os_user(tmp_path / "pg")
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o755, 0o644, 0o755]
    modes = [stat.S_IMODE(folder.stat().st_mode) for folder in folders]
    assert modes == [0o711] + [0o755] * (len(folders) - 1)


@pytest.mark.parametrize("arguments", [["SELECT 1"], ["-At", "SELECT 1"], ["-c", "", "SELECT 1"]])
def test_a_query_that_psql_would_drop_is_told(capsys, arguments):
    assert __main__.main(["psql", *arguments]) == 2
    remedy = f"to run a query, write {command('-m sparkify psql -c')} 'SELECT 1'"
    assert capsys.readouterr().err == f"sparkify: psql would drop 'SELECT 1'; {remedy}\n"


@pytest.mark.parametrize(
    "arguments", [["-c", "x"], ["-Atc", "x"], ["-v", "a=b", "--file", "x"], ["--csv"], ["--new"]]
)
def test_psql_gets_its_options(arguments):
    psql_module.require_options(arguments)


@pytest.mark.parametrize("how", [thorough("PGTZ"), "role"])
def test_sessions_are_in_utc_whatever_the_user_or_the_role_says(tcp, how):
    assert call("create_tables.py", **tcp).returncode == 0
    variables = {"PGTZ": "US/Pacific"} if how == "PGTZ" else {}
    setting = "SET timezone TO 'US/Pacific'" if how == "role" else "RESET timezone"
    psql(f"ALTER ROLE CURRENT_USER {setting}", **tcp)
    code = "from sparkify.postgres import connection; c = connection.connect().cursor(); "
    code += "c.execute('SHOW timezone'); print(c.fetchone()[0])"
    try:
        assert psql("SHOW timezone", **tcp | variables) == "UTC"
        environment = environment_of(**tcp | variables)
        command = [sys.executable, "-c", code]
        result = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True)
        assert (result.stdout.strip(), result.stderr) == (b"UTC", b"")
    finally:
        psql("ALTER ROLE CURRENT_USER RESET timezone", **tcp)
