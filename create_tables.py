"""Reset Sparkify's star schema: create the database if it is missing, drop and create its tables.

What the tables held is gone afterwards; `etl.py` loads it again.
"""

from sparkify import interrupts

if __name__ == "__main__":
    interrupts.catch("create_tables.py")  # signals, from now on

import argparse
import contextlib
import sys
from collections.abc import Sequence

from sparkify.interpreter import require_python

require_python()  # before the libraries are missed

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sparkify.data_dictionary import comment_queries
from sparkify.errors import ServerError
from sparkify.messages import complain, one_line, say
from sparkify.postgres import connection, watchdog
from sparkify.postgres.locks import (
    load_lock_select,
    lock_holders_select,
    lock_timeout_set,
    name_sessions,
    remedy_for,
    wait_for_turn,
)
from sparkify.postgres.rights import OWN_SCHEMA, naming_read_only, require_ours
from sparkify.postgres.transactions import commit
from sparkify.run.arguments import FAILED, returning_status
from sql_queries import (
    create_table_queries,
    database_create,
    database_locale,
    database_owner,
    database_rights_select,
    database_time_zone,
    drop_table_queries,
    schema_grant,
    table_names,
)

LOCK_TIMEOUT = "5s"
OLDEST_VERSION = 15_00_00
# What Postgres answers when another create_tables.py was quicker, or is about to be.
JUST_CREATED = (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation)
REMEDIES: dict[type, str] = {
    psycopg2.errors.InsufficientPrivilege: "connect as the owner of the database and its tables, "
    "or as a role that may create databases where there is none yet",
    psycopg2.errors.DependentObjectsStillExist: "drop what depends on it first",
    psycopg2.errors.UniqueViolation: "another create_tables.py is at work; run it again",
}


def create_database() -> tuple[Cursor, Connection]:
    """Create the database if it is missing, and return a cursor and a connection to it.

    Raises ServerError where that can't be done.
    """
    try:
        conn = connection.connect()
    except connection.DatabaseMissing:
        with contextlib.closing(connect_to_create()) as admin, naming_read_only(admin):
            check_version(admin)
            admin.autocommit = True
            with admin.cursor() as cur, contextlib.suppress(*JUST_CREATED):
                connection.set_settings(cur, dict.fromkeys(connection.TIME_LIMITS, "0"))
                create_in_utf8(cur, sql.Identifier(connection.named_parameters()["dbname"]))
        # PgBouncer refuses, or keeps quiet, for 15 s after a login that failed.
        conn = connection.connect(passing=connection.ServerUnreachable)
    return conn.cursor(), conn


def connect_to_create():
    """Return a connection to the database postgres, from which the missing one can be created."""
    try:
        return connection.connect("postgres")
    except ServerError as error:
        said = connection.leave_out_hints(error.__context__)
        raise ServerError(
            f"there is no database {target()} yet, nor can one be created by way of postgres: "
            f"{said}; have an administrator do it, as docs/operations.md says under Which server"
        ) from None


def check_version(conn):
    """Raise ServerError if the server is older than 15, the first to have NULLS NOT DISTINCT."""
    if conn.server_version < OLDEST_VERSION:
        version = conn.info.parameter_status("server_version")
        raise ServerError(f"{target()} is PostgreSQL {version}; 15 or later is needed")


def create_in_utf8(cur, name):
    """Create the database; in the locale C if the server's own one is for another encoding."""
    try:
        cur.execute(sql.SQL(database_create).format(name))
    except psycopg2.errors.InvalidParameterValue:
        cur.execute(sql.SQL(f"{database_create} {database_locale}").format(name))


def check_encoding(conn):
    """Raise ServerError where the database's text isn't UTF-8."""
    encoding = conn.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ServerError(
            f"{target()} stores text as {encoding}, which can't hold every title; drop that "
            "database, or name another in DATABASE_URL"
        )


