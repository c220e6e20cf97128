"""What a run says, to people and to machines, and what it counts."""

import contextlib
import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from psycopg2.extensions import cursor as Cursor

from sparkify.errors import LoadError, WrongArguments
from sparkify.interpreter import command
from sparkify.load.by_rows import fetch_loaded_files
from sparkify.messages import complain, count, say
from sparkify.postgres.transactions import fetch_value
from sparkify.read.files import File, Outcome, explain_passing_over, select_new, stored_uri
from sparkify.read.storage import FOLDERS, LocalStorage, Storage, list_files
from sparkify.run.progress import FILE_BYTES, Progress, format_time, weigh

# A file that is loaded, where none is below a folder: its path with a / at the end.
other_data_select = """
SELECT min(uri)
FROM loaded_files
HAVING NOT bool_or(starts_with(uri, %s))
"""
# A file takes as long as that many bytes of lines.
pace_select = f"SELECT sum(seconds) / sum(size + {FILE_BYTES}) FROM loaded_files"

NAMES = 10  # of files that are passed over, or would be loaded, to show


class Log:
    """What a run says: text for people and, if asked for, a JSON object per event for machines.

    If there is `tell`, a function such as a logger's info, it gets each line for people instead.
    """

    def __init__(self, as_json: bool = False, tell: Callable[[str], None] | None = None):
        self.as_json, self.tell = as_json, tell
        self.run = secrets.token_hex(4)
        self.server: str | None = None

    def say(self, text: str = "") -> None:
        """Print text for people: on stderr, where stdout is for machines."""
        if self.tell:
            self.tell(text)
        else:
            say(text, sys.stderr if self.as_json else sys.stdout)

    def complain(self, text: str) -> None:
        """Say on stderr what went wrong."""
        if self.tell:
            self.tell(f"etl.py: {text}")
        else:
            complain(text, "etl.py")

    def suspect(self, text: str) -> None:
        """Say what may be wrong with the data, and is no fault of the run."""
        self.say(f"[SUSPICION] {text}")
        self.note("suspicion", text=text)

    def note(self, event: str, **facts: Any) -> None:
        """Print an event for machines."""
        if self.as_json:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            facts = {"event": event, "at": at, "run": self.run, "server": self.server} | facts
            say(json.dumps(facts, default=datetime.isoformat))


@dataclass
class Tally:
    """What becomes of the files of one kind, added up."""

    files: int = 0
    unchanged: int = 0
    unreadable: int = 0
    records: int = 0
    page_views: int = 0
    reencoded: int = 0  # plays whose song or artist was doubly encoded
    rejected: int = 0


@dataclass
class Run:
    """A run: how it reads, what it has met so far, and the Log that it is told in.

    With strict, the first line that can't be loaded, or file that can't be read, ends it.
    """

    storage: Storage = field(default_factory=LocalStorage)
    log: Log = field(default_factory=Log)
    strict: bool = False
    scheduler: str | None = None
    read: Callable | None = None  # how Files are read: here, unless a reader is opened
    progress: Progress = field(default_factory=Progress)  # which tells nobody
    tallies: dict[str, Tally] = field(default_factory=lambda: {kind: Tally() for kind in FOLDERS})
    left_out: set[str] = field(default_factory=set)
    passed_over: list[str] = field(default_factory=list)  # names of files that are no data

    def find_files(self, cur: Cursor, kind: str, folder: str, again: bool = False) -> list[File]:
        """Return the Files of a kind below a folder that are new or have changed, or all."""
        loaded = {} if again else fetch_loaded_files(cur)
        leave_out = partial(self.leave_out, kind)
        files = list_files(kind, folder, leave_out, self.storage, self.pass_over)
        new = select_new(files, loaded)
        for file in new:
            size, _ = loaded.get(stored_uri(file.uri), (0, None))
            if file.size < size:
                self.log.suspect(
                    f"{file.uri} has shrunk from {size:,} to {file.size:,} bytes since it was "
                    "loaded; what it gave then stays in the tables"
                )
        self.tallies[kind].unchanged = len(files) - len(new)
        return new

    def pass_over(self, uri):
        """Take note of a file that is no data, by its name."""
        self.passed_over.append(os.path.basename(uri))
        self.log.note("file", uri=uri, status="passed over")

    def leave_out(self, kind: str, error: OSError) -> None:
        """Report, once, a file or folder that can't be read. Raises LoadError if strict."""
        message = f"can't read {error.filename}: {error.strerror}"
        if self.strict:
            raise LoadError(message)
        if error.filename in self.left_out:
            return
        self.left_out.add(error.filename)
        self.tallies[kind].unreadable += 1
        self.log.complain(message)
        self.log.note("file", uri=error.filename, status="unreadable", error=error.strerror)

    def refuse_rejects(self, outcome: Outcome) -> None:
        """Raise LoadError for the first line of a file that was set aside, if strict."""
        if self.strict and outcome.set_aside and outcome.first_reject:
            line, reason = outcome.first_reject
            remedy = "nothing of this file was loaded; correct the line, or leave --strict out"
            raise LoadError(f"{outcome.file.uri}, line {line}: {reason}; {remedy}")

    def count_loaded(self, outcome: Outcome) -> None:
        """Count a file that is in the tables to stay, and say so to machines."""
        tally = self.tallies[outcome.file.kind]
        tally.files += 1
        tally.records += outcome.records
        tally.page_views += outcome.page_views
        tally.reencoded += outcome.reencoded
        tally.rejected += outcome.set_aside
        if not self.log.as_json:
            return
        facts = outcome.describe()
        facts |= {"uri": outcome.file.uri, "page_views": outcome.page_views}
        facts["reencoded"] = facts.pop("plays_reencoded")
        facts["records"] = facts["loaded"] = facts.pop("rows_loaded")
        facts["set_aside"] = facts.pop("lines_set_aside")
        self.log.note("file", status="loaded", **facts)


