"""Every SQL statement of Sparkify's star schema: drop, create, insert, select.

The rows a table holds depend on the set of records loaded, never on their order. Where two records
share a key, the greater one by `rank` stays, so each conflict clause gives the same row either way
round.
"""


def rank(row, facts, values):
    """Return the SQL that ranks a row among those with its key: the more complete, then by value.

    `facts` are the expressions that may be unknown: the row in which fewer are NULL is greater.
    Among equals the `values` decide as text, byte by byte and left to right, NULL after any text.
    """
    return f"""
    {completeness(row, facts)},
    {texts(row, values)}
"""


def best_first(row, facts, values):
    """Return the ORDER BY terms that put the row with the greatest rank first."""
    return f"{completeness(row, facts)} DESC, ({texts(row, values)}) DESC"


def completeness(row, facts):
    return f"num_nonnulls({', '.join(fact.format(row) for fact in facts)})"


def texts(row, values):
    return "ARRAY[" + ", ".join(f"{row}.{value}::text" for value in values) + '] COLLATE "C"'


ARTIST_RANK = (
    ["NULLIF({}.location, '')", "{}.latitude", "{}.longitude"],
    ["name", "location", "latitude", "longitude"],
)
SONG_RANK = (["NULLIF({}.year, 0)"], ["title", "artist_id", "year", "duration"])
USER_RANK = (
    ["{}.first_name", "{}.last_name", "{}.gender"],
    ["first_name", "last_name", "gender", "level"],
)
PLAY_RANK = (
    ["{}.location", "{}.user_agent", "{}.title", "{}.artist", "{}.duration"],
    ["level", "location", "user_agent", "title", "artist", "duration"],
)

# DATABASE

database_create = "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0"
# hour, day and weekday are those of UTC; what a query shows of start_time agrees with them.
database_time_zone = "ALTER DATABASE {} SET timezone TO 'UTC'"
database_settings_select = """
SELECT current_setting('server_encoding'),
       EXISTS (
           SELECT FROM pg_db_role_setting
           JOIN pg_database ON pg_database.oid = setdatabase
           WHERE datname = current_database() AND setrole = 0 AND 'TimeZone=UTC' = ANY(setconfig)
       )
"""

lock_timeout_set = "SET LOCAL lock_timeout = %s"
lock_timeout_reset = "SET LOCAL lock_timeout TO DEFAULT"
lock_holders_select = """
SELECT DISTINCT
       pg_stat_activity.pid,
       pg_stat_activity.usename,
       pg_stat_activity.application_name,
       pg_stat_activity.state
FROM pg_locks
JOIN pg_class ON pg_class.oid = pg_locks.relation
JOIN pg_stat_activity USING (pid)
WHERE pg_locks.granted
  AND pg_locks.pid <> pg_backend_pid()
  AND pg_stat_activity.datname = current_database()
  AND pg_class.relname = ANY(%s)
ORDER BY pg_stat_activity.pid
"""

# DROP

songplay_table_drop = "DROP TABLE IF EXISTS songplays"
user_table_drop = "DROP TABLE IF EXISTS users"
song_table_drop = "DROP TABLE IF EXISTS songs"
artist_table_drop = "DROP TABLE IF EXISTS artists"
time_table_drop = "DROP TABLE IF EXISTS time"
unmatched_songplay_table_drop = "DROP TABLE IF EXISTS unmatched_songplays"
loaded_file_table_drop = "DROP TABLE IF EXISTS loaded_files"
listening_view_drop = "DROP VIEW IF EXISTS listening"

# CREATE

songplay_table_create = """
-- One row per NextSong event
CREATE TABLE songplays (
    songplay_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    start_time  TIMESTAMPTZ NOT NULL,
    user_id     INT NOT NULL,
    level       TEXT NOT NULL,
    song_id     TEXT,
    artist_id   TEXT,
    session_id  BIGINT NOT NULL,
    location    TEXT,
    user_agent  TEXT,
    UNIQUE (user_id, start_time, session_id)
)
"""

user_table_create = """
-- One row per user, as of the latest play
CREATE TABLE users (
    user_id    INT PRIMARY KEY,
    first_name TEXT,
    last_name  TEXT,
    gender     TEXT,
    level      TEXT NOT NULL
)
"""

song_table_create = """
-- One row per track of the catalogue; duration in seconds, year 0 or NULL where unknown
CREATE TABLE songs (
    song_id   TEXT PRIMARY KEY,
    title     TEXT NOT NULL,
    artist_id TEXT NOT NULL,
    year      INT,
    duration  DOUBLE PRECISION NOT NULL
)
"""

artist_table_create = """
-- One row per performer of the catalogue; coordinates in degrees
CREATE TABLE artists (
    artist_id TEXT PRIMARY KEY,
    name      TEXT NOT NULL,
    location  TEXT,
    latitude  DOUBLE PRECISION,
    longitude DOUBLE PRECISION
)
"""

time_table_create = """
-- One row per moment at which a play began, in UTC; ISO week, Monday = 0
CREATE TABLE time (
    start_time TIMESTAMPTZ PRIMARY KEY,
    hour       INT NOT NULL,
    day        INT NOT NULL,
    week       INT NOT NULL,
    month      INT NOT NULL,
    year       INT NOT NULL,
    weekday    INT NOT NULL
)
"""

unmatched_songplay_table_create = """
-- One row per songplay whose song is not (yet) in the catalogue, with the song as the log names it
CREATE TABLE unmatched_songplays (
    songplay_id BIGINT PRIMARY KEY REFERENCES songplays ON DELETE CASCADE,
    title       TEXT,
    artist      TEXT,
    duration    DOUBLE PRECISION
)
"""

loaded_file_table_create = """
-- One row per file loaded, as of the last time: modification time and bytes as they were listed
CREATE TABLE loaded_files (
    uri             TEXT PRIMARY KEY,
    kind            TEXT NOT NULL,
    size            BIGINT NOT NULL,
    modified        TIMESTAMPTZ NOT NULL,
    rows_loaded     BIGINT NOT NULL,
    lines_set_aside BIGINT NOT NULL,
    seconds         DOUBLE PRECISION NOT NULL,
    loaded_at       TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""

songplay_foreign_keys = """
ALTER TABLE songplays
    ADD FOREIGN KEY (start_time) REFERENCES time,
    ADD FOREIGN KEY (user_id) REFERENCES users,
    ADD FOREIGN KEY (song_id) REFERENCES songs,
    ADD FOREIGN KEY (artist_id) REFERENCES artists
"""

song_foreign_key = "ALTER TABLE songs ADD FOREIGN KEY (artist_id) REFERENCES artists"

# A user's plays need no index of their own: the natural key begins with user_id.
songplay_time_index = "CREATE INDEX ON songplays (start_time)"
songplay_song_index = "CREATE INDEX ON songplays (song_id)"
songplay_artist_index = "CREATE INDEX ON songplays (artist_id)"
song_artist_index = "CREATE INDEX ON songs (artist_id)"
# Titles are looked up by equality only, and a B-tree refuses those of more than 2,700 bytes.
song_title_index = "CREATE INDEX ON songs USING HASH (title)"
unmatched_title_index = "CREATE INDEX ON unmatched_songplays USING HASH (title)"

listening_view_create = """
-- One row per songplay, with title, artist name and duration as played, in the catalogue or not
CREATE VIEW listening AS
SELECT songplays.songplay_id,
       songplays.start_time,
       songplays.user_id,
       songplays.level,
       songplays.song_id,
       songplays.artist_id,
       songplays.session_id,
       songplays.location,
       songplays.user_agent,
       COALESCE(songs.title, unmatched_songplays.title) AS title,
       COALESCE(artists.name, unmatched_songplays.artist) AS artist,
       COALESCE(songs.duration, unmatched_songplays.duration) AS duration
