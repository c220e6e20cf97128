"""Extract: lines of JSON in, a frame of known types out, and the lines that can't be loaded.

Those are no objects, or break a rule, which is written here, too.

Nothing here knows a database, so this runs wherever files can be read, also on a cluster's workers.
"""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from sparkify.read.fields import LINE_SCHEMAS, LOG_SCHEMA, PAGE_VIEW_FIELDS, PLAY_FIELDS
from sparkify.read.lines import read_line
from sparkify.read.raw import Document, split_document

CHUNK_LINES = 500  # that are parsed together where not all of them can be


class Line(NamedTuple):
    """A line that is not blank: the position of its text among the texts, its number, its bytes."""

    piece: int
    number: int
    text: bytes


def extract(texts: Sequence[bytes], kind: str) -> tuple[pd.DataFrame, list[tuple[Line, str]]]:
    """Return the good records of texts as a frame, and the other Lines with the reason, in order.

    The texts are of files of one kind, "song" or "log". The frame has the column `piece`, the
    position of a record's text, and the schema's columns as Arrow types; what a line lacks is NA.
    """
    lines, faults = None, []
    try:
        table = parse(join_lines(texts), kind)
    except PARSER_EXCEPTIONS:
        table, lines, faults = parse_lines(split_lines(texts), kind)
    table = drop_odd_numbers(table)
    if kind == "log":
        table = merge_names(table)
    reasons = find_reasons(table, kind)
    if reasons:
        lines = lines or split_lines(texts)
        faults += [(lines[row], reason) for row, reason in reasons.items()]
    table = table.add_column(0, "piece", number_pieces(texts, lines, len(table)))
    if reasons:
        good = [row for row in range(len(table)) if row not in reasons]
        table = table.take(pa.array(good, pa.int64()))
    return table.to_pandas(types_mapper=pd.ArrowDtype), sorted(faults)


def strip_line(line):
    return line.strip(b" \t\r\n")


def join_lines(texts):
    """Return texts as one. If it parses, each of its lines is a record: none is blank."""
    return b"\n".join(filter(None, map(strip_line, texts)))


def split_lines(texts):
    """Return the Lines of texts."""
    return [
        Line(piece, number, line)
        for piece, text in enumerate(texts)
        for number, line in split_text(text)
        if line
    ]


def split_text(text):
    if isinstance(text, Document):
        return split_document(text)
    return enumerate(map(strip_line, text.split(b"\n")), 1)


def number_pieces(texts, lines, records):
    """Return the position of the text of each record: that of its line, if lines are given."""
    if lines is not None:
        return pa.array([line.piece for line in lines], pa.int64())
    if len(texts) == 1:
        return pa.array(np.zeros(records), pa.int64())
    sizes = [text.count(b"\n") + 1 if text else 0 for text in map(strip_line, texts)]
    return pa.array(np.repeat(np.arange(len(texts)), sizes), pa.int64())


# Parse

PARSER_EXCEPTIONS = (ValueError, pa.ArrowException)
PARSED_BYTES = 1 << 20  # that the parser takes at a time: what fits a processor's cache is fastest
SAMPLED_BYTES = 1 << 16  # of a text, whose lines tell which fields it has
UNEXPECTED_FIELD = "unexpected field"
NUMBERED_USERS = "Column(/userId) changed from string to number"


def parse_lines(lines, kind):
    """Return a table of the Lines that can be read, these Lines, and the others with the reason."""
    tables, good, faults = [LINE_SCHEMAS[kind].empty_table()], [], []
    for start in range(0, len(lines), CHUNK_LINES):
        chunk = lines[start : start + CHUNK_LINES]
        try:
            tables.append(parse(b"\n".join(line.text for line in chunk), kind))
            good += chunk
        except PARSER_EXCEPTIONS:
            rows = []
            for line in chunk:
                try:
                    rows.append(parse_line(line.text, kind))
                    good.append(line)
                except ValueError as error:
                    faults.append((line, str(error)))
            tables.append(make_table(rows, LINE_SCHEMAS[kind]))
    return pa.concat_tables(tables).combine_chunks(), good, faults


def parse_line(line, kind):
    """Return the values of one line. Raises ValueError with the reason why there are none.

    Either parser may read it: the fast one takes objects nested more deeply, and -NaN.
    """
    try:
        return read_line(line, kind)
    except ValueError:
        try:
            [record] = parse(line, kind).to_pylist()
        except PARSER_EXCEPTIONS:
            pass
        else:
            return list(record.values())
        raise


