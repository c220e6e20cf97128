"""Load data as one may do it without Sparkify, so that the benchmark can compare the times.

    .venv/bin/python tests/tools/peers.py duckdb DATA    by SQL, into empty tables: the same rows
    .venv/bin/python tests/tools/peers.py dlt DATA       the logs' lines as they are, a row each

What both need, .venv/bin/pip install duckdb "dlt[filesystem,postgres]" installs.
"""

import contextlib
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import create_tables
from sparkify.load import constraints
from sparkify.postgres import connection

BUFFER_BYTES = 1 << 20
SCHEMA = "as_logged"

# By DuckDB

SONG = {
    **dict.fromkeys(("song_id", "title", "artist_id", "artist_name"), "VARCHAR"),
    **{"artist_location": "VARCHAR", "year": "INTEGER"},
    **dict.fromkeys(("duration", "artist_latitude", "artist_longitude"), "DOUBLE"),
}
EVENT = {
    **dict.fromkeys(("page", "userId", "firstName", "lastName", "gender", "level"), "VARCHAR"),
    **dict.fromkeys(("location", "userAgent", "song", "artist", "auth", "method"), "VARCHAR"),
    **dict.fromkeys(("ts", "sessionId", "itemInSession", "status"), "BIGINT"),
    **{"length": "DOUBLE", "registration": "DOUBLE", "tag": "VARCHAR"},
}
EVENTS = "CREATE TABLE events AS FROM read_json('{}', format = 'newline_delimited', columns = {})"
# read_json takes a millisecond and more for a small file: twenty times as long.
SONGS = """
CREATE TABLE songs AS SELECT unnest(from_json(content, '{}')) FROM read_text('{}')
"""
PLAYS = """
CREATE TABLE plays AS
WITH names AS (
    SELECT title, artist_name, duration::FLOAT AS seconds,
           min(song_id) AS song_id, arg_min(artist_id, song_id) AS artist_id
    FROM songs
    GROUP BY ALL
),
logged AS (
    SELECT DISTINCT ON (userId, ts, sessionId) * FROM events WHERE page = 'NextSong'
)
SELECT row_number() OVER (ORDER BY ts) AS id, logged.*, names.song_id, names.artist_id
FROM logged
LEFT JOIN names ON title = song AND artist_name = artist AND seconds = length::FLOAT
"""
# In an order in which none refers to a later one
ROWS = {
    "artists (artist_id, name, location, latitude, longitude)": """
        SELECT DISTINCT ON (artist_id)
               artist_id, artist_name, artist_location, artist_latitude, artist_longitude
        FROM songs
        ORDER BY artist_id, artist_latitude IS NULL, artist_name DESC, artist_location DESC
    """,
    "songs (song_id, title, artist_id, year, duration, artist_name)": """
        SELECT DISTINCT ON (song_id) song_id, title, artist_id, year, duration, artist_name
        FROM songs
        ORDER BY song_id, year = 0, title DESC
    """,
    "users (user_id, first_name, last_name, gender, level)": """
        SELECT DISTINCT ON (userId) userId, firstName, lastName, gender, level
        FROM plays
        ORDER BY userId, ts DESC
    """,
    "time (start_time, hour, day, week, month, year, weekday)": """
        SELECT start, hour(start), day(start), week(start), month(start), year(start),
               isodow(start) - 1
        FROM (SELECT DISTINCT epoch_ms(ts) AS start FROM plays)
    """,
    "songplays (songplay_id, start_time, user_id, level, song_id, artist_id, session_id, location,"
    " user_agent, duration)": """
        SELECT id, epoch_ms(ts), userId, level, song_id, artist_id, sessionId, location, userAgent,
               length
        FROM plays
    """,
    "unmatched_songplays (songplay_id, title, artist)": """
        SELECT id, song, artist FROM plays WHERE song_id IS NULL
    """,
    "page_views (start_time, user_id, session_id, item_in_session, page, method, status, auth,"
    " level, location, user_agent, first_name, last_name, gender, registered_at, tag)": """
        SELECT DISTINCT ON (ts, sessionId, itemInSession, page, userId)
               epoch_ms(ts), nullif(userId, ''), sessionId, itemInSession, page, method, status,
               auth, level, location, userAgent, firstName, lastName, gender,
               epoch_ms(registration::BIGINT), tag
        FROM events
        WHERE page <> 'NextSong'
    """,
}
last_id_set = """
SELECT setval(pg_get_serial_sequence('songplays', 'songplay_id'), max(songplay_id)) FROM songplays
"""


def load_duckdb(data):
    """Fill the empty tables: DuckDB makes the rows and writes them as CSV, keys come last.

    While one table is copied, the next one is written.
    """
    import duckdb

    lake = duckdb.connect()
    lake.execute("SET preserve_insertion_order = false")
    cur, conn = create_tables.create_database()
    with contextlib.closing(conn), tempfile.TemporaryDirectory() as folder:
        with ThreadPoolExecutor(1) as executor:
            songs = SONGS.format(json.dumps(SONG), data / "song_data/**/*.json")
            events = EVENTS.format(data / "log_data/**/*.json", EVENT)
            made = [executor.submit(lake.execute, query) for query in (songs, events, PLAYS)]
            files = {table: Path(folder, table.split()[0]) for table in ROWS}
            written = {
                table: executor.submit(
                    lake.execute, f"COPY ({ROWS[table]}) TO '{file}' (HEADER false, NULLSTR '\\N')"
                )
                for table, file in files.items()
            }
            tables = [table.split()[0] for table in ROWS]
            restoring = constraints.drop_keys(cur, tables, tables)
            cur.execute(f"TRUNCATE {', '.join(tables)}")
            for step in made:
                step.result()
            for table, file in files.items():
                written[table].result()
                copy = f"COPY {table} FROM STDIN (FORMAT csv, NULL '\\N', FREEZE)"
                with file.open("rb") as rows:
                    cur.copy_expert(copy, rows, BUFFER_BYTES)
                file.unlink()
        for statement in restoring:
            cur.execute(statement)
        cur.execute(last_id_set)
        cur.execute(f"ANALYZE {', '.join(tables)}")
        conn.commit()


# By dlt


def load_dlt(data):
    """Load the lines of logs, a row each, into a table of a schema of its own, by COPY of CSV."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    import dlt
    from dlt.sources.filesystem import filesystem, read_jsonl

    server = connection.server_parameters()
    with contextlib.closing(connection.connect()) as conn, conn, conn.cursor() as cur:
        cur.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    # dlt demands a password, even of who needs none.
    place = f"{server['user']}:none@{quote(server['host'], safe='')}:{server['port']}"
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "as_logged",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(f"postgresql://{place}/{server['dbname']}"),
            dataset_name=SCHEMA,
        )
        lines = filesystem((data / "log_data").as_uri(), file_glob="**/*.json") | read_jsonl()
        pipeline.run(lines.with_name("events"), loader_file_format="csv").raise_on_failed_jobs()


if __name__ == "__main__":
    {"duckdb": load_duckdb, "dlt": load_dlt}[sys.argv[1]](Path(sys.argv[2]).resolve())
