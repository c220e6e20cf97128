"""Tiny songs, log events and whole tables, for tests to say only what they are about."""

import contextlib
import itertools
import json
import os
import re
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path

import create_tables
import etl
from sparkify.load import by_copy
from sparkify.read import blocks, extract, raw, transform
from sparkify.read.files import File
from sparkify.read.storage import DATA, LocalStorage, list_files
from sparkify.run.summary import Run
from sql_queries import database_time_zone

Y2K_MS = 946_684_800_000  # milliseconds from 1970 to 2000
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
    """Return an event, with a small `ts` counted from the year 2000, before which none is."""
    event = EVENT | changes
    return event | {"ts": clock(event["ts"])}


def clock(ts):
    """Return a small whole number of milliseconds, counted from 2000, as counted from 1970."""
    return ts + Y2K_MS if type(ts) is int and 0 <= ts < 10**9 else ts


def moment(ts):
    """Return the time of an event as Postgres returns it."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=clock(ts))


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
        texts = [raw.read_lines(part, LocalStorage()).text for part in parts]
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
    load_copy(cur, conn, found, Run())
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


def load_file(cur, conn, path, loader):
    """Load one file by the named loader, "rows" or "copy", and return its Tally."""
    kind = "song" if "song_id" in Path(path).read_text() else "log"
    return load_paths(cur, conn, {kind: [path]}, loader).tallies[kind]


def load_paths(cur, conn, paths, loader):
    """Load files {kind: paths}, those of songs first, by the named loader; return the Run."""
    run = Run()
    found = [listed(kind, path) for kind in etl.PROCESS for path in paths.get(kind, [])]
    LOAD[loader](cur, conn, found, run)
    return run


def load_rows(cur, conn, files, run):
    for kind, group in itertools.groupby(files, key=attrgetter("kind")):
        etl.process_data(cur, conn, list(group), etl.PROCESS[kind], run)


def load_copy(cur, conn, files, run):
    run.read = run.read or blocks.read_blocks
    by_copy.load_copy(cur, conn, files, run)


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
            SELECT start_time, user_id, level, song_id, artist_id, session_id, location, user_agent,
                   duration
            FROM songplays ORDER BY user_id, start_time, session_id
        """,
        "users": "SELECT * FROM users ORDER BY user_id",
        "songs": 'SELECT * FROM songs ORDER BY song_id COLLATE "C"',
        "artists": 'SELECT * FROM artists ORDER BY artist_id COLLATE "C"',
        "time": "SELECT * FROM time ORDER BY start_time",
        "unmatched_songplays": """
            SELECT user_id, start_time, session_id, title, artist
            FROM unmatched_songplays JOIN songplays USING (songplay_id)
            ORDER BY user_id, start_time, session_id
        """,
        "page_views": """
            SELECT start_time, user_id, session_id, item_in_session, page, method, status, auth,
                   level, location, user_agent, first_name, last_name, gender, registered_at, tag
            FROM page_views
            ORDER BY start_time, session_id, item_in_session, page COLLATE "C", user_id
        """,
    }
    tables = {}
    for name, query in queries.items():
        cur.execute(query)
        tables[name] = cur.fetchall()
    return tables


def without_times(text):
    """Return the lines of a file of rejects but for the times at which they were set aside."""
    return [re.sub(', "set_aside": ".*?"', "", line) for line in text.splitlines()]
