"""Loading by COPY: the same as row by row, whatever the data and whatever happens meanwhile."""

import contextlib
import itertools
import json
import os
import threading
from types import SimpleNamespace

import psycopg2
import pytest
from records import (
    LOAD,
    LONG_AGO,
    event,
    listed,
    load_paths,
    read_tables,
    song,
    without_times,
    write_data,
    write_lines,
)
from scripts import thorough

import create_tables
import etl
from sparkify import errors
from sparkify.load import by_copy, constraints
from sparkify.postgres import connection
from sparkify.read import blocks, extract, files
from sparkify.run.summary import Run

MINUTE = 60_000
OWN_TABLE = "CREATE TABLE mine.favourites (song_id TEXT REFERENCES songs, note TEXT)"


@pytest.fixture
def add(conn, cur):
    """Adds what a user might: anything that can be dropped with a table, or with schema mine."""

    def add_to_schema(statements):
        cur.execute(f"CREATE SCHEMA IF NOT EXISTS mine; {statements}")
        conn.commit()

    yield add_to_schema
    conn.rollback()
    cur.execute("DROP EVENT TRIGGER IF EXISTS refusal")
    cur.execute("DROP SCHEMA IF EXISTS mine CASCADE; DROP PUBLICATION IF EXISTS changes")
    conn.commit()


@pytest.fixture
def other(conn):
    """The cursor of a second connection."""
    with contextlib.closing(connection.connect()) as conn_of_other:
        yield conn_of_other.cursor()


def load_all(cur, conn, paths, loader):
    """Load files of both kinds, told by their folder, by the named loader; return the Tallies."""
    paths = list(map(str, paths))
    songs = [path for path in paths if "song_data" in path]
    logs = [path for path in paths if "song_data" not in path]
    return load_paths(cur, conn, {"song": songs, "log": logs}, loader).tallies


def load_folder(cur, conn, folder, loader="copy"):
    return load_all(cur, conn, sorted(folder.rglob("*.json")), loader)


def tables_by_rows(cur, conn, folder):
    """Return the tables that loading a folder row by row gives, and leave them as they are made."""
    load_folder(cur, conn, folder, "rows")
    tables = read_tables(cur)
    create_tables.reset_tables(cur, conn)
    return tables


def read_definitions(cur):
    """Return constraints, indexes and columns by name, as Postgres would have them written."""
    cur.execute(
        """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated
        FROM pg_constraint
        WHERE connamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'mine'))
        UNION ALL
        SELECT tablename, indexname, indexdef, true
        FROM pg_indexes
        WHERE schemaname IN ('public', 'mine')
        UNION ALL
        SELECT attrelid::regclass::text, attname, format('%s %s', attidentity, attnotnull), true
        FROM pg_attribute
        WHERE attrelid IN ('songplays'::regclass, 'time'::regclass, 'unmatched_songplays'::regclass)
          AND attnum > 0
        UNION ALL
        SELECT indrelid::regclass::text, indexrelid::regclass::text,
               format('%s %s %s', indisreplident, indisclustered, obj_description(indexrelid)), true
        FROM pg_index
        WHERE indrelid IN ('songplays'::regclass, 'time'::regclass, 'unmatched_songplays'::regclass)
        ORDER BY 1, 2, 3
        """
    )
    return cur.fetchall()


def read_constraint_oids(cur):
    """Return what changes if a constraint is dropped and made anew."""
    cur.execute("SELECT oid FROM pg_constraint ORDER BY oid")
    return cur.fetchall()


def read_loaded_files(cur):
    cur.execute("SELECT uri, kind, size, rows_loaded, lines_set_aside FROM loaded_files ORDER BY 1")
    return cur.fetchall()


def read_ids(cur):
    cur.execute("SELECT songplay_id FROM songplays ORDER BY songplay_id")
    return [songplay_id for (songplay_id,) in cur]


# The same from the same data


TEXTS = [
    *("tab\there", "back\\slash", "\"both\" 'quotes'", "\\N", "\\.", "two\nlines", "end\r\n"),
    *("🎵 e\u0301 é", "NaN", "null", "Infinity", "", " ", "{}", "%s", "a,b", "\u2028", "\x01\x7f"),
]
BROKEN = [
    *('{"cut', b'{"page": "\xff"}', "[]", "1", "null", "{} {}", '{"ts": NaN}', "}", "NaN", "\0"),
    *('{"ts": 1, "ts": 2}', '{"song_id": "S", "song_id": "S"}'),
]
BAD_SONGS = [
    *(song(title=None), song(song_id=""), song(artist_id="x" * 257), song(year=2**31)),
    *(song(title="a\0b"), song(year="1999"), song(duration="1"), song(title=True), song(year=1.5)),
    *(song(artist_name=None), song(duration=None), {}, song(artist_latitude=float("inf"))),
    json.dumps(song(year=77)).replace("218.93179", "1e400"),
]
BAD_EVENTS = [
    *(event(userId="08"), event(userId="2147483648"), event(userId="-1"), event(userId=8.5)),
    *(event(userId=""), event(sessionId=None), event(sessionId=2**63), event(sessionId=1.5)),
    *(event(level=None), event(ts=-1), event(ts=extract.LAST_MS + 1), event(ts="1")),
    *(event(page=None), event(firstName="a\0b"), event(length=float("inf")), event(song=["x"])),
]


