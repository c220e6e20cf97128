"""The sanity checks: all pass on the sample, and each break of schema or data fails its own."""

import contextlib
import os
import re
import subprocess
import sys

import psycopg2
import pytest
from scripts import (
    PROJECT,
    assert_fails_in_one_line,
    call,
    environment_of,
    run,
    script_of,
    thorough,
)

import sql_queries
from sparkify.checks import check, rules
from sparkify.checks.rules import sanity_check_queries
from sparkify.interpreter import command
from sparkify.postgres.connection import connect

KEYS = "songplays: foreign keys"
LATEST_LEVEL = "users: level is that of the latest play"
UNMATCHED_KEYS = "unmatched_songplays: foreign keys"
NATURAL_KEY_UNIQUE = "songplays: user_id, start_time, session_id are unique together"
COLUMNS, NOT_NULL = "columns and their types", "columns that are NOT NULL"
COMMENTED = "comments say what it holds"
REQUIRED = "nothing required is NULL"

DROP_KEY = "ALTER TABLE {0} DROP CONSTRAINT {0}_{1}_fkey; "
DROP_TIME_KEY = DROP_KEY.format("songplays", "start_time")
DROP_USER_KEY = DROP_KEY.format("songplays", "user_id")
DROP_SONG_KEY = DROP_KEY.format("songplays", "song_id")
DROP_ARTIST_KEY = DROP_KEY.format("songplays", "artist_id")
DROP_SONG_ARTIST_KEY = DROP_KEY.format("songs", "artist_id")
DROP_PLAY_KEY = DROP_KEY.format("unmatched_songplays", "songplay_id")
DROP_PRIMARY_KEY = "ALTER TABLE {0} DROP CONSTRAINT {0}_pkey CASCADE; "
DROP_VIEW_KEY = (
    "ALTER TABLE page_views "
    "DROP CONSTRAINT page_views_start_time_session_id_item_in_session_page_user__key"
)
FIRST_PLAY = "(SELECT min(songplay_id) FROM songplays)"
MATCHED = "(SELECT min(songplay_id) FROM songplays WHERE song_id IS NOT NULL)"
WAITING = "(SELECT min(songplay_id) FROM unmatched_songplays)"

