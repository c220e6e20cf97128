"""Load song and log files into Sparkify's star schema: those that are new, in any order.

A run lists the files, leaves out those that are loaded already, loads songs, then logs, sets lines
that can't be loaded aside in rejected.jsonl, and says what became of it all.

Here is how a file's rows get into the tables row by row, each file in a transaction of its own.
More data than that suits goes by COPY, all files in one transaction, to the same tables: see
sparkify/bulk.py. How rows are made of the lines of a file, sparkify/transform.py says; what else a
run is made of, sparkify/__init__.py.
"""

from sparkify import interrupts

if __name__ == "__main__":
    interrupts.catch("etl.py")  # signals, from now on

import contextlib
import os
import sys
import time
from pathlib import Path

from sparkify.interpreter import command, require_python

require_python()  # before the libraries are missed

import psycopg2

from sparkify import deferred, rejects, report, server, watch
from sparkify.arguments import FAILED, SET_ASIDE, WRONG_ARGUMENTS, parse_arguments
from sparkify.files import File, UnreadableFile, list_files, select_new
from sparkify.load import (
    add_song_ids,
    commit,
    committed,
    delete_outranked_plays,
    fetch_loaded_files,
    insert_rows,
    record_file,
    rematched_plays,
    transaction,
)
from sparkify.locks import load_lock_select, session_lock_select, wait_for_turn
from sparkify.messages import LoadError, ServerError, WrongArguments, one_line
from sparkify.progress import COUNTING, SILENT, Progress
from sparkify.storage import find_storage, folder_of
from sql_queries import (
    artist_table_insert,
    page_view_table_insert,
    song_table_insert,
    songplay_table_insert,
    time_table_insert,
    user_table_insert,
)

RETRY_SECONDS = 30  # to try to reach the server
ROWS_BYTES = 64 << 20  # the most that is loaded row by row, if nothing else is asked for
HOW = {"rows": "row by row", "copy": "by COPY"}


def process_song_file(cur, filepath, rows=None, moved=SILENT.move):
    """Load a song file: artists, then the songs that refer to them. Returns the file's Outcome.

    `rows` are the file's, if it has been read already, in rounds: mostly one. `moved` is told how
    many lines are loaded.
    """
    wait_for_turn(cur, load_lock_select)  # for callers other than a run, which has its turn
    rows = rows or deferred.blocks.read_file(filepath, "song")
    for artists, songs in rows:
        with rematched_plays(cur, artists, songs):
            insert_rows(cur, artist_table_insert, artists)
            insert_rows(cur, song_table_insert, songs, moved)
    return rows.outcome


def process_log_file(cur, filepath, rows=None, moved=SILENT.move):
    """Load a log file: moments and users, the plays that refer to them, and the page views.

    `rows` are the file's, if it has been read already, in rounds: mostly one. Plays that share user
    and moment are in different rounds, for the statements compare a row with what is stored.
    `moved` is told how many lines are loaded. Returns the file's Outcome.
    """
    wait_for_turn(cur, load_lock_select)
    rows = rows or deferred.blocks.read_file(filepath, "log")
    for moments, users, plays, page_views in rows:
        insert_rows(cur, time_table_insert, moments)
        insert_rows(cur, user_table_insert, users)
        delete_outranked_plays(cur, plays)
        insert_rows(cur, songplay_table_insert, add_song_ids(cur, plays), moved)
        insert_rows(cur, page_view_table_insert, page_views, moved)
    return rows.outcome


# Songs come first: by COPY, the song of a play is looked up only once.
PROCESS = {"song": process_song_file, "log": process_log_file}


def process_data(cur, conn, filepath, func, rejects=rejects.FILE, strict=False):
    """Load each file below a folder with func, each in a transaction of its own; return a Tally.

    Lines set aside go to the file `rejects`; with strict, the first one ends the run instead.
    Files that can't be read are reported and left out, or end the run if strict. Raises LoadError
    where a file can't be loaded; the files before it stay loaded.
    """
    [kind] = [kind for kind, process in PROCESS.items() if process is func]
    tallies = report.make_tallies([kind], rejects, strict)
    files = list_files(kind, os.path.abspath(filepath), tallies[kind].leave_out)
    with deferred.readers.open_reader() as read:
        load_rows(cur, conn, read(files), tallies)
    return tallies[kind]


def load_rows(cur, conn, blocks, tallies, progress=SILENT):
    """Load the files of Blocks row by row, commit after each and return row counts."""
    started = time.monotonic()
    for (kind, uri), rows in deferred.blocks.split_files(progress.watch(blocks)):
        tally = tallies[kind]
        try:
            with transaction(conn):
                outcome = PROCESS[kind](cur, uri, rows, progress.move)
                tally.keep_rejects(outcome)
                tally.reject_file.enter()
                outcome.seconds = time.monotonic() - started
                record_file(cur, outcome)
            tally.count_loaded(outcome)
        except UnreadableFile as error:
            tally.leave_out(*error.args)
        except psycopg2.Error as error:
            raise LoadError(f"{uri}: {one_line(error)}") from error
        started = time.monotonic()
    progress.phase(COUNTING)
    with transaction(conn):
        return report.count_table_rows(cur)