@pytest.fixture
def hostile(tmp_path):
    """A data folder with all that can be wrong or odd about files, lines, records and values."""
    odd_songs = [
        song(song_id=f"T{n}", artist_id=f"A{n}", title=text, artist_name=text, artist_location=text)
        for n, text in enumerate(TEXTS)
    ]
    folder = write_data(tmp_path / "data", odd_songs)
    songs, logs = folder / "song_data", folder / "log_data"
    contradicting = [
        *(song(year=0), song(title="Z"), song(title="Slow River"), song(title="Y", year=None)),
        *(song(artist_name="Ferrymen", artist_location=None), song(song_id="SO0", year=None)),
        *(song(song_id="SO2", artist_id="AR2", artist_name=name) for name in ("B", "A", "C")),
        *(song(song_id="SO3", artist_id=f"AR{n}", year=n) for n in (1, 2, 0)),
    ]
    limits = [
        song(song_id="S" * 256, artist_id="é" * 256, title="Long", duration=1e30, year=-(2**31)),
        song(song_id="SO4", title="Short", duration=1e-30, year=2**31 - 1),
        song(song_id="SO5", title="None", duration=-0.0),
        song(song_id="SO6", title="x" * 5000),
    ]
    many = contradicting + [song(song_id=f"M{n % 20}", title=f"{n}") for n in range(30)] + limits
    write_lines(songs / "many.json", [*many, "bad", *many[::-1]])
    rivals = [song(song_id="SO9", title=t, artist_id="AR9", artist_name=t) for t in "BCA"]
    write_lines(songs / "rivals.json", rivals)
    write_lines(songs / "bad.json", BROKEN + BAD_SONGS)
    write_lines(songs / "breaks.json", ["", song(song_id="W1"), " \t", "cut", "\r", ""])
    write_lines(songs / "mark.json", [b"\xef\xbb\xbf" + json.dumps(song(song_id="BOM")).encode()])

    details = [{}, {"level": "paid"}, {"location": None}, {"song": "Other"}, {"length": None}]
    plays = [event(ts=n, userId=str(n % 3), sessionId=n % 2) for n in range(12)]
    again = [play | detail for play in plays for detail in details]
    one_moment = [
        event(ts=99, userId="5", sessionId=1, level="paid"),
        event(ts=99, userId="5", sessionId=2, level="free", lastName="Z"),
        event(ts=99, userId="5", sessionId=3, level="free", gender=None),
        event(ts=98, userId="5", lastName="Older"),
    ]
    odd_plays = [
        event(ts=1000 + n, song=text, artist=text, location=text, userAgent=text, level=text)
        for n, text in enumerate(TEXTS)
    ]
    limits = [
        event(ts=0, sessionId=2**63 - 1, userId="0", song="Long", length=1e30),
        event(ts=extract.LAST_MS, sessionId=-(2**63), userId="2147483647"),
        event(ts=5000, song="Short", length=1e-30),
        event(ts=5001, song="None", length=0.0),
        event(ts=5002, song="None", length=-0.0),
        event(ts=5003, song="x" * 5000),
        event(ts=5004, song=None, artist=None, length=None, userAgent=None, gender=None),
    ]
    unheard = [event(ts=6000 + n % 5, song=f"Unheard of {n}") for n in range(20)]
    home = event(page="Home", userId="", level=None, song=None, method="GET")
    rivals = [home, home | {"status": 404}, home | {"location": None}, home | {"userId": "8"}]
    numbered = [home | {"itemInSession": n} for n in (None, 2**31 - 1, -(2**31))]
    odd_views = [
        home | {"page": text, "method": text, "auth": text, "level": text, "location": text}
        for text in TEXTS
    ]
    other_pages = [*rivals, *numbered, *odd_views, *rivals[::-1], *odd_views[:3], home]
    write_lines(logs / "all.json", [*plays, *again, *BROKEN, *BAD_EVENTS, *limits, *again[::-1]])
    write_lines(logs / "bad.json", BROKEN + BAD_EVENTS)
    write_lines(logs / "breaks.json", [json.dumps(play) + "\r" for play in one_moment])
    write_lines(logs / "empty.json", [])
    write_lines(logs / "mark.json", [b"\xef\xbb\xbf" + json.dumps(event(ts=7000)).encode(), ""])
    write_lines(logs / "odd.json", odd_plays)
    write_lines(logs / "pages.json", other_pages)
    write_lines(
        logs / "twice.json",
        [*rivals[2:], *again[::2], *one_moment, *unheard, *plays, *odd_plays[::-1]],
    )
    return folder


