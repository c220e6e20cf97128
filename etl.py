"""Load folders of song and log files into Sparkify's star schema, row by row.

Extract reads lines into typed frames and sets bad ones aside, transform turns frames into the rows
of each table, load writes them. Each file is one transaction: loaded whole or not at all.
"""

import argparse
import codecs
import contextlib
import errno
import gc
import itertools
import json
import os
import re
import stat
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from psycopg2.extras import execute_batch
from tqdm import tqdm

import database
from sql_queries import (
    artist_table_insert,
    catalogue_select,
    load_lock_select,
    renamed_songs_select,
    row_counts_select,
    song_select,
    song_table_insert,
    songplay_exists_select,
    songplay_match,
    songplay_outranked_delete,
    songplay_range_select,
    songplay_release,
    songplay_table_insert,
    table_names,
    time_table_insert,
    user_table_insert,
)

DATA = Path(__file__).with_name("data")
REJECTS = "rejected.jsonl"
SET_ASIDE, INTERRUPTED = 3, 130
BLOCK_BYTES = 1 << 20  # of lines that are parsed together
PAGE_ROWS = 1000  # that are sent to the server together
FEW_ROWS = 10  # that are not worth a prepared statement
PATIENCE_SECONDS = 1  # to wait for another load before saying so
statement_numbers = itertools.count(1)


# Extract: files of JSON lines -> frames of known types, and the lines that can't be loaded


class Reject(NamedTuple):
    """A line set aside: `text` is the line itself, bytes that are no UTF-8 as lone surrogates."""

    file: str
    line: int
    reason: str
    text: str


SONG_SCHEMA = pa.schema(
    {
        "song_id": pa.string(),
        "title": pa.string(),
        "artist_id": pa.string(),
        "year": pa.int64(),
        "duration": pa.float64(),
        "artist_name": pa.string(),
        "artist_location": pa.string(),
        "artist_latitude": pa.float64(),
        "artist_longitude": pa.float64(),
    }
)
LOG_SCHEMA = pa.schema(
    {
        "page": pa.string(),
        "ts": pa.int64(),
        "userId": pa.string(),
        "firstName": pa.string(),
        "lastName": pa.string(),
        "gender": pa.string(),
        "level": pa.string(),
        "sessionId": pa.int64(),
        "location": pa.string(),
        "userAgent": pa.string(),
        "song": pa.string(),
        "artist": pa.string(),
        "length": pa.float64(),
    }
)
ID_LENGTH = 256
LAST_MS = 253_402_300_799_999  # the end of the year 9999, as far as Python's datetime goes


def list_files(folder, on_error):
    """Return the *.json files below a folder, sorted; on_error takes an OSError per bad folder.

    Links to folders are followed, each folder once.
    """
    files, seen = [], set()
    for root, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        if os.path.realpath(root) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(root))
        files += [os.path.join(root, name) for name in names if name.endswith(".json")]
    return sorted(files)


class Piece(NamedTuple):
    """Lines of a file, all of them unless it is large, or the OSError that met its reading."""

    file: str
    first_number: int
    lines: list
    error: OSError | None = None


def read_pieces(files):
    """Yield every file as one Piece, a large one as several. A byte-order mark is left out."""
    for file in files:
        number = 1
        try:
            if not stat.S_ISREG(os.stat(file).st_mode):  # a pipe would keep us waiting for ever
                raise OSError(errno.EINVAL, "not a regular file", file)
            with open(file, "rb") as opened:
                lines = opened.readlines(BLOCK_BYTES)
                lines[:1] = [line.removeprefix(codecs.BOM_UTF8) for line in lines[:1]]
                while lines or number == 1:
                    yield Piece(file, number, lines)
                    number += max(len(lines), 1)
                    lines = opened.readlines(BLOCK_BYTES)
        except OSError as error:
            yield Piece(file, number, [], error)


