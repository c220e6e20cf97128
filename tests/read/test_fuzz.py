"""Fuzzing: whatever bytes a file holds, each of its lines is loaded or set aside, and rightly.

Files are made of songs and log events whose fields are exchanged, doubled, left out or misspelt,
and whose bytes are then flipped, cut and joined. What must become of each line is for an oracle to
say: Python's json module, and the rules of sparkify/read/extract.py once more in plain Python.

    pytest tests/read/test_fuzz.py --times 100

tries a hundred times as many files as usual, and other ones each time: usually they are the same.
"""

import codecs
import contextlib
import itertools
import json
import math
import re
from collections import defaultdict
from datetime import UTC, datetime
from fractions import Fraction
from operator import itemgetter

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from records import event, listed, load_paths, read_tables, song, write_lines

from sparkify.load import by_copy
from sparkify.read import blocks, raw, transform
from sparkify.read.copy_format import CATALOGUE_SCHEMA, TABLE
from sql_queries import table_names

# Files that are wrong in every way

FIELDS = {
    "song": {
        **dict.fromkeys(["song_id", "title", "artist_id", "artist_name", "artist_location"], str),
        **dict.fromkeys(["duration", "artist_latitude", "artist_longitude"], float),
        "year": int,
    },
    "log": {
        **dict.fromkeys(["page", "userId", "firstName", "lastName", "gender", "level"], str),
        **dict.fromkeys(["location", "userAgent", "song", "artist"], str),
        **dict.fromkeys(["auth", "method", "city", "state"], str),
        **dict.fromkeys(["ts", "sessionId", "itemInSession", "status"], int),
        **dict.fromkeys(["length", "duration", "registration"], float),
        "tag": str,
    },
}
NOT_LOADED = {  # by whether it is a play
    True: ["auth", "method", "itemInSession", "status", "registration", "tag"],
    False: ["song", "artist", "length", "duration"],
}
KNOWN = {"song": list(song()), "log": [*event(), "duration", "city", "state", "tag"]}
ODD_NAMES = ["x", "", "TS", "ts ", "\\u0074s", "song\\u005fid", "ts\\u0000", "\\ud800", "é", "a\tb"]
NUMBERS = [
    *("0", "-0", "-0.0", "0.0", "1", "-1", "1.0", "1.5", "1e3", "1e22", "5e-324", "1e-400"),
    *("1E308", "2147483648", "1541106106796.5", "1e999", "-1E400", "0e999", "0.1e309", "18e307"),
    *("0.00001e312", "1e", "1.", ".5", "-", "01", "+1", "0x1", "1_0", "9223372036854775807"),
    *("9223372036854775808", "-9223372036854775808", "-9223372036854775809", "NaN", "-NaN"),
    *("Infinity", "-Infinity", "Inf", "Infinit", "nan", "8.0", "8e0", "0.8E1", "1.541106106796e12"),
    *("1e30", "1.1e30", "-1e-30", "9e-31", "1541106106", "946684800000.0", "9223372036854775807.0"),
    *("9" * 25, "-" + "9" * 400, "0." + "3" * 50, "1" * 30 + ".5"),
]
TEXTS = [
    *('""', '" "', '"8"', '"08"', '"8 "', '"2147483647"', '"2147483648"', '"99999999999"', '"٨"'),
    *('"NextSong"', '"Home"', '"nextsong"', '"free"', '"\\u0000"', '"a\\u0000b"', '"\\N"', '"\\.'),
    *('"\\ud83c\\udfb5"', '"\\ud83c"', '"\\udfb5"', '"\\udfb5\\ud83c"', '"\\ud83c\\u0041"', "'x'"),
    *('"\u2028\u2029\x85"', '"\x7f"', '"\ufeff"', '"\uffff🎵"', '"\x01"', '"\t"', '"\\u00E9"'),
    *('"{}"', '"}\\n{"', '"}{"', '"\\\\"', '"\\"', '"\\/\\b\\f\\n\\r\\t"', '"\\x41"', '"\\u12"'),
    *(f'"{"S" * 256}"', f'"{"S" * 257}"', f'"{"é" * 256}"', f'"{"🎵" * 257}"'),
]
OTHERS = [
    *("null", "true", "false", "True", "undefined", "", "[]", "{}", "[1,]", "[,]", '{"a"}'),
    *('[1, {"ts": 2}]', '{"ts": 1, "ts": 2}', '{"": [null]}', "/**/", "[" * 300 + "]" * 300),
    *('{"a":' * 300 + "1" + "}" * 300, "[{" * 100, "}", "]"),
]
TOKENS = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"''", b"/*", b"//", b"}{", b"}\n{", b"{}"),
    *(b"\n", b"\n\n", b"\r", b"\r\n", b" ", b"\t", b"\x0b", b"\0", b"\0}", b"{\0", b"\xc2\x85"),
    *(b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\xc3", b"\xf0\x9f", b"\x85"),
    *(b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\\u0000", b"\\ud800", b"\\n"),
    *(b"null", b"NaN", b"-", b"0", b"e999", b".5", b"9" * 30, b"[]", b'"",', b'"x":'),
    *(b'"ts":', b'"ts":1,', b'"song_id":"",'),
]
EDGES = {  # of what a field may hold, by name or type
    str: ['""', '"a\\u0000"', '"é\\u2028"', "null", "7", "NaN"],
    int: ["9223372036854775807", "9223372036854775808", "-9223372036854775809", "-1", "0", "1.0"],
    float: ["0", "-0.0", "1e30", "2e30", "NaN", "-Infinity", "9" * 400, "null", '"1"', "true"],
    "ts": ["253402300799999", "253402300800000", "-1", "946684799999", "946684800000.0", '"1"'],
    "year": ["2147483647", "2147483648", "-2147483648", "-2147483649.0", "null", "1999.0", "NaN"],
    "page": ['"NextSong"', '"Home"', '"nextsong"', "null", '""'],
    "userId": [
        '"2147483647"',
        '"2147483648"',
        '"10000000000"',
        '"0"',
        '"08"',
        '"٨"',
        '""',
        "8",
        "8.5",
    ],
    "itemInSession": ["2147483647", "2147483648", "-2147483649", "null", "1.0", '"1"'],
    "status": ["200", "2147483648", "null", "404.0", '"404"', "{}"],
    "registration": ["946684799999", "946684800000", "1540919166796.5", "NaN", '""', "null"]
    + ["253402300799999.0", "253402300799999.5", "253402300800000", "0"],
    "level": [f'"{"é" * 256}"', f'"{"é" * 257}"', '"\\u0000"', "null"],
    "song_id": [f'"{"S" * 256}"', f'"{"S" * 257}"', f'"{"é" * 256}"', '""', "null", '"\\u0000"'],
    "artist_id": [f'"{"🎵" * 256}"', f'"{"é" * 257}"', '""', "null", '"\\u0000"'],
}
BASES = {
    "song": [song(), song(song_id="SO2", artist_id="AR2", year=0), song(artist_location=None)],
    "log": [
        event(),
        event(ts=1, sessionId=8),
        event(ts=2, song=None, artist=None, length=None),
        event(page="Home", userId="", level=None, sessionId=None, length=None),
        event(page="Home", userId="", level=None, song=None, length=None, status=404),
        event(page="Logout", ts=3, method="GET"),
        event(ts=4, location=None, city="Reno", state="NV", length=None, duration=1.5),
    ],
}

places = st.integers(0, 1000)
values = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.sampled_from(OTHERS),
    st.text(max_size=5).map(json.dumps),
    st.integers().map(str),
    st.floats().map(json.dumps),
)
changes = st.tuples(
    st.sampled_from(["set", "set", "add", "drop"]),
    places,
    st.one_of(places, st.sampled_from(ODD_NAMES)),
    values,
)
edges = {
    kind: st.sampled_from(
        [
            ("put", 0, name, value)
            for name in FIELDS[kind]
            for value in EDGES.get(name, EDGES[FIELDS[kind][name]])
        ]
    )
    for kind in FIELDS
}
damages = st.one_of(
    st.tuples(st.just("insert"), places, st.sampled_from(TOKENS)),
    st.tuples(st.just("overwrite"), places, st.binary(min_size=1, max_size=2)),
    st.tuples(st.just("flip"), places, st.integers(0, 7)),
    st.tuples(st.just("delete"), places, st.sampled_from([1, 2, 5, 50, 1000])),
    st.tuples(st.just("repeat"), places, st.integers(1, 50)),
)
seldom = st.sampled_from([0, 1, 1, 1, 2, 3])
blanks = st.sampled_from([" ", " ", "", "\t", "\r"])
line_ends = st.sampled_from([b"\n"] * 8 + [b"\r\n", b"\n\n", b" \n\t", b"\r", b"", b"\n \r\n"])