def test_hostile_data_gives_the_same_by_both_loaders(
    night, hostile, conn, cur, tmp_path, monkeypatch
):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 9000)
    assert sum(path.stat().st_size > 3 * 9000 for path in hostile.rglob("*.json")) >= 3
    outcomes = []
    for loader, way in (("rows", ""), ("copy", "straight"), ("copy", "by staging")):
        create_tables.reset_tables(cur, conn)
        folder = tmp_path / (loader + way)
        folder.mkdir()
        if way == "by staging":
            monkeypatch.setattr(by_copy, "drop_constraints", lambda cur: [])
        monkeypatch.chdir(folder)
        status, output, errors = night(hostile, "--load", loader)
        assert errors == []
        lines = output.replace(etl.HOW[loader], "").splitlines()
        rejects = without_times((folder / "rejected.jsonl").read_text())
        tables = read_tables(cur) | {"loaded_files": read_loaded_files(cur)}
        outcomes.append((tables, rejects, lines[:-1], status, errors))
        conn.commit()
    assert outcomes[0] == outcomes[1]
    assert outcomes[0] == outcomes[2]
    tables, rejects, _, status, errors = outcomes[0]
    assert (status, errors) == (3, [])
    assert len(rejects) == 2 * len(BROKEN + BAD_EVENTS) + len(BROKEN + BAD_SONGS) + 2
    for entry in map(json.loads, rejects):
        with open(entry["file"], "rb") as file:
            line = next(itertools.islice(file, entry["line"] - 1, None))
        assert entry["text"].encode(errors="surrogateescape") == line.strip()
    assert len(tables["unmatched_songplays"]) > 5
    assert len(tables["loaded_files"]) == len(TEXTS) + 5 + 8
    texts = {play[6] for play in tables["songplays"]}
    assert texts.issuperset(TEXTS)
    assert {view[4] for view in tables["page_views"]} == {"Home", *TEXTS}
    assert len(tables["page_views"]) == 5 + len(TEXTS)
    matched = {play[3] for play in tables["songplays"]}
    assert matched.issuperset({f"T{n}" for n in range(len(TEXTS))} | {"S" * 256, None})

    status, output, _ = night(hostile, "--load", "copy", "--all")
    assert (status, output.count("  +0\n")) == (3, 7)
    assert read_tables(cur) | {"loaded_files": read_loaded_files(cur)} == tables
    assert without_times((folder / "rejected.jsonl").read_text()) == rejects


def test_minus_zero_is_stored_and_ranked_the_same(conn, cur, tmp_path):
    songs = [
        song(artist_latitude=-0.0, artist_longitude=5.0, duration=-0.0),
        song(artist_latitude=0.0, artist_longitude=3.0, duration=0.0),
        song(song_id="SO2", artist_id="AR2", artist_latitude=-0.0, duration=-0.0),
    ]
    folder = write_data(tmp_path, songs, [event(length=-0.0), event(ts=1, song="?", length=-0.0)])
    expected = tables_by_rows(cur, conn, folder)
    load_folder(cur, conn, folder)
    assert repr(read_tables(cur)) == repr(expected)


def test_a_play_that_is_logged_over_and_over_is_not_compared_in_pairs(conn, cur, tmp_path):
    load_paths(cur, conn, {"log": [write_lines(tmp_path / "first.json", [event()])]}, "copy")
    again = [event(ts=1, itemInSession=number, location=f"{number}") for number in range(20_000)]
    path = write_lines(tmp_path / "again.json", again)
    cur.execute("SET statement_timeout = '20s'")  # pairs took minutes
    load_paths(cur, conn, {"log": [path]}, "copy")
    cur.execute("SELECT location FROM songplays ORDER BY start_time LIMIT 1")
    assert cur.fetchall() == [("9999",)]
    cur.execute("RESET statement_timeout")


