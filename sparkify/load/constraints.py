"""What slows COPY into empty tables down: keys, indexes and foreign keys, dropped and restored."""

import time
from typing import TYPE_CHECKING

import psycopg2
from psycopg2.extensions import cursor as Cursor

from sparkify.postgres.locks import lock_timeout_reset, lock_timeout_set
from sparkify.postgres.transactions import fetch_value, savepoint_rollback, savepoint_set
from sql_queries import PAGE_VIEWS, PLAYS, SONGPLAYS, STAR_SCHEMA, Rows, Table

if TYPE_CHECKING:
    from sparkify.run.progress import Progress

READERS_SECONDS = 2  # to wait for those who read empty tables
LOCK_TIMEOUT = "500ms"  # less than what Postgres takes to find a deadlock
FACT_TABLES = ["songplays", "time", "unmatched_songplays", "page_views"]

rows_selects = " UNION ALL ".join(f"(SELECT FROM {table} LIMIT 1)" for table in STAR_SCHEMA)
tables_are_empty_select = f"SELECT NOT EXISTS ({rows_selects})"

# Into a table that was emptied in the same transaction, COPY can enter rows as visible to all, so
# that keys and questions needn't look who wrote them, nor, where an index will do, at the rows
# (FREEZE in https://www.postgresql.org/docs/current/sql-copy.html).
fact_tables_truncate = f"TRUNCATE {', '.join(FACT_TABLES)}"

tables_lock = f"LOCK TABLE {', '.join(STAR_SCHEMA)} IN ACCESS EXCLUSIVE MODE NOWAIT"

# How to drop and how to restore what slows COPY down, in the order of restoring: the keys of the
# tables that are filled, then the indexes of all of ours and the foreign keys from and to them.
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
    WHERE indrelid IN (SELECT relation FROM ours)
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
    WHERE indrelid = ANY(%(ours)s::regclass[])
      AND (indrelid = ANY(%(filled)s::regclass[]) OR pg_constraint.oid IS NULL)
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


def delete_duplicates(table: Table, relation: str, rows: Rows) -> str:
    """Return the DELETE of a table's rows that others with their key outrank in a relation."""
    return f"""
WITH ranked AS (
    SELECT {table.primary},
           row_number() OVER (
               PARTITION BY {", ".join(rows.key)}
               ORDER BY {rows.best_first(relation)}, {table.primary}
           ) AS place
    FROM {relation}
)
DELETE FROM {table.name}
USING ranked
WHERE {table.name}.{table.primary} = ranked.{table.primary} AND ranked.place > 1
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

duplicates_delete = [
    delete_duplicates(SONGPLAYS, "listening", PLAYS),
    duplicate_unmatched_delete,
    duplicate_time_delete,
    delete_duplicates(PAGE_VIEWS, "page_views", PAGE_VIEWS),
]


def drop_constraints(cur: Cursor) -> list[str]:
    """Drop what slows COPY down and return the statements that restore it.

    None of them where a table isn't empty, can't be altered, or is read for READERS_SECONDS.
    """
    deadline = time.monotonic() + READERS_SECONDS
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
        except psycopg2.Error:  # it isn't ours, something depends on a key, a trigger refuses ...
            if cur.connection.closed:
                raise
            cur.execute(savepoint_rollback)
            break
    return []


def drop_constraints_of_locked_tables(cur):
    """Drop what slows COPY down and return how to restore it; nothing if that can't be done."""
    are_empty = fetch_value(cur, tables_are_empty_select)
    tables = {"filled": FACT_TABLES, "ours": STAR_SCHEMA}
    if not are_empty or fetch_value(cur, marked_indexes_select, tables):
        cur.execute(savepoint_rollback)
        return []
    restoring = drop_keys(cur, **tables)
    cur.execute(fact_tables_truncate)
    cur.execute(lock_timeout_reset)
    return restoring


def drop_keys(cur, filled, ours):
    """Drop keys of tables that are filled, and all indexes and foreign keys of ours.

    Returns the statements that restore them. All that is to be done later is tried on the empty
    tables first: a publication may refuse to delete from tables without keys, and an event trigger
    to make some.
    """
    cur.execute(constraints_select, {"filled": filled, "ours": ours})
    drops, restoring = zip(*cur.fetchall(), strict=True)
    for statement in [*drops[::-1], *duplicates_delete, *restoring, *drops[::-1]]:
        cur.execute(statement)
    return restoring


def restore_constraints(cur: Cursor, statements: list[str], progress: "Progress") -> None:
    """Create keys, indexes and foreign keys, having deleted the duplicates that there may be."""
    cur.execute(deferred_triggers_run)  # tables with pending ones can't be altered
    cur.execute(savepoint_set)
    try:
        create_keys(cur, statements, progress)
    except psycopg2.errors.UniqueViolation:
        cur.execute(savepoint_rollback)
        for query in duplicates_delete:
            cur.execute(query)
        create_keys(cur, statements, progress)


def create_keys(cur, statements, progress):
    for step, statement in enumerate(statements, 1):
        progress.phase("building keys", step, len(statements))
        cur.execute(statement)
