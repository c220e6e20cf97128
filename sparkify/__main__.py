"""python -m sparkify COMMAND: what one does with the tables once they are filled."""

import argparse
import contextlib
import functools
import sys

import psycopg2

from sparkify import checks, clients, serve, server
from sparkify.messages import ServerError, end_interrupted, one_line, script_name


def check_tables(arguments):
    """Make the sanity checks and return the exit status: 1 if one failed.

    Raises ServerError where there is nothing to check."""
    parser = argparse.ArgumentParser("python -m sparkify check", description=checks.__doc__)
    parser.parse_args(arguments)
    with (
        contextlib.closing(server.connect()) as conn,
        server.naming_missing_grants(conn),
        conn.cursor() as cur,
    ):
        checks.require_rows(cur, server.target(conn))
        return 0 if checks.print_checks(cur, colour=sys.stdout.isatty()) else 1


# By name: what it does, in a line, and the function that takes its arguments.
COMMANDS = {
    "psql": ("open psql on the database", functools.partial(clients.run_client, "psql")),
    "pg_dump": ("write a backup", functools.partial(clients.run_client, "pg_dump")),
    "pg_restore": ("read a backup", functools.partial(clients.run_client, "pg_restore")),
    "check": ("check the tables, and warn about each rule that is broken", check_tables),
    "serve": ("let other programs read the tables at a port, until Ctrl-C", serve.serve_tables),
}


def parse_arguments():
    commands = "\n".join(f"  {name:<12}{what}" for name, (what, _) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        "python -m sparkify",
        usage="python -m sparkify COMMAND [ARGUMENT ...]",
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
    """Run a command and return its exit status, or one line on why it could not be done."""
    arguments = parse_arguments()
    _, run = COMMANDS[arguments.command]
    try:
        return run(arguments.arguments)
    except (ServerError, psycopg2.Error) as error:
        return f"{script_name()}: {one_line(error)}"
    except KeyboardInterrupt:
        return end_interrupted()


if __name__ == "__main__":
    sys.exit(main())