# Check: what breaks it, and the other checks that necessarily fail with it.
BREAKS = {
    f"songplays: {COLUMNS}": (
        "ALTER TABLE songplays ADD COLUMN device text",
        f"songplays: {COMMENTED}",
    ),
    f"users: {COLUMNS}": ("ALTER TABLE users RENAME COLUMN last_name TO family_name",)
    + ("users: no text is NaN",),
    f"songs: {COLUMNS}": ("ALTER TABLE songs ALTER COLUMN year TYPE bigint",),
    f"artists: {COLUMNS}": ("ALTER TABLE artists ALTER COLUMN latitude TYPE numeric",),
    f"time: {COLUMNS}": ("ALTER TABLE time ALTER COLUMN hour TYPE smallint",),
    f"unmatched_songplays: {COLUMNS}": (
        "ALTER TABLE unmatched_songplays ADD COLUMN x int",
        f"unmatched_songplays: {COMMENTED}",
    ),
    f"loaded_files: {COLUMNS}": ("ALTER TABLE loaded_files ALTER COLUMN seconds TYPE real",),
    f"listening: {COLUMNS}": ("ALTER VIEW listening RENAME COLUMN artist TO artist_name",),
    f"songplays: {NOT_NULL}": ("ALTER TABLE songplays ALTER COLUMN user_id DROP NOT NULL",),
    f"users: {NOT_NULL}": ("ALTER TABLE users ALTER COLUMN level DROP NOT NULL",),
    f"songs: {NOT_NULL}": ("ALTER TABLE songs ALTER COLUMN duration DROP NOT NULL",),
    f"artists: {NOT_NULL}": ("ALTER TABLE artists ALTER COLUMN name DROP NOT NULL",),
    f"time: {NOT_NULL}": ("ALTER TABLE time ALTER COLUMN weekday DROP NOT NULL",),
    f"unmatched_songplays: {NOT_NULL}": (
        "ALTER TABLE unmatched_songplays ALTER COLUMN title SET NOT NULL",
    ),
    f"loaded_files: {NOT_NULL}": ("ALTER TABLE loaded_files ALTER COLUMN loaded_at DROP NOT NULL",),
    "songplays: primary key": (DROP_PRIMARY_KEY.format("songplays"), UNMATCHED_KEYS),
    "users: primary key": (DROP_PRIMARY_KEY.format("users"), KEYS),
    "songs: primary key": (DROP_PRIMARY_KEY.format("songs"), KEYS),
    "artists: primary key": (DROP_PRIMARY_KEY.format("artists"), KEYS, "songs: foreign keys"),
    "time: primary key": (DROP_PRIMARY_KEY.format("time"), KEYS),
    "unmatched_songplays: primary key": (DROP_PRIMARY_KEY.format("unmatched_songplays"),),
    "loaded_files: primary key": (DROP_PRIMARY_KEY.format("loaded_files"),),
    KEYS: (DROP_USER_KEY,),
    "songs: foreign keys": (DROP_SONG_ARTIST_KEY,),
    UNMATCHED_KEYS: (DROP_PLAY_KEY,),
    "songplays: natural key": (
        "ALTER TABLE songplays DROP CONSTRAINT songplays_user_id_start_time_session_id_level_key",
    ),
    f"songplays: {REQUIRED}": (
        "ALTER TABLE songplays ALTER COLUMN level DROP NOT NULL; "
        f"UPDATE songplays SET level = NULL WHERE songplay_id = {FIRST_PLAY}",
        f"songplays: {NOT_NULL}",
    ),
    f"users: {REQUIRED}": (
        "ALTER TABLE users ALTER COLUMN level DROP NOT NULL; UPDATE users SET level = NULL",
        f"users: {NOT_NULL}",
    ),
    f"songs: {REQUIRED}": (
        "ALTER TABLE songs ALTER COLUMN duration DROP NOT NULL; UPDATE songs SET duration = NULL",
        f"songs: {NOT_NULL}",
    ),
    f"artists: {REQUIRED}": (
        "ALTER TABLE artists ALTER COLUMN name DROP NOT NULL; UPDATE artists SET name = NULL",
        f"artists: {NOT_NULL}",
    ),
    f"time: {REQUIRED}": (
        "ALTER TABLE time ALTER COLUMN week DROP NOT NULL; UPDATE time SET week = NULL",
        f"time: {NOT_NULL}",
        "time: hour, day, week, month, year and weekday are those of start_time",
    ),
    f"unmatched_songplays: {REQUIRED}": (
        DROP_PRIMARY_KEY.format("unmatched_songplays")
        + "ALTER TABLE unmatched_songplays ALTER COLUMN songplay_id DROP NOT NULL; "
        "INSERT INTO unmatched_songplays VALUES (NULL, 'Rain', 'Nobody')",
        "unmatched_songplays: primary key",
        f"unmatched_songplays: {NOT_NULL}",
    ),
    f"loaded_files: {REQUIRED}": (
        "ALTER TABLE loaded_files ALTER COLUMN size DROP NOT NULL; "
        "UPDATE loaded_files SET size = NULL",
        f"loaded_files: {NOT_NULL}",
    ),
    "songplays: songplay_id is unique": (
        DROP_PRIMARY_KEY.format("songplays") + "INSERT INTO songplays OVERRIDING SYSTEM VALUE "
        "SELECT songplay_id, start_time, user_id, level, song_id, artist_id, session_id + 1000000, "
        f"NULL, NULL, duration FROM songplays WHERE songplay_id = {MATCHED}",
        "songplays: primary key",
        UNMATCHED_KEYS,
    ),
    "users: user_id is unique": (
        DROP_PRIMARY_KEY.format("users") + "INSERT INTO users SELECT * FROM users LIMIT 1",
        "users: primary key",
        KEYS,
    ),
    "songs: song_id is unique": (
        DROP_PRIMARY_KEY.format("songs") + "INSERT INTO songs SELECT * FROM songs LIMIT 1",
        "songs: primary key",
        KEYS,
    ),
    "artists: artist_id is unique": (
        DROP_PRIMARY_KEY.format("artists") + "INSERT INTO artists SELECT * FROM artists LIMIT 1",
        "artists: primary key",
        KEYS,
        "songs: foreign keys",
    ),
    "time: start_time is unique": (
        DROP_PRIMARY_KEY.format("time") + "INSERT INTO time SELECT * FROM time LIMIT 1",
        "time: primary key",
        KEYS,
    ),
    "unmatched_songplays: songplay_id is unique": (
        DROP_PRIMARY_KEY.format("unmatched_songplays")
        + "INSERT INTO unmatched_songplays SELECT * FROM unmatched_songplays LIMIT 1",
        "unmatched_songplays: primary key",
    ),
    "loaded_files: uri is unique": (
        DROP_PRIMARY_KEY.format("loaded_files")
        + "INSERT INTO loaded_files SELECT * FROM loaded_files LIMIT 1",
        "loaded_files: primary key",
    ),
    f"rejected_lines: {COLUMNS}": (
        "ALTER TABLE rejected_lines ADD COLUMN x int",
        f"rejected_lines: {COMMENTED}",
    ),
    f"rejected_lines: {NOT_NULL}": ("ALTER TABLE rejected_lines ALTER COLUMN met DROP NOT NULL",),
    "rejected_lines: primary key": (DROP_PRIMARY_KEY.format("rejected_lines"),),
    f"rejected_lines: {REQUIRED}": (
        "ALTER TABLE rejected_lines ALTER COLUMN text DROP NOT NULL; "
        "INSERT INTO rejected_lines VALUES ('x', 1, 'bad', NULL)",
        f"rejected_lines: {NOT_NULL}",
    ),
    f"load_runs: {COLUMNS}": (
        "ALTER TABLE load_runs ADD COLUMN x int",
        f"load_runs: {COMMENTED}",
    ),
    f"load_runs: {NOT_NULL}": ("ALTER TABLE load_runs ALTER COLUMN started_at DROP NOT NULL",),
    "load_runs: primary key": (DROP_PRIMARY_KEY.format("load_runs"),),
    f"load_runs: {REQUIRED}": (
        "ALTER TABLE load_runs ALTER COLUMN started_at DROP NOT NULL; "
        "INSERT INTO load_runs VALUES ('x', NULL)",
        f"load_runs: {NOT_NULL}",
    ),
    "load_runs: run_id is unique": (
        DROP_PRIMARY_KEY.format("load_runs") + "INSERT INTO load_runs VALUES ('x'), ('x')",
        "load_runs: primary key",
    ),
    "rejected_lines: uri, line is unique": (
        DROP_PRIMARY_KEY.format("rejected_lines")
        + "INSERT INTO rejected_lines VALUES ('x', 1, 'bad', ''), ('x', 1, 'bad', '')",
        "rejected_lines: primary key",
    ),
    NATURAL_KEY_UNIQUE: (
        "ALTER TABLE songplays DROP CONSTRAINT songplays_user_id_start_time_session_id_level_key; "
        "INSERT INTO songplays "
        "(start_time, user_id, level, song_id, artist_id, session_id, duration) "
        "SELECT start_time, user_id, level, song_id, artist_id, session_id, duration "
        f"FROM songplays WHERE songplay_id = {MATCHED}",
        "songplays: natural key",
    ),
    "songplays: start_time refers to a moment": (
        DROP_TIME_KEY + "DELETE FROM time WHERE start_time = (SELECT min(start_time) FROM time)",
        KEYS,
    ),
    "songplays: user_id refers to a user": (
        DROP_USER_KEY + "DELETE FROM users WHERE user_id = (SELECT min(user_id) FROM songplays)",
        KEYS,
    ),
    "songplays: song_id refers to a song": (
        DROP_SONG_KEY + "DELETE FROM songs WHERE song_id = (SELECT min(song_id) FROM songplays)",
        KEYS,
    ),
    "songplays: artist_id refers to an artist": (
        DROP_ARTIST_KEY
        + DROP_SONG_ARTIST_KEY
        + "DELETE FROM artists WHERE artist_id = (SELECT min(artist_id) FROM songplays)",
        KEYS,
        "songs: foreign keys",
        "songs: artist_id refers to an artist",
    ),
    "songs: artist_id refers to an artist": (
        DROP_SONG_ARTIST_KEY + "INSERT INTO songs VALUES ('SO0', 'Rain', 'AR0', 0, 60.5, 'Nobody')",
        "songs: foreign keys",
    ),
    "unmatched_songplays: songplay_id refers to a play": (
        DROP_PLAY_KEY + "INSERT INTO unmatched_songplays VALUES (-1, 'Rain', 'Nobody')",
        UNMATCHED_KEYS,
    ),
    "songplays: song_id and artist_id are known together": (
        f"UPDATE songplays SET artist_id = NULL WHERE songplay_id = {MATCHED}",
    ),
    "songplays: artist_id is that of the song": (
        "UPDATE songplays SET artist_id = (SELECT max(artist_id) FROM artists) "
        f"WHERE songplay_id = {MATCHED}",
    ),
    "songplays: song_id is the smallest that fits": (
        "INSERT INTO songs SELECT 'A', title, artist_id, 0, duration, artist_name FROM songs "
        "WHERE song_id = (SELECT min(song_id) FROM songplays)",
    ),
    "songplays: a play without a song is in unmatched_songplays": (
        f"DELETE FROM unmatched_songplays WHERE songplay_id = {WAITING}",
    ),
    "unmatched_songplays: the play has no song": (
        f"INSERT INTO unmatched_songplays VALUES ({MATCHED}, 'Rain', 'Nobody')",
    ),
    "unmatched_songplays: no song of the catalogue fits": (
        "INSERT INTO artists SELECT 'AR0', artist FROM unmatched_songplays "
        f"WHERE songplay_id = {WAITING}; "
        "INSERT INTO songs SELECT 'SO0', title, 'AR0', 0, duration, artist FROM listening "
        f"WHERE songplay_id = {WAITING}",
    ),
    "songplays: level is free or paid": (
        f"UPDATE songplays SET level = 'Paid' WHERE songplay_id = {FIRST_PLAY}",
    ),
    "users: level is free or paid": ("UPDATE users SET level = ''", LATEST_LEVEL),
    "users: gender is F or M": ("UPDATE users SET gender = 'f'",),
    LATEST_LEVEL: ("UPDATE users SET level = CASE level WHEN 'free' THEN 'paid' ELSE 'free' END",),
    "users: each has a play": ("INSERT INTO users VALUES (-1, 'Ada', 'Reyes', 'F', 'free')",),
    "page_views: page is not that of plays": (
        "UPDATE page_views SET page = 'NextSong' WHERE page_view_id = 1",
    ),
    "page_views: no text is NaN": (
        "UPDATE page_views SET user_agent = 'NaN' WHERE page_view_id = 1",
    ),
    f"page_views: {COLUMNS}": (
        "ALTER TABLE page_views ADD COLUMN device text",
        f"page_views: {COMMENTED}",
    ),
    f"page_views: {NOT_NULL}": ("ALTER TABLE page_views ALTER COLUMN page DROP NOT NULL",),
    "page_views: primary key": (DROP_PRIMARY_KEY.format("page_views"),),
    "page_views: natural key": (DROP_VIEW_KEY,),
    f"page_views: {REQUIRED}": (
        "ALTER TABLE page_views ALTER COLUMN session_id DROP NOT NULL; "
        "UPDATE page_views SET session_id = NULL WHERE page_view_id = 1",
        f"page_views: {NOT_NULL}",
    ),
    "page_views: page_view_id is unique": (
        DROP_PRIMARY_KEY.format("page_views") + "INSERT INTO page_views OVERRIDING SYSTEM VALUE "
        "SELECT page_view_id, start_time, user_id, session_id + 1000000, item_in_session, page "
        "FROM page_views WHERE page_view_id = 1",
        "page_views: primary key",
    ),
    f"page_views: {rules.VIEW_KEY} are unique together": (
        DROP_VIEW_KEY + "; INSERT INTO page_views (start_time, session_id, item_in_session, page) "
        "SELECT start_time, session_id, item_in_session, page FROM page_views "
        "WHERE user_id IS NULL LIMIT 1",
        "page_views: natural key",
    ),
    "time: each moment has a play": (
        "INSERT INTO time VALUES ('1970-01-01 00:00+00', 0, 1, 1, 1, 1970, 3)",
    ),
    "time: hour, day, week, month, year and weekday are those of start_time": (
        "UPDATE time SET hour = (hour + 1) % 24",
    ),
    "songs: duration is a positive number": (
        "UPDATE songs SET duration = 'NaN'",
        "songplays: duration is that of the song",
    ),
    "songplays: duration is a positive number": (
        f"UPDATE songplays SET duration = 'infinity' WHERE songplay_id = {WAITING}",
    ),
    "songplays: duration is that of the song": (
        f"UPDATE songplays SET duration = duration + 1 WHERE songplay_id = {MATCHED}",
    ),
    "artists: latitude and longitude are degrees": ("UPDATE artists SET latitude = 'NaN'",),
    "loaded_files: kind is song or log": ("UPDATE loaded_files SET kind = 'songs'",),
    "loaded_files: size, rows_loaded and lines_set_aside are not negative": (
        "UPDATE loaded_files SET lines_set_aside = -1",
    ),
    "loaded_files: seconds is a number that is not negative": (
        "UPDATE loaded_files SET seconds = 'NaN'",
    ),
    "songplays: no text is NaN": (
        f"UPDATE songplays SET location = 'NaN' WHERE songplay_id = {FIRST_PLAY}",
    ),
    "users: no text is NaN": ("UPDATE users SET first_name = 'nan'",),
    "artists: no text is NaN": ("UPDATE artists SET location = 'NaN'",),
}
BREAKS |= {
    f"{table}: {COMMENTED}": (f"COMMENT ON COLUMN {table}.{column} IS NULL",)
    for table, column in (
        ("songplays", "level"),
        ("users", "gender"),
        ("songs", "year"),
        ("artists", "name"),
        ("time", "weekday"),
        ("unmatched_songplays", "title"),
        ("page_views", "status"),
        ("loaded_files", "size"),
        ("rejected_lines", "line"),
        ("load_runs", "files"),
    )
}
BREAKS[f"listening: {COMMENTED}"] = ("COMMENT ON VIEW listening IS NULL",)
INSERTS = {
    "songplays": ("songplay_table_insert", rules.NATURAL_KEY),
    "users": ("user_table_insert", "user_id"),
    "songs": ("song_table_insert", "song_id"),
    "artists": ("artist_table_insert", "artist_id"),
    "time": ("time_table_insert", "start_time"),
    "page_views": ("page_view_table_insert", rules.VIEW_KEY),
    "loaded_files": ("loaded_file_insert", "uri"),
    "rejected_lines": ("rejected_line_insert", "uri, line"),
}
CONFLICT_CHECK = "{}: INSERT has an ON CONFLICT clause"