@st.composite
def lines(draw, kind):
    """A record as a line, as it is or with changes to its fields or damage to its bytes."""
    fields = [(json.dumps(k), json.dumps(v)) for k, v in draw(st.sampled_from(BASES[kind])).items()]
    for _ in range(draw(seldom)):
        change(fields, KNOWN[kind], *draw(st.one_of(changes, edges[kind])))
    blank = draw(blanks)
    text = "{" + f",{blank}".join(f"{name}:{blank}{value}" for name, value in fields) + "}"
    return draw_damage(draw, text.encode(), max(draw(seldom) - 1, 0))


def change(fields, known, how, place, name, value):
    """Change one field of a list of (name, value), both as JSON."""
    name = json.dumps(known[name % len(known)]) if isinstance(name, int) else f'"{name}"'
    place = place % (len(fields) or 1)
    if how == "put":
        fields[:] = [*(field for field in fields if field[0] != name), (name, value)]
    elif how == "set" and fields:
        fields[place] = fields[place][0], value
    elif how == "drop":
        del fields[place : place + 1]
    else:
        fields.insert(place, (name, value))


def draw_damage(draw, data, times):
    for _ in range(times):
        data = damage(bytearray(data), *draw(damages))
    return data


def damage(data, how, place, what):
    """Return bytes with one thing done to them."""
    place = place * len(data) // 1000
    if how == "insert":
        data[place:place] = what
    elif how == "overwrite":
        data[place : place + len(what)] = what
    elif how == "flip" and place < len(data):
        data[place] ^= 1 << what
    elif how == "delete":
        del data[place : place + what]
    elif how == "repeat":
        data[place:place] = data[max(place - what, 0) : place]
    return bytes(data)


