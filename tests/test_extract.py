"""Lines to typed records: what is kept exactly as it is, and what is set aside and why."""

import json

import pyarrow as pa
import pytest
from records import event, read_records, song, to_bytes, write_lines

from sparkify import extract


def read_log(tmp_path, lines):
    return read_records(write_lines(tmp_path / "log.json", lines), "log")


def expected(record, kind):
    return {name: record.get(name) for name in extract.SCHEMAS[kind].names}


@pytest.mark.parametrize(
    "text",
    [
        "007",
        "1e5",
        "2018-11-01",
        "NaN",
        "NULL",
        "null",
        "true",
        "-0",
        "",
        " ",
        "\\",
        '"',
        "\\N",
        "{}",
    ]
    + ["Björk 🎵", "a\tb\nc", "\\u0000 spelt out", "}\n{", "\u2028", "x" * 100_000],
)
def test_text_stays_as_it_is(tmp_path, text):
    logged = event(song=text, artist=text, location=text, firstName=text)
    catalogued = song(title=text, artist_name=text, artist_location=text)
    assert read_log(tmp_path, [logged]) == ([expected(logged, "log")], [])
    path = write_lines(tmp_path / "song.json", [catalogued])
    assert read_records(path, "song") == ([expected(catalogued, "song")], [])


@pytest.mark.parametrize("number", [0, -1.5, 218.93179, 1e-300, 5, 0.1 + 0.2, 1e22])
def test_numbers_stay_as_they_are(tmp_path, number):
    assert read_log(tmp_path, [event(length=number)])[0][0]["length"] == number


def test_what_a_line_lacks_is_null(tmp_path):
    bare = {name: event()[name] for name in ("page", "ts", "userId", "sessionId", "level")}
    assert read_log(tmp_path, [bare]) == ([expected(bare, "log")], [])


def test_unknown_fields_are_passed_over(tmp_path):
    records, rejects = read_log(tmp_path, [event(more={"deep": [1, None]}, registration="x")])
    assert (records, rejects) == ([expected(event(), "log")], [])


@pytest.mark.parametrize(
    "odd", [{"itemInSession": "x"}, {"status": 2**70}, {"method": 1}, {"auth": ["x"]}]
)
def test_what_only_page_views_need_may_be_anything_in_a_play(tmp_path, odd):
    nothing = dict.fromkeys(["auth", "itemInSession", "method", "status"])
    lines = [event(ts=1), event(**odd), event(page="Home", **odd), "bad", event(ts=2)]
    records, rejects = read_log(tmp_path, lines)
    assert records == [
        expected(event(ts=1), "log"),
        expected(event(**nothing), "log"),
        expected(event(ts=2), "log"),
    ]
    assert [reject.line for reject in rejects] == [3, 4]


def test_a_play_may_have_values_that_no_page_view_may_have(tmp_path):
    plays = [event(status=2**40), event(itemInSession=-(2**40)), event(method="\0", auth="\0")]
    assert read_log(tmp_path, plays) == ([expected(play, "log") for play in plays], [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"userId": "08"}, "userId is no whole number"),
        ({"userId": "2147483648"}, "userId is out of range"),
        ({"sessionId": None}, "sessionId is missing"),
        ({"page": "é" * 257}, "page is longer than 256 characters"),
        ({"itemInSession": 2**31}, "itemInSession is out of range"),
        ({"itemInSession": "1"}, "itemInSession: number expected, string found"),
        ({"status": -(2**31) - 1}, "status is out of range"),
        ({"status": 404.5}, "whole number expected, 404.5 found"),
        *(
            ({name: "a\0"}, f"{name} holds the character U+0000, which Postgres can't store")
            for name in ("page", "method", "auth", "level", "location", "userAgent")
        ),
    ],
)
def test_a_page_view_that_breaks_a_rule_is_set_aside(tmp_path, changes, reason):
    view = event(page="Home") | changes
    records, [reject] = read_log(tmp_path, [event(page="Help"), view, event()])
    assert records == [expected(event(page="Help"), "log"), expected(event(), "log")]
    assert (reject.line, reject.reason) == (2, reason)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf%s",
        b"%s\n",
        b"%s\r\n",
        b"\r\n%s\r\n\r\n",
        b"\n\n  %s \t\n",
    ],
)
def test_marks_and_line_ends_are_no_errors(tmp_path, content):
    path = tmp_path / "log.json"
    path.write_bytes(content % json.dumps(event()).encode())
    assert read_records(path, "log") == ([expected(event(), "log")], [])


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n \r\n", b"\xef\xbb\xbf"])
def test_files_without_a_line_are_no_errors(tmp_path, content):
    path = tmp_path / "log.json"
    path.write_bytes(content)
    assert read_records(path, "log") == ([], [])


