"""python -m sparkify COMMAND: what one does with the tables once they are filled."""

from sparkify import interrupts

if __name__ == "__main__":
    interrupts.catch("sparkify")  # signals, from now on

import argparse
import contextlib
import functools
import io
import os
import sys

from sparkify.interpreter import command, require_python

require_python()  # before the libraries are missed

import psycopg2

from sparkify import ask, checks, clients, page, serve, server
from sparkify.arguments import FAILED, WRONG_ARGUMENTS
from sparkify.messages import LoadError, ServerError, WrongArguments, one_line, script_name


def check_tables(arguments):
    """Make the sanity checks and return the exit status: 1 if one failed.

    Raises ServerError where there is nothing to check."""
    parser = argparse.ArgumentParser(command("-m sparkify check"), description=checks.__doc__)
    parser.parse_args(arguments)
    conn = server.connect()
    with contextlib.closing(conn), server.naming_missing_grants(conn), conn.cursor() as cur:
        checks.require_rows(cur, server.target(conn))
        return 0 if checks.print_checks(cur, colour=sys.stdout.isatty()) else 1


# By name: what it does, in a line, and the function that takes its arguments.
COMMANDS = {
    "ask": ("list the analysts' questions, or answer one", ask.ask),
    "report": ("write the answers and pictures as one HTML file", page.write_report),
    "psql": ("open psql on the database", functools.partial(clients.run_client, "psql")),
    "pg_dump": ("write a backup", functools.partial(clients.run_client, "pg_dump")),
    "pg_restore": ("read a backup", functools.partial(clients.run_client, "pg_restore")),
    "check": ("check the tables, and warn about each rule that is broken", check_tables),
    "serve": ("let other programs read the tables at a port, until Ctrl-C", serve.serve_tables),
}


def parse_arguments():
    commands = "\n".join(f"  {name:<12}{what}" for name, (what, _) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        command("-m sparkify"),
        usage="%(prog)s COMMAND [ARGUMENT ...]",
        description="Work with the tables that etl.py fills.",
        epilog=f"commands:\n{commands}\n\nArguments are the command's own; try COMMAND --help.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    if len(sys.argv) == 1:
        parser.error("which COMMAND? --help lists them")
    return parser.parse_args()


def main():
    """Run a command and return its exit status; where it could not be done, say why in a line."""
    sys.stdout = sys.stdout or io.TextIOWrapper(io.BytesIO())  # the shell may have closed it
    arguments = parse_arguments()
    _, run = COMMANDS[arguments.command]
    try:
        status = run(arguments.arguments)
        sys.stdout.flush()
        return status
    except WrongArguments as error:
        return fail(error, WRONG_ARGUMENTS)
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn) as error:
        return fail(f"{one_line(error)}; run {command('create_tables.py')}")
    except (LoadError, ServerError, psycopg2.Error) as error:
        return fail(one_line(error))
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # it is flushed once more
        if isinstance(error, BrokenPipeError):  # head has closed it, and has what it wanted
            return FAILED
        failed = f"can't use {error.filename}" if error.filename else "can't write the output"
        return fail(f"{failed}: {error.strerror}")


def fail(why, status=FAILED):
    """Say why a command could not be done and return the exit status that tells so."""
    print(f"{script_name()}: {why}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