@st.composite
def files(draw, kind):
    """The bytes of a file of some lines, with all kinds of line ends and damage done to it."""
    parts = [draw(st.sampled_from([b"", b"", b"", codecs.BOM_UTF8, b"\n", b" "]))]
    for line in draw(st.lists(lines(kind), max_size=12)):
        parts += [line, draw(line_ends)]
    return draw_damage(draw, b"".join(parts), max(draw(seldom) - 1, 0))


# The oracle

FIRST_MOMENT, LAST_MOMENT = (
    round(datetime(*moment, tzinfo=UTC).timestamp()) * 1000
    for moment in [(2000, 1, 1), (9999, 12, 31, 23, 59, 59)]
)
LAST_MOMENT += 999


class Members(list):
    """The members of a JSON object as pairs, in order and with those that are given twice."""


class Number(str):
    """A number of JSON, as it is written."""


def lines_of(content):
    """Return the lines of a file that are not blank, with their numbers; of a document, its values.

    Where those begin and end is tested in test_forms.py.
    """
    text = raw.find_form(content.removeprefix(codecs.BOM_UTF8), len(content))
    if isinstance(text, OSError):
        return []
    if isinstance(text, raw.Document):
        return raw.split_document(text)
    lines = enumerate((line.strip(b" \t\r\n") for line in text.split(b"\n")), 1)
    return [(number, line) for number, line in lines if line]


