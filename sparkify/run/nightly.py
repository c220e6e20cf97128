"""The run of a night: load what is new, check the tables, write the report if asked for."""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, redirect_stderr, redirect_stdout
from datetime import UTC, datetime

import psycopg2

from sparkify.analysis import html_report
from sparkify.checks import check, freshness
from sparkify.errors import LoadError, ServerError
from sparkify.interpreter import command
from sparkify.interrupts import owns_process
from sparkify.messages import complain, is_terminal, one_line
from sparkify.run.arguments import FAILED, SET_ASIDE
from sparkify.run.summary import Log

LOADED = {0: "all that was new is loaded", SET_ASIDE: "loaded, but lines or files were set aside"}


class Stamped:
    """A stream on which each line begins with the time, in UTC, and the run's id."""

    def __init__(self, stream, run):
        self.stream, self.run, self.begins = stream, run, True

    def write(self, text):
        for line in text.splitlines(keepends=True):
            if self.begins:
                self.stream.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {self.run} ")
            self.stream.write(line)
            self.begins = line.endswith("\n")

    def __getattr__(self, name):
        return getattr(self.stream, name)


def run_night(load: Callable[..., int], arguments: Sequence[str]) -> int:
    """Do what the command's arguments say, by etl.py's main; return the exit status."""
    options, others = parse_arguments(arguments)
    log = Log("--log-json" in others)
    with ExitStack() as streams:
        if owns_process() and not is_terminal(sys.stderr):
            streams.enter_context(redirect_stderr(Stamped(sys.stderr, log.run)))
        if owns_process() and not log.as_json and not is_terminal(sys.stdout):
            streams.enter_context(redirect_stdout(Stamped(sys.stdout, log.run)))
        status = load(others, log)
        if status not in LOADED or "--dry-run" in others:
            return status
        suspicions: list[str] = []
        good = attempt(log, check.check_tables, suspicions.append, False, options.newer_than)
        for suspicion in suspicions:
            log.suspect(suspicion)
        words = [LOADED[status], "the checks have passed" if good else "checks have failed"]
        if options.report:
            made = attempt(log, html_report.write_report, [options.report])
            words.append("the report is written" if made else "there is no new report")
            good = good and made
        status = status if good else FAILED
        log.say(f"The night: {'; '.join(words)}; exit status {status}")
        log.note("night", exit_status=status, outcome=words)
        return status


def parse_arguments(arguments):
    """Return the command's own options, and those that are for etl.py."""
    parser = argparse.ArgumentParser(
        command("-m sparkify nightly"),
        usage="%(prog)s [DATA] [--report FILE] [--newer-than AGE] [OPTION OF etl.py ...]",
        description=f"{__doc__} Where the output is no terminal, each line has the time in UTC.",
        epilog="--dry-run, like all other options, is etl.py's. Exit status: 1 also where a check "
        "or the report failed; else etl.py's. Said as suspicions, and no failure: a file that has "
        f"shrunk, and {freshness.RULE}.",
        allow_abbrev=False,
    )
    parser.add_argument("--report", metavar="FILE", help="write the report to FILE afterwards")
    freshness.add_option(parser)
    return parser.parse_known_args(arguments)


def attempt(log, step, *arguments):
    """Tell whether a step went well; why it didn't is said, and the night goes on."""
    try:
        with redirect_stdout(sys.stderr) if log.as_json else nullcontext():
            return step(*arguments) is not False
    except (LoadError, ServerError, psycopg2.Error) as error:
        complain(one_line(error))
        return False