@pytest.fixture
def cur(sample):
    """A cursor whose changes are rolled back."""
    yield sample.cursor()
    sample.rollback()


def names_of_failures(cur):
    return {name for name, _ in check.failed_checks(cur)}


def test_all_checks_pass_on_the_sample_and_one_line_says_so(cur, capsys):
    assert check.print_checks(cur)
    assert capsys.readouterr().out == f"All {len(sanity_check_queries)} sanity checks passed\n"


def test_all_checks_pass_on_empty_tables(cur):
    cur.execute(f"TRUNCATE {', '.join(sql_queries.table_names)}")
    assert names_of_failures(cur) == set()


def test_what_else_the_index_of_a_key_holds_makes_no_difference(cur):
    cur.execute(
        "ALTER TABLE songplays "
        "DROP CONSTRAINT songplays_user_id_start_time_session_id_level_key, "
        "ADD UNIQUE (user_id, start_time, session_id)"
    )
    assert names_of_failures(cur) == set()


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_fails_its_check_and_no_unrelated_one(cur, name):
    breaking, *others = BREAKS[name]
    cur.execute(breaking)
    assert names_of_failures(cur) == {name, *others}


@pytest.mark.parametrize("table", INSERTS)
@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [(r"ON CONFLICT[^;]*", ""), (r"ON CONFLICT \(", "ON CONFLICT (song_title, ")],
)
def test_an_insert_without_its_on_conflict_clause_fails(
    cur, monkeypatch, table, pattern, replacement
):
    constant, key = INSERTS[table]
    statement = getattr(sql_queries, constant)
    name = CONFLICT_CHECK.format(table)
    assert rules.resolves_conflicts(statement, table, key) == sanity_check_queries[name]
    broken = re.sub(pattern, replacement, statement)
    query = rules.resolves_conflicts(broken, table, key)
    monkeypatch.setitem(sanity_check_queries, name, query)
    assert names_of_failures(cur) == {name}