FROM songplays
LEFT JOIN songs USING (song_id)
LEFT JOIN artists ON artists.artist_id = songs.artist_id
LEFT JOIN unmatched_songplays USING (songplay_id)
"""

# INSERT

ARTIST_CONFLICT = f"""
ON CONFLICT (artist_id) DO UPDATE
SET name = EXCLUDED.name,
    location = EXCLUDED.location,
    latitude = EXCLUDED.latitude,
    longitude = EXCLUDED.longitude
WHERE ({rank("EXCLUDED", *ARTIST_RANK)}) > ({rank("artists", *ARTIST_RANK)})
"""

artist_table_insert = f"""
INSERT INTO artists (artist_id, name, location, latitude, longitude)
VALUES (%s, %s, %s, %s, %s){ARTIST_CONFLICT}
"""

SONG_CONFLICT = f"""
ON CONFLICT (song_id) DO UPDATE
SET title = EXCLUDED.title,
    artist_id = EXCLUDED.artist_id,
    year = EXCLUDED.year,
    duration = EXCLUDED.duration
WHERE ({rank("EXCLUDED", *SONG_RANK)}) > ({rank("songs", *SONG_RANK)})
"""

song_table_insert = f"""
INSERT INTO songs (song_id, title, artist_id, year, duration)
VALUES (%s, %s, %s, %s, %s){SONG_CONFLICT}
"""

time_table_insert = """
INSERT INTO time (start_time, hour, day, week, month, year, weekday)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (start_time) DO NOTHING
"""


def user_conflict(event_time):
    """Return the clause that lets a row replace a stored one if its event is the later one.

    What is stored is as of the user's latest play, so users must be written before the plays of
    the same events.
    """
    return f"""
ON CONFLICT (user_id) DO UPDATE
SET first_name = EXCLUDED.first_name,
    last_name = EXCLUDED.last_name,
    gender = EXCLUDED.gender,
    level = EXCLUDED.level
WHERE (
    {event_time},{rank("EXCLUDED", *USER_RANK)}) > (
    COALESCE(
        (SELECT max(start_time) FROM songplays WHERE songplays.user_id = users.user_id),
        '-infinity'
    ),{rank("users", *USER_RANK)})
"""


# The sixth value is the time of the event that the row comes from.
user_table_insert = f"""
INSERT INTO users (user_id, first_name, last_name, gender, level)
VALUES (%s, %s, %s, %s, %s){user_conflict("%s::timestamptz")}
"""

# The last three values are the song as the log names it; they are kept where song_id is NULL.
songplay_table_insert = """
WITH play AS (
    INSERT INTO songplays
        (start_time, user_id, level, song_id, artist_id, session_id, location, user_agent)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (user_id, start_time, session_id) DO NOTHING
    RETURNING songplay_id, song_id
)
INSERT INTO unmatched_songplays (songplay_id, title, artist, duration)
SELECT songplay_id, %s, %s, %s
FROM play
WHERE song_id IS NULL
"""

songplay_exists_select = "SELECT EXISTS (SELECT FROM songplays)"

# Whether any stored play can have the natural key of one that began in this span of time.
songplay_range_select = """
SELECT EXISTS (SELECT FROM songplays WHERE start_time BETWEEN %s AND %s)
"""


def delete_outranked_songplays(logged):
    """Return the DELETE of stored plays that a logged one with the same natural key outranks."""
    return f"""
DELETE FROM songplays
USING {logged}
JOIN listening USING (user_id, start_time, session_id)
WHERE songplays.songplay_id = listening.songplay_id
  AND ({rank("logged", *PLAY_RANK)}) > ({rank("listening", *PLAY_RANK)})
"""


songplay_outranked_delete = delete_outranked_songplays("""
    unnest(
        %s::timestamptz[], %s::int[], %s::text[], %s::bigint[], %s::text[], %s::text[],
        %s::text[], %s::text[], %s::double precision[]
    ) AS logged (
        start_time, user_id, level, session_id, location, user_agent, title, artist, duration
    )
""")

LOADED_FILE_CONFLICT = """
ON CONFLICT (uri) DO UPDATE
SET kind = EXCLUDED.kind,
    size = EXCLUDED.size,
    modified = EXCLUDED.modified,
    rows_loaded = EXCLUDED.rows_loaded,
    lines_set_aside = EXCLUDED.lines_set_aside,
    seconds = EXCLUDED.seconds,
    loaded_at = EXCLUDED.loaded_at
"""

loaded_file_insert = f"""
INSERT INTO loaded_files (uri, kind, size, modified, rows_loaded, lines_set_aside, seconds)
VALUES (
    %(uri)s, %(kind)s, %(size)s, %(modified)s, %(loaded)s, %(set_aside)s, %(seconds)s
){LOADED_FILE_CONFLICT}
"""

loaded_files_select = "SELECT uri, size, modified FROM loaded_files"

savepoint_set = "SAVEPOINT file"
savepoint_rollback = "ROLLBACK TO SAVEPOINT file"

# COPY
#
# Rows arrive in staging tables; what the conflict rules let pass is then inserted from there. Only
# plays of which no table holds any yet go straight to their tables.

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
file_staging_copy = "COPY staged_files FROM STDIN (FORMAT binary)"
time_table_copy = """
COPY time (start_time, hour, day, week, month, year, weekday) FROM STDIN (FORMAT binary)
"""
songplay_table_copy = """
COPY songplays (
    start_time, user_id, level, session_id, location, user_agent, song_id, artist_id, songplay_id
) FROM STDIN (FORMAT binary)
"""
unmatched_songplay_table_copy = """
COPY unmatched_songplays (title, artist, duration, songplay_id) FROM STDIN (FORMAT binary)
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

songplay_merge = """
WITH play AS (
    INSERT INTO songplays
        (start_time, user_id, level, song_id, artist_id, session_id, location, user_agent)
    SELECT start_time, user_id, level, song_id, artist_id, session_id, location, user_agent
    FROM staged_songplays
    ORDER BY start_time
    ON CONFLICT (user_id, start_time, session_id) DO NOTHING
    RETURNING songplay_id, start_time, user_id, session_id, song_id
)
INSERT INTO unmatched_songplays (songplay_id, title, artist, duration)
SELECT play.songplay_id, staged.title, staged.artist, staged.duration
FROM play
JOIN staged_songplays AS staged USING (start_time, user_id, session_id)
WHERE play.song_id IS NULL
"""

loaded_file_merge = f"""
INSERT INTO loaded_files (uri, kind, size, modified, rows_loaded, lines_set_aside, seconds)
SELECT DISTINCT ON (uri) uri, kind, size, modified, rows_loaded, lines_set_aside, seconds
FROM staged_files
ORDER BY uri{LOADED_FILE_CONFLICT}
"""

