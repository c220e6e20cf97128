"""What a run says, to people and to machines, and what it counts."""

import contextlib
import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tqdm import tqdm

from sparkify.messages import LoadError, WrongArguments, count
from sparkify.rejects import RejectFile, check_place

row_counts_select = """
SELECT (SELECT count(*) FROM songplays) AS songplays,
       (SELECT count(*) FROM users) AS users,
       (SELECT count(*) FROM songs) AS songs,
       (SELECT count(*) FROM artists) AS artists,
       (SELECT count(*) FROM time) AS time,
       (SELECT count(*) FROM unmatched_songplays) AS unmatched_songplays,
       (SELECT count(*) FROM page_views) AS page_views
"""


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
    strict: bool
    log: Log
    files: int = 0
    unchanged: int = 0
    unreadable: int = 0
    records: int = 0
    page_views: int = 0
    rejected: int = 0
    left_out: set = field(default_factory=set)

    def leave_out(self, error):
        """Report, once, a file or folder that can't be read. Raises LoadError if strict."""
        message = f"can't read {error.filename}: {error.strerror}"
        if self.strict:
            raise LoadError(message)
        if error.filename in self.left_out:
            return
        self.left_out.add(error.filename)
        self.unreadable += 1
        tqdm.write(f"etl.py: {message}", file=sys.stderr)
        self.log.note("file", uri=error.filename, status="unreadable", error=error.strerror)

    def keep_rejects(self, outcome):
        """Keep lines that can't be loaded. Raises LoadError if strict, or if it can't be done."""
        rejects = outcome.hand_over_rejects()
        if self.strict and rejects:
            file, line, reason, _ = rejects[0]
            remedy = "nothing of this file was loaded; correct the line, or leave --strict out"
            raise LoadError(f"{file}, line {line}: {reason}; {remedy}")
        self.reject_file.keep(rejects)

    def count_loaded(self, outcome):
        """Count a file that is in the tables to stay, and say so to machines."""
        self.files += 1
        self.records += outcome.records
        self.page_views += outcome.page_views
        self.rejected += outcome.set_aside
        self.log.note("file", status="loaded", **outcome.describe())


def make_tallies(kinds, rejects, strict=False, log=None):
    """Return a Tally for each kind of file, by kind; all record what is set aside in one file."""
    check_place(rejects)
    reject_file = RejectFile(rejects)
    return {kind: Tally(reject_file, strict, log or Log()) for kind in kinds}


def count_table_rows(cur):
    """Return the number of rows by table."""
    cur.execute(row_counts_select)
    names = [column.name for column in cur.description]
    return dict(zip(names, cur.fetchone(), strict=True))


def say_summary(log, tallies, before, after):
    """Say what was read, the rows of each table and how many plays found their song."""
    songs, logs = tallies["song"], tallies["log"]
    plays = count(logs.records - logs.page_views, "play", "plays")
    views = count(logs.page_views, "page view", "page views")
    log.say(
        f"{count(songs.files, 'song file', 'song files')}: {count(songs.records, 'song', 'songs')}"
    )
    log.say(f"{count(logs.files, 'log file', 'log files')}: {plays} and {views}")
    log.say(f"\n{'table':<20}{'rows':>12}{'added':>12}")
    for name, rows in after.items():
        log.say(f"{name:<20}{rows:>12,}{rows - before[name]:>+12,}")
    plays, unmatched = after["songplays"], after["unmatched_songplays"]
    log.say(f"\n{plays - unmatched:,} of {plays:,} plays found their song in the catalogue")


def require_files(tallies, found, root):
    """Raise WrongArguments where DATA has no file at all: neither found as new nor left out."""
    if not found and not any(tally.unchanged or tally.unreadable for tally in tallies.values()):
        raise WrongArguments(f"there is no *.json file in song_data/ nor log_data/ of {root}")


def say_nothing_new(log, tallies):
    known = any(tally.unchanged for tally in tallies.values())
    log.say("Nothing new" if known else "Nothing that can be read")


def add_up(tallies):
    """Return the counts of all kinds of file together."""

    def total(name):
        return sum(getattr(tally, name) for tally in tallies.values())

    names = ("files", "unchanged", "unreadable", "records", "page_views")
    counts = {name: total(name) for name in names}
    return counts | {"loaded": counts["records"], "set_aside": total("rejected")}


def say_end(log, facts, status, seconds):
    """Say where the lines and files are that were not loaded, and how long the run took."""
    if facts["unchanged"]:
        log.say(
            f"{count(facts['unchanged'], 'file is', 'files are')} loaded already (--all: again)"
        )
    if facts["set_aside"]:
        lines = count(facts["set_aside"], "line was", "lines were")
        log.say(f"{lines} set aside: see {facts['rejects']}")
    if facts["unreadable"]:
        number = count(facts["unreadable"], "file or folder", "files or folders")
        log.say(f"{number} could not be read")
    log.say(f"Done in {seconds:.1f} s")
    log.note("run", **facts, exit_status=status, seconds=round(seconds, 3))


def say_failed(log, status, why, seconds):
    """Say on stderr, and to machines, what ended a run."""
    print(f"etl.py: {why}", file=sys.stderr)
    with contextlib.suppress(OSError):
        log.note("run", exit_status=status, error=why, seconds=round(seconds, 3))


def say_retrying(log, entries, path, target):
    """Say which lines that had been set aside are tried again."""
    log.say(f"Retrying {count(len(entries), 'line', 'lines')} of {path} into {target}")


def say_retried(log, outcomes, path, status, seconds):
    """Say how many of the lines that had been set aside are loaded now."""
    good = sum(outcome.records for outcome in outcomes)
    bad = sum(len(outcome.rejects) for outcome in outcomes)
    log.say(f"{count(good, 'line is', 'lines are')} good now, and loaded")
    if bad:
        log.say(f"{count(bad, 'line is', 'lines are')} still set aside: see {path}")
    facts = {"records": good, "loaded": good, "set_aside": bad, "exit_status": status}
    log.note("run", retry=str(path), **facts, seconds=round(seconds, 3))
