"""Plays find songs that are loaded, or renamed, after them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_batch

from sparkify.load.by_rows import columns_of
from sparkify.postgres.transactions import fetch_value
from sql_queries import fits, hashes, song_select

songplay_exists_select = "SELECT EXISTS (SELECT FROM songplays)"

# What the log may call these songs.
song_names_select = """
SELECT song_id,
       artist_id,
       title,
       artist_name,
       duration
FROM songs
WHERE song_id = ANY(%s)
"""

# A song is called otherwise now: its plays wait by the name that they were logged with.
songplay_release = """
WITH released AS (
    UPDATE songplays SET song_id = NULL, artist_id = NULL WHERE song_id = %s RETURNING songplay_id
)
INSERT INTO unmatched_songplays (songplay_id, title, artist)
SELECT songplay_id, %s, %s
FROM released
"""

# Plays of these songs that wait, or are matched to a greater song_id, get the song that fits.
songplay_match = f"""
WITH fitting AS ({song_select}),
waiting AS (
    DELETE FROM unmatched_songplays AS unmatched
    USING fitting, songplays
    WHERE ({hashes("unmatched.title", "unmatched.artist")})
        = ({hashes("fitting.title", "fitting.artist")})
      AND unmatched.title = fitting.title
      AND unmatched.artist = fitting.artist
      AND songplays.songplay_id = unmatched.songplay_id
      AND songplays.duration::real = fitting.duration::real
    RETURNING unmatched.songplay_id, fitting.song_id, fitting.artist_id
),
twins AS (
    SELECT songplays.songplay_id, fitting.song_id, fitting.artist_id
    FROM fitting
    JOIN songs ON {fits("fitting")}
    JOIN songplays ON songplays.song_id = songs.song_id
    WHERE songs.song_id <> fitting.song_id
)
UPDATE songplays
SET song_id = matched.song_id, artist_id = matched.artist_id
FROM (SELECT * FROM waiting UNION ALL SELECT * FROM twins) AS matched
WHERE songplays.songplay_id = matched.songplay_id
"""


@contextmanager
def rematched_plays(cur: Cursor, song_ids: Iterable[str]) -> Iterator[None]:
    """Match plays anew where the block, an upsert of these songs, changes what one is called."""
    ids = list(song_ids) if fetch_value(cur, songplay_exists_select) else []
    before = fetch_song_names(cur, ids)
    yield
    after = fetch_song_names(cur, ids)
    if before != after:
        released = [(song_id, *names) for song_id, _, *names, _ in before - after]
        execute_batch(cur, songplay_release, released)
        cur.execute(songplay_match, columns_of(song[2:] for song in before ^ after))


def fetch_song_names(cur, song_ids):
    """Return the set of these songs, as far as they are stored, as a log would name them."""
    if not song_ids:
        return set()
    cur.execute(song_names_select, (song_ids,))
    return set(cur)
