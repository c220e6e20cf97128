"""Load row by row: the statements of sql_queries, and what they take care of before and after."""

import itertools
import re
import threading
from contextlib import contextmanager, suppress

import psycopg2
from psycopg2.extras import execute_batch

from sparkify import interrupts
from sql_queries import (
    delete_outranked_songplays,
    loaded_file_insert,
    loaded_files_select,
    song_select,
)

PAGE_ROWS = 1000  # that are sent to the server together
FEW_ROWS = 10  # that are not worth a prepared statement
statement_numbers = itertools.count(1)
committed = threading.Event()  # whether this process has committed anything

# What the log may call these songs.
catalogue_select = """
SELECT songs.song_id,
       songs.artist_id,
       songs.title,
       artists.name,
       songs.duration
FROM songs
JOIN artists USING (artist_id)
WHERE songs.song_id = ANY(%s)
"""

# The songs of those of these artists that are stored under another name.
renamed_songs_select = """
SELECT songs.song_id
FROM unnest(%s::text[], %s::text[]) AS given (artist_id, name)
JOIN artists ON artists.artist_id = given.artist_id AND artists.name <> given.name
JOIN songs ON songs.artist_id = artists.artist_id
"""

# A song is called otherwise now: its plays wait as they were logged.
songplay_release = """
WITH released AS (
    UPDATE songplays SET song_id = NULL, artist_id = NULL WHERE song_id = %s RETURNING songplay_id
)
INSERT INTO unmatched_songplays (songplay_id, title, artist, duration)
SELECT songplay_id, %s, %s, %s
FROM released
"""

# Plays of these titles that wait, or are matched to a greater song_id, get the song that fits.
songplay_match = f"""
WITH fitting AS ({song_select}),
waiting AS (
    DELETE FROM unmatched_songplays
    USING fitting
    WHERE unmatched_songplays.title = fitting.title
      AND unmatched_songplays.artist = fitting.artist
      AND unmatched_songplays.duration = fitting.duration
    RETURNING unmatched_songplays.songplay_id, fitting.song_id, fitting.artist_id
),
twins AS (
    SELECT songplays.songplay_id, fitting.song_id, fitting.artist_id
    FROM fitting
    JOIN songs ON songs.title = fitting.title AND songs.duration = fitting.duration
    JOIN artists ON artists.artist_id = songs.artist_id AND artists.name = fitting.artist
    JOIN songplays ON songplays.song_id = songs.song_id
    WHERE songs.song_id <> fitting.song_id
)
UPDATE songplays
SET song_id = matched.song_id, artist_id = matched.artist_id
FROM (SELECT * FROM waiting UNION ALL SELECT * FROM twins) AS matched
WHERE songplays.songplay_id = matched.songplay_id
"""

songplay_exists_select = "SELECT EXISTS (SELECT FROM songplays)"

# Whether any stored play can have the natural key of one that began in this span of time.
songplay_range_select = """
SELECT EXISTS (SELECT FROM songplays WHERE start_time BETWEEN %s AND %s)
"""

songplay_outranked_delete = delete_outranked_songplays("""
    unnest(
        %s::timestamptz[], %s::int[], %s::text[], %s::bigint[], %s::text[], %s::text[],
        %s::text[], %s::text[], %s::double precision[]
    ) AS logged (
        start_time, user_id, level, session_id, location, user_agent, title, artist, duration
    )
""")

savepoint_set = "SAVEPOINT attempt"
savepoint_rollback = "ROLLBACK TO SAVEPOINT attempt"


class CommitLost(Exception):
    """A commit that was asked for, and whose answer never came: it may have taken place."""


@contextmanager
def transaction(conn):
    """Commit at the end, or roll back if anything is raised."""
    try:
        yield
        commit(conn)
    except BaseException:
        with suppress(psycopg2.Error):  # the server itself rolls back what loses its connection
            conn.rollback()
        raise


