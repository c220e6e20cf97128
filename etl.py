"""Load song and log files into Sparkify's star schema: those that are new, in any order.

A run lists the files, leaves out those that are loaded already, loads songs, then logs, sets lines
that can't be loaded aside in rejected.jsonl, and says what became of it all.

What a file holds and into what rows it goes is for transform.py to say, how rows get into the
tables for load.py: row by row, each file a transaction, or by COPY, all files in one. Both are
imported only where there is something to load, for they take longer than a run with nothing new.
"""

import argparse
import contextlib
import functools
import gc
import itertools
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import psycopg2
from tqdm import tqdm

import database
from sql_queries import (
    loaded_file_insert,
    loaded_files_select,
    row_counts_select,
    session_lock_select,
)

DATA = Path(__file__).with_name("data")
REJECTS = "rejected.jsonl"
FAILED, WRONG_ARGUMENTS, SET_ASIDE = 1, 2, 3  # exit statuses, and database.INTERRUPTED
ROWS_BYTES = 64 << 20  # the most that is loaded row by row, if nothing else is asked for
RETRY_SECONDS = 30  # to try to reach the server
CONNECT_SECONDS = 10  # to wait for a cluster
READERS = 2  # threads that read and transform beside COPY
LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


# Files: where they are, and which of them are new


class File(NamedTuple):
    """A file as it was listed: its path or URI, its bytes, and when it was modified."""

    uri: str
    size: int
    modified: datetime


class Storage(NamedTuple):
    """A folder: a local path, or a URI and the pyarrow filesystem that it is on."""

    root: str
    filesystem: object = None

    def folder(self, name):
        return Storage(f"{self.root.rstrip('/')}/{name}", self.filesystem)


def list_files(folder, on_error, filesystem=None):
    """Return the *.json files below a folder, sorted; on_error takes an OSError per bad one.

    Links to local folders are followed, each folder once. Local files are listed and read by the
    os module: pyarrow can't name those whose names are no UTF-8, and follows links round and round.
    """
    listed = list_stored if filesystem else list_local
    found = listed(str(folder), on_error, filesystem)
    return sorted(
        File(uri, size, datetime.fromtimestamp(min(max(modified, 0), LATEST), UTC))
        for uri, size, modified in found
    )


def list_local(folder, on_error, _):
    """Yield path, bytes and modification time in seconds of the *.json below a local folder."""
    seen = set()
    for root, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        place = os.path.realpath(root)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        for name in filter(is_json, names):
            path = os.path.join(root, name)
            try:
                info = os.stat(path)
                yield path, info.st_size, info.st_mtime
            except OSError as error:
                on_error(error)


def list_stored(folder, on_error, filesystem):
    """Yield URI, bytes and modification time in seconds of the *.json below a folder of a store."""
    from pyarrow.fs import FileSelector, FileType

    scheme, _, path = folder.partition("://")
    try:
        found = filesystem.get_file_info(FileSelector(path, recursive=True))
    except OSError as error:
        on_error(OSError(error.errno, error.strerror or str(error), folder))
        return
    for info in found:
        if info.type == FileType.File and is_json(info.path):
            yield f"{scheme}://{info.path}", info.size, info.mtime.timestamp()


def is_json(name):
    return name.endswith(".json")


def find_storage(data):
    """Return the Storage that DATA names. Raises WrongArguments where it is a URL of none."""
    if "://" not in data:
        return Storage(os.path.abspath(data))  # so that a line set aside can be found again
    from pyarrow.fs import FileSystem, LocalFileSystem

    try:
        filesystem, path = FileSystem.from_uri(data)
    except (ValueError, OSError):  # what it says may quote a password
        raise WrongArguments(URL_REMEDY) from None
    if isinstance(filesystem, LocalFileSystem):
        return Storage(path)
    return Storage(f"{data.partition('://')[0]}://{path}", filesystem)