def make_table(rows, schema):
    """Return rows, lists of values, as a table."""
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table(list(map(pa.array, columns, schema.types)), schema=schema)


def parse(text, kind):
    """Return a table with one row per line; a log's users may all be numbers.

    Raises one of PARSER_EXCEPTIONS where a line is not one object, or has a field of another type.
    """
    schema = LINE_SCHEMAS[kind]
    try:
        return parse_objects(text, schema)
    except pa.ArrowInvalid as error:
        if NUMBERED_USERS not in str(error):
            raise
    place = schema.get_field_index("userId")
    return parse_objects(text, schema.set(place, pa.field("userId", pa.int64()))).cast(schema)


def parse_objects(text, schema):
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
        raise ValueError("no JSON object")
    longest = np.diff(line_ends, prepend=-1, append=len(text)).max()
    table = read_fields(text, schema, max(PARSED_BYTES, int(longest)))
    if len(table) != len(line_ends) + 1:
        raise ValueError("more than one JSON object")
    return table


def read_fields(text, schema, block_size):
    """Return the fields of JSON objects. Of a long text, those that it has are read, no others.

    Its first lines tell which these are; if a later line has another one, all fields are read.
    """
    names = sample_names(text) if len(text) > SAMPLED_BYTES else []
    if names and set(names) <= set(schema.names):
        given = pa.schema([schema.field(name) for name in names])
        try:
            table = read_json(text, given, block_size, unexpected="error")
        except pa.ArrowInvalid as error:
            if UNEXPECTED_FIELD not in str(error):
                raise
        else:
            missing = {name: pa.nulls(len(table), schema.field(name).type) for name in schema.names}
            return pa.table({**missing, **dict(zip(names, table.columns, strict=True))})
    return read_json(text, schema, block_size, unexpected="ignore")


def sample_names(text):
    """Return the names of the members that the first lines have; none if one can't be read."""
    lines = text[:SAMPLED_BYTES].split(b"\n")[:-1]
    try:
        return list(dict.fromkeys(name for line in lines for name in json.loads(line)))
    except (ValueError, RecursionError):
        return []


def read_json(text, schema, block_size, unexpected):
    table = pyarrow.json.read_json(
        pa.BufferReader(text),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=block_size),
        parse_options=pyarrow.json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior=unexpected
        ),
    )
    return table.combine_chunks()


# One spelling for what has several


def drop_odd_numbers(table):
    """Return a table with NULL for NaN, by which pandas and Python write what is unknown.

    And with 0.0 for -0.0, which is equal but has another text to be compared by.
    """
    for position, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            column = pc.add(table.column(position), 0.0)
            known = pc.if_else(pc.is_nan(column), None, column)
            table = table.set_column(position, field, known)
    return table


def merge_names(events):
    """Return a log's table in which length and location, where absent, go by their OTHER_NAMES."""
    columns = {name: events[name] for name in LOG_SCHEMA.names}
    columns["length"] = pc.coalesce(events["length"], events["duration"])
    if any(events[part].null_count < len(events) for part in ("city", "state")):
        place = pc.binary_join_element_wise(events["city"], events["state"], ", ")
        place = pc.coalesce(place, events["city"], events["state"])  # where it is but one of them
        columns["location"] = pc.coalesce(events["location"], place)
    return pa.table(columns)


# The rules that a record must keep, lest it can't be loaded

NAME_LENGTH = 256  # characters, of what is in an index: ids, names of pages and of plays' levels
FIRST_MS = 946_684_800_000  # the year 2000: what is before it was logged in seconds
LAST_MS = 253_402_300_799_999  # the end of the year 9999, as far as Python's datetime goes
SMALLEST, GREATEST = 1e-30, 1e30  # seconds: what single precision holds, in which SQL compares them
NO_PAGE = "page is missing"


def find_reasons(table: pa.Table, kind: str) -> dict[int, str]:
    """Return the reason by row for the records that break a rule of their kind."""
    reasons: dict[int, str] = {}
    for reason, mask in RULES[kind](table):
        if pc.any(mask).as_py():
            for row in pc.indices_nonzero(mask).to_pylist():
                reasons.setdefault(row, reason)
    return reasons


def find_song_faults(songs: pa.Table) -> Iterator:
    """Yield each rule's breach as a reason, with a mask of the song records it applies to."""
    for column in ("song_id", "artist_id", "artist_name", "title", "duration"):
        yield f"{column} is missing", pc.is_null(songs[column])
    for column in ("song_id", "artist_id"):
        yield f"{column} is empty", pc.equal(songs[column], "")
        yield find_long_names(songs, column)
    yield "year is out of range", is_outside(songs["year"], -(2**31), 2**31 - 1)
    yield from find_value_faults(songs)