# COPY into empty tables: their keys, indexes and foreign keys come last.

tables_are_empty_select = """
SELECT NOT EXISTS (SELECT FROM songplays)
   AND NOT EXISTS (SELECT FROM users)
   AND NOT EXISTS (SELECT FROM songs)
   AND NOT EXISTS (SELECT FROM artists)
   AND NOT EXISTS (SELECT FROM time)
   AND NOT EXISTS (SELECT FROM unmatched_songplays)
"""

tables_lock = """
LOCK TABLE songplays, users, songs, artists, time, unmatched_songplays IN ACCESS EXCLUSIVE MODE
NOWAIT
"""

# How to drop and how to restore what slows COPY down, in the order of restoring: the keys and
# indexes of the tables that are filled, then the foreign keys from and to any of ours.
constraints_select = """
WITH filled (relation) AS (
    SELECT unnest(%(filled)s::regclass[])
),
ours (relation) AS (
    SELECT unnest(%(ours)s::regclass[])
),
definitions (place, drop, restore) AS (
    SELECT CASE contype WHEN 'f' THEN 3 ELSE 1 END,
           format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname),
           format(
               'ALTER TABLE %%s ADD CONSTRAINT %%I %%s',
               conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid)
           )
    FROM pg_constraint
    WHERE contype IN ('p', 'u', 'x') AND conrelid IN (SELECT relation FROM filled)
       OR contype = 'f' AND conparentid = 0 AND (
           conrelid IN (SELECT relation FROM ours) OR confrelid IN (SELECT relation FROM ours)
       )
    UNION ALL
    SELECT 2,
           format('DROP INDEX %%s', indexrelid::regclass),
           pg_get_indexdef(indexrelid)
    FROM pg_index
    WHERE indrelid IN (SELECT relation FROM filled)
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
)
SELECT drop, restore
FROM definitions
ORDER BY place, restore
"""

# Until autovacuum comes by, queries would be planned as if the tables were still empty. A sample of
# few rows will do till then.
small_statistics_set = "SET LOCAL default_statistics_target = 10"
tables_analyze = "ANALYZE songplays, users, songs, artists, time, unmatched_songplays"

# Whether a key or index has something that its definition doesn't tell, and that would be lost.
marked_indexes_select = """
SELECT EXISTS (
    SELECT FROM pg_index
    JOIN pg_class ON pg_class.oid = pg_index.indexrelid
    LEFT JOIN pg_constraint ON pg_constraint.conindid = pg_index.indexrelid
    WHERE indrelid IN ('songplays'::regclass, 'time'::regclass, 'unmatched_songplays'::regclass)
      AND (
          indisreplident
          OR indisclustered
          OR reltablespace <> 0
          OR obj_description(indexrelid, 'pg_class') IS NOT NULL
          OR obj_description(pg_constraint.oid, 'pg_constraint') IS NOT NULL
      )
)
"""

deferred_triggers_run = "SET CONSTRAINTS ALL IMMEDIATE"

next_songplay_select = "SELECT nextval(pg_get_serial_sequence('songplays', 'songplay_id'))"
songplay_id_set = "SELECT setval(pg_get_serial_sequence('songplays', 'songplay_id'), %s)"

# Of plays with the same natural key, the one that outranks the others stays.
duplicate_songplays_delete = f"""
WITH ranked AS (
    SELECT songplay_id,
           row_number() OVER (
               PARTITION BY user_id, start_time, session_id
               ORDER BY {best_first("listening", *PLAY_RANK)}, songplay_id
           ) AS place
    FROM listening
)
DELETE FROM songplays
USING ranked
WHERE songplays.songplay_id = ranked.songplay_id AND ranked.place > 1
"""
duplicate_unmatched_delete = """
DELETE FROM unmatched_songplays
WHERE NOT EXISTS (
    SELECT FROM songplays WHERE songplays.songplay_id = unmatched_songplays.songplay_id
)
"""

duplicate_time_delete = """
DELETE FROM time
USING time AS other
WHERE other.start_time = time.start_time AND other.ctid < time.ctid
"""

# SELECT

# Which song was played: title, artist name and duration agree; of several, the smallest song_id.
# Takes three arrays, so that one query serves all plays of a file.
song_select = """
SELECT DISTINCT ON (logged.title, logged.artist, logged.duration)
       logged.title,
       logged.artist,
       logged.duration,
       songs.song_id,
       songs.artist_id
FROM unnest(%s::text[], %s::text[], %s::double precision[]) AS logged (title, artist, duration)
JOIN songs ON songs.title = logged.title AND songs.duration = logged.duration
JOIN artists ON artists.artist_id = songs.artist_id AND artists.name = logged.artist
ORDER BY logged.title, logged.artist, logged.duration, songs.song_id COLLATE "C"
"""

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

# Who may load, or reset the tables: only one at a time does. Readers are not held up. The number
# of the lock means nothing, but must stay the same.
LOAD_LOCK = 6_801_541_214
session_lock_select = f"SELECT pg_try_advisory_lock({LOAD_LOCK})"
load_lock_select = f"SELECT pg_try_advisory_xact_lock({LOAD_LOCK})"
load_lock_holder_select = f"""
SELECT pg_stat_activity.pid,
       pg_stat_activity.usename,
       pg_stat_activity.application_name
FROM pg_locks
JOIN pg_stat_activity USING (pid)
WHERE pg_locks.locktype = 'advisory'
  AND pg_locks.granted
  AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (pg_locks.classid::bigint << 32) | pg_locks.objid::bigint = {LOAD_LOCK}
"""

# MATCH songs and plays

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

# In the order in which they are created.
table_names = [
    "songplays",
    "users",
    "songs",
    "artists",
    "time",
    "unmatched_songplays",
    "loaded_files",
]

row_counts_select = """
SELECT (SELECT count(*) FROM songplays) AS songplays,
       (SELECT count(*) FROM users) AS users,
       (SELECT count(*) FROM songs) AS songs,
       (SELECT count(*) FROM artists) AS artists,
       (SELECT count(*) FROM time) AS time,
       (SELECT count(*) FROM unmatched_songplays) AS unmatched_songplays
"""

create_table_queries = [
    songplay_table_create,
    user_table_create,
    song_table_create,
    artist_table_create,
    time_table_create,
    unmatched_songplay_table_create,
    loaded_file_table_create,
    songplay_foreign_keys,
    song_foreign_key,
    songplay_time_index,
    songplay_song_index,
    songplay_artist_index,
    song_artist_index,
    song_title_index,
    unmatched_title_index,
    listening_view_create,
]
drop_table_queries = [
    listening_view_drop,
    loaded_file_table_drop,
    unmatched_songplay_table_drop,
    songplay_table_drop,
    user_table_drop,
    song_table_drop,
    artist_table_drop,
    time_table_drop,
]


# SANITY CHECKS
#
# Each selects the rows that break a rule: none, and the rule holds. They take nothing for granted
# that another one checks, so they also work on tables whose constraints have been dropped.


def literals(*rows):
    """Return rows of texts as the SQL of a VALUES list."""
    quoted = [", ".join("'" + text.replace("'", "''") + "'" for text in row) for row in rows]
    return "VALUES\n" + ",\n".join(f"        ({row})" for row in quoted)


