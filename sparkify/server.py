"""Where Postgres is, and how to connect to it.

The first of these that is set decides:

1. DATABASE_URL, a postgresql:// URL; its database counts, `sparkifydb` where it names none;
2. PGHOST, PGHOSTADDR or PGSERVICE, and with them all that libpq reads: PGUSER, PGPASSWORD,
   PGSSLMODE, ~/.pgpass and so on; the database is `sparkifydb`;
3. nothing: an embedded PostgreSQL, its data in `.postgres/` in the project (elsewhere with
   SPARKIFY_PGDATA), started when first needed and stopped when the last process using it ends.
"""

import contextlib
import os
import re
import sys
import time
from functools import partial

import psycopg2
from psycopg2.extensions import parse_dsn

from sparkify import embedded, interrupts
from sparkify.interpreter import command
from sparkify.messages import LoadError, ServerError, one_line, script_name
from sparkify.patience import await_answer

DATABASE = "sparkifydb"
# The user's name and password end at the only @, and hold no / that isn't percent-encoded.
URL = r"postgres(ql)?://([^@/]*@)?[^@?]*(\?.*)?"
TIME_ZONE = "UTC"  # of every session, so that start_time agrees with hour, day and weekday
CONNECT_SECONDS = 10
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


def connect(dbname=None):
    """Return a psycopg2 connection to Sparkify's database, or to another one on its server.

    Raises ServerUnreachable where trying again may help, DatabaseMissing where the server has no
    such database, ServerError where it refuses for another reason.
    """
    parameters = server_parameters()
    if dbname:
        parameters["dbname"] = dbname
    os.environ["PGTZ"] = TIME_ZONE
    try:
        # Python waits, where a signal ends the wait; libpq itself gives up after a while.
        conn = await_answer(partial(psycopg2.connect, **parameters))
        interrupts.connections.add(conn)
        have_death_noticed(conn)
    except (psycopg2.Error, UnicodeError) as error:
        raise explain(error, parameters) from None
    return conn


def have_death_noticed(conn):
    """Have the server end the session as soon as this process is gone, even while it waits.

    A server on Windows can't, and refuses; there a statement goes on until it would answer. Raises
    psycopg2.Error where the session has ended.
    """
    conn.autocommit = True
    try:
        with conn.cursor() as cur:
            cur.execute(client_check_set)
    except psycopg2.Error:
        if conn.closed:
            raise
    conn.autocommit = False


def connect_patiently(seconds):
    """Return a connection like connect(), but try for so long to reach the server, saying so.

    Why it can't be reached is said once, unless that changes.
    """
    deadline, pause, said = time.monotonic() + seconds, FIRST_PAUSE_SECONDS, None
    while True:
        try:
            return connect()
        except ServerUnreachable as error:
            pause = min(pause, deadline - time.monotonic())
            if pause <= 0:
                raise
            why = one_line(error)
            reason = "" if why == said else f"{why}; "
            print(f"{script_name()}: {reason}next try in {pause:.1f} s", file=sys.stderr)
            said = why
        time.sleep(pause)
        pause *= 2


def engine():
    """Return a SQLAlchemy engine for pandas.read_sql.

    It closes each connection after use: one that is kept open could lock the tables.
    """
    import sqlalchemy

    return sqlalchemy.create_engine(
        "postgresql+psycopg2://", creator=connect, poolclass=sqlalchemy.pool.NullPool
    )


def server_parameters():
    """Return libpq's connection parameters, having started the embedded server if that is the one.

    What libpq takes from the PG* variables by itself is not repeated here.
    """
    parameters = named_parameters()
    if uses_embedded_server():
        parameters |= embedded.start_server(embedded.data_folder())
    elif not (parameters.get("service") or os.environ.get("PGSERVICE")):  # whose file may name them
        parameters = KEEPALIVES | parameters
    parameters.setdefault("client_encoding", "UTF8")
    if "PGCONNECT_TIMEOUT" not in os.environ:
        parameters.setdefault("connect_timeout", CONNECT_SECONDS)
    parameters.setdefault("fallback_application_name", script_name())
    return parameters