def test_the_end_of_the_year_9999_loads_where_it_is_the_next_year_already(cur, tmp_path, loader):
    folder = write_data(tmp_path, [song()], [event(ts=extract.LAST_MS)])
    with contextlib.closing(connection.connect()) as far_east:
        far_east.cursor().execute("SET timezone TO 'Pacific/Kiritimati'")
        far_east.commit()
        load_all(far_east.cursor(), far_east, [folder / "song_data" / "000.json"], loader)
        load_all(far_east.cursor(), far_east, [folder / "log_data" / "events.json"], loader)
    assert len(read_tables(cur)["songplays"]) == 1


@pytest.mark.parametrize("table", ["artists", "songs", "users", "time", "songplays"])
def test_tables_may_have_more_columns(conn, cur, tmp_path, add, loader, table):
    add(f"ALTER TABLE {table} ADD COLUMN note TEXT NOT NULL DEFAULT 'none'")
    load_folder(cur, conn, write_data(tmp_path, [song()], [event()]), loader)
    cur.execute(f"SELECT note FROM {table}")
    assert cur.fetchall() == [("none",)]


# Into empty tables


@pytest.fixture
def small(tmp_path):
    """A data folder with a matched and an unmatched play, and plays given twice."""
    events = [event(), event(ts=1, song="Other"), event(ts=2), event(ts=1, song="Other")]
    folder = write_data(tmp_path / "data", [song(), song(song_id="SO2", title="?")], events)
    write_lines(folder / "log_data" / "more.json", [event(ts=2), event(ts=3), event()])
    return folder


def refusal_of(event, rows):
    """Return an event trigger that refuses where a query in its function gives rows."""
    return f"""
        CREATE FUNCTION mine.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN IF EXISTS ({rows}) THEN RAISE EXCEPTION 'not here'; END IF; END $$;
        CREATE EVENT TRIGGER refusal ON {event} EXECUTE FUNCTION mine.refuse()
    """


ADDITIONS = {
    "nothing": "",
    "a partial index": "CREATE INDEX ON songplays (user_agent DESC) WHERE level = 'paid'",
    "a unique index": "CREATE UNIQUE INDEX ON time (start_time) INCLUDE (hour)",
    "a check": "ALTER TABLE songplays ADD CONSTRAINT \"O'Hara's\" CHECK (session_id > 0)",
    "a key": "ALTER TABLE songplays ADD UNIQUE (start_time, user_id, session_id) DEFERRABLE",
    "a name": 'ALTER TABLE songplays RENAME CONSTRAINT songplays_pkey TO "Key of plays"',
    "a lax foreign key": """
        ALTER TABLE songplays DROP CONSTRAINT songplays_user_id_fkey;
        ALTER TABLE songplays ADD FOREIGN KEY (user_id) REFERENCES users NOT VALID
    """,
    "a table with songs": OWN_TABLE,
    "a table with plays": """
        CREATE TABLE mine.notes (play BIGINT REFERENCES songplays ON DELETE SET NULL)
    """,
    "a table in partitions": f"""
        {OWN_TABLE} PARTITION BY LIST (note);
        CREATE TABLE mine.some PARTITION OF mine.favourites FOR VALUES IN ('a')
    """,
    "moments in partitions": """
        ALTER TABLE songplays DROP CONSTRAINT songplays_start_time_fkey;
        ALTER TABLE time SET SCHEMA mine;
        CREATE TABLE public.time (LIKE mine.time INCLUDING ALL) PARTITION BY RANGE (start_time);
        CREATE TABLE mine.moments PARTITION OF public.time DEFAULT;
        ALTER TABLE songplays ADD FOREIGN KEY (start_time) REFERENCES public.time
    """,
    "a view": """
        CREATE VIEW mine.levels AS SELECT songplay_id, level FROM songplays GROUP BY songplay_id
    """,
    "a replica identity": "ALTER TABLE songplays REPLICA IDENTITY USING INDEX songplays_pkey",
    "a comment": "COMMENT ON INDEX songplays_start_time_idx IS 'for plays by time'",
    "a deferred trigger": """
        CREATE FUNCTION mine.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER noted AFTER INSERT ON songs DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION mine.note()
    """,
    "a publication": "CREATE PUBLICATION changes FOR ALL TABLES",
    "a trigger that refuses TRUNCATE": """
        CREATE FUNCTION mine.refuse() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''not here''; END';
        CREATE TRIGGER kept BEFORE TRUNCATE ON time EXECUTE FUNCTION mine.refuse()
    """,
    "an event trigger that refuses DROP": refusal_of(
        "sql_drop", "SELECT FROM pg_event_trigger_dropped_objects()"
    ),
    "an event trigger that refuses indexes": refusal_of(
        "ddl_command_end",
        "SELECT FROM pg_event_trigger_ddl_commands() AS made "
        "WHERE made.schema_name = 'public' AND made.command_tag = 'CREATE INDEX'",
    ),
}
ALIKE = {
    "a publication of a schema": "CREATE PUBLICATION changes FOR TABLES IN SCHEMA public",
    "a publication of page views": "CREATE PUBLICATION changes FOR TABLE page_views",
    "a publication of whole rows": """
        ALTER TABLE songplays REPLICA IDENTITY FULL;
        CREATE PUBLICATION changes FOR TABLE songplays WITH (publish = 'delete, truncate')
    """,
    "a child": "CREATE TABLE mine.older () INHERITS (songplays)",
    "an event trigger that refuses ALTER": refusal_of(
        "ddl_command_start", "SELECT WHERE tg_tag = 'ALTER TABLE'"
    ),
}


