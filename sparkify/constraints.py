"""What slows COPY into empty tables down: keys, indexes and foreign keys, dropped and restored."""

import time

import psycopg2

from sparkify.load import fetch_value, savepoint_rollback, savepoint_set
from sparkify.locks import lock_timeout_reset, lock_timeout_set
from sparkify.progress import SILENT
from sql_queries import PLAY_RANK, VIEW_RANK, best_first

PATIENCE_SECONDS = 2  # to wait for those who read empty tables
LOCK_TIMEOUT = "500ms"  # less than what Postgres takes to find a deadlock
FACT_TABLES = ["songplays", "time", "unmatched_songplays", "page_views"]
STAR_SCHEMA = [*FACT_TABLES, "users", "songs", "artists"]

tables_are_empty_select = """
SELECT NOT EXISTS (SELECT FROM songplays)
   AND NOT EXISTS (SELECT FROM users)
   AND NOT EXISTS (SELECT FROM songs)
   AND NOT EXISTS (SELECT FROM artists)
   AND NOT EXISTS (SELECT FROM time)
   AND NOT EXISTS (SELECT FROM unmatched_songplays)
   AND NOT EXISTS (SELECT FROM page_views)
"""

# Into a table that was emptied in the same transaction, COPY can enter rows as visible to all, so
# that keys and questions needn't look who wrote them, nor, where an index will do, at the rows
# (FREEZE in https://www.postgresql.org/docs/current/sql-copy.html).
fact_tables_truncate = f"TRUNCATE {', '.join(FACT_TABLES)}"

tables_lock = """
LOCK TABLE songplays, users, songs, artists, time, unmatched_songplays, page_views
IN ACCESS EXCLUSIVE MODE NOWAIT
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

# Whether a key or index has something that its definition doesn't tell, and that would be lost, or
# is one of a partitioned table, which COPY can't freeze.
marked_indexes_select = """
SELECT EXISTS (
    SELECT FROM pg_index
    JOIN pg_class ON pg_class.oid = pg_index.indexrelid
    LEFT JOIN pg_constraint ON pg_constraint.conindid = pg_index.indexrelid
    WHERE indrelid = ANY(%s::regclass[])
      AND (
          relkind <> 'i'
          OR indisreplident
          OR indisclustered
          OR reltablespace <> 0
          OR obj_description(indexrelid, 'pg_class') IS NOT NULL
          OR obj_description(pg_constraint.oid, 'pg_constraint') IS NOT NULL
      )
)
"""

deferred_triggers_run = "SET CONSTRAINTS ALL IMMEDIATE"

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

duplicate_page_views_delete = f"""
WITH ranked AS (
    SELECT page_view_id,
           row_number() OVER (
               PARTITION BY start_time, session_id, item_in_session, page, user_id
               ORDER BY {best_first("page_views", *VIEW_RANK)}, page_view_id
           ) AS place
    FROM page_views
)
DELETE FROM page_views
USING ranked
WHERE page_views.page_view_id = ranked.page_view_id AND ranked.place > 1
"""

duplicate_time_delete = """
DELETE FROM time
USING time AS other
WHERE other.start_time = time.start_time AND other.ctid < time.ctid
"""


def drop_constraints(cur):
    """Drop what slows COPY down and return the statements that restore it.

    None of them where a table isn't empty, can't be altered, or is read for PATIENCE_SECONDS.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while fetch_value(cur, tables_are_empty_select):
        cur.execute(savepoint_set)
        try:
            cur.execute(lock_timeout_set, (LOCK_TIMEOUT,))
            cur.execute(tables_lock)
            return drop_constraints_of_locked_tables(cur)
        except psycopg2.errors.LockNotAvailable:
            cur.execute(savepoint_rollback)  # keeps nobody waiting meanwhile
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        except CANNOT_ALTER:
            cur.execute(savepoint_rollback)
            break
    return []


# What Postgres says to those who don't own a table, or where something depends on a key.
CANNOT_ALTER = (
    psycopg2.errors.InsufficientPrivilege,
    psycopg2.errors.DependentObjectsStillExist,
)


def drop_constraints_of_locked_tables(cur):
    """Drop what slows COPY down and return how to restore it; nothing if that can't be done."""
    are_empty = fetch_value(cur, tables_are_empty_select)
    if not are_empty or fetch_value(cur, marked_indexes_select, (FACT_TABLES,)):
        cur.execute(savepoint_rollback)
        return []
    restoring = drop_keys(cur, FACT_TABLES, STAR_SCHEMA)
    cur.execute(fact_tables_truncate)
    cur.execute(lock_timeout_reset)
    return restoring


def drop_keys(cur, filled, ours):
    """Drop keys and indexes of tables that are filled and all foreign keys of ours.

    Returns the statements that restore them.
    """
    cur.execute(constraints_select, {"filled": filled, "ours": ours})
    definitions = cur.fetchall()
    for drop, _ in reversed(definitions):
        cur.execute(drop)
    return [restore for _, restore in definitions]


def restore_constraints(cur, statements, progress=SILENT):
    """Create keys, indexes and foreign keys, having deleted the duplicates that there may be."""
    cur.execute(deferred_triggers_run)  # tables with pending ones can't be altered
    cur.execute(savepoint_set)
    try:
        create_keys(cur, statements, progress)
    except psycopg2.errors.UniqueViolation:
        cur.execute(savepoint_rollback)
        cur.execute(duplicate_songplays_delete)
        cur.execute(duplicate_unmatched_delete)
        cur.execute(duplicate_time_delete)
        cur.execute(duplicate_page_views_delete)
        create_keys(cur, statements, progress)


def create_keys(cur, statements, progress):
    for step, statement in enumerate(statements, 1):
        progress.phase("building keys", step, len(statements))
        cur.execute(statement)