def say_other_data(log: Log, cur: Cursor, root: str) -> None:
    """Say so where files have been loaded, but none of DATA's: it may be another service's."""
    cur.execute(other_data_select, (f"{stored_uri(root).rstrip('/')}/",))
    for (uri,) in cur:
        log.say(
            f"The tables hold files of other folders, such as {uri}; another service's users and "
            f"songs would mix with these: to start anew, run {command('create_tables.py')}, then "
            "this again, or name another database"
        )


def say_summary(run: Run, before: dict[str, int], after: dict[str, int]) -> None:
    """Say what was read, the rows of each table and how many plays found their song."""
    songs, logs, log = run.tallies["song"], run.tallies["log"], run.log
    plays = count(logs.records - logs.page_views, "play")
    views = count(logs.page_views, "page view")
    log.say(f"{count(songs.files, 'song file')}: {count(songs.records, 'song')}")
    log.say(f"{count(logs.files, 'log file')}: {plays} and {views}")
    if logs.reencoded:
        named = count(logs.reencoded, "play names", "plays name")
        log.say(f"{named} a doubly encoded song or artist, stored as it was meant")
    log.say(f"\n{'table':<20}{'rows':>12}{'added':>12}")
    for name, rows in after.items():
        log.say(f"{name:<20}{rows:>12,}{rows - before[name]:>+12,}")
    plays, unmatched = after["songplays"], after["unmatched_songplays"]
    log.say(f"\n{plays - unmatched:,} of {plays:,} plays found their song in the catalogue")


def require_files(run: Run, found: dict[str, list[File]], root: str) -> None:
    """Raise WrongArguments where DATA has no file at all: neither found as new nor left out."""
    tallies = run.tallies.values()
    if not any([*found.values()]) and not any(t.unchanged or t.unreadable for t in tallies):
        missing = f"there is no data file, such as *.json, in song_data/ or log_data/ of {root}"
        raise WrongArguments("; ".join([missing, *describe_passed_over(run.passed_over)]))


def say_passed_over(run: Run) -> None:
    """Say which files are no data, and what to do if they are."""
    for line in describe_passed_over(run.passed_over):
        run.log.say(line)


def describe_passed_over(names):
    if not names:
        return []
    shown = ", ".join(sorted(names)[:NAMES])
    more = f" and {len(names) - NAMES:,} more" if len(names) > NAMES else ""
    files = count(len(names), "file")
    return [f"{files} passed over: {shown}{more}", *explain_passing_over(set(names))]


def say_plan(cur: Cursor, log: Log, files: list[File], how: str) -> None:
    """Say what would be loaded, and how long that may take, as the files that are loaded took."""
    pace, size = fetch_value(cur, pace_select), sum(file.size for file in files)
    seconds = pace and round(pace * sum(map(weigh, files)), 1)
    number = count(len(files), "file")
    took = "nobody knows how long, before a first load" if seconds is None else ""
    took = took or f"in about {format_time(seconds)}, as fast as before"
    log.say(f"{number} of {size / 1e6:,.1f} MB would be loaded, {took}")
    for file in files[:NAMES]:
        log.say(f"  {file.uri}")
    if len(files) > NAMES:
        log.say(f"  and {len(files) - NAMES:,} more")
    log.note("plan", files=len(files), bytes=size, loader=how, seconds=seconds)


def add_up(run: Run) -> dict[str, int]:
    """Return the counts of all kinds of file together."""
    counts: Counter[str] = Counter(passed_over=len(run.passed_over))
    for tally in run.tallies.values():
        counts.update(vars(tally))
    counts["set_aside"] = counts.pop("rejected")
    return {**counts, "loaded": counts["records"]}


def say_end(log: Log, facts: dict[str, Any], status: int, seconds: float) -> None:
    """Say where the lines and files are that were not loaded, and how long the run took."""
    if facts["unchanged"]:
        log.say(
            f"{count(facts['unchanged'], 'file is', 'files are')} loaded already (--all: again)"
        )
    if facts["set_aside"]:
        lines = count(facts["set_aside"], "line was", "lines were")
        log.say(f"{lines} set aside: see {facts['rejects']}")
    if facts["waiting"] > facts["set_aside"]:
        lines = count(facts["waiting"], "line is", "lines are")
        log.say(f"{lines} set aside in {facts['rejects']} since {facts['since']:%Y-%m-%d}")
    if facts["unreadable"]:
        number = count(facts["unreadable"], "file or folder", "files or folders")
        log.say(f"{number} could not be read")
    log.say(f"Done in {seconds:.1f} s")
    log.note("run", **facts, exit_status=status, seconds=round(seconds, 3))


def say_failed(log: Log, status: int, why: str, seconds: float) -> None:
    """Say on stderr, and to machines, what ended a run."""
    log.complain(why)
    with contextlib.suppress(OSError):
        log.note("run", exit_status=status, error=why, seconds=round(seconds, 3))


def say_retried(log: Log, outcomes: list[Outcome], path: Path, status: int, seconds: float) -> None:
    """Say how many of the lines that had been set aside are loaded now."""
    good = sum(outcome.records for outcome in outcomes)
    bad = sum(len(outcome.rejects) for outcome in outcomes)
    log.say(f"{count(good, 'line is', 'lines are')} good now, and loaded")
    if bad:
        log.say(f"{count(bad, 'line is', 'lines are')} still set aside: see {path}")
    facts = {"records": good, "loaded": good, "set_aside": bad, "exit_status": status}
    log.note("run", retry=str(path), **facts, seconds=round(seconds, 3))