def test_a_source_is_read_once_for_all_rules_on_its_rows_unless_one_is_broken(cur):
    rows_of = [query.source for query in sanity_check_queries.values() if hasattr(query, "source")]
    sources = set(rows_of)
    assert {rules.matched, rules.waiting, *sql_queries.table_names} < sources
    assert rows_of.count(rules.pair("start_time", "songplays", "time")) == 2
    assert check.find_sound(cur) == sources
    cur.execute("UPDATE users SET gender = 'X' WHERE user_id = (SELECT min(user_id) FROM users)")
    cur.execute("ALTER TABLE artists DROP COLUMN latitude")
    assert check.find_sound(cur) == sources - {"users", "artists"}


def test_rows_are_counted_and_read_only_where_some_break_a_rule(cur, monkeypatch):
    asked, ask = [], check.try_query
    monkeypatch.setattr(
        check, "try_query", lambda cur, query: asked.append(query) or ask(cur, query)
    )
    assert names_of_failures(cur) == set()
    assert [query for query in asked if not query.startswith("SELECT count(*) FROM (")] == []
    cur.execute("UPDATE users SET gender = 'X'")
    assert names_of_failures(cur) == {"users: gender is F or M"}
    assert len([query for query in asked if "row_to_json" in query]) == 1


def test_each_check_has_a_break():
    assert {*BREAKS, *map(CONFLICT_CHECK.format, INSERTS)} == set(sanity_check_queries)


