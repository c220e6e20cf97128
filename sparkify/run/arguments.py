"""What etl.py can be asked to do, and with what exit status it ends."""

import argparse
import functools
from collections.abc import Callable, Sequence

from sparkify.errors import WrongArguments
from sparkify.read.storage import DATA
from sparkify.run.rejects import FILE as REJECT_FILE

FAILED, WRONG_ARGUMENTS, SET_ASIDE, INTERRUPTED = 1, 2, 3, 130  # exit statuses


def status_of(error: BaseException) -> int:
    """Return the exit status that an error, or a signal, ends a script with."""
    if isinstance(error, KeyboardInterrupt):
        return getattr(error, "status", INTERRUPTED)
    return WRONG_ARGUMENTS if isinstance(error, WrongArguments) else FAILED


def returning_status(main: Callable[..., int]) -> Callable[..., int]:
    """Have a main return the exit status with which argparse would end the process."""

    @functools.wraps(main)
    def call(*arguments, **named):
        try:
            return main(*arguments, **named)
        except SystemExit as end:
            return end.code or 0

    return call


def parse_arguments(argv: Sequence[str], rows_bytes: int) -> argparse.Namespace:
    """Return what etl.py is asked to do; `rows_bytes` is the most that auto loads row by row."""
    parser = argparse.ArgumentParser(
        "etl.py",
        description="Load song and log files into Sparkify's star schema, those that are new or "
        "have changed. Loading a file again changes nothing, in whatever order.",
        epilog="Exit status: 0 everything was loaded; 3 loaded, but some lines or files were set "
        "aside; 1 failed; 2 wrong arguments; 130, 143, 129 ended by Ctrl-C, SIGTERM, SIGHUP. The "
        "server is that of DATABASE_URL, else of PGHOST and its like, else an embedded one: see "
        "docs/operations.md.",
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        default=str(DATA),
        help="folder that holds song_data/ and log_data/, or a URL of one on shared storage, such "
        "as s3://bucket/prefix (default: %(default)s)",
    )
    parser.add_argument(
        "--all", action="store_true", help="read every file again, also those that are loaded"
    )
    parser.add_argument(
        "--load",
        choices=["auto", "rows", "copy"],
        default="auto",
        help="row by row, a transaction for each file, or by COPY, all files in one; auto: rows up "
        f"to {rows_bytes >> 20} MiB of new files (default: %(default)s)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="have the workers of a Dask cluster read and transform, such as tcp://host:8786",
    )
    parser.add_argument(
        "--rejects",
        metavar="FILE",
        default=REJECT_FILE,
        help="where lines that can't be loaded are recorded (default: %(default)s)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="load nothing; say what would be, how, and how long that may take",
    )
    parser.add_argument(
        "--strict", action="store_true", help="stop at the first line that can't be loaded"
    )
    parser.add_argument(
        "--retry",
        metavar="FILE",
        help="load the lines in a file of rejects that have been corrected there, instead of DATA",
    )
    parser.add_argument(
        "--no-wait",
        action="store_true",
        help="fail at once while another load is running or the server can't be reached",
    )
    parser.add_argument(
        "--log-json",
        action="store_true",
        help="print a JSON object for each file and one for the run; text goes to stderr",
    )
    options = parser.parse_args(argv)
    for name in ("all", "scheduler", "dry_run", "strict"):
        if options.retry and getattr(options, name):
            parser.error(f"--retry takes no --{name.replace('_', '-')}")
    return options
