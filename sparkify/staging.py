"""COPY's SQL: rows arrive in staging tables, and what the conflict rules let pass is inserted.

Only plays, moments and page views of which no table holds any yet go straight to their tables.
"""

from sql_queries import (
    ARTIST_CONFLICT,
    ARTIST_RANK,
    LOADED_FILE_CONFLICT,
    PAGE_VIEW_CONFLICT,
    PLAY_RANK,
    SONG_CONFLICT,
    SONG_RANK,
    USER_RANK,
    VIEW_RANK,
    best_first,
    delete_outranked_songplays,
    rank,
    user_conflict,
)

staging_table_queries = [
    """
CREATE TEMP TABLE staged_artists ON COMMIT DROP AS
SELECT artist_id, name, location, latitude, longitude FROM artists
WITH NO DATA
""",
    """
CREATE TEMP TABLE staged_songs ON COMMIT DROP AS
SELECT song_id, title, artist_id, year, duration FROM songs
WITH NO DATA
""",
    """
CREATE TEMP TABLE staged_time ON COMMIT DROP AS
SELECT start_time, hour, day, week, month, year, weekday FROM time
WITH NO DATA
""",
    """
CREATE TEMP TABLE staged_users ON COMMIT DROP AS
SELECT users.user_id, first_name, last_name, gender, users.level, start_time
FROM users, songplays
WITH NO DATA
""",
    "CREATE INDEX ON staged_users (user_id, start_time)",
    """
CREATE TEMP TABLE staged_songplays ON COMMIT DROP AS
SELECT start_time, user_id, level, session_id, location, user_agent, title, artist, duration,
       song_id, artist_id
FROM songplays, unmatched_songplays
WITH NO DATA
""",
    """
CREATE TEMP TABLE staged_page_views ON COMMIT DROP AS
SELECT start_time, user_id, session_id, item_in_session, page, method, status, auth, level,
       location, user_agent
FROM page_views
WITH NO DATA
""",
    """
CREATE TEMP TABLE staged_files ON COMMIT DROP AS
SELECT uri, kind, size, modified, rows_loaded, lines_set_aside, seconds FROM loaded_files
WITH NO DATA
""",
]

artist_staging_copy = "COPY staged_artists FROM STDIN (FORMAT binary)"
song_staging_copy = "COPY staged_songs FROM STDIN (FORMAT binary)"
time_staging_copy = "COPY staged_time FROM STDIN (FORMAT binary)"
user_staging_copy = "COPY staged_users FROM STDIN (FORMAT binary)"
songplay_staging_copy = "COPY staged_songplays FROM STDIN (FORMAT binary)"
page_view_table_copy = """
COPY page_views (
    start_time, user_id, session_id, item_in_session, page, method, status, auth, level, location,
    user_agent
) FROM STDIN (FORMAT binary, FREEZE)
"""
page_view_staging_copy = "COPY staged_page_views FROM STDIN (FORMAT binary)"
file_staging_copy = "COPY staged_files FROM STDIN (FORMAT binary)"
time_table_copy = """
COPY time (start_time, hour, day, week, month, year, weekday) FROM STDIN (FORMAT binary, FREEZE)
"""
songplay_table_copy = """
COPY songplays (
    start_time, user_id, level, session_id, location, user_agent, song_id, artist_id, songplay_id
) FROM STDIN (FORMAT binary, FREEZE)
"""
unmatched_songplay_table_copy = """
COPY unmatched_songplays (title, artist, duration, songplay_id) FROM STDIN (FORMAT binary, FREEZE)
"""

artist_merge = f"""
INSERT INTO artists (artist_id, name, location, latitude, longitude)
SELECT DISTINCT ON (artist_id) artist_id, name, location, latitude, longitude
FROM staged_artists
ORDER BY artist_id, {best_first("staged_artists", *ARTIST_RANK)}{ARTIST_CONFLICT}
"""

song_merge = f"""
INSERT INTO songs (song_id, title, artist_id, year, duration)
SELECT DISTINCT ON (song_id) song_id, title, artist_id, year, duration
FROM staged_songs
ORDER BY song_id, {best_first("staged_songs", *SONG_RANK)}{SONG_CONFLICT}
"""

staged_catalogue_delete = "TRUNCATE staged_artists, staged_songs"

time_merge = """
INSERT INTO time (start_time, hour, day, week, month, year, weekday)
SELECT DISTINCT ON (start_time) start_time, hour, day, week, month, year, weekday
FROM staged_time
ORDER BY start_time
ON CONFLICT DO NOTHING
"""

