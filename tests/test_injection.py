"""Injection: no value, path, name or setting becomes SQL: each arrives as it is, and no more.

Statements get values as parameters or in COPY's binary format, and names as identifiers. These
tests try to break out of all of them, then compare whole tables and the list of what there is.
"""

import contextlib
import json
import os
import sys
from urllib.parse import quote

import psycopg2
import pytest
from psycopg2 import sql
from records import event, load_file, moment, read_tables, song, write_data, write_lines
from scripts import PROJECT, call, run, thorough

import create_tables
from sparkify import errors
from sparkify.analysis.questions import analytics_queries
from sparkify.load import by_copy
from sparkify.postgres import connection, embedded, locks
from sparkify.postgres.locks import load_lock_select

NASTY = [
    *("'; DROP TABLE users; --", "'); DELETE FROM songs; --", "' OR '1'='1", "''", "'", "\\'; --"),
    *('"; DROP TABLE users; --', '"', "$1", "$1$2", "%s", "%(x)s", "%", "%%", "%1$s", "{}", "{0}"),
    *("{0.__class__}", "\\.", "\\.\n", "a\n\\.\nb", "\n", "\r\n\\.\r\n", "\\N", "\\", "ends in \\"),
    *("$$; DROP TABLE users; $$", "$$", "$x$ $x$", "$statement_1$", "E'\\x27'", "U&'\\0027'"),
    *("\u2019; DROP TABLE users; --", "\uff07; --", "\u02bc", "\xbf\x27", "/* */", "/*", "--", ";"),
    *("NULL", "null", "None", "NaN", "nan", "infinity", "-infinity", "now", "epoch", "DEFAULT"),
    *(
        "{NULL}",
        '{"a",NULL}',
        "(1,2)",
        "t",
        "0",
        "\t",
        "\x01",
        "\x7f\x1b[31m",
        ":x",
        "@x",
        "PGCOPY\n",
    ),
    *("\\set x 1", "\\! true", "EXECUTE statement_1", "', NULL, ARRAY['", "\ufeff", "\x85\u2028"),
]


@pytest.fixture(autouse=True)
def nothing_else_changes(conn, cur):
    """Check after each test that there is what was there before: databases, roles, relations."""
    before = list_objects(cur)
    yield
    conn.rollback()
    assert list_objects(cur) == before


def list_objects(cur):
    """Return what there is on the server and in the database, but for the rows of the tables."""
    cur.execute(
        """
        SELECT 'database', datname::text, datistemplate::text FROM pg_database
        UNION ALL
        SELECT 'role', rolname, rolsuper::text FROM pg_roles
        UNION ALL
        SELECT 'schema', nspname, '' FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
        UNION ALL
        SELECT 'function', proname, pronamespace::regnamespace::text FROM pg_proc
        UNION ALL
        SELECT 'column', attrelid::regclass::text || '.' || attname, atttypid::regtype::text
        FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND attnum > 0
        UNION ALL
        SELECT 'key', conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
        ORDER BY 1, 2, 3
        """
    )
    objects = cur.fetchall()
    cur.connection.rollback()
    return objects


# Values


def nasty_song(text, **changes):
    fields = ("song_id", "artist_id", "title", "artist_name", "artist_location")
    return song(**dict.fromkeys(fields, text), duration=9.5, **changes)


def nasty_event(number, text, **changes):
    """Return an event of a user of its own, all of whose other texts are this one."""
    fields = ("firstName", "lastName", "gender", "level", "location", "userAgent", "song", "artist")
    own = {"userId": str(number), "ts": number, "sessionId": number, "length": 9.5}
    return event(**dict.fromkeys(fields, text) | own | changes)


def unmatched_event(number, text):
    return nasty_event(number + len(NASTY), text, length=1.5)


REGISTERED = moment(event()["registration"])


def nasty_view(number, text):
    fields = ("page", "method", "auth", "level", "location", "userAgent")
    fields += ("firstName", "lastName", "gender", "tag")
    own = {"userId": "", "ts": number, "sessionId": number, "itemInSession": None}
    return event(**dict.fromkeys(fields, text) | own)