def gather_blocks(pieces):
    """Yield lists of Pieces of about BLOCK_BYTES: many small files are parsed as one."""
    block, size = [], 0
    for piece in pieces:
        block.append(piece)
        size += sum(map(len, piece.lines))
        if size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def extract(block, schema, find_faults):
    """Return the good records of a block as a frame, and the other lines as Rejects by Piece.

    The frame has the column `piece`, a record's position in the block, and the schema's columns as
    Arrow types; what a line lacks is NA.
    """
    lines = [
        (position, number, line)
        for position, piece in enumerate(block)
        for number, line in enumerate(map(strip_line, piece.lines), piece.first_number)
        if line
    ]
    table, lines, faults = parse_lines(lines, schema)
    table, lines, more_faults = check_records(table, lines, find_faults)
    table = table.add_column(0, "piece", pa.array([line[0] for line in lines], pa.int64()))
    rejects = defaultdict(list)
    for (position, number, line), reason in sorted(faults + more_faults):
        text = line.decode(errors="surrogateescape")
        rejects[position].append(Reject(block[position].file, number, reason, text))
    return table.to_pandas(types_mapper=pd.ArrowDtype), rejects


def strip_line(line):
    return line.strip(b" \t\r\n")


def parse_lines(lines, schema):
    """Return a table of the lines that parse, these lines, and the others with the reason.

    Lines are tuples that end with the bytes.
    """
    try:
        return parse([line[-1] for line in lines], schema), lines, []
    except PARSER_EXCEPTIONS:
        faults = list(find_unparsable(lines, schema))
    bad = {line for line, _ in faults}
    good = [line for line in lines if line not in bad]
    return parse([line[-1] for line in good], schema), good, faults


PARSER_EXCEPTIONS = (ValueError, pa.ArrowException)


def find_unparsable(lines, schema):
    """Yield each line that does not parse, with the reason.

    Those that parse together are good; others are tried half by half, till each stands alone.
    """
    try:
        parse([line[-1] for line in lines], schema)
    except PARSER_EXCEPTIONS as error:
        if len(lines) == 1:
            yield lines[0], describe_fault(error)
        else:
            half = len(lines) // 2
            yield from find_unparsable(lines[:half], schema)
            yield from find_unparsable(lines[half:], schema)


def parse(lines, schema):
    """Return a table with one row per line. Raises ValueError where a line is not one object.

    The parser itself pays no heed to line ends: if each line begins and ends with a brace, and
    there are as many objects as lines, then each line is one object.
    """
    if not lines:
        return schema.empty_table()
    text = b"\n".join(lines)
    text.decode()
    braced = text.startswith(b"{") and text.endswith(b"}")
    if not braced or text.count(b"}\n{") != len(lines) - 1:
        raise ValueError("no JSON object, or one that does not end on its line")
    table = pyarrow.json.read_json(
        pa.BufferReader(text),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="ignore"
        ),
    )
    if len(table) != len(lines):
        raise ValueError("more than one JSON object")
    return table


def describe_fault(error):
    """Return a parser's error as a reason, without the number of a row by the parser's count."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    for pattern, reason in PARSER_ERRORS.items():
        if found := re.search(pattern, str(error)):
            return reason.format(*found.groups())
    return str(error)


PARSER_ERRORS = {
    r"Column\(/(.*)\) changed from (\w+) to (\w+)": "{}: {} expected, {} found",
    r"Column\(/(.*)\) was specified twice": "{} is given twice",
    r"couldn't parse:(.*)": "whole number expected, {} found",
    r"JSON parse error: (.*?)\.?( in row \d+)?$": "broken JSON: {}",
}


def check_records(table, lines, find_faults):
    """Return the records that break no rule, their lines, and the other lines with the reason."""
    reasons = {}
    for reason, mask in find_faults(table):
        if pc.any(mask).as_py():
            for row in pc.indices_nonzero(mask).to_pylist():
                reasons.setdefault(row, reason)
    if not reasons:
        return table, lines, []
    good = [row for row in range(len(lines)) if row not in reasons]
    faults = [(lines[row], reason) for row, reason in reasons.items()]
    return table.take(pa.array(good, pa.int64())), [lines[row] for row in good], faults


def find_song_faults(songs):
    """Yield each rule's breach as a reason, with a mask of the song records it applies to."""
    for column in ("song_id", "artist_id", "artist_name", "title", "duration"):
        yield f"{column} is missing", pc.is_null(songs[column])
    for column in ("song_id", "artist_id"):
        length = pc.utf8_length(songs[column])
        yield f"{column} is empty", pc.equal(length, 0)
        yield f"{column} is longer than {ID_LENGTH} characters", pc.greater(length, ID_LENGTH)
    yield "year is out of range", is_outside(songs["year"], -(2**31), 2**31 - 1)
    yield from find_value_faults(songs)


