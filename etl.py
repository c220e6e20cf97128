"""Load song and log files into Sparkify's star schema: those that are new, in any order.

A run lists the files, leaves out those that are loaded already, loads songs, then logs, sets lines
that can't be loaded aside in rejected.jsonl, and says what became of it all.

Here is how a file's rows get into the tables row by row, each file in a transaction of its own.
More data than that suits goes by COPY, all files in one transaction, to the same tables: see
sparkify/load/by_copy.py. sparkify/read/transform.py makes rows of the lines of a file;
sparkify/__init__.py is the map of what else a run is made of.
"""

from sparkify import interrupts

if __name__ == "__main__":
    interrupts.catch("etl.py")  # signals, from now on

import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sparkify.interpreter import require_python

require_python()  # before the libraries are missed

import psycopg2

from sparkify.errors import LoadError, ServerError, WrongArguments
from sparkify.load.by_rows import (
    add_song_ids,
    count_table_rows,
    delete_outranked_plays,
    insert_rows,
    record_file,
)
from sparkify.load.matching import rematched_plays
from sparkify.messages import count, drop_output, hint_of, one_line
from sparkify.postgres import watchdog
from sparkify.postgres.connection import (
    RETRY_SECONDS,
    ServerUnreachable,
    connect,
    name_database,
)
from sparkify.postgres.locks import load_lock_select, session_lock_select, wait_for_turn
from sparkify.postgres.rights import naming_remedies
from sparkify.postgres.transactions import committed, transaction
from sparkify.read.files import File, UnreadableFile
from sparkify.read.storage import find_storage, folder_of
from sparkify.run import history, rejects, summary
from sparkify.run.arguments import SET_ASIDE, parse_arguments, returning_status, status_of
from sparkify.run.progress import COUNTING, Progress
from sparkify.run.summary import Run
from sql_queries import (
    artist_table_insert,
    page_view_table_insert,
    song_table_insert,
    songplay_table_insert,
    time_table_insert,
    user_table_insert,
)

ROWS_BYTES = 8 << 20  # the most that is loaded row by row, if nothing else is asked for
HOW = {"rows": "row by row", "copy": "by COPY"}
# Modules that stand on pandas and pyarrow are imported in the functions that need them: that takes
# longer than a run with nothing new takes in all.


def process_song_file(cur, filepath):
    """Load a song file: artists, then the songs that refer to them. Returns the file's Outcome.

    `filepath` may also be a file that is read already: process_data reads many at a time. Its rows
    come in rounds, mostly one.
    """
    from sparkify.read.blocks import read_file

    wait_for_turn(cur, load_lock_select)  # for callers other than a run, which has its turn
    file = read_file(filepath, "song")
    for artists, songs in file.rounds:
        with rematched_plays(cur, [song.song_id for song in songs]):
            insert_rows(cur, artist_table_insert, artists)
            insert_rows(cur, song_table_insert, songs)
    return file.outcome


def process_log_file(cur, filepath):
    """Load a log file: moments and users, the plays that refer to them, and the page views.

    Plays that share user and moment come in different rounds, because the statements compare a row
    with what is stored. Returns the file's Outcome.
    """
    from sparkify.read.blocks import read_file

    wait_for_turn(cur, load_lock_select)
    file = read_file(filepath, "log")
    for moments, users, plays, page_views in file.rounds:
        insert_rows(cur, time_table_insert, moments)
        insert_rows(cur, user_table_insert, users)
        delete_outranked_plays(cur, plays)
        insert_rows(cur, songplay_table_insert, add_song_ids(cur, plays))
        insert_rows(cur, page_view_table_insert, page_views)
    return file.outcome


KINDS = {process_song_file: "song", process_log_file: "log"}
PROCESS = {kind: process for process, kind in KINDS.items()}


def process_data(cur, conn, filepath, func, run=None):
    """Load each file below a folder with func, each in a transaction of its own.

    Instead of the folder, `filepath` may be its Files, listed already. Lines that can't be loaded
    are set aside in the table rejected_lines, files that can't be read are reported and left out.
    Returns the Tally of these files. Raises LoadError where one can't be loaded; those before it
    stay loaded.
    """
    from sparkify.read.blocks import read_blocks, split_files

    run, kind = run or Run(), KINDS[func]
    files = filepath
    if not isinstance(files, list):
        files = run.find_files(cur, kind, filepath, again=True)
        summary.say_passed_over(run)
    read = run.read or read_blocks
    started = time.monotonic()
    for file in split_files(run.progress.watch(read(files))):
        try:
            with transaction(conn):
                outcome = func(cur, file)
                outcome.seconds = time.monotonic() - started
                record_file(cur, outcome)
                run.refuse_rejects(outcome)
            run.count_loaded(outcome)
        except UnreadableFile as error:
            run.leave_out(kind, *error.args)
        except psycopg2.Error as error:
            raise LoadError(f"{file.uri}: {one_line(error)}{hint_of(error)}") from error
        started = time.monotonic()
    return run.tallies[kind]