def main():
    """Load what is new, or retry what was set aside, as asked, and return the exit status."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")  # a path may hold what it can't print
    arguments = parse_arguments(ROWS_BYTES)
    log = report.Log(arguments.log_json)
    started = time.monotonic()
    try:
        storage, root = (None, None) if arguments.retry else find_storage(arguments.data)
        conn = server.connect_patiently(0 if arguments.no_wait else RETRY_SECONDS)
        with contextlib.closing(conn), watch.watching(conn), server.naming_missing_grants(conn):
            cur = conn.cursor()
            wait_for_turn(cur, session_lock_select, patient=not arguments.no_wait)
            conn.commit()
            if arguments.retry:
                return retry(cur, conn, arguments.retry, log)
            return run(cur, conn, storage, root, arguments, log)
    except EXPECTED as error:
        status, why = explain(error)
        report.say_failed(log, status, why, time.monotonic() - started)
        return status


EXPECTED = (WrongArguments, ServerError, LoadError, psycopg2.Error, OSError, interrupts.Interrupted)


def explain(error):
    """Return the exit status that an error ends a run with, and one line on why."""
    if isinstance(error, interrupts.Interrupted):
        nothing = "nothing was loaded, run it again"
        some = "what was committed so far stays, run it again for the rest"
        return error.status, f"{error}; {some if committed.is_set() else nothing}"
    if isinstance(error, OSError):  # such as a pipe that head has closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED, f"can't write the output: {error.strerror}"
    if isinstance(error, (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn)):
        return FAILED, f"{one_line(error)}; run {command('create_tables.py')}"
    if isinstance(error, WrongArguments):
        return WRONG_ARGUMENTS, str(error)
    return FAILED, one_line(error)


def run(cur, conn, storage, root, arguments, log):
    """Find what is new, choose how, load, say what became of it and return the exit status."""
    started = time.monotonic()
    tallies = report.make_tallies(PROCESS, arguments.rejects, arguments.strict, log)
    files = find_files(cur, storage, root, tallies, arguments.all)
    how = choose_loader(arguments.load, files)
    log.say(f"Loading {root} into {server.target(conn)}, {HOW[how]}")
    before = after = {}
    if files:
        before = report.count_table_rows(cur)
        conn.commit()  # so that no lock is held while files are read
        after = load_files(cur, conn, files, how, storage, arguments.scheduler, tallies)
        report.say_summary(log, tallies, before, after)
    else:
        report.say_nothing_new(log, tallies)
    totals = report.add_up(tallies)
    status = SET_ASIDE if totals["set_aside"] or totals["unreadable"] else 0
    added = {table: after[table] - before[table] for table in after}
    facts = {"data": root, "loader": how, "rejects": arguments.rejects, **totals, "added": added}
    report.say_end(log, facts, status, time.monotonic() - started)
    return status


def find_files(cur, storage, root, tallies, again=False):
    """Return the Files below DATA that are new or have changed, or all; songs come first."""
    loaded = {} if again else fetch_loaded_files(cur)
    found = []
    for kind, tally in tallies.items():
        files = list_files(kind, folder_of(root, kind), tally.leave_out, storage)
        new = select_new(files, loaded)
        tally.unchanged = len(files) - len(new)
        found += new
    report.require_files(tallies, found, root)
    return found


def choose_loader(wanted, files):
    """Return the loader that is wanted or, if any will do, the one that suits the files' size."""
    if wanted != "auto":
        return wanted
    return "rows" if sum(file.size for file in files) <= ROWS_BYTES else "copy"


def load_files(cur, conn, files, how, storage, scheduler, tallies):
    """Read the files, transform and load them, and return row counts."""
    deferred.readers.spare_memory()
    open_reader = deferred.readers.open_reader(storage, how == "copy", scheduler)
    with Progress(files, tallies["song"].log.say) as progress, open_reader as read:
        if how == "copy":
            return deferred.bulk.load_copy(cur, conn, files, read, tallies, progress)
        return load_rows(cur, conn, read(files), tallies, progress)


def retry(cur, conn, path, log):
    """Load the lines of a file of rejects that are good by now, and keep the others in it."""
    started = time.monotonic()
    path = Path(path).resolve()
    entries = rejects.read_rejects(path)
    report.say_retrying(log, entries, path, server.target(conn))
    lines = [File(kind, uri, len(text)) for kind, uri, _, text in entries]
    with Progress(lines, log.say) as progress:
        files = deferred.blocks.read_entries(entries, progress.watch)
        outcomes = [PROCESS[kind](cur, uri, rows, progress.move) for (kind, uri), rows in files]
    commit(conn)
    still_bad = [reject for outcome in outcomes for reject in outcome.rejects]
    rejects.replace_rejects(path, still_bad)
    status = SET_ASIDE if still_bad else 0
    report.say_retried(log, outcomes, path, status, time.monotonic() - started)
    return status


if __name__ == "__main__":
    sys.exit(interrupts.run(main))