@pytest.mark.parametrize(
    "addition",
    [*ADDITIONS.values(), *map(thorough, ALIKE.values())],
    ids=[*ADDITIONS, *ALIKE],
)
def test_all_keys_and_indexes_are_there_afterwards(conn, cur, small, add, addition):
    expected = tables_by_rows(cur, conn, small)
    add(addition)
    before = read_definitions(cur)
    load_folder(cur, conn, small)
    assert read_definitions(cur) == before
    assert read_tables(cur) == expected


def test_where_no_table_can_be_created_rows_can_be_loaded(night, cur, small, add):
    add(refusal_of("ddl_command_start", "SELECT WHERE tg_tag LIKE 'CREATE TABLE%'"))
    status, _, [error] = night(small, "--load", "copy")
    remedy = (
        "nothing was loaded; --load rows creates no tables, and names the file that it stops at"
    )
    assert (status, error) == (1, f"etl.py: not here; {remedy}")
    assert night(small, "--load", "rows")[0] == 0
    assert len(read_tables(cur)["songplays"]) == 4


def test_keys_and_indexes_are_in_force_afterwards(conn, cur, tmp_path):
    definitions = read_definitions(cur)
    load_folder(cur, conn, write_data(tmp_path, [song()], [event(), event(ts=1, song="Other")]))
    assert read_definitions(cur) == definitions
    conn.commit()
    for statement in [
        "INSERT INTO time SELECT * FROM time",
        "UPDATE songplays SET start_time = '2018-01-01'",
        "UPDATE songplays SET user_id = 0",
        "UPDATE songplays SET song_id = 'nowhere'",
        "UPDATE unmatched_songplays SET songplay_id = -1",
        "DELETE FROM artists",
    ]:
        with pytest.raises(psycopg2.IntegrityError):
            cur.execute(statement)
        conn.rollback()


def test_rows_are_visible_to_all_so_that_indexes_alone_can_answer(conn, cur, tmp_path):
    events = [event(), event(ts=1, song="Other"), event(page="Home")]
    load_folder(cur, conn, write_data(tmp_path, [song()], events))
    cur.execute(
        "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relallvisible > 0",
        (constraints.FACT_TABLES,),
    )
    assert {name for (name,) in cur} == set(constraints.FACT_TABLES)


def test_numbers_of_plays_begin_at_1_and_go_on(conn, cur, tmp_path):
    for number, loader in enumerate(["copy", "rows", "copy", "rows"]):
        plays = [event(ts=10 * number + n) for n in range(10)]
        path = write_lines(tmp_path / f"{number}.json", plays)
        load_all(cur, conn, [path], loader)
        if number == 0:
            assert read_ids(cur) == list(range(1, 11))
    ids = read_ids(cur)
    assert len(ids) == 40
    cur.execute("SELECT songplay_id FROM songplays ORDER BY start_time")
    assert [songplay_id for (songplay_id,) in cur] == ids
    assert ids[-1] < 50


def test_numbers_of_plays_go_on_after_those_that_were_deleted(conn, cur, tmp_path):
    path = write_lines(tmp_path / "log.json", [event(ts=n) for n in range(10)])
    load_all(cur, conn, [path], "rows")
    cur.execute("TRUNCATE songplays, users, time, unmatched_songplays")
    conn.commit()
    load_all(cur, conn, [path], "copy")
    assert read_ids(cur)[0] > 10


# Beside other sessions


def test_filled_tables_can_be_read_until_the_load_commits(conn, cur, other, small, tmp_path):
    load_folder(cur, conn, small, "rows")
    before, definitions = read_tables(cur), read_definitions(cur)
    oids = read_constraint_oids(cur)
    conn.commit()
    new = write_data(tmp_path / "new", [song(song_id="SO3", title="Other")], [event(ts=9)])
    other.execute("SET statement_timeout = '1s'")
    seen = []

    def look_and_commit():
        seen.append((read_tables(other), read_definitions(other), read_constraint_oids(other)))
        other.connection.commit()
        conn.commit()

    load_folder(cur, SimpleNamespace(commit=look_and_commit), new)
    assert seen == [(before, definitions, oids)]
    after = read_tables(other)
    assert len(after["songplays"]) == len(before["songplays"]) + 1
    assert after["unmatched_songplays"] == []