URL_REMEDY = (
    "DATA can't be read as a URL: it must look like s3://bucket/prefix?region=us-east-1, with the "
    "likes of blanks and @ written as %20 and %40"
)


def is_folder(storage):
    """Tell whether a Storage is there. Raises OSError where its server can't be asked."""
    if not storage.filesystem:
        return os.path.isdir(storage.root)
    from pyarrow.fs import FileType

    [info] = storage.filesystem.get_file_info([storage.root.partition("://")[2]])
    return info.type == FileType.Directory


def new_files(cur, files):
    """Return those of these files that have not been loaded as they are now."""
    cur.execute(loaded_files_select)
    loaded = {uri: (size, modified) for uri, size, modified in cur}
    return [f for f in files if loaded.get(stored_uri(f.uri)) != (f.size, f.modified)]


def stored_uri(uri):
    """Return a path or URI as Postgres can store it: bytes that are no UTF-8 as escapes."""
    return uri.encode(errors="backslashreplace").decode()


def as_stored(file):
    """Return what Job.describe says of a file with its URI as Postgres can store it."""
    return {**file, "uri": stored_uri(file["uri"])}


# Rejects and counts


class WrongArguments(Exception):
    """What is wrong with DATA, in one line."""


class LoadError(Exception):
    """What ends a run, in one line that names the file."""


class RejectFile:
    """The record of lines set aside: a JSON object each, entered once however often it is met."""

    def __init__(self, path):
        self.path = Path(path)
        self.entries = None

    def add(self, rejects):
        """Append rejects to the file; they are on the disk on return. Raises LoadError."""
        if not rejects:
            return
        try:
            if self.entries is None:
                self.entries = self.read_entries()
            new = dict.fromkeys(map(self.entry, rejects))
            self.append([entry for entry in new if entry not in self.entries])
            self.entries.update(new)
        except OSError as error:
            message = f"can't record rejected lines in {self.path}: {error.strerror}"
            raise LoadError(f"{message}; --rejects names another file") from None

    @staticmethod
    def entry(reject):
        """Return a Reject as a line of the file."""
        return json.dumps(reject._asdict()) + "\n"

    def read_entries(self):
        """Return the entries that the file holds, having ended the last line if it was cut off."""
        text = self.path.read_text("utf-8", errors="replace") if self.path.is_file() else ""
        if text and not text.endswith("\n"):
            self.append(["\n"])
        return set(text.splitlines(keepends=True))

    def append(self, entries):
        with open(self.path, "a", encoding="ascii", newline="\n") as file:
            file.writelines(entries)
            file.flush()
            if self.path.is_file():  # and not /dev/null
                os.fsync(file.fileno())