def find_log_faults(events):
    """Yield each rule's breach as a reason, with a mask of the log events it applies to."""
    yield "page is missing", pc.is_null(events["page"])
    yield "ts is missing", pc.is_null(events["ts"])
    yield "ts is not in the years 1970 to 9999", is_outside(events["ts"], 0, LAST_MS)
    is_play = pc.equal(events["page"], "NextSong")
    for reason, mask in find_play_faults(events):
        yield reason, pc.and_kleene(mask, is_play)


def find_play_faults(events):
    """Yield the breaches of rules that only events to be loaded must keep: see find_log_faults."""
    user = events["userId"]
    yield "userId is missing", pc.equal(pc.fill_null(user, ""), "")
    yield (
        "userId is no whole number",
        pc.invert(pc.match_substring_regex(user, "^(0|[1-9][0-9]*)$")),
    )
    yield (
        "userId is out of range",
        pc.or_(
            pc.greater(pc.utf8_length(user), 10),
            pc.and_(pc.equal(pc.utf8_length(user), 10), pc.greater(user, str(2**31 - 1))),
        ),
    )
    yield "sessionId is missing", pc.is_null(events["sessionId"])
    yield "level is missing", pc.is_null(events["level"])
    yield from find_value_faults(events)


def find_value_faults(table):
    """Yield the values that JSON can hold, or its parser lets pass, and Postgres must not."""
    for field in table.schema:
        if pa.types.is_string(field.type):
            mask = pc.match_substring(table[field.name], "\0")
            yield f"{field.name} holds the character U+0000, which Postgres can't store", mask
        elif pa.types.is_floating(field.type):
            yield f"{field.name} is no finite number", pc.invert(pc.is_finite(table[field.name]))


def is_outside(column, low, high):
    return pc.or_(pc.less(column, low), pc.greater(column, high))


# Transform: frame in, frames out


def transform_song_records(songs):
    """Return the frames to load, in one part: the rows of artists and of songs."""
    return [(transform_artists(songs), transform_songs(songs))]


def transform_log_records(plays):
    """Return the frames to load, mostly in one part: the rows of time, users and songplays."""
    return [
        (transform_time(part), transform_users(part), transform_songplays(part))
        for part in split_rounds(plays)
    ]


def transform_artists(songs):
    """Return the rows of artists: artist_id, name, location, latitude, longitude in degrees."""
    return songs[["piece", *ARTIST_COLUMNS]].rename(columns=ARTIST_COLUMNS)


ARTIST_COLUMNS = {
    "artist_id": "artist_id",
    "artist_name": "name",
    "artist_location": "location",
    "artist_latitude": "latitude",
    "artist_longitude": "longitude",
}


def transform_songs(songs):
    """Return the rows of songs: song_id, title, artist_id, year, duration in seconds."""
    return songs[["piece", "song_id", "title", "artist_id", "year", "duration"]]


PLAY_COLUMNS = {
    "ts": "start_time",
    "userId": "user_id",
    "firstName": "first_name",
    "lastName": "last_name",
    "sessionId": "session_id",
    "userAgent": "user_agent",
    "song": "title",
    "length": "duration",
}


