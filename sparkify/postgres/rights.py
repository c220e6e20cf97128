"""Whose the tables are, and what helps where the server refuses something."""

import contextlib
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sparkify.errors import LoadError, ServerError
from sparkify.interpreter import command
from sparkify.messages import count, one_line
from sparkify.postgres.connection import connect, describe_read_only, name_database
from sparkify.postgres.transactions import fetch_value
from sql_queries import COLUMN_TYPES

ADDED = {  # columns that not all versions have
    ("songplays", "duration"),
    ("songs", "artist_name"),
    ("loaded_files", "plays_reencoded"),
    ("page_views", "first_name"),
    ("page_views", "last_name"),
    ("page_views", "gender"),
    ("page_views", "registered_at"),
    ("page_views", "tag"),
}
MOST_COUNTED = 1_000_000  # rows of somebody else's
OWN_SCHEMA = (
    f'a schema of its own: {command("-m sparkify psql -c")} "CREATE SCHEMA sparkify", then set '
    "PGOPTIONS=-csearch_path=sparkify, or end DATABASE_URL in ?options=-csearch_path%3Dsparkify"
)

relations_select = """
-- One row per relation that a statement finds by one of these names
SELECT wanted.name,
       relation.type,
       relation.identity,
       pg_class.relkind = CASE wanted.name WHEN 'listening' THEN 'v' ELSE 'r' END AS is_of_kind,
       pg_class.relkind IN ('r', 'p') AND has_table_privilege(pg_class.oid, 'SELECT') AS has_rows,
       ARRAY(
           SELECT attname::text
           FROM pg_attribute
           WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
       ) AS columns
FROM unnest(%s) AS wanted (name)
JOIN pg_class ON pg_class.oid = to_regclass(wanted.name)
CROSS JOIN pg_identify_object('pg_class'::regclass, pg_class.oid, 0) AS relation
ORDER BY relation.identity
"""
rows_select = f"SELECT count(*) FROM (SELECT FROM {{}} LIMIT {MOST_COUNTED}) AS counted"


def require_ours(cur: Cursor) -> None:
    """Raise ServerError where a relation of one of our names is somebody else's.

    Ours is a table, or the view listening, that has the columns that each version of it has had.
    Whether it has others, comments, keys or rows makes no difference.
    """
    cur.execute(relations_select, (list(COLUMN_TYPES),))
    foreign = []
    for name, kind, identity, is_of_kind, has_rows, columns in cur.fetchall():
        needed = [column for column in COLUMN_TYPES[name] if (name, column) not in ADDED]
        lacking = [column for column in needed if column not in columns]
        if lacking or not is_of_kind:
            facts = [f"no column {lacking[0]}" if lacking else "not as ours are made"]
            if has_rows:
                rows = fetch_value(cur, rows_select.format(identity))
                more = " or more" if rows == MOST_COUNTED else ""
                facts.insert(0, f"{count(rows, 'row')}{more}")
            foreign.append(f"{kind} {identity} ({', '.join(facts)})")
    if foreign:
        raise ServerError(
            f"somebody else's, and left alone: {', '.join(foreign)} of "
            f"{name_database(cur.connection)}; name another database, or give Sparkify {OWN_SCHEMA}"
        )


@contextlib.contextmanager
def session() -> Iterator[Cursor]:
    """Lend a cursor of a new connection; what is refused meanwhile is raised with its remedy."""
    with contextlib.closing(connect()) as conn, naming_remedies(conn), conn.cursor() as cur:
        yield cur


@contextlib.contextmanager
def naming_remedies(conn: Connection) -> Iterator[None]:
    """Raise what the server refuses a session as a ServerError that names cause and remedy."""
    try:
        with naming_read_only(conn):
            yield
    except (psycopg2.ProgrammingError, LoadError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, psycopg2.ProgrammingError) and not conn.closed:
            conn.rollback()
            require_ours(conn.cursor())
        if isinstance(cause, (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn)):
            raise ServerError(f"{one_line(cause)}; run {command('create_tables.py')}") from None
        if isinstance(cause, psycopg2.errors.InsufficientPrivilege):
            raise ServerError(
                f"{one_line(cause)} (role {conn.info.user} of {name_database(conn)}); "
                "docs/operations.md says under Roles what to grant"
            ) from None
        raise


@contextlib.contextmanager
def naming_read_only(conn: Connection) -> Iterator[None]:
    """Raise that a server takes no changes as a ServerError: why, and the remedy."""
    try:
        yield
    except (psycopg2.Error, LoadError) as error:
        if not isinstance(error.__cause__ or error, psycopg2.errors.ReadOnlySqlTransaction):
            raise
        raise ServerError(describe_read_only(conn)) from None