def commit(conn):
    """Commit. Raises CommitLost where the connection ends before the server's answer is there.

    No signal comes between the two: the answer tells what stays.
    """
    try:
        with interrupts.postponed():
            conn.commit()
            committed.set()
    except psycopg2.Error as error:
        if not conn.closed:
            raise
        raise CommitLost(str(error)) from error


def fetch_loaded_files(cur):
    """Return (bytes, modification time) of the files that are loaded, by URI."""
    cur.execute(loaded_files_select)
    return {uri: (size, modified) for uri, size, modified in cur}


def record_file(cur, outcome):
    """Note a file as loaded, so that the next run passes over it."""
    cur.execute(loaded_file_insert, outcome.describe(as_stored=True))


def fetch_value(cur, query, parameters=None):
    """Return the only value that a query selects."""
    cur.execute(query, parameters)
    return cur.fetchone()[0]


def insert_rows(cur, statement, rows, moved=lambda lines: None):
    """Execute an INSERT for each row; if there are many, Postgres plans it once for all of them.

    `moved` is called with the number of rows that are inserted, whenever there are some more.
    """
    if len(rows) < FEW_ROWS:
        execute_batch(cur, statement, rows, PAGE_ROWS)
        moved(len(rows))
        return
    name = f"statement_{next(statement_numbers)}"
    numbers = itertools.count(1)
    prepared = re.sub("%s", lambda _: f"${next(numbers)}", statement)
    cur.execute(f"PREPARE {name} AS {prepared}")
    values = ", ".join(["%s"] * len(rows[0]))
    for start in range(0, len(rows), PAGE_ROWS):
        page = rows[start : start + PAGE_ROWS]
        execute_batch(cur, f"EXECUTE {name} ({values})", page, PAGE_ROWS)
        moved(len(page))
    cur.execute(f"DEALLOCATE {name}")


def delete_outranked_plays(cur, plays):
    """Delete stored plays with the natural key of one of these that is to replace them."""
    start_times = [play[0] for play in plays]
    if plays and fetch_value(cur, songplay_range_select, (min(start_times), max(start_times))):
        cur.execute(songplay_outranked_delete, columns_of(plays))


# Songs and plays find each other


def add_song_ids(cur, plays):
    """Return rows of songplays: these with song_id and artist_id, NULL where no song fits."""
    songs = fetch_songs(cur, [play[-3:] for play in plays])
    return [(*play[:3], *songs.get(play[-3:], (None, None)), *play[3:]) for play in plays]


def columns_of(rows):
    """Return rows as a list of columns: arrays to Postgres."""
    return [list(column) for column in zip(*rows, strict=True)]


def fetch_songs(cur, logged):
    """Return (song_id, artist_id) by (title, artist, duration) as logged, where a song fits."""
    cur.execute(song_select, columns_of(logged) or [[], [], []])
    return {(title, artist, duration): ids for title, artist, duration, *ids in cur}


@contextmanager
def rematched_plays(cur, artists, songs):
    """Match plays anew where the block, an upsert of these rows, changes what a song is called."""
    matching = fetch_value(cur, songplay_exists_select)
    ids = fetch_affected_songs(cur, artists, songs) if matching else []
    before = fetch_catalogue(cur, ids)
    yield
    after = fetch_catalogue(cur, ids)
    if before != after:
        execute_batch(cur, songplay_release, [(song[0], *song[2:]) for song in before - after])
        cur.execute(songplay_match, columns_of(song[2:] for song in before ^ after))


def fetch_affected_songs(cur, artists, songs):
    """Return the ids of these songs, and of those by these artists if another name is stored."""
    cur.execute(renamed_songs_select, columns_of(artist[:2] for artist in artists))
    return [song[0] for song in songs] + [song_id for (song_id,) in cur]


def fetch_catalogue(cur, song_ids):
    """Return the set of those of these songs that are stored, as a log would name them."""
    if not song_ids:
        return set()
    cur.execute(catalogue_select, (song_ids,))
    return set(cur)