def nasty_tables(title_end=""):
    """Return the tables that hold all nasty texts, the songs with something after their titles."""
    texts, numbers = sorted(NASTY, key=str.encode), range(2 * len(NASTY))
    plays = [(n, text, 9.5 if n < len(NASTY) else 1.5) for n, text in enumerate(NASTY * 2)]
    waiting = plays if title_end else plays[len(NASTY) :]
    lost = {number for number, *_ in waiting}
    return {
        "songplays": [
            (
                moment(n),
                n,
                text,
                *((None,) * 2 if n in lost else (text,) * 2),
                n,
                text,
                text,
                length,
            )
            for n, text, length in plays
        ],
        "users": [(number, text, text, text, text) for number, text, _ in plays],
        "songs": [(text, text + title_end, text, 1999, 9.5, text) for text in texts],
        "artists": [(text, text, text, 35.14968, -90.04892) for text in texts],
        "time": [(moment(number), 0, 1, 52, 1, 2000, 5) for number in numbers],
        "unmatched_songplays": [(n, moment(n), n, text, text) for n, text, _ in waiting],
        "page_views": [
            (moment(n), None, n, None, text, text, 200, *[text] * 7, REGISTERED, text)
            for n, text in enumerate(NASTY)
        ],
    }


def write_nasty_files(folder, size, title_end=""):
    """Yield files of so many lines that hold each nasty text in each field for text."""
    songs = [nasty_song(text) | {"title": text + title_end} for text in NASTY]
    makers = (nasty_event, unmatched_event, nasty_view)
    events = [make(*pair) for make in makers for pair in enumerate(NASTY)]
    for kind, records in (("song", songs), ("log", events)):
        for start in range(0, len(records), size):
            yield write_lines(folder / f"{kind}{start}.json", records[start : start + size])


@pytest.mark.parametrize("size", [1000, 9], ids=["prepared", "one by one"])
def test_text_arrives_as_it_is_by_rows(conn, cur, tmp_path, size):
    for path in write_nasty_files(tmp_path, size):
        assert load_file(cur, conn, path, "rows").rejected == 0
    assert read_tables(cur) == nasty_tables()


@pytest.mark.parametrize("is_direct", [True, False], ids=["straight", "by staging"])
def test_text_arrives_as_it_is_by_copy(conn, cur, tmp_path, monkeypatch, is_direct):
    if not is_direct:
        monkeypatch.setattr(by_copy, "drop_constraints", lambda cur: [])
    songs, plays = write_nasty_files(tmp_path, 1000)
    if is_direct:  # which plays are only while there is nothing else
        load_file(cur, conn, plays, "copy")
    load_file(cur, conn, songs, "copy")
    load_file(cur, conn, plays, "copy")
    assert read_tables(cur) == nasty_tables()


@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_text_is_compared_released_and_matched_as_it_is(conn, cur, tmp_path, loader):
    songs, plays = write_nasty_files(tmp_path, 1000)
    for path in (plays, songs, plays):
        load_file(cur, conn, path, loader)
    assert read_tables(cur) == nasty_tables()
    renamed, _ = write_nasty_files(tmp_path / "renamed", 1000, title_end="\U0010ffff")
    load_file(cur, conn, renamed, loader)
    assert read_tables(cur) == nasty_tables("\U0010ffff")


NUMBERS = ["ts", "sessionId", "length", "userId"]


@pytest.mark.parametrize("loader", ["rows", "copy"])
@pytest.mark.parametrize("field", NUMBERS)
def test_text_where_a_number_belongs_is_set_aside(conn, cur, tmp_path, loader, field):
    texts = [text for text in NASTY if text != "0"]
    lines = [event(), *(event(**{field: text}) for text in texts)]
    tally = load_file(cur, conn, write_lines(tmp_path / "log.json", lines), loader)
    assert (tally.records, tally.rejected) == (1, len(texts))
    assert [row[1] for row in read_tables(cur)["songplays"]] == [8]


@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_a_page_of_any_name_is_no_play(conn, cur, tmp_path, loader):
    lines = [event(page=text) for text in NASTY]
    tally = load_file(cur, conn, write_lines(tmp_path / "log.json", lines), loader)
    assert (tally.records, tally.page_views, tally.rejected) == (len(NASTY), len(NASTY), 0)


@pytest.mark.parametrize("question", [name for name, q in analytics_queries.items() if "%(" in q])
def test_what_an_analyst_asks_for_is_a_value(conn, cur, tmp_path, question):
    load_file(cur, conn, write_lines(tmp_path / "log.json", [event()]), "rows")
    values = {"user_id": NASTY[0], "limit": 1, "time_zone": NASTY[0]}
    with pytest.raises(psycopg2.DataError):
        cur.execute(analytics_queries[question], values)


# Paths and arguments

NAMES = [text for text in NASTY if os.name != "nt" and "/" not in text]


@pytest.fixture
def etl(tmp_path):
    """Runs etl.py in a folder of its own; returns its exit status and output."""
    folder = tmp_path / "current"
    folder.mkdir()

    def run_etl(*arguments):
        result = call(
            "etl.py", *arguments, cwd=folder, SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"]
        )
        assert result.stderr == ""
        return result.returncode, result.stdout

    return run_etl