BAD_LINES = [
    ('{"artist": "x", "so', "broken JSON in column 17: Unterminated string starting at"),
    ('{"artist": "x"', "broken JSON in column 15: Expecting ',' delimiter"),
    ('{"a": 1, "b": }', "broken JSON in column 15: Expecting value"),
    ('{"é": NaN 1}', "broken JSON in column 11: Expecting ',' delimiter"),
    ('{"a": "x}', "broken JSON in column 7: Unterminated string starting at"),
    ('{"a": "tab\there"}', "broken JSON in column 11: Invalid control character at"),
    ('{"a": 1} x', "broken JSON in column 10: Extra data"),
    ("bad", "broken JSON in column 1: Expecting value"),
    ("[" * 100_000, "no JSON object"),
    ('{"a": "\\ud800"}', "broken JSON: The surrogate pair in string is invalid"),
    ("[1]", "no JSON object"),
    ("null", "no JSON object"),
    ('"text"', "no JSON object"),
    ("1" * 5000, "no JSON object"),
    ("{}{}", "more than one JSON object"),
    ("{} null {}", "more than one JSON object"),
    ("\x00", "broken JSON in column 1: Expecting value"),
    (b'{"a": "\xff"}', "not UTF-8"),
    (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
    ("{}", "page is missing"),
    (event(page=None), "page is missing"),
    (event(ts=None), "ts is missing"),
    (event(ts=None, page="Home"), "ts is missing"),
    (event(ts=-1), "ts is not in the years 1970 to 9999"),
    (event(ts=extract.LAST_MS + 1), "ts is not in the years 1970 to 9999"),
    (event(ts="1541106106796"), "ts: number expected, string found"),
    (event(ts=1541106106796.5), "whole number expected, 1541106106796.5 found"),
    (event(ts=2**63), "whole number expected, 9223372036854775808 found"),
    (event(ts=True), "ts: number expected, boolean found"),
    (event(userId=None), "userId is missing"),
    (event(userId=""), "userId is missing"),
    (event(userId=8), "userId: string expected, number found"),
    (event(userId="eight"), "userId is no whole number"),
    (event(userId="08"), "userId is no whole number"),
    (event(userId="-8"), "userId is no whole number"),
    (event(userId="8 "), "userId is no whole number"),
    (event(userId="8\n"), "userId is no whole number"),
    (event(userId="٨"), "userId is no whole number"),
    (event(userId="2147483648"), "userId is out of range"),
    (event(userId="10000000000"), "userId is out of range"),
    (event(sessionId=None), "sessionId is missing"),
    (event(sessionId="7"), "sessionId: number expected, string found"),
    (event(level=None), "level is missing"),
    (event(level="é" * 257), "level is longer than 256 characters"),
    (event(song={"title": "x"}), "song: string expected, object found"),
    (event(song=["x"]), "song: string expected, array found"),
    (event(song="a\0b"), "song holds the character U+0000, which Postgres can't store"),
    (event(userAgent="\0"), "userAgent holds the character U+0000, which Postgres can't store"),
    (event(length="218.9"), "length: number expected, string found"),
    ('{"page": "NextSong", "ts": 1, "ts": 2}', "ts is given twice"),
    (json.dumps(event(length=float("nan"))), "length is no finite number"),
    (json.dumps(event(length=float("inf"))), "length is no finite number"),
    ('{"length": 1e999}', "broken JSON: Number too big to be stored in double"),
    ("\xa0{}", "broken JSON in column 1: Expecting value"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_a_bad_line_is_set_aside_and_its_neighbours_are_not(tmp_path, line, reason):
    first, last = event(), event(ts=1541106106797)
    records, [reject] = read_log(tmp_path, [first, "", line, last])
    assert records == [expected(first, "log"), expected(last, "log")]
    text = to_bytes(line).decode(errors="surrogateescape")
    assert reject == (str(tmp_path / "log.json"), 3, reason, text)


BAD_SONGS = [
    *[
        (song(**{name: None}), f"{name} is missing")
        for name in ("song_id", "artist_id", "artist_name", "title", "duration")
    ],
    (song(song_id=""), "song_id is empty"),
    (song(artist_id=""), "artist_id is empty"),
    (song(song_id="S" * 257), "song_id is longer than 256 characters"),
    (song(artist_id="A" * 257), "artist_id is longer than 256 characters"),
    (song(year=2**31), "year is out of range"),
    (song(year=1999.5), "whole number expected, 1999.5 found"),
    (song(duration="218"), "duration: number expected, string found"),
    (song(title="\0"), "title holds the character U+0000, which Postgres can't store"),
    (json.dumps(song(artist_latitude=float("inf"))), "artist_latitude is no finite number"),
]


@pytest.mark.parametrize(("record", "reason"), BAD_SONGS)
def test_a_bad_song_is_set_aside(tmp_path, record, reason):
    records, [reject] = read_records(write_lines(tmp_path / "song.json", [record, song()]), "song")
    assert (records, reject.line, reject.reason) == ([expected(song(), "song")], 1, reason)


def test_only_plays_need_a_user_and_a_level(tmp_path):
    home = event(page="Home", userId="", level=None, status=None, song="\0", firstName="\0")
    assert read_log(tmp_path, [home]) == ([expected(home, "log")], [])


def test_all_bad_lines_of_a_file_are_found(tmp_path):
    lines = ["bad" if number % 3 else event(ts=number) for number in range(200)]
    records, rejects = read_log(tmp_path, lines)
    assert [record["ts"] for record in records] == list(range(0, 200, 3))
    assert [reject.line for reject in rejects] == [n + 1 for n in range(200) if n % 3]


def test_a_file_may_hold_bad_lines_only(tmp_path):
    records, rejects = read_log(tmp_path, [event(ts=None), "bad", event(level=None)])
    assert records == []
    assert [reject.line for reject in rejects] == [1, 2, 3]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_u0000_is_found_wherever_it_is(place):
    chunks = [["a", "b"], [None], [], ["c"], ["dd", None, "e"]]
    column = pa.chunked_array(chunks, pa.string())
    assert not extract.holds_nul(column)
    chunks.insert(2 * place, ["x", "y\0"])
    assert extract.holds_nul(pa.chunked_array(chunks, pa.string()))