def has_columns(relation, columns):
    """Return the check that a table or view has these columns, {name: type}, and no other."""
    return f"""
-- One row per column of {relation} that is missing, surplus or of another type
WITH expected (column_name, data_type) AS (
    {literals(*columns.items())}
),
found AS (
    SELECT column_name::text, data_type::text
    FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name = '{relation}'
)
SELECT column_name,
       expected.data_type AS expected,
       found.data_type AS found
FROM expected
FULL JOIN found USING (column_name)
WHERE expected.data_type IS DISTINCT FROM found.data_type
ORDER BY column_name
"""


def forbids_null(table, columns):
    """Return the check that of a table's columns these, and only these, are NOT NULL."""
    return f"""
-- One row per column of {table} that may be NULL and must not, or the other way round
WITH required (column_name) AS (
    {literals(*([column] for column in columns))}
)
SELECT column_name::text, is_nullable::text
FROM information_schema.columns
WHERE table_schema = current_schema()
  AND table_name = '{table}'
  AND (is_nullable = 'NO') <> (column_name IN (SELECT column_name FROM required))
ORDER BY column_name
"""


def has_constraints(table, kind, *definitions):
    """Return the check that a table has these constraints of a kind of pg_constraint.contype."""
    return f"""
-- One row per constraint of {table} that is missing, surplus or defined otherwise
WITH expected (definition) AS (
    {literals(*([definition] for definition in definitions))}
),
found AS (
    SELECT pg_get_constraintdef(pg_constraint.oid) AS definition
    FROM pg_constraint
    JOIN pg_class ON pg_class.oid = pg_constraint.conrelid
    WHERE pg_class.relname = '{table}'
      AND pg_class.relnamespace = current_schema()::regnamespace
      AND pg_constraint.contype = '{kind}'
)
SELECT expected.definition AS expected,
       found.definition AS found
FROM expected
FULL JOIN found USING (definition)
WHERE expected.definition IS NULL OR found.definition IS NULL
ORDER BY definition
"""


def resolves_conflicts(insert, table, key):
    """Return the check that an INSERT into a table has an ON CONFLICT clause for its key."""
    statement = insert.replace("%", "?")  # a check takes no parameters
    return f"""
-- One row if the INSERT into {table} does not say what happens to a row whose key is stored already
WITH inserts (statement) AS (
    {literals([statement])}
)
SELECT statement
FROM inserts
WHERE statement !~ 'INSERT INTO {table}\\s[^;]*ON CONFLICT [(]{key}[)] DO (NOTHING|UPDATE)'
"""


def is_known(table, *columns):
    """Return the check that none of these columns is NULL in any row."""
    return f"SELECT * FROM {table} WHERE num_nulls({', '.join(columns)}) > 0"


def is_unique(table, key):
    """Return the check that no two rows share a key."""
    return f"""
SELECT {key}, count(*) AS rows
FROM {table}
GROUP BY {key}
HAVING count(*) > 1
ORDER BY {key}
"""


def refers_to(table, column, referenced):
    """Return the check that each value of a column is found in the same column of another table."""
    return f"""
SELECT *
FROM {table}
WHERE {column} IS NOT NULL
  AND NOT EXISTS (SELECT FROM {referenced} WHERE {referenced}.{column} = {table}.{column})
"""


def satisfies(table, rule):
    """Return the check that no row breaks a rule; a rule about what is NULL says nothing."""
    return f"SELECT * FROM {table} WHERE NOT ({rule})"


songplay_without_song_check = """
SELECT songplays.*
FROM songplays
LEFT JOIN unmatched_songplays USING (songplay_id)
WHERE songplays.song_id IS NULL AND unmatched_songplays.songplay_id IS NULL
"""

songplay_artist_check = """
SELECT songplays.*, songs.artist_id AS artist_of_song
FROM songplays
JOIN songs USING (song_id)
WHERE songplays.artist_id <> songs.artist_id
"""

# Of songs that a log calls the same, a play has the one with the smallest song_id.
songplay_song_check = """
WITH named AS (
    SELECT songs.song_id,
           min(songs.song_id COLLATE "C") OVER (
               PARTITION BY songs.title, artists.name, songs.duration
           ) AS smallest
    FROM songs
    JOIN artists USING (artist_id)
)
SELECT songplays.*, named.smallest AS song_that_fits
FROM songplays
JOIN named USING (song_id)
WHERE named.song_id <> named.smallest COLLATE "C"
"""

unmatched_matched_check = """
SELECT unmatched_songplays.*, songplays.song_id
FROM unmatched_songplays
JOIN songplays USING (songplay_id)
WHERE songplays.song_id IS NOT NULL
"""

unmatched_fitting_check = """
SELECT unmatched_songplays.*, songs.song_id AS song_that_fits
FROM unmatched_songplays
JOIN songs USING (title, duration)
JOIN artists ON artists.artist_id = songs.artist_id AND artists.name = unmatched_songplays.artist
"""

time_unplayed_check = """
SELECT *
FROM time
WHERE NOT EXISTS (SELECT FROM songplays WHERE songplays.start_time = time.start_time)
"""

user_unheard_check = """
SELECT *
FROM users
WHERE NOT EXISTS (SELECT FROM songplays WHERE songplays.user_id = users.user_id)
"""

time_parts_check = """
-- One row per moment whose parts are not those of its start_time in UTC; Monday = 0
WITH moments AS (
    SELECT time.*, start_time AT TIME ZONE 'UTC' AS utc
    FROM time
)
SELECT start_time, hour, day, week, month, year, weekday
FROM moments
WHERE (hour, day, week, month, year, weekday) IS DISTINCT FROM (
    extract(hour FROM utc),
    extract(day FROM utc),
    extract(week FROM utc),
    extract(month FROM utc),
    extract(year FROM utc),
    extract(isodow FROM utc) - 1
)
"""