def is_refused(content, kind, block_bytes):
    """Tell whether a file is refused as a whole; None where that isn't sure.

    It isn't where its first part alone decides, or a line that isn't sure either.
    """
    text = raw.find_form(content.removeprefix(codecs.BOM_UTF8), len(content))
    if isinstance(text, OSError):
        return True
    lines = [line for _, line in lines_of(content)]
    fates = [expect(line, kind) for line in lines]
    is_in_parts = len(content) > block_bytes and not isinstance(text, raw.Document)
    if is_in_parts or not all(is_sure for _, is_sure in fates):
        return None
    if len({number for number, _ in lines_of(content)}) < 2 or any(record for record, _ in fates):
        return False
    if all(is_pageless(line, kind) for line in lines):
        return True
    return b"\0" in content and not any(is_object(line) for line in lines)


def is_object(line):
    with contextlib.suppress(ValueError):
        parse(line.decode())
        return True
    return False


def is_pageless(line, kind):
    """Tell whether a line is a log's and an object that lacks nothing but a page, or more."""
    try:
        return kind == "log" and pick_loaded(parse(line.decode()), kind)["page"] is None
    except ValueError:
        return False


def expect(line, kind):
    """Return what a line loads, None if it is to be set aside; and whether that's sure.

    It isn't where the line is JSON but for Inf or -NaN, which the fast parser lets pass, unless
    something else keeps it from reading the line.
    """
    is_sure = True
    try:
        members = parse(line.decode())
    except ValueError:
        is_sure = False
        try:
            members = parse(spell_constants(line.decode()))
        except ValueError:
            return None, True
    try:
        record = pick_loaded(members, kind)
    except ValueError:
        return None, is_sure
    good = is_good_song(record) if kind == "song" else is_good_event(record)
    return record if good else None, is_sure


def parse(text):
    """Return the members of the one object that a line must be."""
    members = json.loads(
        text,
        object_pairs_hook=Members,
        parse_int=Number,
        parse_float=Number,
        parse_constant=lambda name: None if name == "NaN" else float(name),
    )
    if not isinstance(members, Members):
        raise ValueError("no object")
    return members


def spell_constants(text):
    """Return JSON with what it has beside numbers, by mistake, as Python's json module spells it.

    NaN and the like are no JSON, but the parser lets them pass, where they count for nothing.
    """
    spelt = {"-NaN": "NaN", "Inf": "Infinity"}
    pattern = r'"(?:[^"\\]|\\.)*"|-NaN|Inf(?!inity)'
    return re.sub(pattern, lambda found: spelt.get(found[0], found[0]), text, flags=re.DOTALL)


def pick_loaded(members, kind):
    """Return the fields that are loaded, with those that stand for others in their place.

    Raises ValueError where one has a wrong type or is given twice.
    """
    given = dict(members)
    names = dict.fromkeys(FIELDS[kind])
    if kind == "log":
        for name in NOT_LOADED[given.get("page") == "NextSong"]:
            del names[name]
        if given.get("length") is not None:
            names.pop("duration", None)
        if given.get("location") is not None:
            del names["city"], names["state"]
    if any(sum(name == other for other, _ in members) > 1 for name in names):
        raise ValueError("given twice")
    record = {name: convert(name, given.get(name), FIELDS[kind][name]) for name in names}
    if kind == "log":
        duration, *place = (record.pop(name, None) for name in ("duration", "city", "state"))
        if "length" in record and record["length"] is None:
            record["length"] = duration
        if record["location"] is None and any(part is not None for part in place):
            record["location"] = ", ".join(part for part in place if part is not None)
    return record


def convert(name, value, wanted):
    """Return a value as the wanted type. Raises ValueError where it has another one."""
    if value is None:
        return None
    if wanted is str:
        if not isinstance(value, str):
            raise ValueError("no text")
        value.encode()  # fails for half a surrogate pair
        if name == "userId" and type(value) is Number and Fraction(value).denominator == 1:
            return str(Fraction(value))
        return str(value)
    if wanted is float and type(value) in (Number, float):
        return float(value)
    if type(value) is not Number:
        raise ValueError("no number")
    number = Fraction(value)
    if number.denominator > 1 or not -(2**63) <= number < 2**63:
        raise ValueError("no whole number that can be held")
    return int(number)