def transform_plays(events):
    """Return the plays among the events: the NextSong ones, with the schema's names and types."""
    plays = events[events["page"] == "NextSong"].rename(columns=PLAY_COLUMNS)
    return plays.assign(
        start_time=plays["start_time"].astype("timestamp[ms, tz=UTC][pyarrow]"),
        user_id=plays["user_id"].astype("int64[pyarrow]"),
    )


def split_rounds(plays):
    """Yield the plays in parts in which none of a file share user and start_time: mostly one part.

    Which of two such plays counts is for the conflict clauses in sql_queries to say, and they
    compare what is loaded with what is stored.
    """
    while len(plays):
        again = plays.duplicated(["piece", "user_id", "start_time"])
        yield plays[~again]
        plays = plays[again].drop_duplicates()


def transform_time(plays):
    """Return the rows of time: start_time in UTC, hour, day, ISO week, month, year, weekday."""
    start_time = plays["start_time"]
    return pd.DataFrame(
        {
            "piece": plays["piece"],
            "start_time": start_time,
            "hour": start_time.dt.hour,
            "day": start_time.dt.day,
            "week": start_time.dt.isocalendar()["week"],
            "month": start_time.dt.month,
            "year": start_time.dt.year,
            "weekday": start_time.dt.day_of_week,
        }
    ).drop_duplicates(["piece", "start_time"])


def transform_users(plays):
    """Return the rows of users as of each one's latest play, and the start_time of that play."""
    columns = ["piece", "user_id", "first_name", "last_name", "gender", "level", "start_time"]
    by_time = plays[columns].sort_values(["piece", "start_time"])
    return by_time.drop_duplicates(["piece", "user_id"], keep="last")


def transform_songplays(plays):
    """Return the rows of songplays but for the song's ids, with the song as the log names it."""
    columns = ["start_time", "user_id", "level", "session_id", "location", "user_agent"]
    return plays[["piece", *columns, "title", "artist", "duration"]]


# Load, row by row


class Batch(NamedTuple):
    """What a Piece holds."""

    parts: list  # to load in turn, each a list of rows per table
    records: int  # that are good
    loadable: int  # of those, the plays or songs
    rejects: list
    error: OSError | None


class Kind(NamedTuple):
    """How one kind of file is read: its fields, its rules, what is loaded, and into what rows."""

    schema: pa.Schema
    find_faults: Callable
    select: Callable
    transform: Callable


SONGS = Kind(SONG_SCHEMA, find_song_faults, lambda songs: songs, transform_song_records)
LOGS = Kind(LOG_SCHEMA, find_log_faults, transform_plays, transform_log_records)


def read_batches(files, kind):
    """Yield each file with a Batch of it, with several if it is large."""
    for block in gather_blocks(read_pieces(files)):
        records, rejects = extract(block, kind.schema, kind.find_faults)
        loadable = kind.select(records)
        parts = [
            [split_rows(frame, len(block)) for frame in part] for part in kind.transform(loadable)
        ]
        read, to_load = (count_rows(frame, len(block)) for frame in (records, loadable))
        for position, piece in enumerate(block):
            own_parts = [[rows[position] for rows in part] for part in parts]
            counts = read[position], to_load[position]
            yield piece.file, Batch(own_parts, *counts, rejects[position], piece.error)


def count_rows(frame, pieces):
    """Return the number of a frame's rows per piece."""
    return np.bincount(frame["piece"], minlength=pieces).tolist()


def split_rows(frame, pieces):
    """Return a frame's rows as tuples, in a list per piece, of values that psycopg2 adapts.

    The frame must be in the order of the pieces. NA becomes None and a timestamp text, which is
    faster to adapt than a datetime.
    """
    columns = [pa.array(frame[name]) for name in frame.columns[1:]]
    columns = [c.cast("string") if pa.types.is_timestamp(c.type) else c for c in columns]
    rows = list(zip(*(column.to_pylist() for column in columns), strict=True))
    bounds = np.searchsorted(frame["piece"], range(pieces + 1))
    return [rows[start:end] for start, end in itertools.pairwise(bounds)]


