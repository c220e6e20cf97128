"""python -m sparkify COMMAND: what one does with the tables once they are filled."""

from sparkify import interrupts

if __name__ == "__main__":
    interrupts.catch("sparkify")  # signals, from now on

import argparse
import contextlib
import functools
import io
import sys

from sparkify.interpreter import command, require_python

require_python()  # before the libraries are missed

import psycopg2

import etl
from sparkify.analysis import ask, html_report
from sparkify.checks import check, freshness
from sparkify.errors import LoadError, ServerError, WrongArguments
from sparkify.messages import complain, drop_output, is_terminal, one_line
from sparkify.postgres import connection, psql, serve
from sparkify.run import nightly
from sparkify.run.arguments import FAILED, WRONG_ARGUMENTS, returning_status
from sparkify.run.summary import Log


def check_tables(arguments):
    """Make the sanity checks, say what is suspicious, and return the exit status."""
    parser = argparse.ArgumentParser(
        command("-m sparkify check"),
        description=check.__doc__,
        epilog=f"Said as suspicions, and no failure: {freshness.RULE}.",
    )
    freshness.add_option(parser)
    newer_than = parser.parse_args(arguments).newer_than
    return 0 if check.check_tables(Log().suspect, is_terminal(sys.stdout), newer_than) else FAILED


# By name: what it does, in a line, and the function that takes its arguments.
COMMANDS = {
    "nightly": (
        "load what is new, check, and write the report if asked for",
        functools.partial(nightly.run_night, etl.main),
    ),
    "ask": ("list the analysts' questions, or answer one", ask.ask),
    "report": ("write the answers and pictures as one HTML file", html_report.write_report),
    "psql": ("open psql on the database", functools.partial(psql.run_client, "psql")),
    "pg_dump": ("write a backup", functools.partial(psql.run_client, "pg_dump")),
    "pg_restore": ("read a backup", functools.partial(psql.run_client, "pg_restore")),
    "check": ("check the tables, and warn about each rule that is broken", check_tables),
    "serve": ("let other programs read the tables at a port, until Ctrl-C", serve.serve_tables),
}


def parse_arguments(argv):
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
    if not argv:
        parser.error("which COMMAND? --help lists them")
    return parser.parse_args(argv)


@returning_status
def main(argv=None):
    """Run a command and return its exit status; where it could not be done, say why in a line."""
    if sys.stdout is None:  # the shell may have closed it
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
            return main(argv)
    arguments = parse_arguments(argv or ())
    _, run = COMMANDS[arguments.command]
    try:
        status = run(arguments.arguments)
        getattr(sys.stdout, "flush", bool)()
        return status or 0
    except WrongArguments as error:
        return fail(error, WRONG_ARGUMENTS)
    except (LoadError, ServerError, psycopg2.Error) as error:
        is_lost = isinstance(error, psycopg2.OperationalError) and error.pgcode is None
        return fail(connection.describe_end(error) if is_lost else one_line(error))
    except OSError as error:
        drop_output()
        if isinstance(error, BrokenPipeError):  # head has closed it, and has what it wanted
            return FAILED
        failed = f"can't use {error.filename}" if error.filename else "can't write the output"
        return fail(f"{failed}: {error.strerror}")


def fail(why, status=FAILED):
    """Say why a command could not be done and return the exit status that tells so."""
    complain(why, "sparkify")
    return status


if __name__ == "__main__":
    sys.exit(interrupts.run(main, sys.argv[1:]))