EARLY = "ts is before the year 2000; it is milliseconds that are expected, not seconds"
LATE = "ts is after the year 9999; it is milliseconds that are expected"


def find_log_faults(events: pa.Table) -> Iterator:
    """Yield each rule's breach as a reason, with a mask of the log events it applies to.

    What only plays must have is checked on plays only, what only page views must have on those.
    """
    yield NO_PAGE, pc.is_null(events["page"])
    yield "ts is missing", pc.is_null(events["ts"])
    yield EARLY, pc.less(events["ts"], FIRST_MS)
    yield LATE, pc.greater(events["ts"], LAST_MS)
    is_play = pc.equal(events["page"], "NextSong")
    for reason, mask in find_play_faults(events):
        yield reason, pc.and_kleene(mask, is_play)
    is_view = pc.invert(is_play)
    for reason, mask in find_view_faults(events):
        yield reason, pc.and_kleene(mask, is_view)


def find_play_faults(events: pa.Table) -> Iterator:
    """Yield the breaches of rules that only plays must keep: see find_log_faults."""
    yield "userId is missing", is_blank(events["userId"])
    yield from find_event_faults(events)
    yield "level is missing", pc.is_null(events["level"])
    yield find_long_names(events, "level")
    yield from find_value_faults(events.select(PLAY_FIELDS))


def find_view_faults(events: pa.Table) -> Iterator:
    """Yield the breaches of rules that only page views must keep: see find_log_faults."""
    for reason, mask in find_event_faults(events):
        yield reason, pc.and_not(mask, is_blank(events["userId"])) if "userId" in reason else mask
    yield find_long_names(events, "page")
    for column in ("itemInSession", "status"):
        yield f"{column} is out of range", is_outside(events[column], -(2**31), 2**31 - 1)
    registration = events["registration"]  # the time in milliseconds
    yield "registration is out of range", is_outside(registration, FIRST_MS, LAST_MS)
    is_whole = pc.equal(pc.floor(registration), registration)
    yield "registration is no whole number", pc.invert(is_whole)
    yield from find_value_faults(events.select(PAGE_VIEW_FIELDS))


def find_event_faults(events: pa.Table) -> Iterator:
    """Yield the breaches of rules that both plays and page views must keep."""
    user = events["userId"]
    is_number = pc.match_substring_regex(user, "^(0|[1-9][0-9]*)$")
    digits = pc.utf8_length(user)
    is_great = pc.and_(pc.equal(digits, 10), pc.greater(user, str(2**31 - 1)))
    yield "userId is no whole number", pc.invert(is_number)
    yield "userId is out of range", pc.or_(pc.greater(digits, 10), is_great)
    yield "sessionId is missing", pc.is_null(events["sessionId"])


def find_long_names(table, column):
    """Return the reason, and a mask of the records it applies to, as the rules yield them."""
    is_long = pc.greater(pc.utf8_length(table[column]), NAME_LENGTH)
    return f"{column} is longer than {NAME_LENGTH} characters", is_long


def is_blank(column):
    return pc.equal(pc.fill_null(column, ""), "")


def find_value_faults(table: pa.Table) -> Iterator:
    """Yield the values that JSON can hold, or its parser lets pass, and Postgres must not."""
    for field in table.schema:
        if pa.types.is_string(field.type) and holds_nul(table[field.name]):
            mask = pc.match_substring(table[field.name], "\0")
            yield f"{field.name} holds the character U+0000, which Postgres can't store", mask
        elif pa.types.is_floating(field.type):
            yield f"{field.name} is no finite number", pc.invert(pc.is_finite(table[field.name]))
        if field.name in ("duration", "length"):
            seconds = pc.abs(table[field.name])
            is_odd = pc.and_(is_outside(seconds, SMALLEST, GREATEST), pc.not_equal(seconds, 0))
            yield f"{field.name} is out of range", is_odd


def holds_nul(column):
    """Tell whether any text of a column holds U+0000: much faster than to search each of them."""
    buffers = [buffer for chunk in column.chunks for buffer in chunk.buffers()[2:]]
    return any(buffer and not np.frombuffer(buffer, np.uint8).all() for buffer in buffers)


def is_outside(column, low, high):
    return pc.or_(pc.less(column, low), pc.greater(column, high))


RULES = {"song": find_song_faults, "log": find_log_faults}
