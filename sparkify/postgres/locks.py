"""Who waits for whom: loads and resets take turns; both wait for those who use the tables."""

import time

from psycopg2.extensions import cursor as Cursor

from sparkify.errors import ServerError
from sparkify.interpreter import command
from sparkify.messages import complain
from sparkify.postgres.transactions import ON_PRIMARY, fetch_value

SAY_SECONDS = 1  # to wait for another session before saying so

# Who may load, or reset the tables: only one at a time does. Readers are not held up. The number
# of the lock means nothing, but must stay the same.
LOAD_LOCK = 6_801_541_214
session_lock_select = f"SELECT pg_try_advisory_lock({LOAD_LOCK}) {ON_PRIMARY}"
load_lock_select = f"SELECT pg_try_advisory_xact_lock({LOAD_LOCK}) {ON_PRIMARY}"

lock_timeout_set = "SET LOCAL lock_timeout = %s"
lock_timeout_reset = "SET LOCAL lock_timeout = 0"  # not to DEFAULT, which is the role's

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


def wait_for_turn(cur: Cursor, lock_query: str, patient: bool = True) -> None:
    """Try a query that takes a lock until it does. If not patient, raises ServerError at once.

    Python waits, not Postgres, so that Ctrl-C ends the wait.
    """
    said_from = time.monotonic() + (SAY_SECONDS if patient else 0)
    while not fetch_value(cur, lock_query):
        if not patient:
            running = f"another load is running{name_load(cur)[0]}"
            raise ServerError(f"{running}; try again later")
        if time.monotonic() > said_from:
            complain(f"waiting for another load to end{''.join(name_load(cur))}")
            said_from = float("inf")
        time.sleep(0.02)


def name_load(cur):
    """Return which session loads at the moment, for people, and how to end it.

    Both are empty if it has just ended.
    """
    cur.execute(load_lock_holder_select)
    sessions = cur.fetchall()
    return (f" ({name_sessions(sessions)})", f"; {remedy_for(sessions)}") if sessions else ("", "")


# Sessions, as (pid, user, application, state), in words


def name_sessions(sessions: list[tuple]) -> str:
    """Return which sessions are in the way, for people."""
    return ", ".join(
        f"session {pid} (user {user}, {name_application(application)}, "
        f"{state or 'in a state that only its user may see'})"
        for pid, user, application, state in sessions
    )


def name_application(name):
    """Return what a session calls itself, in plain words where that is a notebook's kernel."""
    return "a notebook" if name.startswith("ipykernel") else name or "unnamed application"


def remedy_for(sessions: list[tuple]) -> str:
    """Return what to do about sessions that are in the way."""
    calls = ", ".join(f"pg_terminate_backend({pid})" for pid, *_ in sessions)
    end = command(f'-m sparkify psql -c "SELECT {calls}"')
    return f"let it commit or close it, or end it with {end}"
