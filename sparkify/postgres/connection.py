"""Where Postgres is, and how to connect to it.

The first of these that is set decides:

1. DATABASE_URL, a postgresql:// URL; its database counts, `sparkifydb` where it names none;
2. PGHOST, PGHOSTADDR or PGSERVICE, and with them all that libpq reads: PGUSER, PGPASSWORD,
   PGSSLMODE, ~/.pgpass and so on; the database is that of PGDATABASE, `sparkifydb` without it;
3. nothing: an embedded PostgreSQL, its data in `.postgres/` in the project (elsewhere with
   SPARKIFY_PGDATA), started when first needed and stopped when the last process using it ends.
"""

import contextlib
import itertools
import os
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from sparkify import interrupts
from sparkify.errors import ServerError
from sparkify.interpreter import command
from sparkify.messages import complain, one_line, script_name
from sparkify.postgres import embedded
from sparkify.postgres.url import parse_url, refuse_stray_ends
from sparkify.waiting import await_answer

if TYPE_CHECKING:
    from sqlalchemy import Engine

DATABASE = "sparkifydb"
TIME_ZONE = "UTC"  # of every session, so that start_time agrees with hour, day and weekday
CONNECT_SECONDS = 10
# What correctness depends on in every session, whatever a server, database or role has them set to.
# (Not standard_conforming_strings: psycopg2 copes with both, but not with a change of it.)
SESSION_SETTINGS = {
    "TimeZone": TIME_ZONE,
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",  # numbers as text are exact
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "default_transaction_isolation": "read committed",  # who waits for a lock sees what came since
}
# What those who change the tables depend on besides: no time is too long for a load, foreign keys
# work, and no policy hides rows. Such a query is refused then.
LOAD_SETTINGS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    "session_replication_role": "origin",
    "row_security": "off",
}
TIME_LIMITS = [name for name in LOAD_SETTINGS if name.endswith("timeout")]
limits_select = """
SELECT string_agg(name || ' = ' || current_setting(name), ', ')
FROM unnest(%s) AS limits (name)
WHERE current_setting(name, true) <> '0'
"""
settings_set = """
SELECT set_config(name, value, false)
FROM unnest(%s, %s) AS wanted (name, value)
WHERE current_setting(name, true) <> value
"""
RETRY_SECONDS = 30  # to try to connect
client_check_set = "SET client_connection_check_interval = '200ms'"
# So that a connection that the network no longer carries ends within a minute: silent ones are
# probed, and what isn't confirmed in time (milliseconds) counts as lost. A slow server confirms.
KEEPALIVES = {
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 4,
    "tcp_user_timeout": 60_000,
}
FIRST_PAUSE_SECONDS = 0.5  # between tries to reach the server; each is twice the one before


class DatabaseMissing(ServerError):
    """The server is there, the database isn't yet."""


class ServerUnreachable(ServerError):
    """The server isn't there, but may be in a moment."""


class ServerStarting(ServerUnreachable):
    """The server, or the pool before it, is there, and lets nobody in for the moment."""


def connect(
    dbname: str | None = None,
    seconds: float = RETRY_SECONDS,
    passing: type[ServerUnreachable] = ServerStarting,
) -> Connection:
    """Return a psycopg2 connection to Sparkify's database, or to another one on its server.

    Waits so long for a server that is starting and, with `passing` ServerUnreachable, for one that
    isn't there. Says why it waits, and says it again if the reason changes.
    Raises DatabaseMissing where the server has no such database, ServerError where the server
    refuses for another reason.
    """
    deadline, pause, said = time.monotonic() + seconds, FIRST_PAUSE_SECONDS, None
    while True:
        try:
            return connect_once(dbname)
        except passing as error:
            pause = min(pause, deadline - time.monotonic())
            if pause <= 0:
                raise
            why = one_line(error)
            reason = "" if why == said else f"{why}; "
            complain(f"{reason}next try in {pause:.1f} s")
            said, passing = why, ServerUnreachable  # it may stop before it starts
        time.sleep(pause)
        pause *= 2


def connect_once(dbname):
    parameters = server_parameters()
    if dbname:
        parameters["dbname"] = dbname
    try:
        # Python waits, where a signal ends the wait; libpq itself gives up after a while.
        conn = await_answer(partial(psycopg2.connect, **parameters))
        interrupts.connections.add(conn)
        prepare_session(conn)
    except (psycopg2.Error, UnicodeError) as error:
        raise explain(error, parameters) from None
    return conn


def prepare_session(conn):
    """Set SESSION_SETTINGS, and have the session end as soon as this process is gone.

    A server on Windows can't see that; there a statement goes on until it would answer. Raises
    psycopg2.Error where the session has ended.
    """
    conn.autocommit = True
    with conn.cursor() as cur:
        set_settings(cur, SESSION_SETTINGS)
        try:
            cur.execute(client_check_set)
        except psycopg2.Error:
            if conn.closed:
                raise
    conn.autocommit = False


def set_settings(cur: Cursor, settings: dict[str, str]) -> None:
    """Set a session's settings, but for those that have the value, or that the server lacks."""
    cur.execute(settings_set, (list(settings), list(settings.values())))


def describe_end(error: BaseException) -> str:
    """Return why a session has ended, and its role's time limits: psycopg2 names none."""
    with contextlib.closing(connect()) as conn, conn.cursor() as cur:
        cur.execute(limits_select, (TIME_LIMITS,))
        limits = next(cur)[0]
        role = f"; the time limits of role {conn.info.user} are {limits}" if limits else ""
        return f"lost the connection to {name_database(conn)}: {leave_out_hints(error)}{role}"


