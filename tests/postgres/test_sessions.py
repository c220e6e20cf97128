"""What a server, a database or a role is set to changes no table, or is named with its remedy."""

import contextlib
import re
import tempfile
from pathlib import Path

import pytest
from records import event, read_tables, song, write_data, write_lines
from scripts import PROJECT, assert_fails_in_one_line, call, thorough
from servers import QUOTED, connect_until_ready, free_port, running_server

from sparkify.load import by_rows
from sparkify.postgres import connection, locks, watchdog

# Each other than the scripts need it.
HOSTILE = {
    "TimeZone": "Asia/Tokyo",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "-10",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "20s",
    "lock_timeout": "20s",
    "idle_in_transaction_session_timeout": "20s",
    "transaction_timeout": "20s",
    "idle_session_timeout": "20s",
    "session_replication_role": "replica",
    "row_security": "on",
    "standard_conforming_strings": "off",  # with which psycopg2 copes
}
NEEDED = connection.SESSION_SETTINGS | connection.LOAD_SETTINGS
OPERATIONS = (PROJECT / "docs/operations.md").read_text(encoding="utf-8")


def test_each_setting_that_is_needed_is_tried_and_documented():
    assert NEEDED.keys() < HOSTILE.keys()
    assert [name for name in NEEDED if f"`{name}`" not in OPERATIONS] == []


@pytest.fixture
def late(tmp_path):
    """Two data folders: plays, and then the songs of some, which only exact numbers match."""
    exact = {"length": 0.1 + 0.2}
    plays = [event(**exact), event(ts=1, song="Other"), event(ts=2, song=None, artist=None)]
    unknown = dict.fromkeys(["location", "userAgent", "song", "artist", "length"])
    plays += [event(ts=3) | unknown, event(ts=4, location="a\\b'c")]
    first = write_data(tmp_path / "first", [song(song_id="SO9", title="None")], plays)
    songs = [song(duration=0.1 + 0.2), song(song_id="SO2", title="Other", artist_latitude=None)]
    second = write_data(tmp_path / "second", songs)
    write_lines(second / "log_data" / "again.json", [event(ts=3, level="paid") | unknown])
    return first, second


@pytest.fixture
def hostile(server):
    """Has all sessions in sparkifydb begin with the settings above."""
    with contextlib.closing(connection.connect("postgres")) as conn, conn.cursor() as cur:
        conn.autocommit = True
        for name, value in HOSTILE.items():
            cur.execute(f"ALTER DATABASE sparkifydb SET {name} = '{value}'")
        yield
        cur.execute("ALTER DATABASE sparkifydb RESET ALL")
        cur.execute("ALTER DATABASE sparkifydb SET timezone TO 'UTC'")


FOUND = """
CREATE TABLE found (settings JSONB);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.found SELECT jsonb_object_agg(name, setting) FROM pg_settings;
    RETURN NULL;
END $$;
CREATE TRIGGER noted AFTER INSERT ON artists EXECUTE FUNCTION note()
"""


def test_the_tables_are_the_same_whatever_is_set(
    night, late, conn, cur, expect, request, loader, monkeypatch
):
    for folder in late:
        night(folder, "--load", loader)
    expected = read_tables(cur)
    expect(late[0])  # leaves them empty
    cur.execute(FOUND)
    conn.commit()
    request.getfixturevalue("hostile")
    monkeypatch.setenv("PGOPTIONS", "-c extra_float_digits=0")
    for folder in late:
        assert night(folder, "--load", loader)[::2] == (0, [])
    assert read_tables(cur) == expected
    assert sorted(play[3] or "" for play in expected["songplays"]) == ["", "", "", "SO1", "SO2"]
    cur.execute("SELECT settings FROM found")
    for (found,) in cur.fetchall():
        assert {name: found[name] for name in NEEDED} == NEEDED
    cur.execute("DROP TABLE found; DROP FUNCTION note CASCADE")
    conn.commit()


def test_the_checks_and_answers_are_the_same_whatever_is_set(sample, request):
    commands = [["check"], ["ask", "1"], ["ask", "20", "--json"]]
    variables = {"DATABASE_URL": url_of("postgres")}
    expected = [call("sparkify", *words, **variables).stdout for words in commands]
    assert "passed" in expected[0]
    request.getfixturevalue("hostile")
    variables["DATABASE_URL"] += "&client_encoding=LATIN1"
    assert [call("sparkify", *words, **variables).stdout for words in commands] == expected