@pytest.mark.parametrize(
    "part",
    [
        "hour = 24",
        "weekday = 7",
        *map(thorough, ["day = day + 1", "week = 0", "month = 13", "year = 0"]),
    ],
)
def test_each_part_of_a_moment_is_checked_whatever_the_time_zone(cur, part):
    cur.execute("SET LOCAL TIME ZONE 'Pacific/Kiritimati'")
    assert names_of_failures(cur) == set()
    cur.execute(f"UPDATE time SET {part}")
    assert names_of_failures(cur) == {
        "time: hour, day, week, month, year and weekday are those of start_time"
    }


@pytest.mark.parametrize("column", ["size", "rows_loaded", "lines_set_aside", "seconds"])
def test_no_number_of_a_loaded_file_may_be_negative(cur, column):
    cur.execute(f"UPDATE loaded_files SET {column} = -1")
    (name,) = names_of_failures(cur)
    assert name.startswith("loaded_files: ") and column in name


def test_a_warning_is_one_orange_line_with_up_to_five_rows(cur, capsys):
    cur.execute("UPDATE users SET gender = E'gra\\ntis' WHERE user_id < 20")
    cur.execute("SELECT count(*) FROM users WHERE user_id < 20")
    rows = cur.fetchone()[0]
    assert not check.print_checks(cur)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(
        f"\033[38;5;208m[WARNING] users: gender is F or M: {rows} rows break it: "
    )
    assert line.endswith("\033[0m")
    assert line.count('"gender":"gra\\ntis"') == 5 < rows


