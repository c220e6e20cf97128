"""Transactions: what is committed, and what a lost connection leaves open."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sparkify import interrupts

committed = threading.Event()  # whether this process has committed anything

# A pool may have a standby, which lags behind, answer a query that only reads. One that locks, if
# only no row at all, is for the primary, as is then the rest of its transaction.
ON_PRIMARY = "FOR SHARE"

savepoint_set = "SAVEPOINT attempt"
savepoint_rollback = "ROLLBACK TO SAVEPOINT attempt"


class CommitLost(Exception):
    """A commit that was asked for, and whose answer never came: it may have taken place."""


@contextmanager
def transaction(conn: Connection) -> Iterator[None]:
    """Commit at the end, or roll back if anything is raised."""
    try:
        yield
        commit(conn)
    except BaseException:
        with suppress(psycopg2.Error):  # the server itself rolls back what loses its connection
            conn.rollback()
        raise


def commit(conn: Connection) -> None:
    """Commit. Raises CommitLost where the connection ends before the server's answer is there.

    No signal comes between the two: the answer tells what stays.
    """
    try:
        with interrupts.postponed():
            conn.commit()
            committed.set()
    except psycopg2.Error as error:
        if not conn.closed:
            raise
        raise CommitLost(str(error)) from error


def fetch_value(cur: Cursor, query: str, parameters: Sequence | None = None) -> Any:
    """Return the only value that a query selects."""
    cur.execute(query, parameters)
    return next(cur)[0]
