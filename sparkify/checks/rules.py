"""The rules that schema and rows keep, each as a query for what breaks it: no row, and it holds.

A rule takes nothing for granted that another one says, so that each can be checked alone, on
tables whose constraints have been dropped as well.
"""

from sql_queries import (
    COLUMN_TYPES,
    PAGE_VIEWS,
    SONGPLAYS,
    TABLES,
    artist_table_insert,
    fits,
    loaded_file_insert,
    page_view_table_insert,
    rejected_line_insert,
    song_table_insert,
    songplay_table_insert,
    time_table_insert,
    user_table_insert,
)


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
found (column_name, data_type) AS (
    SELECT attname::text, format_type(atttypid, atttypmod)
    FROM pg_attribute
    WHERE attrelid = to_regclass('{relation}') AND attnum > 0 AND NOT attisdropped
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
SELECT attname AS column_name,
       attnotnull AS is_required
FROM pg_attribute
WHERE attrelid = to_regclass('{table}')
  AND attnum > 0
  AND NOT attisdropped
  AND attnotnull <> (attname IN (SELECT column_name FROM required))
ORDER BY column_name
"""


def has_constraints(table, kind, *definitions):
    """Return the check that a table has these constraints of a kind of pg_constraint.contype."""
    return f"""
-- One row per constraint of {table} that is missing, surplus or defined otherwise; what a key's
-- index holds besides the key makes no difference
WITH expected (definition) AS (
    {literals(*([definition] for definition in definitions))}
),
found AS (
    SELECT regexp_replace(
               pg_get_constraintdef(pg_constraint.oid), ' INCLUDE .*', ''
           ) AS definition
    FROM pg_constraint
    WHERE conrelid = to_regclass('{table}') AND contype = '{kind}'
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
WHERE statement !~ 'INSERT INTO {table}[[:space:]][^;]*ON CONFLICT [(]{key}[)] DO (NOTHING|UPDATE)'
"""


def has_comments(relation):
    """Return the check that a table or view and each of its columns say what they hold."""
    return f"""
-- One row for {relation} or a column of it without a comment
SELECT relname AS relation,
       attname AS column_name
FROM pg_class
LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE pg_class.oid = to_regclass('{relation}')
  AND (obj_description(pg_class.oid, 'pg_class') IS NULL
       OR col_description(pg_class.oid, attnum) IS NULL)
ORDER BY attnum
"""


class RowRule(str):
    """A query for the rows that break a rule of which each row tells by itself.

    Of a source, a table or a join, that others have rules for as well: it can be read once for all.
    """

    source: str
    is_broken: str

    def __new__(cls, source: str, is_broken: str, columns: str = "*") -> "RowRule":
        rule = super().__new__(cls, f"SELECT {columns} FROM {source} WHERE {is_broken}")
        rule.source, rule.is_broken = source, is_broken
        return rule


def is_known(table, *columns):
    """Return the check that none of these columns is NULL in any row."""
    return RowRule(table, f"num_nulls({', '.join(columns)}) > 0")


def is_unique(table, key):
    """Return the check that no two rows share a key."""
    return f"""
SELECT {key}, count(*) AS rows
FROM {table}
GROUP BY {key}
HAVING count(*) > 1
ORDER BY {key}
"""


def pair(column, *tables):
    """Return two tables as a source of rows: those that share a value of a column stand together.

    A value that only one of them has stands beside NULL.
    """
    one, other = sorted(tables)
    return f"{one} FULL JOIN {other} USING ({column})"


def refers_to(table, column, referenced):
    """Return the check that each value of a column is found in the same column of another table."""
    return RowRule(
        pair(column, table, referenced),
        f"{table}.{column} IS NOT NULL AND {referenced}.{column} IS NULL",
        f"{table}.*",
    )


def satisfies(table, rule):
    """Return the check that no row breaks a rule; where the rule is NULL, none does."""
    return RowRule(table, f"NOT ({rule})")


waiting = pair("songplay_id", "songplays", "unmatched_songplays")
songplay_without_song_check = RowRule(
    waiting,
    "songplays.songplay_id IS NOT NULL AND songplays.song_id IS NULL "
    "AND unmatched_songplays.songplay_id IS NULL",
    "songplays.*",
)
unmatched_matched_check = RowRule(
    waiting,
    "unmatched_songplays.songplay_id IS NOT NULL AND songplays.song_id IS NOT NULL",
    "unmatched_songplays.*, songplays.song_id",
)

matched = "songplays JOIN songs USING (song_id)"
songplay_artist_check = RowRule(
    matched,
    "songplays.artist_id <> songs.artist_id",
    "songplays.*, songs.artist_id AS artist_of_song",
)
songplay_length_check = RowRule(
    matched,
    "songplays.duration::real <> songs.duration::real",
    "songplays.*, songs.duration AS duration_of_song",
)

# Of songs that a log calls the same, a play has the one with the smallest song_id.
songplay_song_check = """
WITH named AS (
    SELECT song_id,
           min(song_id) OVER (
               PARTITION BY title, artist_name, duration::real
           ) AS smallest
    FROM songs
)
SELECT songplays.*, named.smallest AS song_that_fits
FROM songplays
JOIN named USING (song_id)
WHERE named.song_id <> named.smallest COLLATE "C"
"""

user_level_check = """
-- One row per user whose level is not that of a play that began when the latest one did
SELECT *
FROM users
WHERE level IS NOT NULL
  AND EXISTS (SELECT FROM songplays WHERE songplays.user_id = users.user_id)
  AND NOT EXISTS (
      SELECT
      FROM songplays
      WHERE songplays.user_id = users.user_id
        AND songplays.level = users.level
        AND songplays.start_time = (
            SELECT max(start_time) FROM songplays WHERE songplays.user_id = users.user_id
        )
  )
"""

unmatched_fitting_check = f"""
WITH logged AS (
    SELECT unmatched_songplays.*, songplays.duration
    FROM unmatched_songplays
    JOIN songplays USING (songplay_id)
)
SELECT logged.*, songs.song_id AS song_that_fits
FROM logged
JOIN songs ON {fits("logged")}
"""


# By an offset: where a zone is named, each row would look for it among all that the server knows.
utc = "start_time AT TIME ZONE INTERVAL '0'"
time_parts_check = RowRule(
    "time",
    f"""
    (hour, day, week, month, year, weekday) IS DISTINCT FROM (
        date_part('hour', {utc}),
        date_part('day', {utc}),
        date_part('week', {utc}),
        date_part('month', {utc}),
        date_part('year', {utc}),
        date_part('isodow', {utc}) - 1
    )
    """,  # Monday = 0
)

# The names that information_schema has for types.
TYPE_NAMES = {"INT": "integer", "TIMESTAMPTZ": "timestamp with time zone"}
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
NATURAL_KEY = ", ".join(SONGPLAYS.key)
VIEW_KEY = ", ".join(PAGE_VIEWS.key)

sanity_check_queries = {
    **{
        f"{relation}: columns and their types": has_columns(
            relation, {name: TYPE_NAMES.get(type, type.lower()) for name, type in types.items()}
        )
        for relation, types in COLUMN_TYPES.items()
    },
    **{
        f"{name}: columns that are NOT NULL": forbids_null(name, table.required)
        for name, table in TABLES.items()
    },
    **{
        f"{name}: primary key": has_constraints(name, "p", f"PRIMARY KEY ({table.primary})")
        for name, table in TABLES.items()
    },
    **{
        f"{table}: foreign keys": has_constraints(table, "f", *definitions)
        for table, definitions in FOREIGN_KEYS.items()
    },
    **{
        f"{relation}: comments say what it holds": has_comments(relation)
        for relation in COLUMN_TYPES
    },
    "songplays: natural key": has_constraints("songplays", "u", f"UNIQUE ({NATURAL_KEY})"),
    "page_views: natural key": has_constraints(
        "page_views", "u", f"UNIQUE NULLS NOT DISTINCT ({VIEW_KEY})"
    ),
    **{
        f"{table}: INSERT has an ON CONFLICT clause": resolves_conflicts(insert, table, key)
        for table, insert, key in (
            ("songplays", songplay_table_insert, NATURAL_KEY),
            ("users", user_table_insert, "user_id"),
            ("songs", song_table_insert, "song_id"),
            ("artists", artist_table_insert, "artist_id"),
            ("time", time_table_insert, "start_time"),
            ("page_views", page_view_table_insert, VIEW_KEY),
            ("loaded_files", loaded_file_insert, "uri"),
            ("rejected_lines", rejected_line_insert, "uri, line"),
        )
    },
    **{
        f"{name}: nothing required is NULL": is_known(name, *table.required)
        for name, table in TABLES.items()
    },
    **{
        f"{name}: {table.primary} is unique": is_unique(name, table.primary)
        for name, table in TABLES.items()
    },
    f"songplays: {NATURAL_KEY} are unique together": is_unique("songplays", NATURAL_KEY),
    f"page_views: {VIEW_KEY} are unique together": is_unique("page_views", VIEW_KEY),
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
    "songplays: duration is that of the song": songplay_length_check,
    "songplays: a play without a song is in unmatched_songplays": songplay_without_song_check,
    "unmatched_songplays: the play has no song": unmatched_matched_check,
    "unmatched_songplays: no song of the catalogue fits": unmatched_fitting_check,
    "songplays: level is free or paid": satisfies("songplays", "level IN ('free', 'paid')"),
    "users: level is free or paid": satisfies("users", "level IN ('free', 'paid')"),
    "users: gender is F or M": satisfies("users", "gender IN ('F', 'M')"),
    "users: each has a play": refers_to("users", "user_id", "songplays"),
    "users: level is that of the latest play": user_level_check,
    "time: each moment has a play": refers_to("time", "start_time", "songplays"),
    "time: hour, day, week, month, year and weekday are those of start_time": time_parts_check,
    "page_views: page is not that of plays": satisfies("page_views", "page <> 'NextSong'"),
    "songs: duration is a positive number": satisfies(
        "songs", "duration > 0 AND duration < 'infinity'"
    ),
    "songplays: duration is a positive number": satisfies(
        "songplays", "duration > 0 AND duration < 'infinity'"
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
            ("page_views", ["location", "user_agent", "first_name", "last_name"]),
        )
    },
}