@pytest.fixture
def data(tmp_path):
    """A data folder all of whose names are nasty, and so is what each file holds."""
    folder = tmp_path / "".join(NAMES[:6]) / "%s {} $1 \n"
    for number, name in enumerate(NAMES):
        write_lines(folder / "song_data" / f"{name}.json", [nasty_song(name)])
        lines = [nasty_event(number, name), f"bad {name!r}"]
        write_lines(folder / "log_data" / name / f"{name}.json", lines)
    return folder


@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_files_may_have_any_name(etl, data, cur, tmp_path, loader):
    status, output = etl(data, "--load", loader)
    assert status == 3
    assert output.startswith(f"Loading {data} into ")
    cur.execute("SELECT uri, kind, rows_loaded, lines_set_aside FROM loaded_files")
    assert set(cur) == {
        (str(data / folder / name), kind, 1, kind == "log")
        for kind, folder, name in (
            *(("song", "song_data", f"{name}.json") for name in NAMES),
            *(("log", "log_data", f"{name}/{name}.json") for name in NAMES),
        )
    }
    tables = read_tables(cur)
    assert [row[0] for row in tables["songs"]] == sorted(NAMES, key=str.encode)
    assert [(row[1], row[3]) for row in tables["songplays"]] == list(enumerate(NAMES))
    rejects = (tmp_path / "current" / "rejected.jsonl").read_text().splitlines()
    entries = {(entry["file"], entry["text"]) for entry in map(json.loads, rejects)}
    logs = data / "log_data"
    assert entries == {(str(logs / name / f"{name}.json"), f"bad {name!r}") for name in NAMES}
    assert "\nNothing new\n" in etl(data, "--load", loader)[1]


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE users; --", "%s%(x)s{0}$1", thorough("\\N\n\\."), thorough("-")]
)
def test_rejects_and_retried_files_may_have_any_name(etl, cur, tmp_path, name):
    folder = write_data(tmp_path / "data", [song()], [event()])
    write_lines(folder / "log_data" / "bad.json", [event(ts=1, level=None)])
    status, output = etl(folder, f"--rejects={name}")
    assert (status, f"see {name}\n" in output) == (3, True)
    assert os.listdir(tmp_path / "current") == [name]
    path = tmp_path / "current" / name
    entry = json.loads(path.read_text())
    corrected = json.dumps(nasty_event(1, name))
    path.write_text(json.dumps(entry | {"file": f"/log_data/{name}.json", "text": corrected}))
    assert etl(f"--retry={name}")[0] == 0
    assert read_tables(cur)["users"] == [(1, *[name] * 4), (8, "Ada", "Reyes", "F", "free")]


# Settings

DATABASES = [
    *('x"; DROP DATABASE victim; --', "x'; DROP DATABASE victim; --", "%s%(x)s{}\\$1", "VICTIM"),
    *("a \u2019b", "dbname=victim", "postgresql://x/victim", "victim?x#y&dbname=z"),
]


@contextlib.contextmanager
def administrator():
    """A cursor whose every statement takes effect at once, outside of what the tests compare."""
    with contextlib.closing(connection.connect("postgres")) as conn, conn.cursor() as cur:
        conn.autocommit = True
        yield cur


def url_of(name, **parameters):
    """Return the DATABASE_URL of a database on the tests' server."""
    own = connection.server_parameters()
    named = {"host": own["host"], "port": own["port"], "user": own["user"]} | parameters
    query = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in named.items())
    return f"postgresql:///{quote(name, safe='')}?{query}"


@pytest.fixture
def victim(conn, nothing_else_changes):
    """A database to be left alone; all others that are made meanwhile go at the end."""
    with administrator() as cur:
        cur.execute("SELECT datname FROM pg_database")
        before = set(cur)
        cur.execute("CREATE DATABASE victim")
        try:
            yield "victim"
        finally:
            cur.execute("SELECT datname FROM pg_database")
            for (name,) in set(cur) - before:
                cur.execute(sql.SQL("DROP DATABASE {} (FORCE)").format(sql.Identifier(name)))


def list_databases():
    with administrator() as cur:
        cur.execute("SELECT datname FROM pg_database")
        return {name for (name,) in cur}


def read_settings():
    """Return the settings of databases and roles, by name."""
    with administrator() as cur:
        cur.execute(
            "SELECT datname, setconfig FROM pg_db_role_setting "
            "JOIN pg_database ON pg_database.oid = setdatabase"
        )
        return dict(cur)