class Log:
    """What a run says: text for people and, if asked for, a JSON object per event for machines."""

    def __init__(self, as_json=False):
        self.as_json = as_json

    def say(self, text=""):
        """Print text for people: on stderr, where stdout is for machines."""
        print(text, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def note(self, event, **facts):
        """Print an event for machines."""
        if self.as_json:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            event = {"event": event, "at": at} | facts
            print(json.dumps(event, default=datetime.isoformat), flush=True)


@dataclass
class Tally:
    """What becomes of the files of one kind, added up. With strict, nothing may be set aside."""

    reject_file: RejectFile
    strict: bool = False
    log: Log = field(default_factory=Log)
    files: int = 0
    unchanged: int = 0
    unreadable: int = 0
    records: int = 0
    loaded: int = 0
    rejected: int = 0

    def leave_out(self, error):
        """Report a file or folder that can't be read. Raises LoadError if strict."""
        message = f"can't read {error.filename}: {error.strerror}"
        if self.strict:
            raise LoadError(message)
        tqdm.write(f"etl.py: {message}", file=sys.stderr)
        self.log.note("file", uri=error.filename, status="unreadable", error=error.strerror)
        self.unreadable += 1

    def set_aside(self, rejects):
        """Record lines that can't be loaded. Raises LoadError if strict, or if it can't be done."""
        if self.strict and rejects:
            file, line, reason, _ = rejects[0]
            remedy = "nothing of this file was loaded; correct the line, or leave --strict out"
            raise LoadError(f"{file}, line {line}: {reason}; {remedy}")
        self.reject_file.add(rejects)


@dataclass
class Job:
    """The files of one kind to load, the function that loads one, and what becomes of them."""

    func: Callable
    files: dict  # by URI
    tally: Tally

    def describe(self, uri, report, seconds):
        """Return what there is to note of a file that was loaded, given its LoadReport."""
        return {
            "uri": uri,
            "kind": KINDS[self.func],
            "size": self.files[uri].size,
            "modified": self.files[uri].modified,
            "records": report.records,
            "loaded": report.loaded,
            "set_aside": len(report.rejects),
            "seconds": seconds,
        }

    def count_loaded(self, file):
        """Count a file, as described, that is in the tables to stay, and say so to machines."""
        self.tally.files += 1
        self.tally.records += file["records"]
        self.tally.loaded += file["loaded"]
        self.tally.rejected += file["set_aside"]
        self.tally.log.note("file", status="loaded", **file)


# Load row by row: each file a transaction


def process_song_file(cur, filepath, batches=None):
    """Load a song file into songs and artists, and match the plays that its songs fit."""
    import load

    return load.load_file(cur, batches or read_file(filepath, "song"), load.load_songs)


def process_log_file(cur, filepath, batches=None):
    """Load the plays of a log file into time, users and songplays."""
    import load

    return load.load_file(cur, batches or read_file(filepath, "log"), load.load_plays)


# Songs come first: by COPY, the song of a play is looked up only once.
KINDS = {process_song_file: "song", process_log_file: "log"}
FOLDERS = {"song": "song_data", "log": "log_data"}


def read_file(filepath, kind):
    """Return the Batches of one file."""
    import load

    file = File(str(filepath), os.path.getsize(filepath), None)
    return (batch for _, batch in load.split_batches(load.read_blocks({kind: [file]})))


def process_data(cur, conn, filepath, func, rejects=REJECTS, strict=False):
    """Load each file below a folder with func, a transaction each, and return a Tally.

    Lines set aside go to the file `rejects`; with strict, the first one ends the run instead.
    Files that can't be read are reported and left out, or end the run if strict. Raises LoadError
    where a file can't be loaded; the files before it stay loaded.
    """
    import load

    tally = Tally(RejectFile(rejects), strict)
    files = {file.uri: file for file in list_files(os.path.abspath(filepath), tally.leave_out)}
    load_rows(cur, conn, {KINDS[func]: Job(func, files, tally)}, load.read_blocks)
    return tally


def load_rows(cur, conn, jobs, read):
    """Load the files of jobs, {kind: Job}, row by row, commit after each and return row counts."""
    import load

    started = time.monotonic()
    batches = load.split_batches(read_jobs(jobs, read))
    for (kind, uri), pairs in itertools.groupby(batches, key=itemgetter(0)):
        job = jobs[kind]
        try:
            with transaction(conn):
                report = job.func(cur, uri, (batch for _, batch in pairs))
                job.tally.set_aside(report.rejects)
                file = job.describe(uri, report, time.monotonic() - started)
                cur.execute(loaded_file_insert, as_stored(file))
            job.count_loaded(file)
        except load.UnreadableFile as error:
            job.tally.leave_out(*error.args)
        except psycopg2.Error as error:
            raise LoadError(f"{uri}: {database.one_line(error)}") from error
        started = time.monotonic()
    with transaction(conn):
        return count_table_rows(cur)


@contextlib.contextmanager
def transaction(conn):
    """Commit at the end, or roll back if anything is raised."""
    try:
        yield
        conn.commit()
    except BaseException:
        if not conn.closed:
            conn.rollback()
        raise


def read_jobs(jobs, read):
    """Yield the Blocks of the jobs' files, and show how far that is."""
    files = {kind: job.files.values() for kind, job in jobs.items()}
    size = sum(file.size for listed in files.values() for file in listed)
    with tqdm(total=size, unit="B", unit_scale=True, disable=None) as progress:
        for block in read(files):
            yield block
            progress.update(block.size)


# Load by COPY: all files in one transaction


def load_copy(cur, conn, jobs, read):
    """Load the files of jobs, {kind: Job}, by COPY, commit and return row counts.

    They are counted before the commit: the first to read a row after it marks that row, on disk, as
    committed (its hint bits: https://wiki.postgresql.org/wiki/Hint_Bits).
    """
    import load

    try:
        with transaction(conn):
            loader = load.CopyLoader(cur)
            loads = {"song": loader.load_songs, "log": loader.load_plays}
            groups = itertools.groupby(read_jobs(jobs, read), key=load.kind_and_file)
            files = [
                (jobs[kind], file)
                for (kind, _), blocks in groups
                for file in copy_blocks(loader, jobs[kind], blocks, loads[kind])
            ]
            started = time.monotonic()
            loader.finish()
            share = (time.monotonic() - started) / max(1, len(files))
            for _, file in files:
                file["seconds"] += share
            loader.record_files([as_stored(file) for _, file in files])
            counts = count_table_rows(cur)
    except psycopg2.Error as error:
        is_of_rows = isinstance(error, (psycopg2.IntegrityError, psycopg2.DataError))
        remedy = "--load rows stops at the file that causes it" if is_of_rows else "run it again"
        message = f"{database.one_line(error)}; nothing was loaded; {remedy}"
        raise LoadError(message) from error
    for job, file in files:
        job.count_loaded(file)
    return counts


def copy_blocks(loader, job, blocks, load_part):
    """Load Blocks, one of several files or several of one file, but for what can't be read.

    Returns the files that were loaded, as Job.describe does.
    """
    import load

    started = time.monotonic()
    reports = {}
    loader.set_savepoint()
    try:
        for block in blocks:
            for uri, report in load.load_block(block, load_part, job.tally.leave_out):
                reports[uri] = reports[uri] + report if uri in reports else report
    except load.UnreadableFile as error:
        loader.undo()
        job.tally.leave_out(*error.args)
        reports = {}
    job.tally.set_aside([reject for report in reports.values() for reject in report.rejects])
    seconds = (time.monotonic() - started) / max(1, len(reports))
    return [job.describe(uri, report, seconds) for uri, report in reports.items()]


# Retry: lines set aside that have been corrected


def retry(cur, conn, arguments, log):
    """Load the lines of a file of rejects that are good by now, and keep the others in it."""
    import load

    started = time.monotonic()
    path = Path(arguments.retry).resolve()
    entries = read_rejects(path)
    log.say(f"Retrying {count(len(entries), 'line', 'lines')} of {path} into {target(conn)}")
    loads = {kind: func for func, kind in KINDS.items()}
    good, loaded, rejects = 0, 0, []
    for (kind, uri), pairs in itertools.groupby(load.read_entries(entries), key=itemgetter(0)):
        report = loads[kind](cur, uri, (batch for _, batch in pairs))
        good += report.records
        loaded += report.loaded
        rejects += report.rejects
    conn.commit()
    replace_rejects(path, rejects)
    songs_and_plays = count(loaded, "song or play", "songs and plays")
    log.say(f"{count(good, 'line is', 'lines are')} good now: {songs_and_plays} loaded")
    if rejects:
        log.say(f"{count(len(rejects), 'line is', 'lines are')} still set aside: see {path}")
    status = SET_ASIDE if rejects else 0
    facts = {"records": good, "loaded": loaded, "set_aside": len(rejects), "exit_status": status}
    log.note("run", retry=str(path), **facts, seconds=round(time.monotonic() - started, 3))
    return status


def read_rejects(path):
    """Return the entries of a file of rejects as (kind, file, line, text). Raises LoadError."""
    entries = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(f"can't read {path}: {getattr(error, 'strerror', None) or error}") from None
    if not lines[-1]:
        lines.pop()  # what follows the last line's end
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            file, text = entry["file"], entry["text"].encode(errors="surrogateescape")
            entries.append((kind_of_path(file), file, int(entry["line"]), text))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            message = f"{path}, line {number}: this is no line set aside; nothing was loaded"
            raise LoadError(f"{message}; correct or delete it") from None
    return entries


def kind_of_path(path):
    """Return the kind of a file by the last of its folders that tells. Raises ValueError."""
    for folder in reversed(re.split(r"[/\\]", path)):
        if folder in FOLDERS.values():
            return next(kind for kind, name in FOLDERS.items() if name == folder)
    raise ValueError(path)


def replace_rejects(path, rejects):
    """Write the rejects to the file in place of what it holds, at once or not at all."""
    new = None
    try:
        descriptor, new = tempfile.mkstemp(prefix=path.name, dir=path.parent)
        with open(descriptor, "w", encoding="ascii", newline="\n") as file:
            file.writelines(map(RejectFile.entry, rejects))
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, new)
        os.replace(new, path)
    except OSError as error:
        if new:
            os.unlink(new)
        message = f"the lines are loaded, but {path} can't be rewritten: {error.strerror}"
        raise LoadError(message) from None