class LoadReport(NamedTuple):
    """What became of a file: records read, records loaded, lines set aside."""

    records: int
    loaded: int
    rejects: list


def process_song_file(cur, filepath, batches=None):
    """Load a song file into songs and artists, and match the plays that its songs fit."""
    return load_file(cur, batches or read_file(filepath, SONGS), load_songs)


def process_log_file(cur, filepath, batches=None):
    """Load the plays of a log file into time, users and songplays."""
    return load_file(cur, batches or read_file(filepath, LOGS), load_plays)


KINDS = {process_song_file: SONGS, process_log_file: LOGS}


def read_file(filepath, kind):
    return (batch for _, batch in read_batches([filepath], kind))


def load_file(cur, batches, load):
    """Load all Batches of a file and return a LoadReport. Raises OSError where the reading did."""
    wait_for_other_loads(cur)
    records, loaded, rejects = 0, 0, []
    for batch in batches:
        if batch.error:
            raise batch.error
        for part in batch.parts:
            if part[-1]:
                load(cur, *part)
        records += batch.records
        loaded += batch.loadable
        rejects += batch.rejects
    return LoadReport(records, loaded, rejects)


def wait_for_other_loads(cur):
    """Wait until no other transaction is loading, and keep others out until this one ends.

    What a load compares its rows with must not change beneath it. Waiting is left to Python, where
    Ctrl-C ends it at once.
    """
    patience = time.monotonic() + PATIENCE_SECONDS
    while not fetch_value(cur, load_lock_select):
        if time.monotonic() > patience:
            tqdm.write("etl.py: waiting for another load to commit", file=sys.stderr)
            patience = float("inf")
        time.sleep(0.02)


def fetch_value(cur, query, parameters=None):
    """Return the only value that a query selects."""
    cur.execute(query, parameters)
    return cur.fetchone()[0]


def load_songs(cur, artists, songs):
    """Upsert artists and songs, and match plays anew where that changed what a song is called."""
    matching = fetch_value(cur, songplay_exists_select)
    ids = fetch_affected_songs(cur, artists, songs) if matching else []
    before = fetch_catalogue(cur, ids)
    insert_rows(cur, artist_table_insert, artists)
    insert_rows(cur, song_table_insert, songs)
    match_plays(cur, before, fetch_catalogue(cur, ids))


def load_plays(cur, moments, users, plays):
    """Upsert time and users, then insert the plays with the songs that fit them."""
    insert_rows(cur, time_table_insert, moments)
    insert_rows(cur, user_table_insert, users)
    delete_outranked_plays(cur, plays)
    songs = fetch_songs(cur, [play[-3:] for play in plays])
    rows = [(*play[:3], *songs.get(play[-3:], (None, None)), *play[3:]) for play in plays]
    insert_rows(cur, songplay_table_insert, rows)


def insert_rows(cur, statement, rows):
    """Execute an INSERT for each row; if there are many, Postgres plans it once for all of them."""
    if len(rows) < FEW_ROWS:
        execute_batch(cur, statement, rows, PAGE_ROWS)
        return
    name = f"statement_{next(statement_numbers)}"
    numbers = itertools.count(1)
    prepared = re.sub("%s", lambda _: f"${next(numbers)}", statement)
    cur.execute(f"PREPARE {name} AS {prepared}")
    values = ", ".join(["%s"] * len(rows[0]))
    execute_batch(cur, f"EXECUTE {name} ({values})", rows, PAGE_ROWS)
    cur.execute(f"DEALLOCATE {name}")


def columns_of(rows):
    """Return rows as a list of columns: arrays to Postgres."""
    return [list(column) for column in zip(*rows, strict=True)]


def delete_outranked_plays(cur, plays):
    """Delete stored plays with the natural key of one of these that is to replace them."""
    start_times = [play[0] for play in plays]
    if fetch_value(cur, songplay_range_select, (min(start_times), max(start_times))):
        cur.execute(songplay_outranked_delete, columns_of(plays))