def test_empty_tables_that_somebody_reads_are_loaded_all_the_same(
    conn, cur, other, small, monkeypatch
):
    expected = tables_by_rows(cur, conn, small)
    oids = read_constraint_oids(cur)
    conn.commit()
    monkeypatch.setattr(constraints, "READERS_SECONDS", 0.3)
    other.execute("SELECT FROM songplays")
    load_folder(cur, conn, small)
    assert read_tables(cur) == expected
    assert read_constraint_oids(cur) == oids
    cur.execute("SHOW lock_timeout")
    assert cur.fetchone() == ("0",)


@contextlib.contextmanager
def once_it_waits(conn, act):
    """Call a function, in a thread, as soon as this connection waits for a lock, if it does."""
    done = threading.Event()
    thread = threading.Thread(target=act_once_it_waits, args=(conn.info.backend_pid, act, done))
    thread.start()
    try:
        yield
    finally:
        done.set()
        conn.rollback()
        thread.join()


def act_once_it_waits(pid, act, done):
    with contextlib.closing(connection.connect()) as conn, conn.cursor() as watcher:
        while not done.wait(0.01):
            watcher.execute("SELECT FROM pg_locks WHERE pid = %s AND NOT granted", (pid,))
            if watcher.rowcount:
                act()
                break


def test_a_reader_of_empty_tables_who_goes_on_to_the_next_does_no_harm(
    conn, cur, other, small, monkeypatch
):
    expected = tables_by_rows(cur, conn, small)
    monkeypatch.setattr(constraints, "READERS_SECONDS", 0.3)
    cur.execute("SET deadlock_timeout = '100ms'")
    conn.commit()
    other.execute("SELECT FROM unmatched_songplays")

    def read_on():
        other.execute("SELECT FROM songplays")
        other.connection.commit()

    with once_it_waits(conn, read_on):
        load_folder(cur, conn, small)
    assert read_tables(cur) == expected


def test_tables_that_somebody_fills_before_they_are_locked_are_not_empty(
    conn, cur, other, small, monkeypatch
):
    expected = tables_by_rows(cur, conn, small)
    other.execute("INSERT INTO users VALUES (8, 'Zoe', 'Zorn', 'X', 'paid')")

    def fetch_value_and_commit(cur, query, *parameters):
        value = fetch_value(cur, query, *parameters)
        if query == constraints.tables_are_empty_select:
            other.connection.commit()
        return value

    fetch_value = constraints.fetch_value
    monkeypatch.setattr(constraints, "fetch_value", fetch_value_and_commit)
    load_folder(cur, conn, small)
    assert read_tables(cur) == expected


def test_somebody_who_reads_a_table_that_refers_to_ours_is_not_waited_for(
    conn, cur, add, other, small, monkeypatch
):
    monkeypatch.setattr(constraints, "READERS_SECONDS", 0.3)
    expected = tables_by_rows(cur, conn, small)
    add(OWN_TABLE)
    cur.execute("SET statement_timeout = '4s'")
    conn.commit()
    other.execute("SELECT FROM mine.favourites")
    load_folder(cur, conn, small)
    assert read_tables(cur) == expected


@pytest.fixture
def guest(conn, cur, other):
    """The second connection as a role that may read and write, but owns nothing."""
    cur.execute(
        """
        CREATE ROLE guest;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guest;
        GRANT USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA public TO guest;
        SET lock_timeout = '5s'
        """
    )
    conn.commit()
    other.execute("SET SESSION AUTHORIZATION guest")
    other.connection.commit()
    yield other
    other.connection.close()
    conn.rollback()
    cur.execute("DROP OWNED BY guest; DROP ROLE guest")
    conn.commit()


def test_who_owns_no_table_can_load_all_the_same(conn, cur, guest, small):
    load_folder(cur, conn, small, "rows")
    expected = read_tables(cur)
    cur.execute("DELETE FROM songplays; DELETE FROM users; DELETE FROM songs; DELETE FROM artists")
    cur.execute("DELETE FROM time; DELETE FROM loaded_files")
    oids, definitions = read_constraint_oids(cur), read_definitions(cur)
    conn.commit()
    load_folder(guest, guest.connection, small)
    assert read_tables(cur) == expected
    assert (read_constraint_oids(cur), read_definitions(cur)) == (oids, definitions)


# A load that dies


