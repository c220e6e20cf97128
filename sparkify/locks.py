"""Who waits for whom: loads and resets take turns; a reset waits for those who use the tables."""

import sys
import time

from sparkify.messages import ServerError, script_name

PATIENCE_SECONDS = 1  # to wait for another load before saying so

# Who may load, or reset the tables: only one at a time does. Readers are not held up. The number
# of the lock means nothing, but must stay the same.
LOAD_LOCK = 6_801_541_214
session_lock_select = f"SELECT pg_try_advisory_lock({LOAD_LOCK})"
load_lock_select = f"SELECT pg_try_advisory_xact_lock({LOAD_LOCK})"
load_lock_holder_select = f"""
SELECT pg_stat_activity.pid,
       pg_stat_activity.usename,
       pg_stat_activity.application_name
FROM pg_locks
JOIN pg_stat_activity USING (pid)
WHERE pg_locks.locktype = 'advisory'
  AND pg_locks.granted
  AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (pg_locks.classid::bigint << 32) | pg_locks.objid::bigint = {LOAD_LOCK}
"""

lock_timeout_set = "SET LOCAL lock_timeout = %s"
lock_timeout_reset = "SET LOCAL lock_timeout TO DEFAULT"

lock_holders_select = """
SELECT DISTINCT
       pg_stat_activity.pid,
       pg_stat_activity.usename,
       pg_stat_activity.application_name,
       pg_stat_activity.state
FROM pg_locks
JOIN pg_class ON pg_class.oid = pg_locks.relation
JOIN pg_stat_activity USING (pid)
WHERE pg_locks.granted
  AND pg_locks.pid <> pg_backend_pid()
  AND pg_stat_activity.datname = current_database()
  AND pg_class.relname = ANY(%s)
ORDER BY pg_stat_activity.pid
"""


def wait_for_turn(cur, lock_query, patient=True):
    """Take the lock that a query tries to take. Raises ServerError if it's taken and not patient.

    Waiting is left to Python, where Ctrl-C ends it at once.
    """
    said_from = time.monotonic() + (PATIENCE_SECONDS if patient else 0)
    while not try_lock(cur, lock_query):
        if not patient:
            raise ServerError(
                f"another load is running{describe_lock_holder(cur)}; try again later"
            )
        if time.monotonic() > said_from:
            waiting = f"waiting for another load to end{describe_lock_holder(cur)}"
            print(f"{script_name()}: {waiting}", file=sys.stderr, flush=True)
            said_from = float("inf")
        time.sleep(0.02)


def try_lock(cur, lock_query):
    cur.execute(lock_query)
    return cur.fetchone()[0]


def describe_lock_holder(cur):
    """Return which session loads at the moment, for people, or nothing if it has just ended."""
    cur.execute(load_lock_holder_select)
    sessions = [f"session {pid} of {user}, {application}" for pid, user, application in cur]
    return f" ({'; '.join(sessions)})" if sessions else ""