TABLE_COLUMNS = {
    "songplays": {
        "songplay_id": "bigint",
        "start_time": "timestamp with time zone",
        "user_id": "integer",
        "level": "text",
        "song_id": "text",
        "artist_id": "text",
        "session_id": "bigint",
        "location": "text",
        "user_agent": "text",
    },
    "users": {
        "user_id": "integer",
        "first_name": "text",
        "last_name": "text",
        "gender": "text",
        "level": "text",
    },
    "songs": {
        "song_id": "text",
        "title": "text",
        "artist_id": "text",
        "year": "integer",
        "duration": "double precision",
    },
    "artists": {
        "artist_id": "text",
        "name": "text",
        "location": "text",
        "latitude": "double precision",
        "longitude": "double precision",
    },
    "time": {
        "start_time": "timestamp with time zone",
        "hour": "integer",
        "day": "integer",
        "week": "integer",
        "month": "integer",
        "year": "integer",
        "weekday": "integer",
    },
    "unmatched_songplays": {
        "songplay_id": "bigint",
        "title": "text",
        "artist": "text",
        "duration": "double precision",
    },
    "loaded_files": {
        "uri": "text",
        "kind": "text",
        "size": "bigint",
        "modified": "timestamp with time zone",
        "rows_loaded": "bigint",
        "lines_set_aside": "bigint",
        "seconds": "double precision",
        "loaded_at": "timestamp with time zone",
    },
}
LISTENING_COLUMNS = TABLE_COLUMNS["songplays"] | {
    "title": "text",
    "artist": "text",
    "duration": "double precision",
}
# The first one is the primary key.
REQUIRED_COLUMNS = {
    "songplays": ["songplay_id", "start_time", "user_id", "level", "session_id"],
    "users": ["user_id", "level"],
    "songs": ["song_id", "title", "artist_id", "duration"],
    "artists": ["artist_id", "name"],
    "time": ["start_time", "hour", "day", "week", "month", "year", "weekday"],
    "unmatched_songplays": ["songplay_id"],
    "loaded_files": list(TABLE_COLUMNS["loaded_files"]),
}
FOREIGN_KEYS = {
    "songplays": [
        'FOREIGN KEY (start_time) REFERENCES "time"(start_time)',
        "FOREIGN KEY (user_id) REFERENCES users(user_id)",
        "FOREIGN KEY (song_id) REFERENCES songs(song_id)",
        "FOREIGN KEY (artist_id) REFERENCES artists(artist_id)",
    ],
    "songs": ["FOREIGN KEY (artist_id) REFERENCES artists(artist_id)"],
    "unmatched_songplays": [
        "FOREIGN KEY (songplay_id) REFERENCES songplays(songplay_id) ON DELETE CASCADE"
    ],
}
NATURAL_KEY = "user_id, start_time, session_id"

sanity_check_queries = {
    **{
        f"{table}: columns and their types": has_columns(table, columns)
        for table, columns in TABLE_COLUMNS.items()
    },
    "listening: columns and their types": has_columns("listening", LISTENING_COLUMNS),
    **{
        f"{table}: columns that are NOT NULL": forbids_null(table, columns)
        for table, columns in REQUIRED_COLUMNS.items()
    },
    **{
        f"{table}: primary key": has_constraints(table, "p", f"PRIMARY KEY ({columns[0]})")
        for table, columns in REQUIRED_COLUMNS.items()
    },
    **{
        f"{table}: foreign keys": has_constraints(table, "f", *definitions)
        for table, definitions in FOREIGN_KEYS.items()
    },
    "songplays: natural key": has_constraints("songplays", "u", f"UNIQUE ({NATURAL_KEY})"),
    **{
        f"{table}: INSERT has an ON CONFLICT clause": resolves_conflicts(insert, table, key)
        for table, insert, key in (
            ("songplays", songplay_table_insert, NATURAL_KEY),
            ("users", user_table_insert, "user_id"),
            ("songs", song_table_insert, "song_id"),
            ("artists", artist_table_insert, "artist_id"),
            ("time", time_table_insert, "start_time"),
            ("loaded_files", loaded_file_insert, "uri"),
        )
    },
    **{
        f"{table}: nothing required is NULL": is_known(table, *columns)
        for table, columns in REQUIRED_COLUMNS.items()
    },
    **{
        f"{table}: {columns[0]} is unique": is_unique(table, columns[0])
        for table, columns in REQUIRED_COLUMNS.items()
    },
    f"songplays: {NATURAL_KEY} are unique together": is_unique("songplays", NATURAL_KEY),
    "songplays: start_time refers to a moment": refers_to("songplays", "start_time", "time"),
    "songplays: user_id refers to a user": refers_to("songplays", "user_id", "users"),
    "songplays: song_id refers to a song": refers_to("songplays", "song_id", "songs"),
    "songplays: artist_id refers to an artist": refers_to("songplays", "artist_id", "artists"),
    "songs: artist_id refers to an artist": refers_to("songs", "artist_id", "artists"),
    "unmatched_songplays: songplay_id refers to a play": refers_to(
        "unmatched_songplays", "songplay_id", "songplays"
    ),
    "songplays: song_id and artist_id are known together": satisfies(
        "songplays", "(song_id IS NULL) = (artist_id IS NULL)"
    ),
    "songplays: artist_id is that of the song": songplay_artist_check,
    "songplays: song_id is the smallest that fits": songplay_song_check,
    "songplays: a play without a song is in unmatched_songplays": songplay_without_song_check,
    "unmatched_songplays: the play has no song": unmatched_matched_check,
    "unmatched_songplays: no song of the catalogue fits": unmatched_fitting_check,
    "songplays: level is free or paid": satisfies("songplays", "level IN ('free', 'paid')"),
    "users: level is free or paid": satisfies("users", "level IN ('free', 'paid')"),
    "users: gender is F or M": satisfies("users", "gender IN ('F', 'M')"),
    "users: each has a play": user_unheard_check,
    "time: each moment has a play": time_unplayed_check,
    "time: hour, day, week, month, year and weekday are those of start_time": time_parts_check,
    "songs: duration is a positive number": satisfies(
        "songs", "duration > 0 AND duration < 'infinity'"
    ),
    "unmatched_songplays: duration is a positive number": satisfies(
        "unmatched_songplays", "duration > 0 AND duration < 'infinity'"
    ),
    "artists: latitude and longitude are degrees": satisfies(
        "artists", "latitude BETWEEN -90 AND 90 AND longitude BETWEEN -180 AND 180"
    ),
    "loaded_files: kind is song or log": satisfies("loaded_files", "kind IN ('song', 'log')"),
    "loaded_files: size, rows_loaded and lines_set_aside are not negative": satisfies(
        "loaded_files", "least(size, rows_loaded, lines_set_aside) >= 0"
    ),
    "loaded_files: seconds is a number that is not negative": satisfies(
        "loaded_files", "seconds >= 0 AND seconds < 'infinity'"
    ),
    **{
        f"{table}: no text is NaN": satisfies(
            table, " AND ".join(f"{column} NOT IN ('NaN', 'nan')" for column in columns)
        )
        for table, columns in (
            ("songplays", ["location", "user_agent"]),
            ("users", ["first_name", "last_name"]),
            ("artists", ["location"]),
        )
    },
}

# The number of offending rows and up to five of them as JSON.
sanity_offenders_select = """
SELECT count(*) OVER (), row_to_json(offenders)::text
FROM ({}) AS offenders
LIMIT 5
"""


# ANALYTICS
#
# Hours, days and weeks are those of UTC, weeks begin on Monday. Minutes are those of the songs
# played, whether or not the user heard them to their end. A song is known by title and artist.

# Plays are counted per song_id before the names are looked up, listeners for the top ten alone:
# many times faster than to group the view listening by names.
PLAYS_BY_NAME = """
counted AS (
    SELECT song_id, count(*) AS plays
    FROM songplays
    WHERE song_id IS NOT NULL
    GROUP BY song_id
),
named AS (
    SELECT songs.title, artists.name AS artist, counted.plays, TRUE AS in_catalogue
    FROM counted
    JOIN songs USING (song_id)
    JOIN artists USING (artist_id)
    UNION ALL
    SELECT title, artist, count(*), FALSE
    FROM unmatched_songplays
    WHERE title IS NOT NULL AND artist IS NOT NULL
    GROUP BY title, artist
)
"""

