"""Least privilege: what the documents' roles can do and can't, and who reaches the embedded server.

For as long as these tests run, sparkifydb belongs to a role that is no superuser, and the SQL in
docs/operations.md is run in it as it stands.
"""

import contextlib
import json
import os
import re
import stat
import subprocess
import tempfile
from pathlib import Path

import psutil
import psycopg2
import pytest
from psycopg2 import errors, sql
from records import event, read_tables, song, write_data, write_lines
from scripts import PROJECT, assert_fails_in_one_line, call, run, thorough
from servers import IS_ROOT, server_pid, using

import create_tables
import etl
from sparkify.analysis.questions import DEFAULTS, analytics_queries
from sparkify.checks.rules import sanity_check_queries
from sparkify.postgres import connection, programs
from sql_queries import table_names

OWNER, LOADER, READER = "sparkify", "sparkify_loader", "sparkify_reader"
OPERATIONS = (PROJECT / "docs/operations.md").read_text(encoding="utf-8")
ROLES = re.compile(rf"```sql\n(CREATE ROLE {LOADER}\b.*?)```", re.DOTALL)
OWN_DATABASE = f"CREATE DATABASE sparkifydb OWNER {OWNER} TEMPLATE template0 ENCODING 'UTF8'"
NO_PRIVILEGES = """
    REVOKE ALL ON DATABASE sparkifydb FROM PUBLIC;
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
"""


# The roles


def connect(role, dbname="sparkifydb"):
    return psycopg2.connect(**connection.server_parameters() | {"user": role, "dbname": dbname})


@contextlib.contextmanager
def session(role="postgres", dbname="sparkifydb"):
    """A cursor of a role, by default the superuser, whose every statement takes effect at once."""
    with contextlib.closing(connect(role, dbname)) as conn, conn.cursor() as cur:
        conn.autocommit = True
        yield cur


def as_role(role):
    """Return the environment variables that connect a script to the tests' server as a role."""
    parameters = connection.server_parameters()
    return {"PGHOST": parameters["host"], "PGPORT": parameters["port"], "PGUSER": role}


def drop_everything():
    with session(dbname="postgres") as cur:
        cur.execute("DROP DATABASE IF EXISTS sparkifydb WITH (FORCE)")
        for role in (READER, LOADER, OWNER):
            cur.execute(f"DROP ROLE IF EXISTS {role}")


@contextlib.contextmanager
def new_roles(preparation=""):
    """Create the database, its owner, the tables and the documents' roles for the block's time."""
    drop_everything()
    try:
        with session(dbname="postgres") as cur:
            cur.execute(f"CREATE ROLE {OWNER} LOGIN")
            cur.execute(OWN_DATABASE)
        reset_tables()
        with session() as cur:
            cur.execute(preparation + ROLES.search(OPERATIONS)[1])
        yield
    finally:
        drop_everything()
        create_tables.create_database()[1].close()


@pytest.fixture(scope="module")
def roles(server):
    assert ROLES.search(OPERATIONS), f"docs/operations.md doesn't show how to create {LOADER}"
    with new_roles():
        yield


@pytest.fixture
def tables(roles):
    """Empty tables, made by their owner after the roles: by default they have what they need."""
    reset_tables()


@pytest.fixture
def filled(tables, data):
    """Tables that their owner has filled."""
    for folder in data:
        load_as_owner(folder)


def load_as_owner(folder):
    with contextlib.closing(connect(OWNER)) as conn:
        for kind, func in etl.PROCESS.items():
            etl.process_data(conn.cursor(), conn, folder / f"{kind}_data", func)


def reset_tables():
    with contextlib.closing(connect(OWNER)) as conn:
        create_tables.reset_tables(conn.cursor(), conn)


# Loading


@pytest.fixture
def data(tmp_path):
    """Two data folders, of which the second one changes rows of the first: renamed, outranked."""
    songs = [song(), song(song_id="SO2", title="Other", artist_id="AR2")]
    events = [event(), event(ts=1, song="Unheard of"), event(ts=2, location=None, song="Later")]
    folder = write_data(tmp_path / "first", songs, events)
    songs = [song(title="Slow River (Live)"), song(song_id="SO3", title="Later")]
    events = [event(ts=2, song="Later"), event(ts=3, level="paid"), event(ts=4, userId="9")]
    events += [event(page="Home"), event(page="Home", status=404)]
    return folder, write_data(tmp_path / "second", songs, events)


