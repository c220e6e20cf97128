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
VIEW_RANK = (
    ["{}.method", "{}.status", "{}.auth", "{}.level", "{}.location", "{}.user_agent"],
    ["method", "status", "auth", "level", "location", "user_agent"],
)

# DATABASE

database_create = "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0"
database_locale = "LOCALE 'C'"  # it goes with every encoding
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

# DROP

songplay_table_drop = "DROP TABLE IF EXISTS songplays"
user_table_drop = "DROP TABLE IF EXISTS users"
song_table_drop = "DROP TABLE IF EXISTS songs"
artist_table_drop = "DROP TABLE IF EXISTS artists"
time_table_drop = "DROP TABLE IF EXISTS time"
unmatched_songplay_table_drop = "DROP TABLE IF EXISTS unmatched_songplays"
page_view_table_drop = "DROP TABLE IF EXISTS page_views"
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
    UNIQUE (user_id, start_time, session_id) INCLUDE (level)
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

page_view_table_create = """
-- One row per logged event of a page other than NextSong
CREATE TABLE page_views (
    page_view_id    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    start_time      TIMESTAMPTZ NOT NULL,
    user_id         INT,
    session_id      BIGINT NOT NULL,
    item_in_session INT,
    page            TEXT NOT NULL,
    method          TEXT,
    status          INT,
    auth            TEXT,
    level           TEXT,
    location        TEXT,
    user_agent      TEXT,
    UNIQUE NULLS NOT DISTINCT (start_time, session_id, item_in_session, page, user_id)
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

# A user's plays need no index of their own: the natural key begins with user_id, and its index has
# the level, too, so that changes of level, like an artist's listeners, are found in an index alone.
songplay_time_index = "CREATE INDEX ON songplays (start_time)"
songplay_song_index = "CREATE INDEX ON songplays (song_id)"
songplay_artist_index = "CREATE INDEX ON songplays (artist_id, user_id)"
song_artist_index = "CREATE INDEX ON songs (artist_id)"
# Titles are looked up by equality only, and a B-tree refuses those of more than 2,700 bytes.
song_title_index = "CREATE INDEX ON songs USING HASH (title)"
unmatched_title_index = "CREATE INDEX ON unmatched_songplays USING HASH (title)"
# An artist has few titles: told so, Postgres counts plays by name without sorting them all.
unmatched_name_statistics = """
CREATE STATISTICS unmatched_songplays_names (ndistinct) ON title, artist FROM unmatched_songplays
"""

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


def delete_outranked_songplays(logged):
    """Return the DELETE of stored plays that a logged one with the same natural key outranks."""
    return f"""
DELETE FROM songplays
USING {logged}
JOIN listening USING (user_id, start_time, session_id)
WHERE songplays.songplay_id = listening.songplay_id
  AND ({rank("logged", *PLAY_RANK)}) > ({rank("listening", *PLAY_RANK)})
"""


# Sessions of different users may share numbers, and a log need not number what is in them: an event
# is known by all that says which one it is, NULL being a value like any other.
PAGE_VIEW_CONFLICT = f"""
ON CONFLICT (start_time, session_id, item_in_session, page, user_id) DO UPDATE
SET method = EXCLUDED.method,
    status = EXCLUDED.status,
    auth = EXCLUDED.auth,
    level = EXCLUDED.level,
    location = EXCLUDED.location,
    user_agent = EXCLUDED.user_agent
WHERE ({rank("EXCLUDED", *VIEW_RANK)}) > ({rank("page_views", *VIEW_RANK)})
"""

page_view_table_insert = f"""
INSERT INTO page_views (
    start_time, user_id, session_id, item_in_session, page, method, status, auth, level, location,
    user_agent
)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s){PAGE_VIEW_CONFLICT}
"""

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

# Times in microseconds since 1970.
loaded_files_select = """
SELECT uri, size, (extract(epoch FROM modified) * 1000000)::bigint AS modified
FROM loaded_files
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

# In the order in which they are created.
table_names = [
    "songplays",
    "users",
    "songs",
    "artists",
    "time",
    "unmatched_songplays",
    "page_views",
    "loaded_files",
]

create_table_queries = [
    songplay_table_create,
    user_table_create,
    song_table_create,
    artist_table_create,
    time_table_create,
    unmatched_songplay_table_create,
    page_view_table_create,
    loaded_file_table_create,
    songplay_foreign_keys,
    song_foreign_key,
    songplay_time_index,
    songplay_song_index,
    songplay_artist_index,
    song_artist_index,
    song_title_index,
    unmatched_title_index,
    unmatched_name_statistics,
    listening_view_create,
]
drop_table_queries = [
    listening_view_drop,
    loaded_file_table_drop,
    page_view_table_drop,
    unmatched_songplay_table_drop,
    songplay_table_drop,
    user_table_drop,
    song_table_drop,
    artist_table_drop,
    time_table_drop,
]