most_played_songs = f"""
-- One row per song, in the catalogue or not: the ten with most plays
WITH {PLAYS_BY_NAME.strip()},
top AS (
    SELECT title,
           artist,
           sum(plays)::bigint AS plays,
           bool_or(in_catalogue) AS in_catalogue
    FROM named
    GROUP BY title, artist
    ORDER BY plays DESC, title COLLATE "C", artist COLLATE "C"
    LIMIT 10
),
heard AS (
    SELECT title, artist, songplays.user_id
    FROM top
    JOIN songs USING (title)
    JOIN artists ON artists.artist_id = songs.artist_id AND artists.name = top.artist
    JOIN songplays USING (song_id)
    UNION
    SELECT title, artist, songplays.user_id
    FROM top
    JOIN unmatched_songplays USING (title, artist)
    JOIN songplays USING (songplay_id)
)
SELECT title,
       artist,
       plays,
       count(*) AS listeners,
       in_catalogue
FROM top
JOIN heard USING (title, artist)
GROUP BY title, artist, plays, in_catalogue
ORDER BY plays DESC, title COLLATE "C", artist COLLATE "C"
"""

most_played_artists = f"""
-- One row per artist, in the catalogue or not: the ten with most plays
WITH {PLAYS_BY_NAME.strip()},
top AS (
    SELECT artist,
           count(DISTINCT title) AS songs,
           sum(plays)::bigint AS plays,
           bool_or(in_catalogue) AS in_catalogue
    FROM named
    GROUP BY artist
    ORDER BY plays DESC, artist COLLATE "C"
    LIMIT 10
),
heard AS (
    SELECT top.artist, songplays.user_id
    FROM top
    JOIN artists ON artists.name = top.artist
    JOIN songplays USING (artist_id)
    UNION
    SELECT artist, songplays.user_id
    FROM top
    JOIN unmatched_songplays USING (artist)
    JOIN songplays USING (songplay_id)
    WHERE unmatched_songplays.title IS NOT NULL
)
SELECT artist,
       plays,
       songs AS songs_played,
       count(*) AS listeners,
       in_catalogue
FROM top
JOIN heard USING (artist)
GROUP BY artist, plays, songs, in_catalogue
ORDER BY plays DESC, artist COLLATE "C"
"""

unplayed_songs = """
-- One row per song of the catalogue that nobody has played
SELECT songs.song_id,
       songs.title,
       artists.name AS artist,
       NULLIF(songs.year, 0) AS year
FROM songs
JOIN artists USING (artist_id)
WHERE NOT EXISTS (SELECT FROM songplays WHERE songplays.song_id = songs.song_id)
ORDER BY artists.name COLLATE "C", songs.title COLLATE "C", songs.song_id COLLATE "C"
"""

most_wanted_songs = """
-- One row per song that the catalogue lacks: the ten with most plays
WITH wanted AS (
    SELECT title, artist, count(*) AS plays
    FROM unmatched_songplays
    WHERE title IS NOT NULL AND artist IS NOT NULL
    GROUP BY title, artist
    ORDER BY plays DESC, title COLLATE "C", artist COLLATE "C"
    LIMIT 10
)
SELECT title,
       artist,
       plays,
       count(DISTINCT songplays.user_id) AS listeners
FROM wanted
JOIN unmatched_songplays USING (title, artist)
JOIN songplays USING (songplay_id)
GROUP BY title, artist, plays
ORDER BY plays DESC, title COLLATE "C", artist COLLATE "C"
"""

activity_by_hour = """
-- One row per hour of the day in UTC, also without plays
WITH active AS (
    SELECT time.hour, songplays.user_id, count(*) AS plays
    FROM songplays
    JOIN time USING (start_time)
    GROUP BY time.hour, songplays.user_id
)
SELECT hour,
       COALESCE(sum(plays), 0)::bigint AS plays,
       count(user_id) AS users
FROM generate_series(0, 23) AS hour
LEFT JOIN active USING (hour)
GROUP BY hour
ORDER BY hour
"""

# A period seldom has each weekday equally often, so plays in all would mislead.
activity_by_weekday = """
-- One row per day of the week in UTC, Monday = 0, also without plays
WITH period AS (
    SELECT min(start_time AT TIME ZONE 'UTC')::date AS first_day,
           max(start_time AT TIME ZONE 'UTC')::date AS last_day
    FROM time
),
days AS (
    SELECT extract(isodow FROM first_day + n)::int - 1 AS weekday, count(*) AS days
    FROM period, generate_series(0, last_day - first_day) AS n
    GROUP BY weekday
),
active AS (
    SELECT time.weekday, songplays.user_id, count(*) AS plays
    FROM songplays
    JOIN time USING (start_time)
    GROUP BY time.weekday, songplays.user_id
)
SELECT weekday,
       COALESCE(days, 0) AS days,
       COALESCE(sum(plays), 0)::bigint AS plays,
       round(sum(plays) / days, 1)::float8 AS plays_per_day,
       count(user_id) AS users
FROM generate_series(0, 6) AS weekday
LEFT JOIN days USING (weekday)
LEFT JOIN active USING (weekday)
GROUP BY weekday, days
ORDER BY weekday
"""

activity_by_weekday_and_hour = """
-- One row per hour of the week in UTC, Monday = 0, also without plays
WITH active AS (
    SELECT time.weekday, time.hour, count(*) AS plays
    FROM songplays
    JOIN time USING (start_time)
    GROUP BY time.weekday, time.hour
)
SELECT weekday,
       hour,
       COALESCE(plays, 0) AS plays
FROM generate_series(0, 6) AS weekday
CROSS JOIN generate_series(0, 23) AS hour
LEFT JOIN active USING (weekday, hour)
ORDER BY weekday, hour
"""

activity_by_day = """
-- One row per day from the first play to the last, also without plays
WITH sessions AS (
    SELECT (start_time AT TIME ZONE 'UTC')::date AS day,
           user_id,
           session_id,
           count(*) AS plays
    FROM songplays
    GROUP BY day, user_id, session_id
),
days AS (
    SELECT first_day + n AS day
    FROM (SELECT min(day) AS first_day, max(day) AS last_day FROM sessions) AS period,
         generate_series(0, last_day - first_day) AS n
)
SELECT day,
       COALESCE(sum(plays), 0)::bigint AS plays,
       count(DISTINCT user_id) AS users,
       count(session_id) AS sessions
FROM days
LEFT JOIN sessions USING (day)
GROUP BY day
ORDER BY day
"""

plays_by_metropolitan_area = """
-- One row per metropolitan area, NULL where the log names none
WITH active AS (
    SELECT location, user_id, count(*) AS plays
    FROM songplays
    GROUP BY location, user_id
)
SELECT split_part(location, ', ', 1) AS metropolitan_area,
       split_part(location, ', ', 2) AS states,
       sum(plays)::bigint AS plays,
       count(*) AS users,
       round(sum(plays) / count(*), 1)::float8 AS plays_per_user
FROM active
GROUP BY location
ORDER BY plays DESC, location COLLATE "C"
"""

# An area that spans several states counts in that of its first city.
plays_by_week_and_state = """
-- One row per week (its Monday) and US state that has plays, NULL where the log names no place
WITH active AS (
    SELECT date_trunc('week', start_time AT TIME ZONE 'UTC')::date AS week,
           location,
           user_id,
           count(*) AS plays
    FROM songplays
    GROUP BY week, location, user_id
),
placed AS (
    SELECT week,
           split_part(split_part(location, ', ', 2), '-', 1) AS state,
           user_id,
           plays
    FROM active
)
SELECT week,
       state,
       sum(plays)::bigint AS plays,
       count(DISTINCT user_id) AS users
FROM placed
GROUP BY week, state
ORDER BY week, state COLLATE "C"
"""