# Command line


def main():
    """Run as the arguments say, tell on stderr why if that failed, and return the exit status."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")  # a path may hold what it can't print
    arguments = parse_arguments()
    log = Log(arguments.log_json)
    started = time.monotonic()
    status, error = try_to_run(arguments, log)
    if error:
        print(f"etl.py: {error}", file=sys.stderr)
        with contextlib.suppress(OSError):
            seconds = round(time.monotonic() - started, 3)
            log.note("run", exit_status=status, error=error, seconds=seconds)
    return status


def try_to_run(arguments, log):
    """Return the exit status of a run and, if it failed, one line on why."""
    try:
        storage = None if arguments.retry else find_folders(arguments.data)
        patience = 0 if arguments.no_wait else RETRY_SECONDS
        with contextlib.closing(database.connect_patiently(patience)) as conn, conn.cursor() as cur:
            database.wait_for_turn(cur, session_lock_select, patient=not arguments.no_wait)
            conn.commit()
            if arguments.retry:
                return retry(cur, conn, arguments, log), None
            return run(cur, conn, storage, arguments, log), None
    except WrongArguments as error:
        return WRONG_ARGUMENTS, str(error)
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn) as error:
        return FAILED, f"{database.one_line(error)}; run python create_tables.py"
    except (database.ServerError, LoadError, psycopg2.Error) as error:
        return FAILED, database.one_line(error)
    except OSError as error:  # such as a pipe that head has closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED, f"can't write the output: {error.strerror}"
    except KeyboardInterrupt:
        message = "interrupted; what was committed so far stays, run it again for the rest"
        return database.INTERRUPTED, message


def parse_arguments():
    parser = argparse.ArgumentParser(
        description="Load song and log files into Sparkify's star schema, those that are new or "
        "have changed. Loading a file again changes nothing, in whatever order.",
        epilog="Exit status: 0 everything was loaded; 3 loaded, but some lines or files were set "
        "aside; 1 failed; 2 wrong arguments; 130 interrupted. The server is that of DATABASE_URL, "
        "else of PGHOST and its like, else an embedded one: see the README.",
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
        f"to {ROWS_BYTES >> 20} MiB of new files (default: %(default)s)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="have the workers of a Dask cluster read and transform, such as tcp://host:8786",
    )
    parser.add_argument(
        "--rejects",
        metavar="FILE",
        default=REJECTS,
        help="where lines that can't be loaded are recorded (default: %(default)s)",
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
    return parser.parse_args()


def find_folders(data):
    """Return the Storage that DATA names. Raises WrongArguments where it lacks one of its folders.

    Raises LoadError where that can't be found out.
    """
    storage = find_storage(data)
    for name in FOLDERS.values():
        folder = storage.folder(name)
        try:
            found = is_folder(folder)
        except OSError as error:
            raise LoadError(f"can't read {folder.root}: {database.one_line(error)}") from None
        if not found:
            raise WrongArguments(
                f"there is no folder {folder.root}; DATA must hold song_data/ and log_data/"
            )
    return storage


def run(cur, conn, storage, arguments, log):
    """Load what is new in both folders, say what became of it and return the exit status."""
    started = time.monotonic()
    jobs = {KINDS[func]: find_job(cur, func, storage, arguments, log) for func in KINDS}
    name = choose_loader(arguments.load, jobs)
    log.say(f"Loading {storage.root} into {target(conn)}, {LOADERS[name].how}")
    before = after = {}
    if any(job.files for job in jobs.values()):
        with transaction(conn):  # of its own, so that no lock is held while files are read
            before = count_table_rows(cur)
        with open_reader(name, storage.filesystem, arguments.scheduler) as read:
            after = LOADERS[name].load(cur, conn, jobs, read)
        say_summary(jobs["song"].tally, jobs["log"].tally, before, after, log)
    else:
        known = any(job.tally.unchanged for job in jobs.values())
        log.say("Nothing new" if known else "There is no *.json file in song_data/ nor log_data/")
    totals = add_up(jobs)
    say_rest(totals, arguments.rejects, log)
    seconds = time.monotonic() - started
    log.say(f"Done in {seconds:.1f} s")
    status = SET_ASIDE if totals["set_aside"] or totals["unreadable"] else 0
    added = {table: after[table] - before[table] for table in after}
    where = {"data": storage.root, "loader": name, "rejects": arguments.rejects}
    facts = totals | {"added": added, "exit_status": status, "seconds": round(seconds, 3)}
    log.note("run", **where, **facts)
    return status


def target(conn):
    """Return which database on which server is loaded, for people."""
    return f"{conn.info.dbname} on {database.server_name()}"


def find_job(cur, func, storage, arguments, log):
    """Return the Job for the files of one kind: those that are new, or all if so asked."""
    folder = storage.folder(FOLDERS[KINDS[func]])
    tally = Tally(RejectFile(arguments.rejects), arguments.strict, log)
    files = list_files(folder.root, tally.leave_out, folder.filesystem)
    new = files if arguments.all else new_files(cur, files)
    tally.unchanged = len(files) - len(new)
    return Job(func, {file.uri: file for file in new}, tally)


class Loader(NamedTuple):
    load: Callable
    how: str


LOADERS = {"rows": Loader(load_rows, "row by row"), "copy": Loader(load_copy, "by COPY")}


def choose_loader(wanted, jobs):
    """Return the name of the loader that is wanted or, if any will do, suits the files' size."""
    if wanted != "auto":
        return wanted
    size = sum(file.size for job in jobs.values() for file in job.files.values())
    return "rows" if size <= ROWS_BYTES else "copy"


