"""Fields: what is read of a line of JSON, by the kind of its file, and as which type.

And the rules that they must keep, lest a record can't be loaded.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

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
        "registration": pa.float64(),  # pandas writes whole numbers so where some are missing
        "tag": pa.string(),
    }
)
SCHEMAS = {"song": SONG_SCHEMA, "log": LOG_SCHEMA}
# Other versions of eventsim log a song's length as duration, forks of it a location as two fields.
OTHER_NAMES = {"duration": "length", "city": "location", "state": "location"}
LOG_LINE_SCHEMA = pa.schema(
    [*LOG_SCHEMA, *(LOG_SCHEMA.field(name).with_name(other) for other, name in OTHER_NAMES.items())]
)
LINE_SCHEMAS = {"song": SONG_SCHEMA, "log": LOG_LINE_SCHEMA}

# What only plays are loaded with can be anything where another page is logged, and the reverse.
OF_PLAYS = ("song", "artist", "length", "duration")
OF_PAGE_VIEWS = ("auth", "itemInSession", "method", "status", "registration", "tag")
PLAY_FIELDS = [name for name in LOG_SCHEMA.names if name not in OF_PAGE_VIEWS]
PAGE_VIEW_FIELDS = [name for name in LOG_SCHEMA.names if name not in OF_PLAYS]


def is_loaded(name: str, given: dict) -> bool:
    """Tell whether a field of a log's line is loaded, given the line's other fields by name."""
    if name in OTHER_NAMES and given.get(OTHER_NAMES[name]) is not None:
        return False
    return name not in (OF_PAGE_VIEWS if given.get("page") == "NextSong" else OF_PLAYS)


# Rules

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
    return any(buffer and b"\0" in buffer.to_pybytes() for buffer in buffers)


def is_outside(column, low, high):
    return pc.or_(pc.less(column, low), pc.greater(column, high))


RULES = {"song": find_song_faults, "log": find_log_faults}
