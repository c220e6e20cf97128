"""Who waits for whom: loads and resets take turns; both wait for those who use the tables."""

import sys
import time

from tqdm import tqdm

from sparkify.interpreter import command
from sparkify.messages import ServerError, script_name

PATIENCE_SECONDS = 1  # to wait for another session before saying so

# Who may load, or reset the tables: only one at a time does. Readers are not held up. The number
# of the lock means nothing, but must stay the same.
LOAD_LOCK = 6_801_541_214
session_lock_select = f"SELECT pg_try_advisory_lock({LOAD_LOCK})"
load_lock_select = f"SELECT pg_try_advisory_xact_lock({LOAD_LOCK})"

lock_timeout_set = "SET LOCAL lock_timeout = %s"
lock_timeout_reset = "SET LOCAL lock_timeout TO DEFAULT"

# One row per session: a process of the server itself, such as autovacuum, has no user.
session_columns = """
SELECT DISTINCT
       pg_stat_activity.pid,
       coalesce(pg_stat_activity.usename, pg_stat_activity.backend_type) AS usename,
       pg_stat_activity.application_name,
       pg_stat_activity.state
"""
load_lock_holder_select = f"""
{session_columns}
FROM pg_locks
JOIN pg_stat_activity USING (pid)
WHERE pg_locks.locktype = 'advisory'
  AND pg_locks.granted
  AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (pg_locks.classid::bigint << 32) | pg_locks.objid::bigint = {LOAD_LOCK}
"""
lock_holders_select = f"""
{session_columns}
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
            running = f"another load is running{name_load(cur)[0]}"
            raise ServerError(f"{running}; try again later")
        if time.monotonic() > said_from:
            say(f"waiting for another load to end{''.join(name_load(cur))}")
            said_from = float("inf")
        time.sleep(0.02)


def try_lock(cur, lock_query):
    cur.execute(lock_query)
    return cur.fetchone()[0]


def name_load(cur):
    """Return which session loads at the moment, for people, and how to end it.

    Both are empty if it has just ended.
    """
    cur.execute(load_lock_holder_select)
    sessions = cur.fetchall()
    return (f" ({name_sessions(sessions)})", f"; {remedy_for(sessions)}") if sessions else ("", "")


def say(text):
    """Print a line for people, above the progress if there is any."""
    tqdm.write(f"{script_name()}: {text}", file=sys.stderr)


# Sessions, as (pid, user, application, state), in words


def name_sessions(sessions):
    """Return which sessions are in the way, for people."""
    return ", ".join(
        f"session {pid} (user {user}, {name_application(application)}, "
        f"{state or 'in a state that only its user may see'})"
        for pid, user, application, state in sessions
    )


def name_application(name):
    """Return what a session calls itself, in plain words where that is a notebook's kernel."""
    return "a notebook" if name.startswith("ipykernel") else name or "unnamed application"


def remedy_for(sessions):
    """Return what to do about sessions that are in the way."""
    calls = ", ".join(f"pg_terminate_backend({pid})" for pid, *_ in sessions)
    end = command(f'-m sparkify psql -c "SELECT {calls}"')
    return f"let it commit or close it, or end it with {end}"
