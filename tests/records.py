"""Tiny songs, log events and whole tables, for tests to say only what they are about."""

import contextlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import create_tables
import etl
from sparkify import blocks, bulk, extract, transform
from sparkify.files import File, LocalStorage, list_files
from sparkify.report import make_tallies
from sparkify.storage import DATA
from sql_queries import database_time_zone

LONG_AGO = 1_543_622_400_000_000  # 2018-12-01

SONG = {
    "num_songs": 1,
    "artist_id": "AR1",
    "artist_latitude": 35.14968,
    "artist_longitude": -90.04892,
    "artist_location": "Memphis, TN",
    "artist_name": "The Ferrymen",
    "song_id": "SO1",
    "title": "Slow River",
    "duration": 218.93179,
    "year": 1999,
}
EVENT = {
    "artist": "The Ferrymen",
    "auth": "Logged In",
    "firstName": "Ada",
    "gender": "F",
    "itemInSession": 0,
    "lastName": "Reyes",
    "length": 218.93179,
    "level": "free",
    "location": "Tampa-St. Petersburg-Clearwater, FL",
    "method": "PUT",
    "page": "NextSong",
    "registration": 1540919166796.0,
    "sessionId": 7,
    "song": "Slow River",
    "status": 200,
    "ts": 1541106106796,  # 2018-11-01 21:01:46.796 UTC, a Thursday
    "userAgent": '"Mozilla/5.0 (X11; Linux x86_64)"',
    "userId": "8",
}


def song(**changes):
    return SONG | changes


def event(**changes):
    return EVENT | changes


def moment(ts):
    """Return a time in milliseconds since 1970 as Postgres returns it."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ts)


def write_lines(path, records):
    """Write records as JSON lines, text and bytes as they are, and return the path as text."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(map(to_bytes, records)))
    return str(path)


def to_bytes(record):
    if isinstance(record, bytes):
        return record
    return (record if isinstance(record, str) else json.dumps(record)).encode()


def write_data(folder, songs=(), events=()):
    """Write a data folder with a file per song and one log file, and return its path."""
    (folder / "song_data").mkdir(parents=True, exist_ok=True)
    (folder / "log_data").mkdir(exist_ok=True)
    for number, record in enumerate(songs):
        write_lines(folder / "song_data" / f"{number:03}.json", [record])
    if events:
        write_lines(folder / "log_data" / "events.json", events)
    return folder


def read_records(path, kind):
    """Return a file's good records as dicts and its rejects."""
    records, rejects = [], []
    for block in blocks.read_blocks([listed(kind, path)]):
        parts = [outcome.file for outcome in block.outcomes]
        texts = [blocks.read_lines(part, LocalStorage()) for part in parts]
        frame, _ = extract.extract(texts, kind)
        table = transform.pa.Table.from_pandas(frame, preserve_index=False)
        records += table.drop_columns("piece").to_pylist()
        rejects += [reject for outcome in block.outcomes for reject in outcome.rejects]
    return records, rejects


def load_data(cur, conn, folder=DATA):
    """Make the tables hold a data folder, the sample unless another is named, and nothing else."""
    create_tables.reset_tables(cur, conn)
    folders = {kind: os.path.abspath(f"{folder}/{kind}_data") for kind in etl.PROCESS}
    found = [file for kind, path in folders.items() for file in list_files(kind, path, None)]
    load_copy(cur, conn, found, make_tallies(etl.PROCESS, os.devnull))
    conn.commit()


def copy_database(conn, source, target):
    """Make a database a copy of another one, by a connection to neither, which is closed then.

    The files are copied: of a copy that is made by way of the log, as is Postgres's default, the
    sequences give numbers a second time once the server has crashed (seen with 18.4).
    """
    with contextlib.closing(conn), conn.cursor() as cur:
        conn.autocommit = True
        cur.execute(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)")
        cur.execute(f"CREATE DATABASE {target} TEMPLATE {source} STRATEGY file_copy")
        cur.execute(database_time_zone.format(target))


def read(files, target=None, catalogue=None):
    return blocks.read_blocks(files, None, target, catalogue)


def load_file(cur, conn, path, loader):
    """Load one file by the named loader, "rows" or "copy", and return its Tally."""
    kind = "song" if "song_id" in Path(path).read_text() else "log"
    return load_paths(cur, conn, {kind: [path]}, loader)[kind]


def load_paths(cur, conn, paths, loader, rejects=os.devnull):
    """Load files {kind: paths}, those of songs first, by the named loader; return the Tallies."""
    tallies = make_tallies(etl.PROCESS, rejects)
    found = [listed(kind, path) for kind in tallies for path in paths.get(kind, [])]
    LOAD[loader](cur, conn, found, tallies)
    return tallies


def load_rows(cur, conn, files, tallies, read=read):
    etl.load_rows(cur, conn, read(files), tallies)


def load_copy(cur, conn, files, tallies, read=read):
    bulk.load_copy(cur, conn, files, read, tallies)


LOAD = {"rows": load_rows, "copy": load_copy}


def listed(kind, path):
    """Return a File as it is listed."""
    return File(kind, str(path), os.path.getsize(path), LONG_AGO)


def read_tables(cur):
    """Return all rows of all tables by name, without the generated ids.

    Instead of its songplay_id, an unmatched songplay shows the natural key.
    """
    queries = {
        "songplays": """
            SELECT start_time, user_id, level, song_id, artist_id, session_id, location, user_agent
            FROM songplays ORDER BY user_id, start_time, session_id
        """,
        "users": "SELECT * FROM users ORDER BY user_id",
        "songs": 'SELECT * FROM songs ORDER BY song_id COLLATE "C"',
        "artists": 'SELECT * FROM artists ORDER BY artist_id COLLATE "C"',
        "time": "SELECT * FROM time ORDER BY start_time",
        "unmatched_songplays": """
            SELECT user_id, start_time, session_id, title, artist, duration
            FROM unmatched_songplays JOIN songplays USING (songplay_id)
            ORDER BY user_id, start_time, session_id
        """,
        "page_views": """
            SELECT start_time, user_id, session_id, item_in_session, page, method, status, auth,
                   level, location, user_agent
            FROM page_views
            ORDER BY start_time, session_id, item_in_session, page COLLATE "C", user_id
        """,
    }
    tables = {}
    for name, query in queries.items():
        cur.execute(query)
        tables[name] = cur.fetchall()
    return tables