def is_good_song(record):
    required = ("song_id", "artist_id", "artist_name", "title", "duration")
    return (
        all(record[name] is not None for name in required)
        and all(1 <= len(record[name]) <= 256 for name in ("song_id", "artist_id"))
        and -(2**31) <= (record["year"] or 0) < 2**31
        and has_single_precision(record["duration"])
        and all(map(can_be_stored, record.values()))
    )


def is_good_event(record):
    if record["page"] is None or record["sessionId"] is None or record["ts"] is None:
        return False
    if not FIRST_MOMENT <= record["ts"] <= LAST_MOMENT:
        return False
    is_good = is_good_play if record["page"] == "NextSong" else is_good_view
    return is_good(record) and all(map(can_be_stored, record.values()))


def is_good_play(record):
    return (
        is_user(record["userId"])
        and record["level"] is not None
        and len(record["level"]) <= 256
        and has_single_precision(record["length"])
    )


def is_good_view(record):
    return (
        (not record["userId"] or is_user(record["userId"]))
        and len(record["page"]) <= 256
        and all(-(2**31) <= (record[name] or 0) < 2**31 for name in ("itemInSession", "status"))
        and (record["registration"] is None or is_moment(record["registration"]))
    )


def is_moment(ms):
    return FIRST_MOMENT <= ms <= LAST_MOMENT and ms == int(ms)


def is_user(text):
    return re.fullmatch("0|[1-9][0-9]{0,9}", text or "") is not None and int(text) < 2**31


def has_single_precision(seconds):
    return not seconds or 1e-30 <= abs(seconds) <= 1e30


def can_be_stored(value):
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, str) or "\0" not in value


# What must hold


def read(kind, paths, encode=False, block_bytes=blocks.BLOCK_BYTES):
    """Return the good records and the rejects of files, by path, and the paths that are refused."""
    records, rejects, refused = defaultdict(list), defaultdict(list), set()
    found = [listed(kind, path) for path in paths]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", block_bytes)
        frames = keep_frames(patch)
        target, catalogue = (TABLE, CATALOGUE_SCHEMA.empty_table()) if encode else (None, None)
        for block in blocks.read_blocks(found, target, catalogue):
            for row in list_records(frames.pop()):
                records[block.outcomes[row.pop("piece")].file.uri].append(row)
            for outcome in block.outcomes:
                rejects[outcome.file.uri] += outcome.rejects
                refused |= {outcome.file.uri} if outcome.error else set()
    return records, rejects, refused


def keep_frames(patch):
    """Return a list to which each frame of good records is added when it has been extracted."""
    frames = []
    extract_before = blocks.extract

    def extract_and_keep(texts, kind):
        frame, faults = extract_before(texts, kind)
        frames.append(frame)
        return frame, faults

    patch.setattr(blocks, "extract", extract_and_keep)
    return frames


def list_records(frame):
    return transform.pa.Table.from_pandas(frame, preserve_index=False).to_pylist()


def assert_as_expected(content, kind, path, records, rejects):
    """Check that each line of a file is a record or a reject, as the oracle says.

    Values that begin in the same line are one reject, an array.
    """
    records = list(records)
    aside = {r.line: r.text.encode(errors="surrogateescape") for r in rejects}
    assert (len(aside), {r.file for r in rejects}) in ((0, set()), (len(rejects), {path}))
    for number, group in itertools.groupby(lines_of(content), key=itemgetter(0)):
        bad = []
        for _, line in group:
            wanted, is_sure = expect(line, kind)
            if wanted is None or not is_sure and line in aside.get(number, b""):
                bad.append(line)
            else:
                record = records.pop(0)
                assert {name: record[name] for name in wanted} == wanted
        if bad:
            joined = bad[0] if len(bad) == 1 else b"[" + b",".join(sorted(bad)) + b"]"
            assert aside.pop(number) == joined
    assert (records, aside) == ([], {})