def test_the_tables_are_judged_that_queries_see(cur):
    cur.execute("CREATE SCHEMA music; SET LOCAL search_path = music, public")
    assert names_of_failures(cur) == set()


def test_a_warning_may_be_plain(cur, capsys):
    cur.execute("UPDATE users SET level = ''")
    assert not check.print_checks(cur, colour=False)
    assert capsys.readouterr().out.startswith("[WARNING] users: level is free or paid: ")


@pytest.fixture
def broken(sample):
    """The sample for a while with a user's level that breaks a rule, for a program to see it."""
    change = "UPDATE users SET level = %s WHERE level = %s"
    with sample, sample.cursor() as cur:
        cur.execute(change, ("gold", "paid"))
    yield {"SPARKIFY_PGDATA": os.environ["SPARKIFY_PGDATA"]}
    with sample, sample.cursor() as cur:
        cur.execute(change, ("paid", "gold"))


def test_warnings_that_go_to_a_file_are_plain(broken):
    result = run("sparkify", "check", **broken)
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.startswith("[WARNING] users: level")
    assert "\033" not in result.stdout


@pytest.mark.skipif(os.name == "nt", reason="no terminal can be made here")
def test_warnings_at_a_terminal_are_orange(broken):
    reading, terminal = os.openpty()
    command = [sys.executable, *script_of("sparkify"), "check"]
    environment = environment_of(**broken)
    assert subprocess.run(command, cwd=PROJECT, env=environment, stdout=terminal).returncode == 1
    os.close(terminal)
    assert os.read(reading, 1000).startswith(b"\033[38;5;208m[WARNING] users: level")
    os.close(reading)


