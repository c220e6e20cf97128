"""Extract and transform: lines of JSON in, the rows of the star schema's tables out.

Nothing here knows a database, so this runs wherever the files can be read: beside the loader, or on
the workers of a cluster, which are sent this module alone.
"""

import codecs
import errno
import io
import itertools
import os
import re
import stat
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

BLOCK_BYTES = 16 << 20  # of lines that are parsed together


# Read: files in blocks of about the same size, whatever the size of the files


class Span(NamedTuple):
    """The lines of a file that begin at byte `start` or later, and before `end` if there is one."""

    file: str
    start: int = 0
    end: int | None = None


def plan_blocks(files):
    """Yield lists of Spans of about BLOCK_BYTES: many small files in one, a large one in several.

    Files have a `uri` and a `size` in bytes.
    """
    block, size = [], 0
    for file in files:
        if size and size + file.size > BLOCK_BYTES:
            yield block
            block, size = [], 0
        if file.size > BLOCK_BYTES:
            parts = -(-file.size // BLOCK_BYTES)
            bounds = [*(file.size * part // parts for part in range(parts)), None]
            yield from ([Span(file.uri, *ends)] for ends in itertools.pairwise(bounds))
        else:
            block.append(Span(file.uri))
            size += file.size
    if block:
        yield block


def open_file(uri, filesystem):
    """Open a file to read bytes: by its path, or by its URI on one of pyarrow's filesystems."""
    if filesystem:
        import pyarrow.fs  # noqa: F401 - lets S3's client end well, also in a worker

        return io.BufferedReader(filesystem.open_input_file(uri.partition("://")[2]))
    if not stat.S_ISREG(os.stat(uri).st_mode):  # a pipe would keep us waiting for ever
        raise OSError(errno.EINVAL, "not a regular file", uri)
    return open(uri, "rb")


def read_span(span, filesystem=None):
    """Return the bytes of a Span's lines. A byte-order mark is left out."""
    with open_file(span.file, filesystem) as file:
        # No further than the Span: a line that is longer than all of it belongs to one before.
        limit = -1 if span.end is None else span.end - span.start + 1
        start = seek_line(file, span.start, limit)
        if start in (span.start - 1, span.end):  # the file is shorter by now, or no line begins
            return b""
        end = span.end and seek_line(file, span.end)
        file.seek(start)
        text = file.read() if end is None else file.read(end - start)
    return text if span.start else text.removeprefix(codecs.BOM_UTF8)


def seek_line(file, position, limit=-1):
    """Go to the first line that begins at byte `position` or later, and return where that is."""
    if position:
        file.seek(position - 1)
        file.readline(limit)
    return file.tell()


# Extract: lines -> a frame of known types, and the lines that can't be loaded


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


def extract(texts, kind):
    """Return the good records of texts as a frame, and the other lines with the reason, in order.

    The frame has the column `piece`, the position of a record's text, and the schema's columns as
    Arrow types; what a line lacks is NA. A line is (position of its text, number, bytes).
    """
    lines, faults = None, []
    try:
        table = parse(join_lines(texts), kind.schema)
    except PARSER_EXCEPTIONS:
        table, lines, faults = parse_lines(split_lines(texts), kind.schema)
    reasons = find_reasons(table, kind.find_faults)
    if reasons:
        lines = lines or split_lines(texts)
        faults += [(lines[row], reason) for row, reason in reasons.items()]
    table = table.add_column(0, "piece", number_pieces(texts, lines, len(table)))
    if reasons:
        good = [row for row in range(len(table)) if row not in reasons]
        table = table.take(pa.array(good, pa.int64()))
    return drop_minus_zeros(table).to_pandas(types_mapper=pd.ArrowDtype), sorted(faults)


def drop_minus_zeros(table):
    """Return a table with 0.0 for -0.0, which is equal but has another text to be compared by."""
    for position, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            table = table.set_column(position, field, pc.add(table.column(position), 0.0))
    return table


def strip_line(line):
    return line.strip(b" \t\r\n")


def join_lines(texts):
    """Return texts as one. If it parses, each of its lines is a record: none is blank."""
    return b"\n".join(filter(None, map(strip_line, texts)))


def split_lines(texts):
    """Return the lines that are not blank as (position of the text, number, line)."""
    return [
        (position, number, line)
        for position, text in enumerate(texts)
        for number, line in enumerate(map(strip_line, text.split(b"\n")), 1)
        if line
    ]


def number_pieces(texts, lines, records):
    """Return the position of the text of each record: that of its line, if lines are given."""
    if lines is not None:
        return pa.array([line[0] for line in lines], pa.int64())
    if len(texts) == 1:
        return pa.array(np.zeros(records), pa.int64())
    sizes = [text.count(b"\n") + 1 if text else 0 for text in map(strip_line, texts)]
    return pa.array(np.repeat(np.arange(len(texts)), sizes), pa.int64())


def parse_lines(lines, schema):
    """Return a table of the lines that parse, these lines, and the others with the reason.

    Lines are tuples that end with the bytes.
    """
    faults = list(find_unparsable(lines, schema))
    bad = {line for line, _ in faults}
    good = [line for line in lines if line not in bad]
    return parse(b"\n".join(line[-1] for line in good), schema), good, faults


PARSER_EXCEPTIONS = (ValueError, pa.ArrowException)


def find_unparsable(lines, schema):
    """Yield each line that does not parse, with the reason.

    Those that parse together are good; others are tried half by half, till each stands alone.
    """
    try:
        parse(b"\n".join(line[-1] for line in lines), schema)
    except PARSER_EXCEPTIONS as error:
        if len(lines) == 1:
            yield lines[0], describe_fault(error)
        else:
            half = len(lines) // 2
            yield from find_unparsable(lines[:half], schema)
            yield from find_unparsable(lines[half:], schema)


def parse(text, schema):
    """Return a table with one row per line. Raises ValueError where a line is not one object.

    The parser itself pays no heed to line ends: if each line begins and ends with a brace, and
    there are as many objects as lines, then each line is one object.
    """
    if not text:
        return schema.empty_table()
    text.isascii() or text.decode()
    codes = np.frombuffer(text, np.uint8)
    line_ends = np.flatnonzero(codes == ord("\n"))
    ends_in_braces = codes[np.append(line_ends - 1, -1)] == ord("}")
    begins_with_braces = codes[np.append(line_ends + 1, 0)] == ord("{")
    if not (ends_in_braces.all() and begins_with_braces.all()):
        raise ValueError("no JSON object, or one that does not end on its line")
    table = pyarrow.json.read_json(
        pa.BufferReader(text),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="ignore"
        ),
    )
    if len(table) != len(line_ends) + 1:
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


def find_reasons(table, find_faults):
    """Return the reason by row for the records that break a rule."""
    reasons = {}
    for reason, mask in find_faults(table):
        if pc.any(mask).as_py():
            for row in pc.indices_nonzero(mask).to_pylist():
                reasons.setdefault(row, reason)
    return reasons


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
        if pa.types.is_string(field.type) and holds_nul(table[field.name]):
            mask = pc.match_substring(table[field.name], "\0")
            yield f"{field.name} holds the character U+0000, which Postgres can't store", mask
        elif pa.types.is_floating(field.type):
            yield f"{field.name} is no finite number", pc.invert(pc.is_finite(table[field.name]))


def holds_nul(column):
    """Tell whether any text of a column holds U+0000: much faster than to search each of them."""
    buffers = [buffer for chunk in column.chunks for buffer in chunk.buffers()[2:]]
    return any(buffer and b"\0" in buffer.to_pybytes() for buffer in buffers)


def is_outside(column, low, high):
    return pc.or_(pc.less(column, low), pc.greater(column, high))


# Transform: frame in, frames out, with the Arrow types that fit the columns of the tables: int32
# for INT, int64 for BIGINT, float64 for DOUBLE PRECISION, string for TEXT


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
    columns = ["piece", "song_id", "title", "artist_id", "year", "duration"]
    return songs[columns].astype({"year": "int32[pyarrow]"})


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
        user_id=plays["user_id"].astype("int32[pyarrow]"),
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
    moments = plays[["piece", "start_time"]].drop_duplicates()
    start_time = moments["start_time"].astype("timestamp[ms][pyarrow]").dt  # faster without a zone
    parts = {
        "hour": start_time.hour,
        "day": start_time.day,
        "week": start_time.isocalendar()["week"],
        "month": start_time.month,
        "year": start_time.year,
        "weekday": start_time.day_of_week,
    }
    return moments.assign(**{name: part.astype("int32[pyarrow]") for name, part in parts.items()})


def transform_users(plays):
    """Return the rows of users as of each one's latest play, and the start_time of that play.

    Where that is several plays, so are the rows.
    """
    columns = ["piece", "user_id", "first_name", "last_name", "gender", "level", "start_time"]
    latest = plays.groupby(["piece", "user_id"])["start_time"].transform("max")
    return plays.loc[plays["start_time"] == latest, columns].drop_duplicates()


def transform_songplays(plays):
    """Return the rows of songplays but for the song's ids, with the song as the log names it."""
    columns = ["start_time", "user_id", "level", "session_id", "location", "user_agent"]
    return plays[["piece", *columns, "title", "artist", "duration"]]


# Encode: rows as COPY takes them, https://www.postgresql.org/docs/current/sql-copy.html

BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
BINARY_TRAILER = b"\xff\xff"
NULL_FIELD = b"\xff\xff\xff\xff"
POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970
NUMBERS = {pa.int32(): ">i4", pa.int64(): ">i8", pa.float64(): ">f8"}


def encode_plays(plays):
    """Return, encoded, what is to be loaded of plays: rows of time, of users and of songplays.

    Moments are a batch of their `start_time` and the `row`. Plays are a batch to be completed: the
    fields of `play` and of the song as `logged`, and the `song` by its name, as a dictionary, NULL
    where no song can fit. Unlike the parts to be loaded row by row, all plays are in one: COPY has
    duplicates sorted out by the database.
    """
    if not len(plays):
        return []
    moments, users = transform_time(plays), transform_users(plays)
    columns = list_columns(transform_songplays(plays))
    names = [columns[6], columns[7], columns[8].cast("string")]
    song = pc.binary_join_element_wise(*names, NAME_SEPARATOR).dictionary_encode()
    fields = [encode_column(column) for column in columns]
    joined = [join_fields(*fields[:6]), join_fields(*fields[6:])]
    times = combine(pa.array(moments["start_time"])).cast(pa.int64())
    return [
        (
            pa.record_batch([times, encode_rows(moments)], ["start_time", "row"]),
            encode_rows(users),
            pa.record_batch([*joined, song], ["play", "logged", "song"]),
        )
    ]


NAME_SEPARATOR = "\0"  # no text holds it: see find_value_faults


def split_name(name):
    """Return the title, the artist and the duration that a song's name is made of."""
    title, artist, duration = name.split(NAME_SEPARATOR)
    return title, artist, float(duration)


def list_columns(frame):
    """Return the columns of a frame but for `piece`, as Arrow arrays."""
    return [combine(pa.array(frame[name])) for name in frame.columns.drop("piece")]


def combine(column):
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def encode_rows(frame):
    """Return the rows of a frame, without the column `piece`, for columns of the same types."""
    return complete_rows(map(encode_column, list_columns(frame)), len(frame.columns) - 1)


def complete_rows(fields, width):
    """Return rows of so many fields, which are given as columns of one or more fields each."""
    return join_fields(pa.scalar(width.to_bytes(2, "big"), pa.binary()), *fields)


def encode_stream(rows):
    """Return all that COPY reads, for these rows."""
    joined = pc.binary_join(pa.ListArray.from_arrays([0, len(rows)], rows), b"")
    return b"".join([BINARY_HEADER, joined[0].as_buffer(), BINARY_TRAILER])


def join_fields(*fields):
    return pc.binary_join_element_wise(
        *fields, b"", null_handling="replace", null_replacement=NULL_FIELD
    )


def encode_column(column):
    """Return the values of a column as fields: each after its size, NULL as NULL."""
    if pa.types.is_string(column.type):
        sizes = as_binary(np.asarray(pc.binary_length(column).fill_null(0), ">i4"))
        return pc.binary_join_element_wise(sizes, column.cast(pa.binary()), b"")
    if pa.types.is_timestamp(column.type):
        microseconds = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        column = pc.subtract(microseconds, POSTGRES_EPOCH)
    fields = np.empty(len(column), [("size", ">i4"), ("value", NUMBERS[column.type])])
    fields["size"] = fields["value"].itemsize
    fields["value"] = column.fill_null(0)
    return pc.if_else(column.is_valid(), as_binary(fields), None)


def as_binary(values):
    """Return a numpy array as an Arrow array of the bytes of each of its values."""
    data = [None, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.binary(values.itemsize), len(values), data).cast(pa.binary())


# From files to rows: what runs beside the loader, or on a cluster


class Kind(NamedTuple):
    """How one kind of file is read: its fields, its rules, what is loaded, and into what rows."""

    schema: pa.Schema
    find_faults: Callable
    select: Callable
    transform: Callable
    encode: Callable  # the same for COPY


def select_songs(songs):
    return songs


SONGS = Kind(  # the loader must look at songs before it copies them
    SONG_SCHEMA, find_song_faults, select_songs, transform_song_records, transform_song_records
)
LOGS = Kind(LOG_SCHEMA, find_log_faults, transform_plays, transform_log_records, encode_plays)
KINDS = {"song": SONGS, "log": LOGS}


class Block(NamedTuple):
    """What some Spans hold: the rows to load and, by Span, what else there is to say of it."""

    kind: str
    spans: list
    size: int  # in bytes
    parts: list  # to load in turn, as Kind.transform or Kind.encode returns them
    line_ends: int  # in the first Span
    records: list  # the number of those that are good
    loadable: list  # of these, the number of songs or plays
    rejects: list  # a list for each Span; their lines are counted from its first one
    errors: tuple  # the OSError that met the reading, or None


def read_block(kind, spans, filesystem=None, encode=False):
    """Return Spans of files of a kind as a Block, ready to be loaded row by row or by COPY."""
    texts, errors = zip(*(try_to_read(span, filesystem) for span in spans), strict=True)
    return make_block(kind, spans, texts, errors, encode)


def make_block(kind, spans, texts, errors, encode=False):
    """Return the texts of Spans as a Block."""
    records, faults = extract(texts, KINDS[kind])
    loadable = KINDS[kind].select(records)
    make_parts = KINDS[kind].encode if encode else KINDS[kind].transform
    rejects = [[] for _ in spans]
    for (position, number, line), reason in faults:
        text = line.decode(errors="surrogateescape")
        rejects[position].append(Reject(spans[position].file, number, reason, text))
    return Block(
        kind,
        spans,
        sum(map(len, texts)),
        make_parts(loadable),
        int(np.count_nonzero(np.frombuffer(texts[0], np.uint8) == ord("\n"))),
        count_rows(records, len(spans)),
        count_rows(loadable, len(spans)),
        rejects,
        errors,
    )


def try_to_read(span, filesystem):
    """Return the bytes of a Span's lines and None, or none and the OSError."""
    try:
        return read_span(span, filesystem), None
    except OSError as error:
        return b"", OSError(error.errno, error.strerror or str(error), span.file)


def count_rows(frame, pieces):
    """Return the number of a frame's rows per piece."""
    return np.bincount(frame["piece"], minlength=pieces).tolist()