@returning_status
def main(argv: Sequence[str] | None = None, log: summary.Log | None = None) -> int:
    """Load what is new, or retry what was set aside, as asked, and return the exit status.

    The arguments are those of the command line, as a list; without it there are none. A program
    that has another place than stdout for what is said gives a Log.
    """
    arguments = parse_arguments(argv or (), ROWS_BYTES)
    log = log or summary.Log(arguments.log_json)
    started = time.monotonic()
    try:
        storage, root = (None, None) if arguments.retry else find_storage(arguments.data)
        conn = connect(seconds=0 if arguments.no_wait else RETRY_SECONDS, passing=ServerUnreachable)
        with contextlib.closing(conn), watchdog.watching(conn), naming_remedies(conn):
            cur, log.server = conn.cursor(), name_database(conn)
            wait_for_turn(cur, session_lock_select, patient=not arguments.no_wait)
            conn.commit()
            if arguments.dry_run:
                return load(cur, conn, storage, root, arguments, log)
            with history.recorded(conn, log.run) as end:
                if arguments.retry:
                    return retry(cur, conn, arguments.retry, log, end)
                return load(cur, conn, storage, root, arguments, log, end)
    except EXPECTED as error:
        status = status_of(error)
        summary.say_failed(log, status, explain(error), time.monotonic() - started)
        return status


EXPECTED = (WrongArguments, ServerError, LoadError, psycopg2.Error, OSError, interrupts.Interrupted)


def explain(error):
    """Return one line on what ends a run."""
    if isinstance(error, interrupts.Interrupted):
        nothing = "nothing was loaded, run it again"
        some = "what was committed so far stays, run it again for the rest"
        return f"{error}; {some if committed.is_set() else nothing}"
    if isinstance(error, OSError):  # such as a pipe that head has closed
        drop_output()
        return f"can't write the output: {error.strerror}"
    return one_line(error)


def load(cur, conn, storage, root, arguments, log, end=None):
    """Find what is new, choose how, load, say what became of it and return the exit status."""
    started = time.monotonic()
    rejects.check_place(arguments.rejects)
    run = Run(storage, log, arguments.strict, arguments.scheduler)
    # Songs come first: by COPY, the song of a play is looked up only once.
    files = {
        kind: run.find_files(cur, kind, folder_of(root, kind), arguments.all) for kind in PROCESS
    }
    summary.require_files(run, files, root)
    found = [*files["song"], *files["log"]]
    how = choose_loader(arguments.load, found)
    log.say(f"Loading {root} into {log.server}, {HOW[how]}")
    if found:
        summary.say_other_data(log, cur, root)
    if arguments.dry_run:
        summary.say_plan(cur, log, found, how)
        return 0
    before = after = {}
    if found:
        before = count_table_rows(cur)
        conn.commit()  # so that no lock is held while files are read
        try:
            with Progress(found, log.say) as run.progress:
                after = load_files(cur, conn, files, how, run)
        except LoadError:
            with contextlib.suppress(psycopg2.Error):  # of the files before that stay
                rejects.write_open_lines(cur, arguments.rejects)
            raise
        summary.say_summary(run, before, after)
    else:
        known = any(tally.unchanged for tally in run.tallies.values())
        log.say("Nothing new" if known else "Nothing that can be read")
    summary.say_passed_over(run)
    rejects.write_open_lines(cur, arguments.rejects)
    waiting, since = rejects.count_open_lines(cur)
    totals = summary.add_up(run)
    status = SET_ASIDE if totals["set_aside"] or totals["unreadable"] else 0
    end(status, totals["files"], totals["loaded"], totals["set_aside"])
    conn.commit()
    added = {table: after[table] - before[table] for table in after}
    facts = {"data": root, "loader": how, "rejects": arguments.rejects, **totals, "added": added}
    facts |= {"waiting": waiting, "since": since}
    summary.say_end(log, facts, status, time.monotonic() - started)
    return status


def choose_loader(wanted, files):
    """Return the loader that is wanted or, if any will do, the one that suits the files' size."""
    if wanted != "auto":
        return wanted
    return "rows" if sum(file.text_size for file in files) <= ROWS_BYTES else "copy"


def load_files(cur, conn, files, how, run):
    """Load Files, {kind: list of them}, row by row or by COPY, and return row counts."""
    from sparkify.read.blocks import open_reader, spare_memory

    spare_memory()
    found = [*files["song"], *files["log"]]
    with open_reader(run.storage, how == "copy", run.scheduler, found) as run.read:
        if how == "copy":
            from sparkify.load.by_copy import load_copy

            return load_copy(cur, conn, found, run)
        for kind, func in PROCESS.items():
            process_data(cur, conn, files[kind], func, run)
    run.progress.phase(COUNTING)
    with transaction(conn):
        return count_table_rows(cur)


def retry(cur, conn, path, log, end):
    """Load the lines of a file of rejects that are good by now, and keep the others in it."""
    from sparkify.read.blocks import read_entries

    started = time.monotonic()
    path = Path(path).resolve()
    entries = rejects.read_rejects(path)
    log.say(f"Retrying {count(len(entries), 'line')} of {path} into {log.server}")
    lines = [File(kind, uri, len(text)) for kind, uri, _, text in entries]
    with transaction(conn), Progress(lines, log.say) as progress:
        files = read_entries(entries, progress.watch)
        outcomes = [PROCESS[file.outcome.file.kind](cur, file) for file in files]
        bad = {(bad.file, bad.line): bad for outcome in outcomes for bad in outcome.rejects}
        rejects.note_corrected(cur, {entry[1:3] for entry in entries} - set(bad))
        status = SET_ASIDE if bad else 0
        end(status, 0, sum(outcome.records for outcome in outcomes), len(bad))
    rejects.keep_uncorrected(path, bad)
    summary.say_retried(log, outcomes, path, status, time.monotonic() - started)
    return status


if __name__ == "__main__":
    sys.exit(interrupts.run(main, sys.argv[1:]))