def set_time_zone(cur: Cursor, conn: Connection) -> None:
    """Make UTC the database's time zone.

    Raises ServerError if the role may not, or may not create tables afterwards; it names all that
    is to be done. The database's owner may do both, unless the schema is another owner's.
    """
    cur.execute(database_rights_select)
    is_utc, owns, path, schema, may_create, is_of_owner = next(cur)
    if schema is None:
        raise ServerError(
            f"{target()} has no schema of the search_path ({path}) that {conn.info.user} may use; "
            f"give Sparkify {OWN_SCHEMA}"
        )
    names = (conn.info.dbname, schema, conn.info.user)
    database, schema_name, role = map(sql.Identifier, names)
    needed = []
    if not owns and not (is_utc and (may_create or not is_of_owner)):
        needed.append(sql.SQL(database_owner).format(database, role))
    if not may_create and not (needed and is_of_owner):
        needed.append(sql.SQL(schema_grant).format(schema_name, role))
    if needed:
        raise ServerError(
            f"{conn.info.user} may not set the time zone of {target()} to UTC, or create tables in "
            f"its schema {schema}; connect as the owner, or have the owner or an administrator run "
            f"{sql.SQL('; ').join(needed).as_string(conn)}"
        )
    if not is_utc:
        cur.execute(sql.SQL(database_time_zone).format(database))


def drop_tables(cur: Cursor, conn: Connection) -> None:
    """Drop all tables, as part of the transaction that create_tables commits."""
    for query in drop_table_queries:
        cur.execute(query)


def create_tables(cur: Cursor, conn: Connection) -> None:
    """Create all tables with their keys, indexes, view and comments, and commit."""
    for query in create_table_queries + comment_queries:
        cur.execute(query)
    commit(conn)


def reset_tables(cur: Cursor, conn: Connection) -> None:
    """Drop and create all tables in one transaction, having waited for a load that is running.

    Raises ServerError where one of that name is somebody else's, or where another session holds a
    lock on one for longer than LOCK_TIMEOUT; then everything is as it was.
    """
    try:
        check_version(conn)
        check_encoding(conn)
        wait_for_turn(cur, load_lock_select)
        cur.execute(lock_timeout_set, (LOCK_TIMEOUT,))
        require_ours(cur)
        drop_tables(cur, conn)
        set_time_zone(cur, conn)
        create_tables(cur, conn)
    except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
        conn.rollback()
        raise ServerError(describe_lock_holders(cur)) from None


def describe_lock_holders(cur):
    """Return one line on the sessions that keep the tables from being dropped."""
    cur.execute(lock_holders_select, (table_names,))
    holders = cur.fetchall()
    if not holders:
        return f"the tables of {target()} were in use; nothing was changed; run it again"
    return (
        f"the tables of {target()} are in use by {name_sessions(holders)}; nothing was changed; "
        f"{remedy_for(holders)}"
    )


def target():
    """Return which database on which server is meant, for people."""
    return f"{connection.named_parameters()['dbname']} on {connection.server_name()}"


@returning_status
def main(argv: Sequence[str] | None = None) -> int:
    """Reset the star schema and return the exit status; where it could not be done, say why."""
    parser = argparse.ArgumentParser(
        "create_tables.py",
        description="Create the database if it is missing, then drop and create all its tables. "
        "What they held is lost.",
        epilog="Which server? DATABASE_URL, else PGHOST and its like, else an embedded one: see "
        "docs/operations.md.",
    )
    parser.parse_args(argv or ())
    try:
        cur, conn = create_database()
        with contextlib.closing(conn), watchdog.watching(conn, naming=False):
            with naming_read_only(conn):
                reset_tables(cur, conn)
            say(f"Created {', '.join(table_names)} and the view listening in {target()}.")
        return 0
    except ServerError as error:
        complain(one_line(error), "create_tables.py")
    except psycopg2.Error as error:
        remedy = REMEDIES.get(type(error), "nothing was changed")
        complain(f"{one_line(error)} ({target()}); {remedy}", "create_tables.py")
    return FAILED


if __name__ == "__main__":
    sys.exit(interrupts.run(main, sys.argv[1:]))
