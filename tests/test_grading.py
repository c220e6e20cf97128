"""What a notebook of the Udacity course finds, on a server set up as docs/grading.md says."""

import re
import tempfile
from pathlib import Path

import pytest
import sqlalchemy
from scripts import PROJECT, run
from servers import QUOTED, connect_until_ready, free_port, running_server

import sql_queries

PAGE = (PROJECT / "docs" / "grading.md").read_text(encoding="utf-8")
[ROLE] = re.findall(r"^CREATE ROLE student.*;$", PAGE, re.MULTILINE)
[URL] = set(re.findall(r"postgresql://student:\S*?/sparkifydb", PAGE))
COURSE = {  # columns of the course, those that must be there, and the kinds of type that fit
    "songplays": (
        "songplay_id start_time user_id level song_id artist_id session_id location user_agent "
        "duration",
        {"start_time", "user_id"},
        {"start_time": "timestamp", "user_id": "int", "session_id": "int", "song_id": "text"},
    ),
    "users": ("user_id first_name last_name gender level", {"user_id"}, {"user_id": "int"}),
    "songs": (
        "song_id title artist_id year duration artist_name",
        {"title", "duration"},
        {"year": "int", "duration": "double"},
    ),
    "artists": (
        "artist_id name location latitude longitude",
        {"name"},
        {"latitude": "double", "longitude": "double"},
    ),
    "time": (
        "start_time hour day week month year weekday",
        {"start_time"},
        {"start_time": "timestamp", "weekday": "int"},
    ),
}
columns_select = """
SELECT column_name, data_type, is_nullable
FROM information_schema.columns
WHERE table_name = :table
ORDER BY ordinal_position
"""
primary_key_select = """
SELECT column_name
FROM information_schema.table_constraints
JOIN information_schema.key_column_usage USING (constraint_name, table_name)
WHERE constraint_type = 'PRIMARY KEY' AND table_name = :table
"""


@pytest.fixture(scope="module")
def query():
    """A function that sends a query as `student`, on tables that hold the sample."""
    port = free_port()
    url = URL.replace("127.0.0.1", f"127.0.0.1:{port}")
    name = tempfile.TemporaryDirectory(prefix="sparkify-grading-")
    with name as folder, running_server(Path(folder), port):
        admin = connect_until_ready(f"postgresql://admin:{QUOTED}@127.0.0.1:{port}/postgres")
        with admin, admin.cursor() as cur:
            cur.execute(ROLE)
        admin.close()
        for script in ("create_tables.py", "etl.py"):
            result = run(script, DATABASE_URL=url)
            assert (result.returncode, result.stderr) == (0, "")
        yield connect_as_notebook(url)


def connect_as_notebook(url):
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg2:"))

    def query(statement, **values):
        with engine.connect() as connection:
            return list(map(tuple, connection.execute(sqlalchemy.text(statement), values)))

    return query


def test_each_table_shows_rows(query):
    for table in COURSE:
        assert len(query(f"SELECT * FROM {table} LIMIT 5")) == 5


@pytest.mark.parametrize("table", COURSE)
def test_columns_types_and_keys_are_what_the_course_asks_for(query, table):
    names, required, kinds = COURSE[table]
    columns = query(columns_select, table=table)
    assert [column for column, *_ in columns] == names.split()
    assert required <= {column for column, _, nullable in columns if nullable == "NO"}
    types = {column: kind for column, kind, _ in columns}
    assert [column for column, kind in kinds.items() if kind not in types[column]] == []
    assert query(primary_key_select, table=table) == [(names.split()[0],)]


def test_inserts_say_what_to_do_on_conflict():
    for name in ("songplay", "user", "song", "artist", "time"):
        assert "ON CONFLICT" in getattr(sql_queries, f"{name}_table_insert")


def test_most_plays_have_a_song(query):
    [(plays, matched)] = query("SELECT count(*), count(song_id) FROM songplays")
    assert 0 < plays / 2 < matched < plays