def load(folder, *arguments, role=LOADER):
    """Load a folder as a role, and return what etl.py said."""
    result = call("etl.py", folder, *arguments, cwd=folder, **as_role(role))
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def load_both(data, *arguments, role=LOADER):
    """Load the folders one after the other, and return the tables."""
    for folder in data:
        load(folder, *arguments, role=role)
    return run_and_read(read_tables)


@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_the_loader_loads_what_the_owner_does(filled, data, loader):
    expected = run_and_read(read_tables)
    reset_tables()
    assert load_both(data, "--load", loader) == expected
    assert len(expected["songplays"]) == 5


@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_the_loader_finds_nothing_new_and_reads_all_again(filled, data, loader):
    assert "\nNothing new\n" in load(data[1], "--load", loader)
    assert load(data[1], "--load", loader, "--all").count("  +0\n") == 7


def test_the_loader_leaves_the_keys_of_empty_tables_alone(tables, data):
    before = read_objects()
    load_both(data, "--load", "copy")
    assert read_objects() == before


def read_objects():
    """Return what changes if a table, an index or a key is made anew."""
    with session() as cur:
        cur.execute("SELECT oid FROM pg_constraint UNION SELECT oid FROM pg_class ORDER BY oid")
        return cur.fetchall()


def test_the_loader_can_retry_lines_set_aside(tables, data):
    path = write_lines(data[0] / "log_data" / "more.json", [event(ts=99, level=None)])
    assert call("etl.py", data[0], cwd=data[0], **as_role(LOADER)).returncode == 3
    rejects = data[0] / "rejected.jsonl"
    entry = json.loads(rejects.read_text())
    assert entry["file"] == path
    rejects.write_text(json.dumps(entry | {"text": json.dumps(event(ts=99))}) + "\n")
    result = call("etl.py", "--retry", rejects, **as_role(LOADER))
    assert (result.returncode, result.stderr) == (0, "")
    assert rejects.read_text() == ""


@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_the_roles_suffice_where_nothing_is_granted_to_all(server, roles, data, loader):
    with session() as cur:
        cur.execute(NO_PRIVILEGES)
        try:
            reset_tables()
            assert len(load_both(data, "--load", loader)["songplays"]) == 5
            with session(READER) as reader:
                reader.execute("SELECT count(*) FROM listening")
        finally:
            cur.execute("GRANT CONNECT, TEMPORARY ON DATABASE sparkifydb TO PUBLIC")
            cur.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")


@pytest.mark.parametrize("privilege", ["SELECT", "INSERT", "UPDATE", "DELETE"])
def test_the_loader_has_no_privilege_that_it_does_not_need(tables, data, privilege):
    load_as_owner(data[0])
    with session() as cur:
        cur.execute(f"REVOKE {privilege} ON ALL TABLES IN SCHEMA public FROM {LOADER}")
    result = call("etl.py", data[1], cwd=data[1], **as_role(LOADER))
    assert result.returncode == 1
    assert "permission denied for table" in result.stderr


@pytest.mark.parametrize(
    ("role", "privileges"), [(LOADER, "DELETE INSERT SELECT UPDATE"), (READER, "SELECT")]
)
def test_the_roles_have_these_privileges_on_tables_and_may_not_grant_them(tables, role, privileges):
    query = """
        SELECT DISTINCT privilege_type, is_grantable
        FROM information_schema.role_table_grants
        WHERE grantee = %s
        ORDER BY 1
    """
    with session() as cur:
        cur.execute(query, (role,))
        assert cur.fetchall() == [(name, "NO") for name in privileges.split()]


@pytest.mark.parametrize("role", [LOADER, READER])
def test_the_roles_have_no_powers_over_the_server(tables, role):
    query = """
        SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
               pg_has_role(rolname, %s, 'member')
        FROM pg_roles
        WHERE rolname = %s
    """
    with session() as cur:
        cur.execute(query, (OWNER, role))
        assert cur.fetchall() == [(False,) * 6]


# What is refused