def setting_remedy(conn: Connection, name: str, value: str) -> str:
    """Return how an administrator gives a session's role another setting for good, for people."""
    query = "ALTER ROLE {} IN DATABASE {} SET {} = {}"
    role, database = sql.Identifier(conn.info.user), sql.Identifier(conn.info.dbname)
    query = sql.SQL(query).format(role, database, sql.SQL(name), sql.SQL(value)).as_string(conn)
    return f"have an administrator run {query}"


def describe_read_only(conn: Connection) -> str:
    """Return why a server takes no changes, and the remedy, for people."""
    place = name_database(conn)
    if conn.info.parameter_status("in_hot_standby") == "on":
        return f"{place} is a standby, which takes no changes; connect to the primary server"
    remedy = setting_remedy(conn, "default_transaction_read_only", "off")
    return (
        f"{place} takes no changes: default_transaction_read_only is on, as where a host's disk is "
        f"full; make room, or {remedy}"
    )


def engine() -> "Engine":
    """Return a SQLAlchemy engine for pandas.read_sql.

    It closes each connection after use: one that is kept open could lock the tables.
    """
    import sqlalchemy

    return sqlalchemy.create_engine(
        "postgresql+psycopg2://", creator=connect, poolclass=sqlalchemy.pool.NullPool
    )


def server_parameters() -> dict[str, Any]:
    """Return libpq's connection parameters, having started the embedded server if that is the one.

    What libpq takes from the PG* variables by itself is not repeated here.
    """
    parameters: dict[str, Any] = named_parameters()
    if uses_embedded_server():
        parameters |= embedded.start_server(embedded.data_folder())
    elif not (parameters.get("service") or os.environ.get("PGSERVICE")):  # whose file may name them
        parameters = KEEPALIVES | parameters
    parameters["client_encoding"] = "UTF8"
    if "PGCONNECT_TIMEOUT" not in os.environ:
        parameters.setdefault("connect_timeout", CONNECT_SECONDS)
    parameters.setdefault("fallback_application_name", script_name())
    return parameters


def named_parameters() -> dict[str, str]:
    """Return the connection parameters that the environment names, by keyword, and the database.

    Raises ServerError where it gives them wrongly.
    """
    source, named = "DATABASE_URL", {}
    if url := os.environ.get(source):
        named = parse_url(url.strip())
    elif not uses_embedded_server():
        source = "PGDATABASE"
        named["dbname"] = os.environ.get(source, "").strip()
    name = named.get("dbname") or DATABASE
    refuse_stray_ends(name, source)
    return named | {"dbname": name}


def uses_embedded_server() -> bool:
    """Tell whether neither DATABASE_URL nor libpq's variables name a server."""
    names = ("DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGSERVICE")
    return not any(os.environ.get(name) for name in names)


def server_name() -> str:
    """Return which server is meant, for people: there is no password in it."""
    if uses_embedded_server():
        return f"the embedded server ({embedded.data_folder()})"
    source = "DATABASE_URL" if os.environ.get("DATABASE_URL") else "the PG* variables"
    named = named_parameters()
    host = named.get("host") or named.get("hostaddr")
    service = named.get("service") or os.environ.get("PGSERVICE")
    if service and not host:  # to libpq, it goes before PGHOST
        return f"service {service} (from {source})"
    host = host or os.environ.get("PGHOST") or os.environ.get("PGHOSTADDR") or "localhost"
    port = named.get("port") or os.environ.get("PGPORT")
    hosts = host.split(",")
    ports = port.split(",") if port else [""]
    places = zip(hosts, itertools.cycle(ports), strict=False)  # one port may be that of all
    return f"{','.join(':'.join(filter(None, place)) for place in places)} (from {source})"


def explain(error, parameters):
    """Return a failed connection as a ServerError: the server, what it said, and what to do."""
    wanted, said = f"{parameters['dbname']} on {server_name()}", leave_out_hints(error)
    kinds = {ServerStarting: STARTING, ServerUnreachable: PASSING, ServerError: ""}
    kind = next(kind for kind, pattern in kinds.items() if re.search(pattern, said))
    if kind is not ServerStarting and database_is_missing(error, parameters):
        remedy = f"run {command('create_tables.py')}"
        return DatabaseMissing(f"there is no database {wanted} yet; {remedy}")
    if uses_embedded_server():
        remedy = f"its log is {embedded.data_folder() / 'log'}"
    elif os.environ.get("DATABASE_URL"):
        remedy = "check DATABASE_URL, or unset it to use the embedded server"
    else:
        remedy = "check the PG* variables and ~/.pgpass, or unset PGHOST to use the embedded server"
    return kind(f"can't connect to {wanted}: {said}; {remedy}")


def leave_out_hints(error: BaseException | None) -> str:
    """Return what libpq says of a connection, a line for each address tried, but no advice."""
    return "; ".join(line for line in str(error).splitlines() if line[:1].strip())


# What libpq and a server say of conditions that may pass, and what a server that is starting does,
# or PgBouncer, for 15 s after the server has refused it.
PASSING = (
    "refused|timeout|timed out|No such file|could not translate|unreachable|closed the connection|"
    "reset by peer|too many"
)
STARTING = "starting up|shutting down|not yet accepting|recovery|server_login_retry"


def database_is_missing(error, parameters):
    """Tell whether the server is there and only the database isn't.

    The error says so in the server's language: if that isn't English, ask by way of `postgres`.
    """
    if parameters["dbname"] == "postgres":
        return False
    if f'database "{parameters["dbname"]}" does not exist' in str(error):
        return True
    try:
        connection = psycopg2.connect(**parameters | {"dbname": "postgres"})
    except (psycopg2.Error, UnicodeError):
        return False
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (parameters["dbname"],))
        return cursor.rowcount == 0


def name_database(conn: Connection) -> str:
    """Return which database on which server a connection leads to, for people."""
    return f"{conn.info.dbname} on {server_name()}"
