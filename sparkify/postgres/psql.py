"""Postgres's own programs, run on Sparkify's database: psql, pg_dump, pg_restore."""

import contextlib
import getopt
import os
import re
import shlex
import shutil
import signal
import subprocess

from psycopg2.extensions import make_dsn

from sparkify import interrupts
from sparkify.errors import ServerError, WrongArguments
from sparkify.interpreter import command as python_command
from sparkify.postgres import connection, programs

# psql's options; a colon or an equals sign follows those that take a value.
SHORT = "aAbc:d:eEf:F:h:HlL:no:p:P:qR:sStT:U:v:VwWxXz01?"
LONG = (
    "command= dbname= file= list set= variable= version no-psqlrc single-transaction help "
    "echo-all echo-errors echo-queries echo-hidden log-file= no-readline output= quiet single-step "
    "single-line no-align csv field-separator= html pset= record-separator= tuples-only "
    "table-attr= expanded field-separator-zero record-separator-zero host= port= username= "
    "no-password password"
)
HELP = [["--help"], ["-?"], ["--version"], ["-V"]]  # to which a server adds nothing
# Since this version pg_dump and pg_restore set transaction_timeout, which older servers don't know.
NEW_SETTING = 17


def run_client(tool: str, arguments: list[str]) -> int:
    """Run a program with its own arguments and return its exit status.

    Raises ServerError, and WrongArguments for those that it would drop.
    """
    if arguments[:1] in HELP:
        path = find_newest(tool)
        return subprocess.run([path, *arguments]).returncode
    if tool == "psql":
        require_options(arguments)
    with contextlib.closing(connection.connect()) as conn:
        path = find_program(tool, conn.server_version // 10_000)
    command, environment = client_command(path, connection.server_parameters(), arguments)
    if interrupts.owns_process():
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is psql's: it cancels the query
    return subprocess.run(command, env=environment).returncode


def require_options(arguments):
    """Raise WrongArguments where psql is given more than options, such as a query without -c."""
    with contextlib.suppress(getopt.GetoptError):  # psql itself says which option is wrong
        _, others = getopt.gnu_getopt(arguments, SHORT, LONG.split())
        if others:
            remedy = f"{python_command('-m sparkify psql -c')} {shlex.quote(others[0])}"
            raise WrongArguments(f"psql would drop {others[0]!r}; to run a query, write {remedy}")


def client_command(path, parameters, arguments):
    """Return a program's command line and environment, which is where a password goes."""
    public = {key: value for key, value in parameters.items() if key != "password"}
    secret = {"PGPASSWORD": parameters["password"]} if "password" in parameters else {}
    zone = {"PGTZ": connection.TIME_ZONE}
    return [path, "--dbname", make_dsn(**public), *arguments], os.environ | zone | secret


def find_newest(tool):
    """Return the path of a program of the newest version there is. Raises ServerError."""
    paths = installed_program(tool) | bundled_programs(tool)
    if not paths:
        raise ServerError(f"there is no {tool}; install it and put it on PATH")
    return paths[max(paths)]


def find_program(tool, version):
    """Return the path of a program that suits a server's major version. Raises ServerError."""
    paths = {} if connection.uses_embedded_server() else installed_program(tool)
    if version not in paths:
        paths = bundled_programs(tool) | paths
    chosen = choose_version(tool, version, paths)
    if chosen is None:
        there = ", ".join(map(str, sorted(paths))) or "any"
        raise ServerError(
            f"{connection.server_name()} is PostgreSQL {version}, for which no {tool} of version "
            f"{there} will do; install {tool} {version} and put it on PATH"
        )
    return paths[chosen]


def choose_version(tool, version, versions):
    """Return which of a program's major versions suits a server's, None where none does.

    The server's own version, else the oldest newer one: a program knows the servers that are older
    than itself. But pg_dump and pg_restore must be below 17 for a server below 17 (NEW_SETTING).
    Both are chosen alike, so that what was dumped from a server can be restored to it.

    Where there is no such version, the newest older one will do for psql, which may not describe
    all that such a server has, and for pg_restore, which by itself refuses a file that a newer
    pg_dump wrote; but no pg_dump reads a server that is newer than itself.
    """
    newer = [number for number in versions if number >= version]
    if tool != "psql" and version < NEW_SETTING:
        newer = [number for number in newer if number < NEW_SETTING]
    older = [number for number in versions if number < version and tool != "pg_dump"]
    return min(newer, default=max(older, default=None))


def bundled_programs(tool):
    """Return the paths of a program that comes with the embedded server, by major version."""
    with contextlib.suppress(ImportError):  # where that isn't installed
        folders = programs.program_folders()
        return {version: str(folder / tool) for version, folder in folders.items()}
    return {}


def installed_program(tool):
    """Return {major version: path} of the program on PATH, empty where there is none."""
    path = shutil.which(tool)
    if path is None:
        return {}
    result = subprocess.run([path, "--version"], capture_output=True, text=True)
    number = re.search(r"\) (\d+)", result.stdout)
    return {int(number[1]): path} if number else {}
