"""Extract: lines of JSON in, a frame of known types out, and the lines that can't be loaded.

Nothing here knows a database, so this runs wherever files can be read, also on a cluster's workers.
"""

import json
import re
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json


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
        "auth": pa.string(),
        "itemInSession": pa.int64(),
        "method": pa.string(),
        "status": pa.int64(),
    }
)
# What only page views need can be anything where a play is logged.
PLAY_SCHEMA = pa.schema(list(LOG_SCHEMA)[: LOG_SCHEMA.get_field_index("auth")])
PAGE_VIEW_TEXTS = ("page", "auth", "level", "location", "method", "userAgent")
SCHEMAS = {"song": SONG_SCHEMA, "log": LOG_SCHEMA}
NAME_LENGTH = 256  # characters, of what is in an index: ids, names of pages and of plays' levels
LAST_MS = 253_402_300_799_999  # the end of the year 9999, as far as Python's datetime goes


def extract(texts, kind):
    """Return the good records of texts as a frame, and the other lines with the reason, in order.

    The texts are of files of one kind, "song" or "log". The frame has the column `piece`, the
    position of a record's text, and the schema's columns as Arrow types; what a line lacks is NA.
    A line is (position of its text, number, bytes).
    """
    lines, faults = None, []
    try:
        table = parse(join_lines(texts), SCHEMAS[kind])
    except PARSER_EXCEPTIONS:
        table, lines, faults = parse_lines(split_lines(texts), kind)
    reasons = find_reasons(table, RULES[kind])
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


def parse_lines(lines, kind):
    """Return a table of the lines that parse, these lines, and the others with the reason.

    Lines are tuples that end with the bytes.
    """
    faults = dict(find_unparsable(lines, SCHEMAS[kind]))
    good, odd = [line for line in lines if line not in faults], []
    tables = [parse_all(good, SCHEMAS[kind])]
    if kind == "log":
        odd = find_odd_plays(list(faults))
        tables.append(parse_all(odd, PLAY_SCHEMA))
    found = good + odd
    order = sorted(range(len(found)), key=found.__getitem__)
    table = pa.concat_tables(tables, promote_options="default").take(pa.array(order, pa.int64()))
    faults = [(line, reason) for line, reason in faults.items() if line not in set(odd)]
    return table, [found[row] for row in order], faults


def find_odd_plays(lines):
    """Return those of the lines that are plays to who looks at what plays need alone."""
    bad = dict(find_unparsable(lines, PLAY_SCHEMA))
    good = [line for line in lines if line not in bad]
    pages = parse_all(good, PLAY_SCHEMA)["page"].to_pylist()
    return [line for line, page in zip(good, pages, strict=True) if page == "NextSong"]


PARSER_EXCEPTIONS = (ValueError, pa.ArrowException)


def find_unparsable(lines, schema):
    """Yield each line that does not parse, with the reason.

    Those that parse together are good; others are tried half by half, till each stands alone.
    """
    try:
        parse_all(lines, schema)
    except PARSER_EXCEPTIONS as error:
        if len(lines) == 1:
            yield lines[0], describe_fault(error, lines[0][-1])
        else:
            half = len(lines) // 2
            yield from find_unparsable(lines[:half], schema)
            yield from find_unparsable(lines[half:], schema)


def parse_all(lines, schema):
    return parse(b"\n".join(line[-1] for line in lines), schema)


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
        raise ValueError("no JSON object")
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


def describe_fault(error, line):
    """Return a parser's error on a line as a reason, without the row, which is by its own count.

    Where it is the JSON that is broken, Python's parser knows the column, and says more.
    """
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    for pattern, reason in FIELD_ERRORS.items():
        if found := re.search(pattern, str(error)):
            return reason.format(*found.groups())
    try:
        json.loads(line.decode(), parse_int=float)
    except json.JSONDecodeError as fault:
        return f"broken JSON in column {fault.colno}: {fault.msg}"
    except RecursionError:
        pass
    return re.sub(r"JSON parse error: (.*?)\.?( in row \d+)?$", r"broken JSON: \1", str(error))


FIELD_ERRORS = {
    r"(more than one JSON object)": "{}",
    r"Column\(/(.*)\) changed from (\w+) to (\w+)": "{}: {} expected, {} found",
    r"Column\(/(.*)\) was specified twice": "{} is given twice",
    r"couldn't parse:(.*)": "whole number expected, {} found",
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
        yield f"{column} is empty", pc.equal(songs[column], "")
        yield find_long_names(songs, column)
    yield "year is out of range", is_outside(songs["year"], -(2**31), 2**31 - 1)
    yield from find_value_faults(songs)


def find_log_faults(events):
    """Yield each rule's breach as a reason, with a mask of the log events it applies to.

    What only plays must have is checked on plays only, what only page views must have on those.
    """
    yield "page is missing", pc.is_null(events["page"])
    yield "ts is missing", pc.is_null(events["ts"])
    yield "ts is not in the years 1970 to 9999", is_outside(events["ts"], 0, LAST_MS)
    is_play = pc.equal(events["page"], "NextSong")
    for reason, mask in find_play_faults(events):
        yield reason, pc.and_kleene(mask, is_play)
    is_view = pc.invert(is_play)
    for reason, mask in find_view_faults(events):
        yield reason, pc.and_kleene(mask, is_view)


def find_play_faults(events):
    """Yield the breaches of rules that only plays must keep: see find_log_faults."""
    yield "userId is missing", is_blank(events["userId"])
    yield from find_event_faults(events)
    yield "level is missing", pc.is_null(events["level"])
    yield find_long_names(events, "level")
    yield from find_value_faults(events.select(PLAY_SCHEMA.names))


def find_view_faults(events):
    """Yield the breaches of rules that only page views must keep: see find_log_faults."""
    for reason, mask in find_event_faults(events):
        yield reason, pc.and_not(mask, is_blank(events["userId"])) if "userId" in reason else mask
    yield find_long_names(events, "page")
    for column in ("itemInSession", "status"):
        yield f"{column} is out of range", is_outside(events[column], -(2**31), 2**31 - 1)
    yield from find_value_faults(events.select(PAGE_VIEW_TEXTS))


def find_event_faults(events):
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


RULES = {"song": find_song_faults, "log": find_log_faults}
