"""COPY's SQL: rows arrive in staging tables, and what the conflict rules let pass is inserted.

Only plays, moments and page views of which no table holds any yet go straight to their tables.
"""

from sql_queries import (
    ARTISTS,
    KEEP_SONGPLAY,
    LOADED_FILES,
    MATCHED_PLAYS,
    PAGE_VIEWS,
    PLAYS,
    REPLACE_FILE,
    SEEN_USERS,
    SONGPLAYS,
    SONGS,
    STAR_SCHEMA,
    TIME,
    Table,
    delete_outranked_songplays,
    insert_songplays,
    upsert_users,
)

# By the table that they are meant for. Rows have all columns, in this order.
STAGED = {
    "artists": ARTISTS,
    "songs": SONGS,
    "time": TIME,
    "users": SEEN_USERS,
    "songplays": MATCHED_PLAYS,
    "page_views": PAGE_VIEWS,
    "loaded_files": LOADED_FILES,
}
# Columns of rows that go straight to their tables. Plays are numbered last, on their way.
DIRECT = {
    "time": [*TIME.columns],
    "songplays": [*(name for name in MATCHED_PLAYS.columns if name in SONGPLAYS.columns)]
    + ["songplay_id"],
    "unmatched_songplays": ["title", "artist", "songplay_id"],
    "page_views": [*PAGE_VIEWS.columns],
}


def create_staging(table: str) -> str:
    columns = ", ".join(f"{name} {type}" for name, type in STAGED[table].columns.items())
    return f"CREATE TEMP TABLE staged_{table} ({columns}) ON COMMIT DROP"


staging_table_queries = [
    *map(create_staging, STAGED),
    "CREATE INDEX ON staged_users (user_id, start_time)",
]
staging_copy = {table: f"COPY staged_{table} FROM STDIN (FORMAT binary)" for table in STAGED}
table_copy = {
    table: f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary, FREEZE)"
    for table, columns in DIRECT.items()
}


def merge(table: Table, conflict: str, best_first: str = "") -> str:
    """Return the INSERT of what is staged for a table: of rows that share a key, the best."""
    key = ", ".join(table.key)
    return f"""
INSERT INTO {table.name} ({table.names()})
SELECT DISTINCT ON ({key}) {table.names()}
FROM staged_{table.name}
ORDER BY {key}{best_first}
{conflict}
"""


def merge_best(table: Table) -> str:
    return merge(table, table.replace_lesser(), f", {table.best_first(f'staged_{table.name}')}")


artist_merge = merge_best(ARTISTS)
song_merge = merge_best(SONGS)
page_view_merge = merge_best(PAGE_VIEWS)
time_merge = merge(TIME, "ON CONFLICT DO NOTHING")
loaded_file_merge = merge(LOADED_FILES, REPLACE_FILE)
user_merge = upsert_users("staged_users")
staged_catalogue_delete = "TRUNCATE staged_artists, staged_songs"

staged_range_select = """
SELECT EXISTS (
    SELECT FROM songplays
    WHERE start_time BETWEEN (SELECT min(start_time) FROM staged_songplays)
      AND (SELECT max(start_time) FROM staged_songplays)
)
"""
staged_outranked_delete = delete_outranked_songplays("staged_songplays AS logged")

# Of staged plays with the same natural key, the one that outranks the others stays. They are not
# compared in pairs, which would be too many where a play was logged over and over.
staged_duplicates_delete = f"""
WITH ranked AS (
    SELECT ctid,
           row_number() OVER (
               PARTITION BY {", ".join(PLAYS.key)} ORDER BY {PLAYS.best_first("staged_songplays")}
           ) AS place
    FROM staged_songplays
    WHERE ({", ".join(PLAYS.key)}) IN (
        SELECT {", ".join(PLAYS.key)}
        FROM staged_songplays
        GROUP BY {", ".join(PLAYS.key)}
        HAVING count(*) > 1
    )
)
DELETE FROM staged_songplays
USING ranked
WHERE staged_songplays.ctid = ranked.ctid AND ranked.place > 1
"""

new_songplay_merge = insert_songplays("staged_songplays", "")
songplay_merge = insert_songplays("staged_songplays", KEEP_SONGPLAY)

# Until autovacuum comes by, queries would be planned as if the tables were still empty. A sample of
# few rows will do till then.
small_statistics_set = "SET LOCAL default_statistics_target = 10"
tables_analyze = f"ANALYZE {', '.join(STAR_SCHEMA)}"

# What logs call the songs: of several that they call the same, the smallest song_id.
catalogue_songs_select = """
SELECT DISTINCT ON (title COLLATE "C", artist_name COLLATE "C", duration::real)
       title,
       artist_name,
       duration,
       song_id,
       artist_id
FROM songs
ORDER BY title COLLATE "C", artist_name COLLATE "C", duration::real, song_id
"""

next_songplay_select = "SELECT nextval(pg_get_serial_sequence('songplays', 'songplay_id'))"
songplay_id_set = "SELECT setval(pg_get_serial_sequence('songplays', 'songplay_id'), %s)"