STAGED_USER_TIME = """(
        SELECT max(start_time) FROM staged_users WHERE staged_users.user_id = EXCLUDED.user_id
    )"""

user_merge = f"""
INSERT INTO users (user_id, first_name, last_name, gender, level)
SELECT DISTINCT ON (user_id) user_id, first_name, last_name, gender, level
FROM staged_users
ORDER BY user_id, start_time DESC, {best_first("staged_users", *USER_RANK)}
{user_conflict(STAGED_USER_TIME)}
"""

staged_range_select = """
SELECT EXISTS (
    SELECT FROM songplays
    WHERE start_time BETWEEN (SELECT min(start_time) FROM staged_songplays)
      AND (SELECT max(start_time) FROM staged_songplays)
)
"""
staged_outranked_delete = delete_outranked_songplays("staged_songplays AS logged")

# Of staged plays with the same natural key, the one that outranks the others stays.
staged_duplicates_delete = f"""
DELETE FROM staged_songplays
USING staged_songplays AS other
WHERE other.user_id = staged_songplays.user_id
  AND other.start_time = staged_songplays.start_time
  AND other.session_id = staged_songplays.session_id
  AND other.ctid <> staged_songplays.ctid
  AND ({rank("other", *PLAY_RANK)}, other.ctid)
      > ({rank("staged_songplays", *PLAY_RANK)}, staged_songplays.ctid)
"""


def merge_songplays(conflict):
    """Return the INSERT of the staged plays, with the clause that says what a stored one does."""
    return f"""
WITH play AS (
    INSERT INTO songplays
        (start_time, user_id, level, song_id, artist_id, session_id, location, user_agent)
    SELECT start_time, user_id, level, song_id, artist_id, session_id, location, user_agent
    FROM staged_songplays
    ORDER BY start_time{conflict}
    RETURNING songplay_id, start_time, user_id, session_id, song_id
)
INSERT INTO unmatched_songplays (songplay_id, title, artist, duration)
SELECT play.songplay_id, staged.title, staged.artist, staged.duration
FROM play
JOIN staged_songplays AS staged USING (start_time, user_id, session_id)
WHERE play.song_id IS NULL
"""


new_songplay_merge = merge_songplays("")
songplay_merge = merge_songplays("""
    ON CONFLICT (user_id, start_time, session_id) DO NOTHING""")

page_view_merge = f"""
INSERT INTO page_views (
    start_time, user_id, session_id, item_in_session, page, method, status, auth, level, location,
    user_agent
)
SELECT DISTINCT ON (start_time, session_id, item_in_session, page, user_id)
       start_time, user_id, session_id, item_in_session, page, method, status, auth, level,
       location, user_agent
FROM staged_page_views
ORDER BY start_time, session_id, item_in_session, page, user_id,
         {best_first("staged_page_views", *VIEW_RANK)}{PAGE_VIEW_CONFLICT}
"""

loaded_file_merge = f"""
INSERT INTO loaded_files (uri, kind, size, modified, rows_loaded, lines_set_aside, seconds)
SELECT DISTINCT ON (uri) uri, kind, size, modified, rows_loaded, lines_set_aside, seconds
FROM staged_files
ORDER BY uri{LOADED_FILE_CONFLICT}
"""

# Until autovacuum comes by, queries would be planned as if the tables were still empty. A sample of
# few rows will do till then.
small_statistics_set = "SET LOCAL default_statistics_target = 10"
tables_analyze = """
ANALYZE songplays, users, songs, artists, time, unmatched_songplays, page_views
"""

# What logs call the songs: of several that they call the same, the smallest song_id.
catalogue_songs_select = """
SELECT DISTINCT ON (songs.title COLLATE "C", artists.name COLLATE "C", songs.duration)
       songs.title,
       artists.name,
       songs.duration,
       songs.song_id,
       songs.artist_id
FROM songs
JOIN artists USING (artist_id)
ORDER BY songs.title COLLATE "C", artists.name COLLATE "C", songs.duration,
         songs.song_id COLLATE "C"
"""
exact_numbers_set = "SET LOCAL extra_float_digits = 3"

next_songplay_select = "SELECT nextval(pg_get_serial_sequence('songplays', 'songplay_id'))"
songplay_id_set = "SELECT setval(pg_get_serial_sequence('songplays', 'songplay_id'), %s)"