def end_session(patch):
    """Have the server end the load's connection between its plays."""
    load_log = by_copy.CopyLoader.load_log

    def load_log_twice(self, *parts):
        load_log(self, *parts)
        with contextlib.closing(connection.connect()) as other:
            pid = self.cur.connection.info.backend_pid
            other.cursor().execute("SELECT pg_terminate_backend(%s)", (pid,))
        load_log(self, *parts)

    patch.setattr(by_copy.CopyLoader, "load_log", load_log_twice)


def raise_at_the_end(patch):
    def fail(self):
        raise errors.LoadError("as the test wants it")

    patch.setattr(by_copy.CopyLoader, "finish", fail)


def do_nothing(patch):
    pass


@pytest.mark.parametrize("filled", [False, thorough(True)], ids=["empty", "filled"])
@pytest.mark.parametrize(
    ("fault", "check", "arguments", "message"),
    [
        (raise_at_the_end, None, [], "as the test wants it"),
        (end_session, None, [], "; what was committed stays, run it again"),
        (do_nothing, "songplays ADD CONSTRAINT bad CHECK (session_id <> 9)", [], "violates check"),
        (do_nothing, "users ADD CONSTRAINT bad CHECK (user_id <> 9)", [], "violates check"),
        (do_nothing, None, ["--strict"], "z.json, line 2: "),
    ],
    ids=["exception", "terminated", "check of plays", "check of users", "strict"],
)
def test_a_load_that_dies_leaves_everything_as_it_was(
    night, conn, cur, small, tmp_path, filled, fault, check, arguments, message
):
    if filled:
        load_folder(cur, conn, small, "rows")
    new = write_data(
        tmp_path / "new",
        [song(song_id="SO3", title="Other")],
        [event(ts=9), event(ts=1, song="Other")],
    )
    last = write_lines(new / "log_data" / "z.json", [event(userId="9", sessionId=9), '{"cut'])
    if check:
        cur.execute(f"ALTER TABLE {check}")
    before = read_tables(cur), read_definitions(cur), read_loaded_files(cur)
    conn.commit()
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        status, output, errors = night(new, "--load", "copy", *arguments)
    assert status == 1
    assert len(errors) == 1 and message in errors[0], errors
    assert output.count("\n") == (2 if filled else 1)  # a line says that these are another folder's
    assert (read_tables(cur), read_definitions(cur), read_loaded_files(cur)) == before
    if check:
        cur.execute(f"ALTER TABLE {check.split()[0]} DROP CONSTRAINT bad")
    conn.commit()
    status, output, errors = night(new, "--load", "copy")
    assert (status, errors) == (3, [])
    tables = read_tables(cur)
    assert len(tables["songplays"]) == len(before[0]["songplays"]) + (2 if filled else 3)
    assert [play[3] for play in tables["songplays"] if play[0].microsecond == 1000] == ["SO3"]
    assert last in {row[0] for row in read_loaded_files(cur)}


# Which loader


def test_much_data_goes_by_copy(monkeypatch):
    def files_of(*sizes):
        return [files.File("log", str(n), size, LONG_AGO) for n, size in enumerate(sizes)]

    most = etl.ROWS_BYTES
    assert [etl.choose_loader("auto", files_of(*sizes)) for sizes in [(), (most,), (most, 1)]] == [
        *("rows", "rows", "copy")
    ]
    assert etl.choose_loader("rows", files_of(most + 1)) == "rows"
    assert etl.choose_loader("copy", files_of(1)) == "copy"
    monkeypatch.setattr(etl, "ROWS_BYTES", 5)
    assert [etl.choose_loader("auto", files_of(*sizes)) for sizes in [(3, 2), (3, 3)]] == [
        *("rows", "copy")
    ]


def test_the_first_line_says_how_data_is_loaded(night, small, cur, monkeypatch):
    size = sum(path.stat().st_size for path in small.rglob("*.json"))
    monkeypatch.setattr(etl, "ROWS_BYTES", size - 1)
    status, output, errors = night(small)
    assert (status, errors) == (0, [])
    assert output.splitlines()[0].endswith(", by COPY")
    rows = len(read_tables(cur)["songplays"])
    cur.connection.commit()
    monkeypatch.setattr(etl, "ROWS_BYTES", size)
    status, output, errors = night(small, "--all")
    assert (status, errors) == (0, [])
    assert output.splitlines()[0].endswith(", row by row")
    assert len(read_tables(cur)["songplays"]) == rows == 4


# A large file that can't be read in its middle