def named_parameters():
    """Return the connection parameters by keyword that DATABASE_URL names, and the database."""
    url = os.environ.get("DATABASE_URL")
    return {"dbname": DATABASE} | (parse_url(url) if url else {})


def uses_embedded_server():
    """Tell whether neither DATABASE_URL nor libpq's variables name a server."""
    names = ("DATABASE_URL", "PGHOST", "PGHOSTADDR", "PGSERVICE")
    return not any(os.environ.get(name) for name in names)


def parse_url(url):
    """Return the parameters a DATABASE_URL names. Never quotes it: it may hold a password.

    Raises ServerError also for a password that libpq would take for a host, port or database.
    """
    try:
        parameters = parse_dsn(url) if re.fullmatch(URL, url) else None
    except (psycopg2.Error, UnicodeError):
        parameters = None
    if parameters is None or not re.fullmatch(r"[\d,]*", parameters.get("port", "")):
        raise ServerError(
            "DATABASE_URL can't be read: it must look like postgresql://user:password@host:5432/"
            f"{DATABASE}, with @ : / % in the user or password written as %40 %3A %2F %25"
        )
    return parameters


def server_name():
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
    return f"{host}{f':{port}' if port else ''} (from {source})"


def explain(error, parameters):
    """Return a failed connection as a ServerError: the server, what it said, and what to do."""
    wanted = f"{parameters['dbname']} on {server_name()}"
    if parameters["dbname"] != "postgres" and database_is_missing(error, parameters):
        remedy = f"run {command('create_tables.py')}"
        return DatabaseMissing(f"there is no database {wanted} yet; {remedy}")
    said = leave_out_hints(error)
    if uses_embedded_server():
        remedy = f"its log is {embedded.data_folder() / 'log'}"
    elif os.environ.get("DATABASE_URL"):
        remedy = "check DATABASE_URL, or unset it to use the embedded server"
    else:
        remedy = "check the PG* variables and ~/.pgpass, or unset PGHOST to use the embedded server"
    kind = ServerUnreachable if re.search(PASSING, said) else ServerError
    return kind(f"can't connect to {wanted}: {said}; {remedy}")


def leave_out_hints(error):
    """Return what libpq says of a connection, a line for each address tried, but no advice."""
    return "; ".join(line for line in str(error).splitlines() if line[:1].strip())


# What libpq and a server say of conditions that may pass.
PASSING = (
    "refused|timeout|timed out|No such file|could not translate|unreachable|closed the connection|"
    "reset by peer|starting up|shutting down|not yet accepting|recovery|too many"
)


def database_is_missing(error, parameters):
    """Tell whether the server is there and only the database isn't.

    The error says so in the server's language: if that isn't English, ask by way of `postgres`.
    """
    if f'database "{parameters["dbname"]}" does not exist' in str(error):
        return True
    try:
        connection = psycopg2.connect(**parameters | {"dbname": "postgres"})
    except (psycopg2.Error, UnicodeError):
        return False
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (parameters["dbname"],))
        return cursor.rowcount == 0


@contextlib.contextmanager
def naming_missing_grants(conn):
    """Raise what a role lacks the privilege for as a ServerError: which role, where, the remedy."""
    role, place = conn.info.user, target(conn)
    try:
        yield
    except (psycopg2.Error, LoadError) as error:
        cause = error.__cause__ or error
        if not isinstance(cause, psycopg2.errors.InsufficientPrivilege):
            raise
        raise ServerError(
            f"{one_line(cause)} (role {role} of {place}); docs/operations.md says under Roles "
            "what to grant"
        ) from None


def target(conn):
    """Return which database on which server a connection leads to, for people."""
    return f"{conn.info.dbname} on {server_name()}"