class Cluster:
    """A Dask cluster as an executor. Its own one waits for ever when the scheduler is gone."""

    def __init__(self, client):
        self.client = client

    def submit(self, function, *arguments):
        if self.client.status != "running":
            raise ConnectionError("its scheduler is gone")
        return self.client.submit(function, *arguments, pure=False)


@contextlib.contextmanager
def connect_cluster(address):
    """Yield an executor of a Dask cluster and the number of its threads. Raises LoadError."""
    try:
        import distributed
    except ImportError:
        raise LoadError("--scheduler needs Dask: pip install distributed") from None
    import transform

    logging.disable(logging.CRITICAL)  # Dask logs tracebacks of what is reported in one line here
    warnings.filterwarnings("ignore", module="distributed")
    with contextlib.ExitStack() as stack:
        with cluster_errors(address):
            if not re.fullmatch(r"(tcp|tls)://.+:\d+", address):
                raise ValueError("an address looks like tcp://host:8786")
            options = {"timeout": CONNECT_SECONDS, "set_as_default": False}
            client = stack.enter_context(distributed.Client(address, **options))
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            client.upload_file(transform.__file__)
        yield Cluster(client), sum(client.nthreads().values())


@contextlib.contextmanager
def cluster_errors(address):
    """Raise LoadError for what Dask raises where a cluster can't be reached or goes away."""
    try:
        yield
    except (OSError, ValueError, TypeError, RuntimeError, CancelledError) as error:
        why = database.one_line(error) or "its scheduler is gone"
        raise LoadError(f"can't use the cluster at {address}: {why}") from None