@pytest.fixture
def torn(monkeypatch):
    """Makes some bytes of the files of this name unreadable: in the second block, or anywhere."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2000)
    read_lines = blocks.read_lines
    places = [2000, 4000]

    def read_torn_lines(file, storage):
        end = file.end or os.path.getsize(file.uri)
        if file.uri.endswith("torn.json") and any(file.start <= at < end for at in places):
            raise OSError(5, "Input/output error")
        return read_lines(file, storage)

    monkeypatch.setattr(blocks, "read_lines", read_torn_lines)
    return places


def large(**changes):
    return [event(ts=100 + n, location="x" * 400) | changes for n in range(12)]


def assert_leaves_out(cur, conn, capsys, folder, torn, loader):
    """Check that of a folder all is loaded but for the torn file; return the Tallies."""
    others = [path for path in sorted(folder.rglob("*.json")) if path != torn]
    load_all(cur, conn, others, "rows")
    expected = read_tables(cur), read_loaded_files(cur)
    create_tables.reset_tables(cur, conn)
    tallies = load_all(cur, conn, sorted([*others, torn]), loader)
    assert (read_tables(cur), read_loaded_files(cur)) == expected
    assert capsys.readouterr().err == f"etl.py: can't read {torn}: Input/output error\n"
    assert sum(tally.unreadable for tally in tallies.values()) == 1
    assert sum(tally.files for tally in tallies.values()) == len(others)
    return tallies


@pytest.mark.parametrize("places", [[2000], thorough([0]), thorough([4000]), [0, 2000, 4000]])
def test_a_torn_log_file_is_left_out_whole(conn, cur, small, torn, capsys, loader, places):
    torn[:] = places
    path = small / "log_data" / "g torn.json"
    write_lines(path, large(userId="77"))
    write_lines(small / "log_data" / "h.json", [event(ts=5)])
    assert_leaves_out(cur, conn, capsys, small, path, loader)


def test_a_torn_song_file_is_left_out_whole(conn, cur, small, torn, capsys, loader):
    path = small / "song_data" / "0 torn.json"
    write_lines(path, [song(song_id=f"X{n}", title="Other", year=0) for n in range(30)])
    assert_leaves_out(cur, conn, capsys, small, path, loader)


def test_the_moments_of_a_torn_file_are_those_of_the_next_file_too(
    conn, cur, small, torn, capsys, loader
):
    path = small / "log_data" / "g torn.json"
    write_lines(path, large())
    write_lines(small / "log_data" / "h.json", [event(ts=100), event(ts=101)])
    assert_leaves_out(cur, conn, capsys, small, path, loader)


def test_the_bad_lines_of_a_torn_file_are_not_set_aside(
    conn, cur, small, torn, capsys, tmp_path, loader
):
    path = small / "log_data" / "g torn.json"
    write_lines(path, ["bad", *large()])
    write_lines(small / "log_data" / "h.json", ["worse"])
    tallies = assert_leaves_out(cur, conn, capsys, small, path, loader)
    cur.execute("SELECT text FROM rejected_lines")
    assert [bytes(text) for (text,) in cur] == [b"worse"]
    assert tallies["log"].rejected == 1


def test_what_was_loaded_before_a_torn_file_is_told_and_set_aside_once(
    conn, cur, small, torn, capsys, tmp_path, loader
):
    logs = small / "log_data"
    write_lines(logs / "e.json", ["bad"])
    write_lines(logs / "g torn.json", large())
    write_lines(logs / "z.json", ["worse"])
    found = [listed("log", path) for path in sorted(logs.iterdir())]
    found.insert(0, files.File("log", str(logs / "missing.json"), 1))
    run = Run()
    LOAD[loader](cur, conn, found, run)
    tally = run.tallies["log"]
    assert len(capsys.readouterr().err.splitlines()) == tally.unreadable == 2
    cur.execute("SELECT count(*) FROM rejected_lines")
    assert cur.fetchone() == (tally.rejected,) == (2,)
    assert tally.files == 4


def test_small_files_that_cannot_be_read_are_left_out_of_their_block(
    conn, cur, small, torn, capsys, loader, monkeypatch
):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 20)
    torn[:] = [0]
    path = small / "log_data" / "g torn.json"
    write_lines(path, [event(ts=77)])
    assert_leaves_out(cur, conn, capsys, small, path, loader)


def test_readers_that_fail_for_no_fault_of_a_file_end_the_run(conn, cur, small, torn, loader):
    found = []
    for number in range(3):
        path = write_lines(small / "log_data" / f"{number}.json", large(userId=str(number)))
        found.append(listed("log", path))

    def read_some(files, *target):
        yield from itertools.islice(blocks.read_blocks(files, *target), 4)
        raise TimeoutError  # which is an OSError, such as a cluster's

    torn.clear()
    run = Run()
    run.read = read_some
    with pytest.raises((errors.LoadError, TimeoutError)):
        LOAD[loader](cur, conn, found, run)
