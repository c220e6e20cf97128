"""Serve the tables of the embedded server to the programs that analysts read them with.

It stays up until Ctrl-C or SIGTERM, and lets a user that can only read in at a port of this
machine; etl.py and the notebooks go on using it meanwhile.
"""

import argparse
import contextlib
import errno
import os
import secrets
import stat
import time
from pathlib import Path

import psycopg2
from psycopg2.extensions import encrypt_password

from sparkify.errors import ServerError
from sparkify.interpreter import command
from sparkify.postgres import connection, embedded, relay
from sparkify.replacing import replace_file

PORT, LAST_PORT = 5432, 65535
READER = "sparkify_reader"
RELOAD_SECONDS = 10  # for the server to read its rules again

reader_select = "SELECT FROM pg_roles WHERE rolname = %s"
reader_create = f"CREATE ROLE {READER}"
# As the reader in docs/operations.md, here with a password. create_tables.py makes the tables anew:
# these, too, are to be readable. What a reader may always change is its own password and settings,
# which are ours again; what it could leave in the database are temporary tables, while it is
# connected, and large objects.
reader_grants = f"""
ALTER ROLE {READER}
    LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    PASSWORD %s;
ALTER ROLE {READER} RESET ALL;
ALTER ROLE {READER} IN DATABASE {connection.DATABASE} RESET ALL;
REVOKE TEMPORARY ON DATABASE {connection.DATABASE} FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION lo_creat, lo_create, lo_from_bytea FROM PUBLIC;
GRANT CONNECT ON DATABASE {connection.DATABASE} TO {READER};
GRANT USAGE ON SCHEMA public TO {READER};
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER};
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {READER};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {READER};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON SEQUENCES TO {READER}
"""
hba_file_select = "SHOW hba_file"
hba_file_reload = "SELECT pg_reload_conf()"
# They go first in pg_hba.conf: by initdb's own, whoever can open the socket is trusted.
READER_RULES = f"""\
# Clients of `python -m sparkify serve`: only with a password.
local all,replication {READER}     scram-sha-256
host  all,replication {READER} all scram-sha-256

"""


def serve_tables(arguments: list[str]) -> int:
    """Serve until Ctrl-C or SIGTERM, and return the exit status."""
    port = parse_arguments(arguments).port
    refuse_other_servers()
    with contextlib.closing(connection.connect()) as conn, open_port(port) as door:
        password = keep_password(password_file())
        admit_reader(conn, password)
        require_password(conn, password)
        conn.close()
        print(describe(door.server_address[1], password), flush=True)
        wait_for_end(door)
    return 0


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        command("-m sparkify serve"),
        description=__doc__,
        epilog=f"The password is made at random the first time and kept in {password_file()}; "
        "delete that file to get another one. Exit status: 0 ended by Ctrl-C or SIGTERM; 1 failed; "
        "2 wrong arguments.",
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=PORT,
        help="where to listen on 127.0.0.1; 0: any port that is free (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def port_number(text):
    """Return a port's number. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) > LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to {LAST_PORT}")
    return int(text)


def refuse_other_servers():
    """Raise ServerError where the environment names a server, which serves by itself."""
    if not connection.uses_embedded_server():
        raise ServerError(
            f"serve is for the embedded server, and {connection.server_name()} is another one: "
            "connect to that one itself, or unset DATABASE_URL, PGHOST, PGHOSTADDR and PGSERVICE"
        )


def open_port(port):
    """Return the open port that leads to the embedded server. Raises ServerError."""
    parameters = connection.server_parameters()
    host, number = parameters["host"], parameters["port"]
    address = f"{host}/.s.PGSQL.{number}" if os.path.isabs(host) else (host, number)
    try:
        return relay.Relay(port, address, READER, connection.DATABASE)
    except OSError as error:
        by_whom = ", perhaps by another serve" if error.errno == errno.EADDRINUSE else ""
        raise ServerError(
            f"can't listen on port {port} of {relay.HOST}: {error.strerror}{by_whom}; choose "
            "another one with --port"
        ) from None


def password_file():
    """Return the file that keeps the password; the data folder is pgserver's if this is root."""
    data = embedded.data_folder()
    return data.with_name(f"{data.name}.password")


def keep_password(file):
    """Return the password from a file that only this user can read; make it the first time.

    Raises ServerError where others could read it, or where it can't be written.
    """
    try:
        with contextlib.suppress(FileExistsError):
            made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(made, "w") as stream:
                stream.write(secrets.token_hex(16) + "\n")
        kept = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with open(kept) as stream:
            password = stream.read().strip() if is_private(kept) else ""
    except OSError as error:
        raise ServerError(f"can't keep the password in {file}: {error.strerror}") from None
    if not password:
        raise ServerError(f"{file} is empty or open to others; delete it, and a new one is made")
    return password


def is_private(descriptor):
    """Tell whether an open file belongs to this user, and nobody else may open it."""
    if os.name == "nt":  # a user's files are private there
        return True
    facts = os.fstat(descriptor)
    return facts.st_uid == os.geteuid() and not facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def admit_reader(conn, password):
    """Give the reader its rights and, as a hash, its password; create it if it is missing."""
    secret = encrypt_password(password, READER, conn, "scram-sha-256")
    with conn, conn.cursor() as cur:
        cur.execute(reader_select, (READER,))
        if not cur.rowcount:
            cur.execute(reader_create)
        cur.execute(reader_grants, (secret,))


def require_password(conn, password):
    """Have the server ask the reader for its password. Raises ServerError where it doesn't."""
    with conn, conn.cursor() as cur:
        cur.execute(hba_file_select)
        file = Path(cur.fetchone()[0])
        rules = file.read_text(encoding="utf-8", errors="surrogateescape")
        if not rules.startswith(READER_RULES):
            replace_file(file, READER_RULES + rules)  # half a file would let nobody in
        cur.execute(hba_file_reload)
    deadline = time.monotonic() + RELOAD_SECONDS
    while lets_in(f"not {password}"):
        if time.monotonic() > deadline:
            raise ServerError(f"the embedded server lets {READER} in without its password")
        time.sleep(0.05)
    if not lets_in(password):
        raise ServerError(f"the embedded server doesn't let {READER} in with its password")


def lets_in(password):
    """Tell whether the server lets the reader in with a password."""
    try:
        reader = {"user": READER, "password": password}
        psycopg2.connect(**connection.server_parameters() | reader).close()
    except psycopg2.OperationalError:
        return False
    return True


def describe(port, password):
    """Return what to type into a program that reads the tables, for people."""
    return f"""\
The tables can be read by programs on this machine until Ctrl-C:

host      {relay.HOST}
port      {port}
database  {connection.DATABASE}
user      {READER}
password  {password}

or, as a URL: postgresql://{READER}:{password}@{relay.HOST}:{port}/{connection.DATABASE}"""


def wait_for_end(door):
    """Let clients in until Ctrl-C or SIGTERM. Raises ServerError where the server ends before."""
    door.service_actions = require_running
    with contextlib.suppress(KeyboardInterrupt):
        door.serve_forever()
    print(f"Port {door.server_address[1]} is closed", flush=True)


def require_running():
    """Raise ServerError where the embedded server has ended: somebody has killed it."""
    if not embedded.find_postmaster(embedded.data_folder()):
        raise ServerError("the embedded server has ended; run serve again, which starts it")
