"""Reset Sparkify's star schema: create the database if it is missing, drop and create its tables.

What the tables held is gone afterwards; `etl.py` loads it again.
"""

from sparkify import interrupts

if __name__ == "__main__":
    interrupts.catch("create_tables.py")  # signals, from now on

import argparse
import contextlib
import sys

from sparkify.interpreter import require_python

require_python()  # before the libraries are missed

import psycopg2
from psycopg2 import sql

from sparkify import server, watch
from sparkify.comments import comment_queries
from sparkify.load import commit
from sparkify.locks import (
    load_lock_select,
    lock_holders_select,
    lock_timeout_set,
    name_sessions,
    remedy_for,
    wait_for_turn,
)
from sparkify.messages import ServerError, one_line
from sql_queries import (
    create_table_queries,
    database_create,
    database_locale,
    database_settings_select,
    database_time_zone,
    drop_table_queries,
    table_names,
)

LOCK_TIMEOUT = "5s"
OLDEST_VERSION = 15_00_00
# What Postgres answers when another create_tables.py was quicker, or is about to be.
JUST_CREATED = (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation)
REMEDIES = {
    psycopg2.errors.InsufficientPrivilege: "connect as the owner of the database and its tables, "
    "or as a role that may create databases where there is none yet",
    psycopg2.errors.DependentObjectsStillExist: "drop what depends on it first",
    psycopg2.errors.UniqueViolation: "another create_tables.py is at work; run it again",
}


def create_database():
    """Create the database if it is missing, and return a cursor and a connection to it.

    Raises ServerError where that can't be done.
    """
    try:
        conn = server.connect()
    except server.DatabaseMissing:
        with contextlib.closing(server.connect("postgres")) as admin:
            admin.autocommit = True
            with admin.cursor() as cur, contextlib.suppress(*JUST_CREATED):
                create_in_utf8(cur, sql.Identifier(server.named_parameters()["dbname"]))
        conn = server.connect()
    return conn.cursor(), conn


def check_version(conn):
    """Raise ServerError where the server is too old to take NULL for a value in a unique key."""
    if conn.server_version < OLDEST_VERSION:
        version = conn.info.parameter_status("server_version")
        raise ServerError(f"{target()} is PostgreSQL {version}; 15 or later is needed")


def create_in_utf8(cur, name):
    """Create the database, in the locale C where the server's own one is for another encoding."""
    try:
        cur.execute(sql.SQL(database_create).format(name))
    except psycopg2.errors.InvalidParameterValue:
        cur.execute(sql.SQL(f"{database_create} {database_locale}").format(name))


def set_time_zone(cur, conn):
    """Make UTC the database's time zone.

    Raises ServerError if its text isn't UTF-8, or if only its owner may do that.
    """
    cur.execute(database_settings_select)
    encoding, is_utc = cur.fetchone()
    if encoding != "UTF8":
        raise ServerError(
            f"{target()} stores text as {encoding}, which can't hold every title; drop that "
            "database, or name another in DATABASE_URL"
        )
    if not is_utc:
        statement = sql.SQL(database_time_zone).format(sql.Identifier(conn.info.dbname))
        try:
            cur.execute(statement)
        except psycopg2.errors.InsufficientPrivilege as error:
            raise ServerError(
                f"{one_line(error)} ({target()}), whose time zone must be UTC; connect as the "
                f"owner, or have the owner or an administrator run {statement.as_string(conn)}"
            ) from None


def drop_tables(cur, conn):
    """Drop all tables, as part of the transaction that create_tables commits."""
    for query in drop_table_queries:
        cur.execute(query)


def create_tables(cur, conn):
    """Create all tables with their keys, indexes, view and comments, and commit."""
    for query in create_table_queries + comment_queries:
        cur.execute(query)
    commit(conn)


def reset_tables(cur, conn):
    """Drop and create all tables in one transaction, having waited for a load that is running.

    Raises ServerError where another session holds a lock on one of them for longer than
    LOCK_TIMEOUT; then everything is as it was.
    """
    try:
        check_version(conn)
        wait_for_turn(cur, load_lock_select)
        cur.execute(lock_timeout_set, (LOCK_TIMEOUT,))
        set_time_zone(cur, conn)
        drop_tables(cur, conn)
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
    return f"{server.named_parameters()['dbname']} on {server.server_name()}"


def explain(error):
    """Return one line on what Postgres refused, where, and what to do about it."""
    remedy = REMEDIES.get(type(error), "nothing was changed")
    return f"{one_line(error)} ({target()}); {remedy}"


def main():
    """Reset the star schema and return the exit status, or one line on why it could not be done."""
    parser = argparse.ArgumentParser(
        description="Create the database if it is missing, then drop and create all its tables. "
        "What they held is lost.",
        epilog="Which server? DATABASE_URL, else PGHOST and its like, else an embedded one: see "
        "docs/operations.md.",
    )
    parser.parse_args()
    try:
        cur, conn = create_database()
        with contextlib.closing(conn), watch.watching(conn, naming=False):
            reset_tables(cur, conn)
            print(f"Created {', '.join(table_names)} and the view listening in {target()}.")
    except ServerError as error:
        return f"create_tables.py: {one_line(error)}"
    except psycopg2.Error as error:
        return f"create_tables.py: {explain(error)}"
    return 0


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