plays_by_day_and_gender = """
-- One row per day and gender that has plays; NULL where the log names none
WITH active AS (
    SELECT (start_time AT TIME ZONE 'UTC')::date AS day,
           user_id,
           count(*) AS plays
    FROM songplays
    GROUP BY day, user_id
)
SELECT day,
       gender,
       sum(plays)::bigint AS plays,
       count(*) AS users
FROM active
JOIN users USING (user_id)
GROUP BY day, gender
ORDER BY day, gender COLLATE "C"
"""

plays_by_day_and_level = """
-- One row per day and level, as it was at the time of the plays
WITH active AS (
    SELECT (start_time AT TIME ZONE 'UTC')::date AS day,
           level,
           user_id,
           count(*) AS plays
    FROM songplays
    GROUP BY day, level, user_id
)
SELECT day,
       level,
       sum(plays)::bigint AS plays,
       count(*) AS users
FROM active
GROUP BY day, level
ORDER BY day, level COLLATE "C"
"""

# The window is ordered by the time in UTC for speed: with the bare column, Postgres follows the
# index of the natural key from play to play, which takes four times as long as to sort the plays.
LEVEL_CHANGES = """
plays AS (
    SELECT user_id,
           start_time,
           session_id,
           location,
           level,
           lag(level) OVER (
               PARTITION BY user_id
               ORDER BY start_time AT TIME ZONE 'UTC', session_id
           ) AS previous_level
    FROM songplays
),
changes AS (
    SELECT *
    FROM plays
    WHERE level <> previous_level
)
"""

level_changes = f"""
-- One row per change of a user's level: the first play on the new one
WITH {LEVEL_CHANGES.strip()}
SELECT changes.start_time AT TIME ZONE 'UTC' AS start_time,
       changes.user_id,
       users.first_name,
       users.last_name,
       users.gender,
       changes.previous_level,
       changes.level,
       changes.location
FROM changes
JOIN users USING (user_id)
ORDER BY changes.start_time, changes.user_id, changes.session_id
"""

level_changes_by_week = f"""
-- One row per week (its Monday) from the first change to the last, also without changes
WITH {LEVEL_CHANGES.strip()},
counted AS (
    SELECT date_trunc('week', start_time AT TIME ZONE 'UTC')::date AS week,
           count(*) FILTER (WHERE level = 'paid') AS to_paid,
           count(*) FILTER (WHERE level = 'free') AS to_free
    FROM changes
    GROUP BY week
)
SELECT week,
       COALESCE(to_paid, 0) AS to_paid,
       COALESCE(to_free, 0) AS to_free
FROM (
    SELECT first_week + 7 * n AS week
    FROM (SELECT min(week) AS first_week, max(week) AS last_week FROM counted) AS period,
         generate_series(0, (last_week - first_week) / 7) AS n
) AS weeks
LEFT JOIN counted USING (week)
ORDER BY week
"""

sessions_per_user = """
-- One row per user
WITH sessions AS (
    SELECT user_id, session_id, count(*) AS plays
    FROM songplays
    GROUP BY user_id, session_id
)
SELECT user_id,
       users.first_name,
       users.last_name,
       users.level,
       count(*) AS sessions,
       sum(sessions.plays)::bigint AS plays
FROM sessions
JOIN users USING (user_id)
GROUP BY user_id, users.first_name, users.last_name, users.level
ORDER BY sessions DESC, user_id
"""

typical_engagement = """
-- One row per measure
WITH sessions AS (
    SELECT user_id,
           session_id,
           count(*) AS plays,
           COALESCE(sum(duration), 0) / 60 AS minutes
    FROM listening
    GROUP BY user_id, session_id
),
measured AS (
    SELECT 1 AS position, 'sessions per user' AS measure, count(*)::float8 AS value
    FROM sessions
    GROUP BY user_id
    UNION ALL
    SELECT 2, 'plays per session', plays FROM sessions
    UNION ALL
    SELECT 3, 'minutes per session', minutes FROM sessions
)
SELECT measure,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS median,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY value) AS percentile_90
FROM measured
GROUP BY position, measure
ORDER BY position
"""

returning_users = """
-- One row per week of first play (its Monday) and week since then, up to the last play of all
WITH active AS (
    SELECT DISTINCT
           user_id,
           date_trunc('week', start_time AT TIME ZONE 'UTC')::date AS week
    FROM songplays
),
first_weeks AS (
    SELECT user_id, min(week) AS first_week
    FROM active
    GROUP BY user_id
),
cohorts AS (
    SELECT first_week, count(*) AS newcomers
    FROM first_weeks
    GROUP BY first_week
),
returns AS (
    SELECT first_week, (week - first_week) / 7 AS weeks_later, count(*) AS users
    FROM active
    JOIN first_weeks USING (user_id)
    GROUP BY first_week, weeks_later
)
SELECT first_week,
       weeks_later,
       COALESCE(users, 0) AS users,
       round(COALESCE(users, 0)::numeric / newcomers, 3)::float8 AS share
FROM cohorts
CROSS JOIN generate_series(0, ((SELECT max(week) FROM active) - first_week) / 7) AS weeks_later
LEFT JOIN returns USING (first_week, weeks_later)
ORDER BY first_week, weeks_later
"""