def test_a_missing_table_hides_no_other_check(cur, capsys):
    cur.execute("DROP TABLE unmatched_songplays CASCADE; UPDATE users SET gender = 'x'")
    assert not check.print_checks(cur)
    lines = capsys.readouterr().out.splitlines()
    assert any("[WARNING] users: gender is F or M" in line for line in lines)
    missing = 'can\'t be checked: relation "unmatched_songplays" does not exist'
    assert any(missing in line for line in lines)


def test_that_the_connection_is_lost_is_not_taken_for_broken_rules(cur):
    with contextlib.closing(connect()) as lost:
        cur.execute("SELECT pg_terminate_backend(%s)", [lost.info.backend_pid])
        with pytest.raises(psycopg2.Error):
            list(check.failed_checks(lost.cursor()))


def test_a_check_takes_no_parameters_and_holds_no_percent_sign():
    assert not [name for name, query in sanity_check_queries.items() if "%" in query]


# These make the tables anew, and so come last


@pytest.mark.parametrize("files", [0, 1])
def test_empty_tables_are_no_success(conn, files):
    """Nor are they where all lines of the files that are noted as loaded were set aside."""
    with conn, conn.cursor() as cur:
        noted = "INSERT INTO loaded_files SELECT 'x', 'log', 1, now(), 0, 1, 0, 1 FROM "
        cur.execute(f"{noted} generate_series(1, {files})")
    result = call("sparkify", "check", SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"])
    words = ["nothing to check yet", "sparkifydb on the embedded server"]
    assert_fails_in_one_line(result, *words, f"run {command('etl.py')}")


def test_missing_tables_are_told_in_one_line(conn):
    with conn, conn.cursor() as cur:
        cur.execute(f"DROP TABLE {', '.join(sql_queries.table_names)} CASCADE")
    result = call("sparkify", "check", SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"])
    assert_fails_in_one_line(result, "has no table songplays", f"run {command('create_tables.py')}")


def test_tables_of_another_application_are_told_in_one_line(conn):
    with conn, conn.cursor() as cur:
        cur.execute(f"DROP TABLE {', '.join(sql_queries.table_names)} CASCADE")
        cur.execute("CREATE TABLE users (id int, email text)")
        cur.execute("INSERT INTO users VALUES (1, 'nina@example.com')")
    result = call("sparkify", "check", SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"])
    with conn, conn.cursor() as cur:
        cur.execute("DROP TABLE users")
    words = ["somebody else's", "table public.users (1 row, no column user_id)", "another database"]
    assert_fails_in_one_line(result, *words)


def test_the_rows_of_one_table_are_enough_to_check(conn):
    with conn, conn.cursor() as cur:
        cur.execute("INSERT INTO artists VALUES ('AR1', 'Nina', '', NULL, NULL)")
    result = call("sparkify", "check", SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"])
    assert (result.returncode, result.stderr) == (0, "")
