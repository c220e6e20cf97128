"""The history of runs: a row for each from its start on, so that one that was killed shows, too."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg2
from psycopg2.extensions import connection as Connection

from sparkify import interrupts
from sparkify.run.arguments import status_of
from sql_queries import load_run_insert, load_run_update


@contextmanager
def recorded(conn: Connection, run: str) -> Iterator[Callable[..., None]]:
    """Note a run when it begins, and if it fails; yield the function that notes how it ended.

    That takes exit status, files, rows loaded and lines set aside, and leaves the commit to others.
    A signal's run is noted unless the signal had to cut the connection, as during a long statement.
    """
    started = time.monotonic()

    def end(*facts):
        with conn.cursor() as cur:
            cur.execute(load_run_update, (*facts, time.monotonic() - started, run))

    with conn.cursor() as cur:
        cur.execute(load_run_insert, (run,))
    conn.commit()
    try:
        yield end
    except (Exception, KeyboardInterrupt) as error:
        with suppress(psycopg2.Error), interrupts.postponed():  # of a connection that is lost
            conn.rollback()
            end(status_of(error), None, None, None)
            conn.commit()
        raise