def fetch_songs(cur, logged):
    """Return (song_id, artist_id) by (title, artist, duration) as logged, where a song fits."""
    cur.execute(song_select, columns_of(logged))
    return {(title, artist, duration): ids for title, artist, duration, *ids in cur}


def fetch_affected_songs(cur, artists, songs):
    """Return the ids of these songs, and of those by these artists if another name is stored."""
    cur.execute(renamed_songs_select, columns_of(artist[:2] for artist in artists))
    return [song[0] for song in songs] + [song_id for (song_id,) in cur]


def fetch_catalogue(cur, song_ids):
    """Return the set of those of these songs that are stored, as a log would name them."""
    if not song_ids:
        return set()
    cur.execute(catalogue_select, (song_ids,))
    return set(cur)


def match_plays(cur, before, after):
    """Match plays anew to the songs that are named otherwise after a load than before it."""
    if before == after:
        return
    execute_batch(cur, songplay_release, [(song[0], *song[2:]) for song in before - after])
    cur.execute(songplay_match, columns_of(song[2:] for song in before ^ after))


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
            new = dict.fromkeys(json.dumps(reject._asdict()) + "\n" for reject in rejects)
            self.append([entry for entry in new if entry not in self.entries])
            self.entries.update(new)
        except OSError as error:
            message = f"can't record rejected lines in {self.path}: {error.strerror}"
            raise LoadError(message) from None

    def read_entries(self):
        """Return the entries that the file holds, having ended the last line if it was cut off."""
        text = self.path.read_text(errors="replace") if self.path.exists() else ""
        if text and not text.endswith("\n"):
            self.append(["\n"])
        return set(text.splitlines(keepends=True))

    def append(self, entries):
        with open(self.path, "a", encoding="ascii", newline="\n") as file:
            file.writelines(entries)
            file.flush()
            if self.path.is_file():  # and not /dev/null
                os.fsync(file.fileno())


@dataclass
class Tally:
    """What became of a folder's files, added up."""

    files: int = 0
    unreadable: int = 0
    records: int = 0
    loaded: int = 0
    rejected: int = 0

    def add(self, report):
        self.files += 1
        self.records += report.records
        self.loaded += report.loaded
        self.rejected += len(report.rejects)


def process_data(cur, conn, filepath, func, rejects=REJECTS, strict=False):
    """Load each file below a folder with func, a transaction each, and return a Tally.

    Lines set aside go to the file `rejects`; with strict, the first one ends the run instead.
    Files that can't be read are reported and left out. Raises LoadError where a file can't be
    loaded; the files before it stay loaded.
    """
    tally, reject_file = Tally(), RejectFile(rejects)

    def report_unreadable(error):
        message = f"can't read {error.filename}: {error.strerror}"
        if strict:
            raise LoadError(message)
        tqdm.write(f"etl.py: {message}", file=sys.stderr)
        tally.unreadable += 1

    files = list_files(filepath, report_unreadable)
    progress = tqdm(total=len(files), desc=Path(filepath).name, unit=" files", disable=None)
    batches = read_batches(files, KINDS[func])
    with progress:
        for datafile, pairs in itertools.groupby(batches, key=itemgetter(0)):
            try:
                report = func(cur, datafile, (batch for _, batch in pairs))
                commit(conn, report, reject_file, strict)
                tally.add(report)
            except OSError as error:
                conn.rollback()
                report_unreadable(error)
            except psycopg2.Error as error:
                raise LoadError(f"{datafile}: {database.one_line(error)}") from error
            progress.update()
    return tally


def commit(conn, report, reject_file, strict):
    """Commit the load of a file once its rejects are recorded; with strict, there must be none."""
    if strict and report.rejects:
        conn.rollback()
        file, line, reason, _ = report.rejects[0]
        raise LoadError(f"{file}, line {line}: {reason}; nothing of this file was loaded")
    reject_file.add(report.rejects)
    conn.commit()


# Command line