block_sizes = st.sampled_from([blocks.BLOCK_BYTES] * 4 + [200, 1000])


@pytest.mark.parametrize("kind", ["song", "log"])
@given(data=st.data())
def test_each_line_is_a_record_or_is_set_aside_as_the_rules_say(tmp_path, kind, data):
    contents = data.draw(st.lists(files(kind), min_size=1, max_size=3))
    paths = [write_lines(tmp_path / f"{n}.json", [content]) for n, content in enumerate(contents)]
    block_bytes = data.draw(block_sizes)
    records, rejects, refused = read(kind, paths, data.draw(st.booleans()), block_bytes)
    for path, content in zip(paths, contents, strict=True):
        note(f"{content!r}")
        assert is_refused(content, kind, block_bytes) in (path in refused, None)
        if path not in refused:
            assert_as_expected(content, kind, path, records[path], rejects[path])


def load_all(cur, conn, paths, loader):
    """Load files {kind: paths} by a loader; return the tables, the rejects and what is refused."""
    try:
        run = load_paths(cur, conn, paths, loader)
        tables = read_tables(cur)
        cur.execute("SELECT uri, line, reason, text FROM rejected_lines ORDER BY uri, line")
        return tables, [(*row, bytes(text)) for *row, text in cur], run.left_out
    finally:
        conn.rollback()
        cur.execute(f"TRUNCATE {', '.join(table_names)}")
        conn.commit()


def load_in_every_way(cur, conn, paths, block_bytes):
    """Yield what load_all returns: by rows, by COPY into empty tables, and by staging tables."""
    for loader, is_direct in (("rows", True), ("copy", True), ("copy", False)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blocks, "BLOCK_BYTES", block_bytes)
            if not is_direct:
                patch.setattr(by_copy, "drop_constraints", lambda cur: [])
            yield load_all(cur, conn, paths, loader)


def keys_of(tables):
    """Return the keys of the songs, those of the plays without their time, and the pages."""
    plays = {(user, session) for _, user, *_, session, _, _, _ in tables["songplays"]}
    views = {(user, session, page) for _, user, session, _, page, *_ in tables["page_views"]}
    return {row[0] for row in tables["songs"]}, plays, views


def expected_keys(contents, rejects, refused):
    """Return what keys_of must return, by the oracle; it may be unsure of what is no reject."""
    songs, plays, views = set(), set(), set()
    for kind, path, content in contents:
        aside = {number: text for file, number, _, text in rejects if file == path}
        for number, line in [] if path in refused else lines_of(content):
            record, is_sure = expect(line, kind)
            is_aside = line in aside.get(number, b"")
            assert not is_sure or is_aside == (record is None), (number, line)
            if is_aside:
                continue
            if kind == "song":
                songs.add(record["song_id"])
            elif record["page"] == "NextSong":
                plays.add((int(record["userId"]), record["sessionId"]))
            else:
                user = int(record["userId"]) if record["userId"] else None
                views.add((user, record["sessionId"], record["page"]))
    return songs, plays, views


