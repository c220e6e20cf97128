"""The star schema's SQL: tables and indexes, inserts and the rules for conflicts, look-ups.

The rows a table holds depend on the set of records loaded, never on their order. Where two records
share a key, the one with the greater rank stays, so each conflict clause gives the same row either
way round. A table's columns are written in its CREATE statement alone; what else lists them asks
its Table. Further SQL: that by which plays find songs which come after them in
sparkify/load/matching.py, and COPY's in sparkify/load/staging.py.
"""

import re


def hashes(*columns: str) -> str:
    """Return the SQL of numbers that are equal where texts are, and of few bytes however long."""
    return ", ".join(f"hashtextextended({column}, 0)" for column in columns)


# DATABASE

database_create = "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0"
database_locale = "LOCALE 'C'"  # it goes with every encoding
# hour, day and weekday are those of UTC; what a query shows of start_time agrees with them.
database_time_zone = "ALTER DATABASE {} SET timezone TO 'UTC'"
database_owner = "ALTER DATABASE {} OWNER TO {}"
schema_grant = "GRANT CREATE ON SCHEMA {} TO {}"
# The schema is the one that tables are created in: NULL where the search_path leads to none.
database_rights_select = """
SELECT EXISTS (
           SELECT FROM pg_db_role_setting
           WHERE setdatabase = pg_database.oid AND setrole = 0 AND 'TimeZone=UTC' = ANY(setconfig)
       ) AS is_utc,
       pg_has_role(datdba, 'USAGE') AS owns,
       current_setting('search_path') AS path,
       current_schema() AS schema,
       has_schema_privilege(current_schema(), 'CREATE') AS may_create,
       nspowner = 'pg_database_owner'::regrole AS is_of_owner
FROM pg_database
LEFT JOIN pg_namespace ON nspname = current_schema()
WHERE datname = current_database()
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
rejected_line_table_drop = "DROP TABLE IF EXISTS rejected_lines"
load_run_table_drop = "DROP TABLE IF EXISTS load_runs"
listening_view_drop = "DROP VIEW IF EXISTS listening"

# CREATE

# Ids are compared byte by byte (COLLATE "C"): an index of them is built in half the time, and none
# depends on the order that a system has for text, which may change with its version.

songplay_table_create = """
-- One row per NextSong event; duration in seconds, as logged
CREATE TABLE songplays (
    songplay_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    start_time  TIMESTAMPTZ NOT NULL,
    user_id     INT NOT NULL,
    level       TEXT NOT NULL,
    song_id     TEXT COLLATE "C",
    artist_id   TEXT COLLATE "C",
    session_id  BIGINT NOT NULL,
    location    TEXT,
    user_agent  TEXT,
    duration    DOUBLE PRECISION,
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
-- One row per track of the catalogue; duration in seconds, year 0 or NULL where unknown. Its artist
-- may have several names: artist_name is the one that the track's record has.
CREATE TABLE songs (
    song_id     TEXT COLLATE "C" PRIMARY KEY,
    title       TEXT NOT NULL,
    artist_id   TEXT COLLATE "C" NOT NULL,
    year        INT,
    duration    DOUBLE PRECISION NOT NULL,
    artist_name TEXT NOT NULL
)
"""

artist_table_create = """
-- One row per performer of the catalogue; coordinates in degrees
CREATE TABLE artists (
    artist_id TEXT COLLATE "C" PRIMARY KEY,
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
    artist      TEXT
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
    first_name      TEXT,
    last_name       TEXT,
    gender          TEXT,
    registered_at   TIMESTAMPTZ,
    tag             TEXT,
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
    plays_reencoded BIGINT NOT NULL,
    seconds         DOUBLE PRECISION NOT NULL,
    loaded_at       TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""

rejected_line_table_create = """
-- One row per line of a loaded file that could not be loaded: its bytes, why, and since when; met
-- is when its file was last loaded, corrected whether --retry has loaded it in another form
CREATE TABLE rejected_lines (
    uri       TEXT NOT NULL,
    line      BIGINT NOT NULL,
    reason    TEXT NOT NULL,
    text      BYTEA NOT NULL,
    corrected BOOLEAN NOT NULL DEFAULT false,
    set_aside TIMESTAMPTZ NOT NULL DEFAULT now(),
    met       TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (uri, line)
)
"""

load_run_table_create = """
-- One row per run of etl.py; all but its start is NULL while it goes on, and if it was killed
CREATE TABLE load_runs (
    run_id          TEXT PRIMARY KEY,
    started_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    exit_status     INT,
    files           BIGINT,
    rows_loaded     BIGINT,
    lines_set_aside BIGINT,
    seconds         DOUBLE PRECISION
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
# Songs are looked up by title and artist. A B-tree refuses texts of more than 2,700 bytes, but
# takes any number of equal hashes, where a hash index goes through them all for each new one.
song_name_index = f"CREATE INDEX ON songs ({hashes('title', 'artist_name')})"
unmatched_name_index = f"CREATE INDEX ON unmatched_songplays ({hashes('title', 'artist')})"
# Few users come on a day or in an hour: told so, Postgres groups plays in several processes. The
# questions use the same expressions; AT TIME ZONE takes longer, and its values can't be counted.
songplay_time_statistics = """
CREATE STATISTICS songplays_times (ndistinct)
ON user_id,
   session_id,
   (date_bin('1 hour', start_time, 'epoch')),
   (date_bin('1 day', start_time, 'epoch'))
FROM songplays
"""
# An artist has few titles: told so, Postgres counts plays by name without sorting them all.
unmatched_name_statistics = """
CREATE STATISTICS unmatched_songplays_names (ndistinct) ON title, artist FROM unmatched_songplays
"""

listening_view_create = """
-- One row per songplay, with title and artist name as played, in the catalogue or not
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
       songplays.duration,
       COALESCE(songs.title, unmatched_songplays.title) AS title,
       COALESCE(songs.artist_name, unmatched_songplays.artist) AS artist
FROM songplays
LEFT JOIN songs USING (song_id)
LEFT JOIN unmatched_songplays USING (songplay_id)
"""

# TABLES


class Rows:
    """Rows of these columns, {name: type}, no two of which should share a `key`.

    `facts` are the columns, or expressions, of which a row may lack some.
    """

    def __init__(self, columns, key, facts=()):
        self.columns, self.key = columns, key
        self.facts = [fact if "{" in fact else f"{{}}.{fact}" for fact in facts]
        self.values = [name for name in columns if name not in key]

    def names(self) -> str:
        return ", ".join(self.columns)

    def parameters(self) -> str:
        return ", ".join(f"CAST(%s AS {type})" for type in self.columns.values())

    def rank(self, row: str) -> str:
        """Return the SQL that ranks a row among those with its key: by completeness, then values.

        The one in which fewer of the facts are NULL is greater. Among equals the values decide as
        text, byte by byte and left to right, NULL after any text.
        """
        return f"{self.completeness(row)}, {self.texts(row)}"

    def best_first(self, row: str) -> str:
        """Return the ORDER BY terms that put the row with the greatest rank first."""
        return f"{self.completeness(row)} DESC, ({self.texts(row)}) DESC"

    def completeness(self, row):
        return f"num_nonnulls({', '.join(fact.format(row) for fact in self.facts)})"

    def texts(self, row):
        values = ", ".join(f"{row}.{name}::text" for name in self.values)
        return f'ARRAY[{values}] COLLATE "C"'


class Table(Rows):
    """A table as its CREATE statement has it; `columns` lack what the database itself fills in."""

    def __init__(self, create, key, facts=()):
        self.name = re.search(r"CREATE TABLE (\w+)", create)[1]
        found = re.findall(r"^    ([a-z_]+) +([A-Z]+(?: PRECISION)?)(.*)", create, re.MULTILINE)
        self.types = {name: type for name, type, _ in found}
        self.primary = (re.findall(r"PRIMARY KEY \((.*)\)", create) or [found[0][0]])[0]
        self.required = [name for name, _, more in found if re.search("NOT NULL|PRIMARY", more)]
        generated = [name for name, _, more in found if re.search("GENERATED|DEFAULT", more)]
        columns = {name: type for name, type in self.types.items() if name not in generated}
        super().__init__(columns, key, facts)

    def insert(self, conflict: str) -> str:
        """Return the INSERT of a row; the clause says what becomes of a stored one with its key."""
        parameters = ", ".join(["%s"] * len(self.columns))
        return f"""
INSERT INTO {self.name} ({self.names()})
VALUES ({parameters})
{conflict}
"""

    def replace(self, condition: str) -> str:
        """Return the clause that replaces all but the key of a stored row, on a condition."""
        values = ",\n    ".join(f"{name} = EXCLUDED.{name}" for name in self.values)
        return f"""ON CONFLICT ({", ".join(self.key)}) DO UPDATE
SET {values}
{condition}"""

    def replace_lesser(self) -> str:
        """Return the clause by which a row replaces a stored one that it outranks."""
        return self.replace(f"WHERE ({self.rank('EXCLUDED')}) > ({self.rank(self.name)})")


SONGPLAYS = Table(songplay_table_create, key=["user_id", "start_time", "session_id"])
USERS = Table(user_table_create, ["user_id"], facts=["first_name", "last_name", "gender"])
SONGS = Table(song_table_create, ["song_id"], facts=["NULLIF({}.year, 0)"])
ARTISTS = Table(
    artist_table_create,
    ["artist_id"],
    facts=["NULLIF({}.location, '')", "latitude", "longitude"],
)
TIME = Table(time_table_create, ["start_time"])
UNMATCHED_SONGPLAYS = Table(unmatched_songplay_table_create, ["songplay_id"])
# Sessions of different users may share numbers, and a log need not number what is in them: an event
# is known by all that says which one it is, NULL being a value like any other.
PAGE_VIEWS = Table(
    page_view_table_create,
    ["start_time", "session_id", "item_in_session", "page", "user_id"],
    facts=[
        *("method", "status", "auth", "level", "location", "user_agent"),
        *("first_name", "last_name", "gender", "registered_at", "tag"),
    ],
)
LOADED_FILES = Table(loaded_file_table_create, ["uri"])
REJECTED_LINES = Table(rejected_line_table_create, ["uri", "line"])
LOAD_RUNS = Table(load_run_table_create, ["run_id"])
TABLES = {  # in the order in which they are created
    table.name: table
    for table in (
        SONGPLAYS,
        USERS,
        SONGS,
        ARTISTS,
        TIME,
        UNMATCHED_SONGPLAYS,
        PAGE_VIEWS,
        LOADED_FILES,
        REJECTED_LINES,
        LOAD_RUNS,
    )
}
table_names = list(TABLES)
STAR_SCHEMA = table_names[: table_names.index("loaded_files")]  # the others are of the loads
# By table or view.
COLUMN_TYPES = {name: table.types for name, table in TABLES.items()}
COLUMN_TYPES["listening"] = SONGPLAYS.types | {"title": "TEXT", "artist": "TEXT"}

SONG_IDS = {"song_id": "TEXT", "artist_id": "TEXT"}
# A play as it is logged, with its song by name.
PLAYS = Rows(
    {name: type for name, type in SONGPLAYS.columns.items() if name not in SONG_IDS}
    | {"title": "TEXT", "artist": "TEXT"},
    SONGPLAYS.key,
    facts=["location", "user_agent", "title", "artist", "duration"],
)
# A play with the ids of its song, NULL where no song fits; a user as of a play.
MATCHED_PLAYS = Rows(PLAYS.columns | SONG_IDS, PLAYS.key)
SEEN_USERS = Rows(
    USERS.columns | {name: type for name, type in PLAYS.columns.items() if name != "session_id"},
    USERS.key,
)

# INSERT

artist_table_insert = ARTISTS.insert(ARTISTS.replace_lesser())
song_table_insert = SONGS.insert(SONGS.replace_lesser())
time_table_insert = TIME.insert("ON CONFLICT (start_time) DO NOTHING")
page_view_table_insert = PAGE_VIEWS.insert(PAGE_VIEWS.replace_lesser())
REPLACE_FILE = LOADED_FILES.replace("    , loaded_at = now()")
loaded_file_insert = LOADED_FILES.insert(REPLACE_FILE)
# What was said of a line holds for as long as its bytes are the same.
rejected_line_insert = REJECTED_LINES.insert("""ON CONFLICT (uri, line) DO UPDATE
SET reason = EXCLUDED.reason,
    text = EXCLUDED.text,
    corrected = rejected_lines.corrected AND rejected_lines.text = EXCLUDED.text,
    set_aside = CASE rejected_lines.text
        WHEN EXCLUDED.text THEN rejected_lines.set_aside ELSE now()
    END,
    met = now()""")


load_run_insert = "INSERT INTO load_runs (run_id) VALUES (%s)"
load_run_update = f"""
UPDATE load_runs
SET ({", ".join(LOAD_RUNS.values)}) = ({", ".join(["%s"] * len(LOAD_RUNS.values))})
WHERE run_id = %s
"""


def upsert_users(seen: str) -> str:
    """Return the INSERT of users as of their latest plays, of those that are `seen`.

    A user's row is that of the record that the play is of. It replaces a stored one if its play
    is the later or, at the same moment, the greater one. What is stored is as of the user's latest
    play, so users must be written before the plays of the same records.
    """
    order = f"start_time DESC, {PLAYS.best_first(seen)}, {USERS.best_first(seen)}"
    is_greater = f"""WHERE EXISTS (
    SELECT
    FROM {seen}
    LEFT JOIN LATERAL (
        SELECT *
        FROM listening
        WHERE user_id = users.user_id
          AND start_time = (SELECT max(start_time) FROM songplays WHERE user_id = users.user_id)
        ORDER BY {PLAYS.best_first("listening")}
        LIMIT 1
    ) AS latest ON true
    WHERE {seen}.user_id = users.user_id
      AND ({seen}.start_time, {PLAYS.rank(seen)}, {USERS.rank(seen)}) > (
          COALESCE(latest.start_time, '-infinity'), {PLAYS.rank("latest")}, {USERS.rank("users")}
      )
)"""
    return f"""
INSERT INTO users ({USERS.names()})
SELECT DISTINCT ON (user_id) {USERS.names()}
FROM {seen}
ORDER BY user_id, {order}
{USERS.replace(is_greater)}
"""


def insert_songplays(logged: str, conflict: str) -> str:
    """Return the INSERT of logged plays; of those without a song it keeps the song's name."""
    return f"""
WITH play AS (
    INSERT INTO songplays ({SONGPLAYS.names()})
    SELECT {SONGPLAYS.names()}
    FROM {logged}
    ORDER BY start_time
    {conflict}
    RETURNING songplay_id, song_id, user_id, start_time, session_id
)
INSERT INTO unmatched_songplays (songplay_id, title, artist)
SELECT play.songplay_id, {logged}.title, {logged}.artist
FROM play
JOIN {logged} USING (user_id, start_time, session_id)
WHERE play.song_id IS NULL
"""


KEEP_SONGPLAY = "ON CONFLICT (user_id, start_time, session_id) DO NOTHING"

# One row: a user as of a play, so that the play's columns follow the user's.
user_table_insert = f"""
WITH seen ({SEEN_USERS.names()}) AS (
    VALUES ({SEEN_USERS.parameters()})
){upsert_users("seen")}"""

# One row: a play with its song's name, then the song's ids, NULL where no song fits.
songplay_table_insert = f"""
WITH logged ({MATCHED_PLAYS.names()}) AS (
    VALUES ({MATCHED_PLAYS.parameters()})
),{insert_songplays("logged", KEEP_SONGPLAY).lstrip().removeprefix("WITH")}"""


def delete_outranked_songplays(logged: str) -> str:
    """Return the DELETE of stored plays that a logged one with the same natural key outranks."""
    return f"""
DELETE FROM songplays
USING {logged}
JOIN listening USING (user_id, start_time, session_id)
WHERE songplays.songplay_id = listening.songplay_id
  AND ({PLAYS.rank("logged")}) > ({PLAYS.rank("listening")})
"""


# SELECT

# Times in microseconds since 1970.
loaded_files_select = """
SELECT uri, size, (extract(epoch FROM modified) * 1000000)::bigint AS modified
FROM loaded_files
"""


def fits(logged: str, artist: str = "artist") -> str:
    """Return the condition that a song is the logged one.

    Title and the artist's name are the same, and so is the length in single precision, as some logs
    have it.
    """
    return f"""({hashes("songs.title", "songs.artist_name")})
     = ({hashes(f"{logged}.title", f"{logged}.{artist}")})
 AND songs.title = {logged}.title
 AND songs.artist_name = {logged}.{artist}
 AND songs.duration::real = {logged}.duration::real"""


# Which song was played; of several that fit, the one with the smallest song_id. Takes three arrays,
# so that one query serves all plays of a file.
song_select = f"""
SELECT DISTINCT ON (logged.title, logged.artist, logged.duration)
       logged.title,
       logged.artist,
       logged.duration,
       songs.song_id,
       songs.artist_id
FROM unnest(%s::text[], %s::text[], %s::double precision[]) AS logged (title, artist, duration)
JOIN songs ON {fits("logged")}
ORDER BY logged.title, logged.artist, logged.duration, songs.song_id
"""

create_table_queries = [
    songplay_table_create,
    user_table_create,
    song_table_create,
    artist_table_create,
    time_table_create,
    unmatched_songplay_table_create,
    page_view_table_create,
    loaded_file_table_create,
    rejected_line_table_create,
    load_run_table_create,
    songplay_foreign_keys,
    song_foreign_key,
    songplay_time_index,
    songplay_song_index,
    songplay_artist_index,
    song_artist_index,
    song_name_index,
    unmatched_name_index,
    songplay_time_statistics,
    unmatched_name_statistics,
    listening_view_create,
]
drop_table_queries = [
    listening_view_drop,
    load_run_table_drop,
    rejected_line_table_drop,
    loaded_file_table_drop,
    page_view_table_drop,
    unmatched_songplay_table_drop,
    songplay_table_drop,
    user_table_drop,
    song_table_drop,
    artist_table_drop,
    time_table_drop,
]