def read_by_cluster(read, address, files):
    """Yield what `read` yields, by a cluster."""
    with cluster_errors(address):
        yield from read(files)


@contextlib.contextmanager
def open_reader(loader, filesystem, scheduler):
    """Yield the function that reads Blocks: here, in threads beside COPY, or on a cluster."""
    import pyarrow

    import load

    gc.freeze()  # the libraries are there to stay: don't search them for garbage
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # what is free goes back to the system
    read = functools.partial(load.read_blocks, filesystem=filesystem, encode=loader == "copy")
    if scheduler:
        with connect_cluster(scheduler) as (executor, threads):
            read = functools.partial(read, executor=executor, ahead=2 * threads)
            yield functools.partial(read_by_cluster, read, scheduler)
    elif loader == "copy":
        with ThreadPoolExecutor(READERS) as executor:
            yield functools.partial(read, executor=executor, ahead=READERS + 1)
    else:
        yield read


def say_summary(songs, logs, before, after, log):
    """Say what was read, the rows of each table and how many plays found their song."""
    others = count(logs.records - logs.loaded, "event", "events")
    log.say(
        f"{count(songs.files, 'song file', 'song files')}: {count(songs.loaded, 'song', 'songs')}"
    )
    log.say(
        f"{count(logs.files, 'log file', 'log files')}: {count(logs.loaded, 'play', 'plays')}, and "
        f"{others} of other pages (not loaded)"
    )
    log.say(f"\n{'table':<20}{'rows':>12}{'added':>12}")
    for name, rows in after.items():
        log.say(f"{name:<20}{rows:>12,}{rows - before[name]:>+12,}")
    plays, unmatched = after["songplays"], after["unmatched_songplays"]
    log.say(f"\n{plays - unmatched:,} of {plays:,} plays found their song in the catalogue")