ON_EACH_TABLE = {
    LOADER: ["DROP TABLE {} CASCADE", "TRUNCATE {} CASCADE", "ALTER TABLE {} ADD COLUMN x INT"]
    + [
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "CREATE INDEX ON {} ((1))",
        "COMMENT ON TABLE {} IS ''",
    ]
    + [f"ALTER TABLE {{}} OWNER TO {LOADER}"],
}
ON_EACH_TABLE[READER] = ON_EACH_TABLE[LOADER] + [
    "DELETE FROM {}",
    "INSERT INTO {} DEFAULT VALUES",
    "LOCK TABLE {} IN EXCLUSIVE MODE",
    "COPY {} FROM STDIN",
]
ANYWHERE = [
    "CREATE TABLE mine (id INT)",
    "CREATE TABLE mine AS SELECT * FROM users",
    "CREATE VIEW mine AS SELECT * FROM users",
    "CREATE FUNCTION mine() RETURNS INT LANGUAGE sql RETURN 1",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "DROP VIEW listening",
    "CREATE OR REPLACE VIEW listening AS SELECT 1 AS songplay_id",
    "ALTER DATABASE sparkifydb SET timezone TO 'Asia/Tokyo'",
    "SELECT setval('songplays_songplay_id_seq', 1)",
    "SELECT nextval('songplays_songplay_id_seq')",
    f"SET ROLE {OWNER}",
    "COPY users TO '/tmp/users'",
    "SELECT pg_read_file('PG_VERSION')",
]
UPDATES = [
    "UPDATE songplays SET level = 'paid'",
    "UPDATE users SET level = 'paid'",
    "UPDATE songs SET year = 0",
    "UPDATE artists SET location = ''",
    "UPDATE time SET hour = 0",
    "UPDATE unmatched_songplays SET title = ''",
    "UPDATE loaded_files SET size = 0",
    "SELECT * FROM users FOR UPDATE",
]


def statements_refused(role):
    each = [text.format(table) for text in ON_EACH_TABLE[role] for table in table_names]
    return each + ANYWHERE + (UPDATES if role == READER else [])


@pytest.mark.parametrize("role", [LOADER, READER])
def test_all_else_is_refused(filled, role):
    before = run_and_read(read_tables), read_objects()
    allowed = []
    with session(role) as cur:
        for statement in statements_refused(role):
            if not is_refused(cur, statement):
                allowed.append(statement)
    assert allowed == []
    assert (run_and_read(read_tables), read_objects()) == before


def is_refused(cur, statement):
    """Tell whether a statement is refused for want of a privilege, undoing it if it is not."""
    cur.execute("BEGIN")
    try:
        if statement.endswith("FROM STDIN"):
            with open(os.devnull) as nothing:
                cur.copy_expert(statement, nothing)
        else:
            cur.execute(statement)
        return False
    except errors.InsufficientPrivilege:
        return True
    finally:
        cur.execute("ROLLBACK")


def run_and_read(function):
    with session() as cur:
        return function(cur)


@pytest.mark.parametrize("role", [LOADER, READER])
def test_only_the_owner_resets_the_tables(filled, role):
    before = run_and_read(read_tables)
    result = call("create_tables.py", **as_role(role))
    assert_fails_in_one_line(result, "must be owner of", "connect as the owner")
    assert run_and_read(read_tables) == before


@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_the_reader_cannot_load_and_is_told_in_one_line(tables, data, loader):
    result = call("etl.py", data[0], "--load", loader, cwd=data[0], **as_role(READER))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "permission denied for" in result.stderr
    assert f"(role {READER} of sparkifydb on /" in result.stderr
    assert "docs/operations.md says under Roles what to grant" in result.stderr
    assert not any(run_and_read(read_tables).values())


@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_a_role_whose_sessions_are_read_only_is_told_the_remedy(tables, data, loader):
    with session() as cur:
        setting = "default_transaction_read_only"
        cur.execute(f"ALTER ROLE {LOADER} IN DATABASE sparkifydb RESET {setting}")
        cur.execute(f"ALTER ROLE {LOADER} SET {setting} TO on")
        result = call("etl.py", data[0], "--load", loader, cwd=data[0], **as_role(LOADER))
        [said] = result.stderr.splitlines()
        assert "sparkifydb on /" in said
        assert "takes no changes: default_transaction_read_only is on" in said
        cur.execute(re.search("run (ALTER ROLE .*)", said)[1])
    load(data[0], "--load", loader)


def test_a_retry_names_the_grants_too(tables, tmp_path):
    entry = {"file": "/x/log_data/x.json", "line": 1, "reason": "", "text": json.dumps(event())}
    write_lines(tmp_path / "rejected.jsonl", [entry])
    result = call("etl.py", "--retry", "rejected.jsonl", cwd=tmp_path, **as_role(READER))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert f"(role {READER} of sparkifydb on /" in result.stderr


# Reading


def test_the_reader_asks_all_that_analysts_ask(filled):
    with session(READER) as cur:
        for question, query in analytics_queries.items():
            cur.execute(query, {"user_id": 8, "limit": 10} | DEFAULTS)
            assert cur.description, question