@settings(max_examples=settings().max_examples // 5)  # each is loaded three times
@given(data=st.data())
def test_what_is_loaded_is_the_same_by_rows_and_by_copy(conn, cur, tmp_path, data):
    contents = []
    for number, kind in enumerate(["song", "song", "log", "log"]):
        content = data.draw(files(kind))
        note(f"{kind}: {content!r}")
        path = write_lines(tmp_path / f"{number}.json", [content])
        contents.append((kind, path, content))
    paths = {kind: [p for k, p, _ in contents if k == kind] for kind in ("song", "log")}
    block_bytes = data.draw(block_sizes)
    by_rows, *others = load_in_every_way(cur, conn, paths, block_bytes)
    assert keys_of(by_rows[0]) == expected_keys(contents, *by_rows[1:])
    for other in others:
        assert other == by_rows


# What has been found, or might have been


def read_one(tmp_path, kind, content):
    """Read a file, check it by the oracle, and return the numbers of the lines set aside."""
    path = write_lines(tmp_path / "file.json", [content])
    records, rejects, _ = read(kind, [path], encode=True)
    assert_as_expected(content, kind, path, records[path], rejects[path])
    return [reject.line for reject in rejects[path]]


def with_member(member, **changes):
    """Return an event as a line that has one more member, given as JSON."""
    return json.dumps(event(**changes)).encode()[:-1] + b", " + member + b"}"


PLAY = json.dumps(event()).encode()


@pytest.mark.parametrize("end", [b"\0}", b"\0", b"\0{}", b"\0 }", b" \0}", b"\x1a}"])
def test_what_follows_the_object_is_not_passed_over(tmp_path, end):
    assert read_one(tmp_path, "log", PLAY + end) == [1]


def test_two_objects_on_a_line_do_not_take_the_place_of_the_next_one(tmp_path):
    lines = [PLAY + PLAY + b"\0}", PLAY, PLAY + PLAY, b"\0}", PLAY]
    assert read_one(tmp_path, "log", b"\n".join(lines)) == [1, 3, 4]


def test_two_objects_on_a_line_do_not_make_up_for_one_on_two(tmp_path):
    cut = PLAY.replace(b", ", b",\n", 1)
    assert read_one(tmp_path, "log", b"\n".join([PLAY, cut, PLAY + PLAY])) == [2, 3, 4]
    assert read_one(tmp_path, "log", b"\n".join([PLAY + PLAY, PLAY, cut])) == [1, 3, 4]


def test_an_object_cut_in_two_among_lines_is_set_aside_as_two_lines(tmp_path):
    cut = PLAY.replace(b", ", b",\n", 1)
    assert read_one(tmp_path, "log", b"\n".join([PLAY, cut, PLAY])) == [2, 3]


@pytest.mark.parametrize("member", [b'"x": "\\udc00"', b'"\\ud800": 1', b'"x": [{"\\udfff": 1}]'])
def test_half_a_surrogate_pair_does_no_harm_in_a_field_that_is_passed_over(tmp_path, member):
    assert read_one(tmp_path, "log", with_member(member) + b"\n" + PLAY) == []


def test_half_a_surrogate_pair_is_no_text_in_a_field_that_is_loaded(tmp_path):
    play = PLAY.replace(b"Slow River", b"Slow\\udc00River")
    assert read_one(tmp_path, "log", play + b"\n" + PLAY) == [1]


@pytest.mark.parametrize("start, end", [(b"[", b"]"), (b'{"a": ', b"}")])
def test_however_deep_a_field_that_is_passed_over_it_does_no_harm(tmp_path, start, end):
    member = b'"x": ' + start * 100_000 + b"1" + end * 100_000
    path = write_lines(tmp_path / "log.json", [with_member(member), PLAY, b'{"x": ' + start * 9999])
    records, [reject] = (found[path] for found in read("log", [path])[:2])
    assert (len(records), reject.line) == (2, 3)


@pytest.mark.parametrize("member", [b'"ts": 1', b'"ts": null', b'"\\u0074s": 2', b'"song": null'])
def test_a_field_given_twice_is_not_chosen_from(tmp_path, member):
    assert read_one(tmp_path, "log", with_member(member)) == [1]


@pytest.mark.parametrize("member", [b'"x": 1, "x": ""', b'"x": {"ts": 1, "ts": ""}', b'"TS": ""'])
def test_a_field_that_is_passed_over_may_be_given_twice(tmp_path, member):
    assert read_one(tmp_path, "log", with_member(member)) == []


def test_a_byte_order_mark_counts_at_the_start_alone(tmp_path):
    mark = codecs.BOM_UTF8
    assert read_one(tmp_path, "log", mark + PLAY + b"\n" + mark + PLAY + b"\n" + PLAY) == [2]
    assert read_one(tmp_path, "log", mark + mark + PLAY) == [1]