# What keeps this fast however many plays there are: it looks at the user's ten most played songs
# and at what others played lately, in the last 28 days and at most 50,000 plays.
recommendations = """
-- One row per song to recommend to the user, the best first.
-- Score: of the other users who lately played the song or one of the user's ten favourites, the
-- share that played both; the mean over the favourites. Popular songs, with score 0, fill the list.
WITH history AS (
    SELECT title, artist, count(*) AS plays
    FROM listening
    WHERE user_id = %(user_id)s AND title IS NOT NULL AND artist IS NOT NULL
    GROUP BY title, artist
),
favourites AS (
    SELECT title, artist, plays
    FROM history
    ORDER BY plays DESC, title COLLATE "C", artist COLLATE "C"
    LIMIT 10
),
recent AS (
    SELECT songplay_id, song_id, user_id
    FROM songplays
    WHERE start_time > (SELECT max(start_time) - INTERVAL '28 days' FROM songplays)
    ORDER BY start_time DESC, songplay_id DESC
    LIMIT 50000
),
tastes AS MATERIALIZED (
    SELECT DISTINCT
           COALESCE(songs.title, unmatched_songplays.title) AS title,
           COALESCE(artists.name, unmatched_songplays.artist) AS artist,
           recent.user_id
    FROM recent
    LEFT JOIN songs USING (song_id)
    LEFT JOIN artists USING (artist_id)
    LEFT JOIN unmatched_songplays USING (songplay_id)
    WHERE recent.user_id <> %(user_id)s
),
popularity AS (
    SELECT title, artist, count(*) AS listeners
    FROM tastes
    WHERE title IS NOT NULL AND artist IS NOT NULL
    GROUP BY title, artist
),
candidates AS (
    SELECT popularity.*
    FROM popularity
    LEFT JOIN history USING (title, artist)
    WHERE history.plays IS NULL
),
shared AS (
    SELECT fans.title AS favourite,
           fans.artist AS favourite_artist,
           tastes.title,
           tastes.artist,
           count(*) AS listeners
    FROM favourites
    JOIN tastes AS fans USING (title, artist)
    JOIN tastes ON tastes.user_id = fans.user_id
    GROUP BY fans.title, fans.artist, tastes.title, tastes.artist
    HAVING count(*) > 1
),
alike AS (
    SELECT shared.favourite,
           shared.favourite_artist,
           candidates.title,
           candidates.artist,
           shared.listeners::numeric
               / (fans.listeners + candidates.listeners - shared.listeners) AS similarity
    FROM shared
    JOIN candidates USING (title, artist)
    JOIN popularity AS fans
        ON fans.title = shared.favourite AND fans.artist = shared.favourite_artist
),
scored AS (
    SELECT title,
           artist,
           round(sum(similarity) / (SELECT count(*) FROM favourites), 4) AS score
    FROM alike
    GROUP BY title, artist
),
reasons AS (
    SELECT DISTINCT ON (title, artist)
           title,
           artist,
           'because you played "' || favourite || '" by ' || favourite_artist AS reason
    FROM alike
    ORDER BY title,
             artist,
             round(similarity, 4) DESC,
             favourite COLLATE "C",
             favourite_artist COLLATE "C"
),
offers AS (
    SELECT title,
           artist,
           listeners,
           COALESCE(score, 0)::float8 AS score,
           COALESCE(
               reason,
               'popular with ' || listeners || CASE listeners WHEN 1 THEN ' listener'
                                                              ELSE ' listeners' END
           ) AS reason
    FROM candidates
    LEFT JOIN scored USING (title, artist)
    LEFT JOIN reasons USING (title, artist)
)
SELECT title,
       artist,
       score,
       reason
FROM offers
ORDER BY score DESC, listeners DESC, title COLLATE "C", artist COLLATE "C"
LIMIT %(limit)s
"""

# The order matters: most user agents name other browsers and systems too, to be taken for them.
plays_by_browser_and_system = """
-- One row per browser and operating system
WITH active AS (
    SELECT user_agent, user_id, count(*) AS plays
    FROM songplays
    GROUP BY user_agent, user_id
),
agents AS (
    SELECT user_agent,
           CASE
               WHEN user_agent IS NULL THEN 'unknown'
               WHEN user_agent ~ 'Edge?/|EdgA/|EdgiOS/' THEN 'Edge'
               WHEN user_agent ~ 'OPR/|Opera' THEN 'Opera'
               WHEN user_agent ~ 'Trident/|MSIE' THEN 'Internet Explorer'
               WHEN user_agent ~ 'Firefox/|FxiOS/' THEN 'Firefox'
               WHEN user_agent ~ 'Chrome/|CriOS/|Chromium/' THEN 'Chrome'
               WHEN user_agent ~ 'Safari/|AppleWebKit/.* Mobile/' THEN 'Safari'
               ELSE 'other'
           END AS browser,
           CASE
               WHEN user_agent IS NULL THEN 'unknown'
               WHEN user_agent ~ 'iPhone|iPad|iPod' THEN 'iOS'
               WHEN user_agent ~ 'Android' THEN 'Android'
               WHEN user_agent ~ 'Windows' THEN 'Windows'
               WHEN user_agent ~ 'Macintosh|Mac OS X' THEN 'macOS'
               WHEN user_agent ~ 'CrOS' THEN 'ChromeOS'
               WHEN user_agent ~ 'Linux|X11' THEN 'Linux'
               ELSE 'other'
           END AS operating_system
    FROM (SELECT DISTINCT user_agent FROM active) AS distinct_agents
)
SELECT browser,
       operating_system,
       sum(plays)::bigint AS plays,
       count(DISTINCT user_id) AS users
FROM active
JOIN agents ON agents.user_agent IS NOT DISTINCT FROM active.user_agent
GROUP BY browser, operating_system
ORDER BY plays DESC, browser COLLATE "C", operating_system COLLATE "C"
"""

# Silence in a busy hour is more likely an outage than silence at night.
silent_hours = """
-- One row per run of hours without any play; usual_plays is what these hours of the day average
WITH counted AS (
    SELECT date_trunc('hour', start_time AT TIME ZONE 'UTC') AS hour, count(*) AS plays
    FROM songplays
    GROUP BY hour
),
hours AS (
    SELECT hour,
           plays,
           avg(COALESCE(plays, 0)) OVER (PARTITION BY extract(hour FROM hour)) AS usual_plays
    FROM (SELECT min(hour) AS first_hour, max(hour) AS last_hour FROM counted) AS period,
         generate_series(first_hour, last_hour, INTERVAL '1 hour') AS hour
    LEFT JOIN counted USING (hour)
),
silent AS (
    SELECT hour,
           usual_plays,
           hour - row_number() OVER (ORDER BY hour) * INTERVAL '1 hour' AS run
    FROM hours
    WHERE plays IS NULL
)
SELECT min(hour) AS start_time,
       max(hour) + INTERVAL '1 hour' AS end_time,
       count(*) AS hours,
       round(sum(usual_plays), 1)::float8 AS usual_plays
FROM silent
GROUP BY run
ORDER BY round(sum(usual_plays), 1) DESC, start_time
"""

# A file counts where it was loaded last: the table keeps no more of it.
load_times = """
-- One row per day (in UTC) and kind of file, of the files that were last loaded on that day
SELECT (loaded_at AT TIME ZONE 'UTC')::date AS day,
       kind,
       count(*) AS files,
       sum(rows_loaded)::bigint AS rows_loaded,
       sum(lines_set_aside)::bigint AS lines_set_aside,
       round(sum(size) / 1e6, 2)::float8 AS megabytes,
       round(sum(seconds)::numeric, 2)::float8 AS seconds
FROM loaded_files
GROUP BY day, kind
ORDER BY day, kind COLLATE "C"
"""

# By the question that each answers. Recommendations take the parameters user_id and limit.
analytics_queries = {
    "most played songs": most_played_songs,
    "most played artists": most_played_artists,
    "songs of the catalogue that nobody plays": unplayed_songs,
    "most wanted songs that the catalogue lacks": most_wanted_songs,
    "activity by hour": activity_by_hour,
    "activity by weekday": activity_by_weekday,
    "activity by weekday and hour": activity_by_weekday_and_hour,
    "plays, users and sessions by day": activity_by_day,
    "plays and users by metropolitan area": plays_by_metropolitan_area,
    "plays and users by week and state": plays_by_week_and_state,
    "plays and users by day and gender": plays_by_day_and_gender,
    "plays and users by day and level": plays_by_day_and_level,
    "changes of level": level_changes,
    "changes of level by week": level_changes_by_week,
    "sessions per user": sessions_per_user,
    "a typical user and session": typical_engagement,
    "returning users by week of first play": returning_users,
    "songs to recommend to a user": recommendations,
    "plays and users by browser and operating system": plays_by_browser_and_system,
    "hours without any play": silent_hours,
    "how long the loads take": load_times,
}