def test_the_reader_reads_every_table(filled):
    with session(READER) as cur:
        for relation in (*table_names, "listening"):
            cur.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(relation)))
            may_be_empty = relation in ("rejected_lines", "load_runs")
            assert cur.fetchone()[0] > 0 or may_be_empty, relation


@pytest.mark.parametrize("role", [READER, LOADER])
def test_the_sanity_checks_pass_for_each_role(filled, role):
    result = call("sparkify", "check", **as_role(role))
    passed = f"All {len(sanity_check_queries)} sanity checks passed\n"
    assert (result.returncode, result.stdout, result.stderr) == (0, passed, "")


@pytest.mark.parametrize("lacking", ["songplays", "loaded_files"])
def test_the_sanity_checks_are_not_made_without_the_right_to_read(filled, lacking):
    with session() as cur:
        cur.execute(f"REVOKE SELECT ON {lacking} FROM {READER}")
    result = call("sparkify", "check", **as_role(READER))
    assert_fails_in_one_line(result, f"permission denied for table {lacking}", f"role {READER}")


def test_the_sanity_checks_are_not_made_without_a_way_into_the_schema(filled):
    with session() as cur:
        cur.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
        cur.execute(f"REVOKE USAGE ON SCHEMA public FROM {READER}")
        result = call("sparkify", "check", **as_role(READER))
        cur.execute(f"GRANT USAGE ON SCHEMA public TO PUBLIC, {READER}")
    assert_fails_in_one_line(result, f"has no table songplays that {READER} can see")


def test_the_roles_may_be_named_in_a_url(filled):
    own = connection.server_parameters()
    url = f"postgresql://{READER}@/sparkifydb?host={own['host']}&port={own['port']}"
    result = run(
        "sparkify", "psql", "-XAtc", "SELECT current_user, count(*) FROM users", DATABASE_URL=url
    )
    assert (result.stdout, result.returncode) == (f"{READER}|2\n", 0)


# The embedded server

unix_only = pytest.mark.skipif(os.name == "nt", reason="sockets and modes are those of Unix")


@pytest.fixture(scope="module", params=[thorough("pg"), "with a space/pg"])
def own_server(request):
    """The data folder and the socket's folder of an embedded server that runs."""
    with tempfile.TemporaryDirectory(prefix="sparkify-db-") as folder:
        data = Path(folder) / request.param
        with using(data):
            # As the server says itself: to ask embedded.socket_folder would close the folder.
            sockets = Path((data / "postmaster.pid").read_text().splitlines()[4])
            yield data, sockets
        if sockets != data:
            sockets.rmdir()


@unix_only
def test_the_embedded_server_keeps_its_folders_closed_to_others(own_server):
    for folder in own_server:
        mode = stat.S_IMODE(folder.stat().st_mode)
        assert mode & (stat.S_IRWXG | stat.S_IRWXO) == 0, f"{folder}: {mode:o}"
        assert folder.stat().st_uid in programs.own_user_ids()


@unix_only
def test_the_embedded_server_listens_on_no_network(own_server):
    data, sockets = own_server
    connection = psutil.Process(server_pid(data))
    processes = [connection, *connection.children(recursive=True)]
    ports = [c for process in processes for c in process.net_connections("inet") if c.laddr]
    assert [c for c in ports if c.status == psutil.CONN_LISTEN] == []
    with contextlib.closing(psycopg2.connect(host=sockets, user="postgres")) as conn:
        cur = conn.cursor()
        cur.execute("SHOW listen_addresses")
        assert cur.fetchone() == ("",)


def run_psql(folder, **options):
    """Run the psql that comes with the server, by its socket."""
    command = [psql_program(), "-X", "-h", folder, "-U", "postgres", "-c", "SELECT 1"]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, env={}, **options)


def psql_program():
    return programs.program_folders()[18] / "psql"


@unix_only
@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_another_user_of_the_machine_cannot_connect(own_server):
    _, sockets = own_server
    nobody = {"user": "nobody", "group": 65534, "extra_groups": []}
    try:
        subprocess.run([psql_program(), "--version"], cwd="/", check=True, **nobody)
    except PermissionError:
        pytest.skip("the user nobody may not run this psql")
    result = run_psql(sockets, **nobody)
    assert result.returncode == 2
    assert "Permission denied" in result.stderr
    assert run_psql(sockets).returncode == 0