def test_time_limits_that_end_a_question_are_told(sample):
    """What the server says of them, psycopg2 2.9.13 doesn't pass on."""
    with contextlib.closing(connection.connect()) as conn, conn.cursor() as cur:
        cur.execute("ALTER DATABASE sparkifydb SET transaction_timeout = '300ms'")
        conn.commit()
        cur.execute("LOCK TABLE songplays")
        result = call("sparkify", "ask", "1", DATABASE_URL=url_of("postgres"))
        conn.rollback()
        cur.execute("ALTER DATABASE sparkifydb RESET transaction_timeout")
        conn.commit()
    said = "the time limits of role postgres are transaction_timeout = 300ms"
    assert_fails_in_one_line(result, "lost the connection to sparkifydb on /", said)


# Where it can't be had


def url_of(role):
    own = connection.server_parameters()
    return f"postgresql://{role}@/sparkifydb?host={own['host']}&port={own['port']}"


@pytest.fixture
def loader_role(conn, cur):
    """The URL of a role that may read and write all tables."""
    cur.execute("CREATE ROLE plain LOGIN")
    cur.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO plain")
    conn.commit()
    yield url_of("plain")
    conn.rollback()
    cur.execute(
        "DROP OWNED BY plain; DROP ROLE plain; ALTER TABLE users DISABLE ROW LEVEL SECURITY"
    )
    conn.commit()


POLICY = "ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON users USING (true)"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "ALTER ROLE plain SET default_transaction_read_only = on",
            "default_transaction_read_only is on",
        ),
        (
            "ALTER ROLE plain SET session_replication_role = replica",
            'permission denied to set parameter "session_replication_role" (sparkifydb on ',
        ),
    ],
)
def test_what_a_role_may_not_set_is_named_with_its_remedy(
    night, late, conn, cur, loader_role, monkeypatch, statement, said
):
    cur.execute(statement)
    conn.commit()
    monkeypatch.setenv("DATABASE_URL", loader_role)
    status, output, [error] = night(late[0])
    assert (status, output) == (1, "")
    assert said in error
    assert_fails_in_one_line(call("create_tables.py", DATABASE_URL=loader_role), said)
    cur.execute(re.search(r'; .*have an administrator run (ALTER ROLE "plain" .*)$', error)[1])
    conn.commit()
    assert night(late[0])[0] == 0


@pytest.mark.parametrize("how", ["rows", thorough("copy")])
def test_rows_that_a_policy_may_hide_are_not_left_out(
    night, late, conn, cur, loader_role, monkeypatch, how
):
    cur.execute(POLICY)
    conn.commit()
    monkeypatch.setenv("DATABASE_URL", loader_role)
    status, _, [error] = night(late[0], "--load", how)
    assert status == 1
    assert 'affected by row-level security policy for table "users" (role plain of' in error
    assert error.endswith("docs/operations.md says under Roles what to grant")
    cur.execute("ALTER ROLE plain BYPASSRLS")
    conn.commit()
    assert night(late[0], "--load", how)[0] == 0


@pytest.mark.thorough
def test_a_standby_is_told_before_any_file(late):
    port = free_port()
    url = f"postgresql://admin:{QUOTED}@127.0.0.1:{port}"
    name = tempfile.TemporaryDirectory(prefix="sparkify-standby-")
    with name as folder, running_server(Path(folder), port, standby=True):
        connect_until_ready(f"{url}/postgres").close()
        for script in (["etl.py", late[0]], ["create_tables.py"]):
            result = call(*script, DATABASE_URL=f"{url}/postgres")
            said = f"postgres on 127.0.0.1:{port} (from DATABASE_URL) is a standby, which takes"
            assert_fails_in_one_line(result, said, "connect to the primary server")


# A pool that has a standby answer what only reads, such as pgpool-II


def test_what_a_load_must_not_ask_a_standby_locks():
    """The rest of a transaction goes where its locking query went, its SELECTs too."""
    first = [locks.session_lock_select, locks.load_lock_select, watchdog.read_only_select]
    for query in [*first, f"{by_rows.row_counts_select} FOR SHARE"]:
        assert query.rstrip().endswith("FOR SHARE")