def add_up(jobs):
    """Return the counts of both kinds of file together."""
    tallies = [job.tally for job in jobs.values()]
    return {
        "files": sum(tally.files for tally in tallies),
        "unchanged": sum(tally.unchanged for tally in tallies),
        "unreadable": sum(tally.unreadable for tally in tallies),
        "records": sum(tally.records for tally in tallies),
        "loaded": sum(tally.loaded for tally in tallies),
        "set_aside": sum(tally.rejected for tally in tallies),
    }


def say_rest(totals, rejects, log):
    """Say where the lines and files are that were not loaded."""
    if totals["unchanged"]:
        log.say(
            f"{count(totals['unchanged'], 'file is', 'files are')} loaded already (--all: again)"
        )
    if totals["set_aside"]:
        log.say(f"{count(totals['set_aside'], 'line was', 'lines were')} set aside: see {rejects}")
    if totals["unreadable"]:
        number = count(totals["unreadable"], "file or folder", "files or folders")
        log.say(f"{number} could not be read")


def count(number, one, many):
    return f"{number:,} {one if number == 1 else many}"


def count_table_rows(cur):
    """Return the number of rows by table."""
    cur.execute(row_counts_select)
    names = [column.name for column in cur.description]
    return dict(zip(names, cur.fetchone(), strict=True))


if __name__ == "__main__":
    sys.exit(main())