def main():
    """Load DATA and return the exit status, or one line on why it could not be done."""
    if sys.stdout:
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold what it can't print
    arguments = parse_arguments()
    gc.freeze()  # the libraries are there to stay: don't search them for garbage
    try:
        with contextlib.closing(database.connect()) as conn, conn.cursor() as cur:
            return run(cur, conn, arguments)
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn) as error:
        return f"etl.py: {database.one_line(error)}; run python create_tables.py"
    except (database.ServerError, LoadError, psycopg2.Error) as error:
        return f"etl.py: {database.one_line(error)}"
    except OSError as error:  # such as a pipe that head has closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return f"etl.py: can't write the output: {error.strerror}"
    except KeyboardInterrupt:
        message = "interrupted; the files loaded so far stay, run it again for the others"
        print(f"etl.py: {message}", file=sys.stderr)
        return INTERRUPTED


def parse_arguments():
    parser = argparse.ArgumentParser(
        description="Load song and log files into Sparkify's star schema. Loading a file again "
        "changes nothing, in whatever order.",
        epilog="Exit status: 0 everything was loaded; 3 loaded, but some lines or files were set "
        "aside; 1 failed; 2 wrong arguments; 130 interrupted. The server is that of DATABASE_URL, "
        "else of PGHOST and its like, else an embedded one: see the README.",
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        type=Path,
        default=DATA,
        help="folder that holds song_data/ and log_data/ (default: %(default)s)",
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
    arguments = parser.parse_args()
    for folder in (arguments.data / "song_data", arguments.data / "log_data"):
        if not folder.is_dir():
            parser.error(f"there is no folder {folder}; DATA must hold song_data/ and log_data/")
    arguments.data = arguments.data.absolute()  # so that a line set aside can be found again
    return arguments


def run(cur, conn, arguments):
    """Load both folders, say what became of them and return the exit status."""
    started = time.monotonic()
    target = f"{conn.info.dbname} on {database.server_name()}"
    print(f"Loading {arguments.data} into {target}", flush=True)
    before = count_table_rows(cur)
    conn.commit()  # so that no lock is held while files are read
    options = {"rejects": arguments.rejects, "strict": arguments.strict}
    songs = process_data(cur, conn, arguments.data / "song_data", process_song_file, **options)
    logs = process_data(cur, conn, arguments.data / "log_data", process_log_file, **options)
    after = count_table_rows(cur)
    print_summary(songs, logs, before, after)
    rejected, unreadable = songs.rejected + logs.rejected, songs.unreadable + logs.unreadable
    if rejected:
        print(f"{count(rejected, 'line was', 'lines were')} set aside: see {arguments.rejects}")
    if unreadable:
        print(f"{count(unreadable, 'file or folder', 'files or folders')} could not be read")
    print(f"Done in {time.monotonic() - started:.1f} s", flush=True)
    return SET_ASIDE if rejected or unreadable else 0


def print_summary(songs, logs, before, after):
    """Print what was read, the rows of each table and how many plays found their song."""
    others = count(logs.records - logs.loaded, "event", "events")
    print(
        f"{count(songs.files, 'song file', 'song files')}: {count(songs.loaded, 'song', 'songs')}"
    )
    print(
        f"{count(logs.files, 'log file', 'log files')}: {count(logs.loaded, 'play', 'plays')}, and "
        f"{others} of other pages (not loaded)"
    )
    print(f"\n{'table':<20}{'rows':>12}{'added':>12}")
    for name in table_names:
        print(f"{name:<20}{after[name]:>12,}{after[name] - before[name]:>+12,}")
    plays, unmatched = after["songplays"], after["unmatched_songplays"]
    print(f"\n{plays - unmatched:,} of {plays:,} plays found their song in the catalogue")


def count(number, one, many):
    return f"{number:,} {one if number == 1 else many}"


def count_table_rows(cur):
    """Return the number of rows by table."""
    cur.execute(row_counts_select)
    return dict(zip(table_names, cur.fetchone(), strict=True))


if __name__ == "__main__":
    sys.exit(main())