@pytest.mark.parametrize("name", [DATABASES[0], *map(thorough, DATABASES[1:])])
def test_a_database_may_have_any_name(victim, tmp_path, name):
    before, settings = list_databases(), read_settings()
    url = url_of(name)
    folder = write_data(tmp_path / "data", [song()], [event()])
    for script, *arguments in (["create_tables.py"], ["etl.py", folder], ["sparkify", "check"]):
        result = call(script, *arguments, cwd=tmp_path, DATABASE_URL=url)
        assert (result.returncode, result.stderr) == (0, "")
    assert list_databases() == before | {name}
    assert read_settings() == settings | {name: ["TimeZone=UTC"]}
    query = "SELECT count(*) FROM songplays WHERE current_database() = :'DBNAME'"
    (tmp_path / "query.sql").write_text(query)
    result = run("sparkify", "psql", "-XAtf", tmp_path / "query.sql", DATABASE_URL=url)
    assert (result.stdout, result.stderr) == ("1\n", "")


@pytest.mark.parametrize("name", ['missing"; CREATE ROLE mine; --', "missing'; --", "%s {} $1"])
def test_a_database_that_is_missing_is_named_as_it_is(name):
    for script in (["etl.py"], ["sparkify", "check"], ["sparkify", "psql"]):
        result = call(*script, DATABASE_URL=url_of(name))
        assert result.returncode == 1
        assert f"there is no database {name} on " in result.stderr


APPLICATIONS = ["'; DROP TABLE users; --", '"; --', "%s %(x)s % {} {0}", "$1 $$ \\N \\.", "--x"]


@pytest.mark.parametrize("name", APPLICATIONS)
@pytest.mark.parametrize("setting", [thorough("PGAPPNAME"), "DATABASE_URL", "program"])
def test_an_application_may_have_any_name(tmp_path, name, setting):
    code = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
from sparkify.postgres import connection
cur = connection.connect().cursor()
cur.execute("SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()")
print(cur.fetchone()[0])
"""
    path = tmp_path / (name if setting == "program" else "program.py")
    path.write_text(code)
    variables = {
        "PGAPPNAME": {"DATABASE_URL": url_of("sparkifydb"), "PGAPPNAME": name},
        "DATABASE_URL": {"DATABASE_URL": url_of("sparkifydb", application_name=name)},
        "program": {"DATABASE_URL": url_of("sparkifydb")},
    }
    result = run(path, **variables[setting])
    assert (result.stdout, result.stderr) == (f"{name}\n", "")


@pytest.mark.parametrize("name", APPLICATIONS)
def test_who_is_in_the_way_is_named_as_it_is(conn, cur, monkeypatch, capsys, name):
    monkeypatch.setattr(create_tables, "LOCK_TIMEOUT", "50ms")
    with contextlib.closing(psycopg2.connect(url_of("sparkifydb", application_name=name))) as other:
        other.cursor().execute("SELECT FROM users")
        with pytest.raises(errors.ServerError, match="in use by") as raised:
            create_tables.reset_tables(cur, conn)
        assert f", {name}, idle in transaction)" in str(raised.value)
        other.cursor().execute(load_lock_select)
        with pytest.raises(errors.ServerError) as raised:
            locks.wait_for_turn(cur, load_lock_select, patient=False)
        assert f", {name}, idle in transaction)" in str(raised.value)


@pytest.fixture
def role(conn, nothing_else_changes):
    """A superuser of a nasty name."""
    name = "x'; DROP TABLE users; --\" %s {} $1"
    with administrator() as cur:
        cur.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN").format(sql.Identifier(name)))
        yield name
        cur.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        cur.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_role_may_have_any_name(role, cur, tmp_path):
    folder = write_data(tmp_path / "data", [song()], [event()])
    url = url_of("sparkifydb", user=role)
    result = call("etl.py", folder, "--load", "copy", cwd=tmp_path, DATABASE_URL=url)
    assert (result.returncode, result.stderr) == (0, "")
    result = run("sparkify", "psql", "-XAtc", "SELECT current_user", DATABASE_URL=url)
    assert result.stdout == f"{role}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="not all systems take such names")
def test_the_data_folder_of_the_server_may_have_such_a_name_too(tmp_path):
    data = tmp_path / "'; DROP TABLE users; -- %s %(x)s {}" / "pg"
    assert run("create_tables.py", SPARKIFY_PGDATA=data).returncode == 0
    query = "SELECT count(*) FROM users"
    result = run("sparkify", "psql", "-XAtc", query, SPARKIFY_PGDATA=data)
    assert (result.stdout, result.stderr) == ("0\n", "")
    embedded.socket_folder(data).rmdir()
