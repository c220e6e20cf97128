"""Lines to typed records: what is kept exactly as it is, and what is set aside and why."""

import json

import pyarrow as pa
import pytest
from records import clock, event, read_records, song, to_bytes, write_lines

from sparkify.read import extract, fields


def read_log(tmp_path, lines):
    return read_records(write_lines(tmp_path / "log.json", lines), "log")


def expected(record, kind):
    schema = {"song": fields.SONG_SCHEMA, "log": fields.LOG_SCHEMA}[kind]
    return {name: record.get(name) for name in schema.names}


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


@pytest.mark.parametrize("number", [0, -1.5, 218.93179, 1e-30, 5, 0.1 + 0.2, 1e22, -1e30])
def test_numbers_stay_as_they_are(tmp_path, number):
    assert read_log(tmp_path, [event(length=number)])[0][0]["length"] == number


def test_what_a_line_lacks_is_null(tmp_path):
    bare = {name: event()[name] for name in ("page", "ts", "userId", "sessionId", "level")}
    assert read_log(tmp_path, [bare]) == ([expected(bare, "log")], [])


@pytest.mark.parametrize(
    "value", ['{"deep": [1, null]}', '"x"', "1e999", "0e999", '"\\ud800"', "NaN", "[" * 9 + "]" * 9]
)
def test_what_is_in_fields_that_are_not_loaded_does_no_harm(tmp_path, value):
    lines = [f'{{"success": {value}, "x": {value}, {json.dumps(event())[1:]}', event(ts=1)]
    assert read_log(tmp_path, lines) == ([expected(event(), "log"), expected(lines[1], "log")], [])


def test_what_only_plays_need_may_be_anything_in_a_page_view(tmp_path):
    odd = {"song": ["x"], "artist": True, "length": "218", "duration": "\ud800"}
    nothing = dict.fromkeys(odd)
    records, rejects = read_log(
        tmp_path, [event(page="Home", **odd), event(**odd), event(page="A")]
    )
    views = [event(page="Home") | nothing, event(page="A")]
    assert records == [expected(view, "log") for view in views]
    assert [reject.line for reject in rejects] == [2]


@pytest.mark.parametrize(
    ("text", "number"),
    [("139.0", 139), ("1.39e2", 139), ("0.0139E+4", 139), ("-0.0", 0), ("0e9", 0)],
)
def test_a_whole_number_is_one_however_it_is_written(tmp_path, text, number):
    lines = [json.dumps(event(sessionId="#", status="#")).replace('"#"', text), event()]
    assert read_log(tmp_path, lines) == (
        [expected(event(sessionId=number, status=number), "log"), expected(event(), "log")],
        [],
    )


def test_whole_numbers_beyond_double_precision_stay_exact(tmp_path):
    line = json.dumps(event(sessionId="#")).replace('"#"', f"{2**63 - 1}.0")
    assert read_log(tmp_path, [line]) == ([expected(event(sessionId=2**63 - 1), "log")], [])


@pytest.mark.parametrize("text", ["311", "4.6", "4.60", "1e3", "-0", "-0.0", "9" * 400])
def test_a_number_in_a_text_field_is_its_text_as_written(tmp_path, text):
    odd = {"title": text, "artist_name": text, "artist_location": text}
    line = json.dumps(song(**dict.fromkeys(odd, "#"))).replace('"#"', text)
    path = write_lines(tmp_path / "song.json", [song(), line])
    assert read_records(path, "song") == ([expected(song(), "song"), song_of(odd)], [])


def song_of(changes):
    return expected(song(**changes), "song")


@pytest.mark.parametrize("user", ["8", "8.0", "8e0", '"8"'])
@pytest.mark.parametrize("nobody", ["", '"userId": null, ', '"userId": "", '])
def test_a_user_is_the_same_one_as_number_and_as_text(tmp_path, user, nobody):
    play = json.dumps(event()).replace('"userId": "8"', f'"userId": {user}')
    home = event(page="Home")
    del home["userId"]
    records, rejects = read_log(tmp_path, [play, "{" + nobody + json.dumps(home)[1:]])
    home["userId"] = "" if nobody.count('"') == 4 else None
    assert (records, rejects) == ([expected(event(), "log"), expected(home, "log")], [])


LATE = event(song="Late", length=1e-30, tag=None)


@pytest.mark.parametrize(
    "late",
    [
        json.dumps(LATE),
        json.dumps(LATE).replace('"song"', '"s\\u006fng"'),
        json.dumps(LATE | {"unknown": [{"deep": 1}]}),
        json.dumps(LATE) + " " * (1 << 20),
        json.dumps(LATE).replace('"8"', '["8"]'),
        json.dumps(LATE).replace("{", "{" + '"a": ' + '{"a":' * 2000 + "1" + "}" * 2000 + ", "),
    ],
    ids=["ours", "escaped", "unknown", "long", "wrong type", "nested"],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_long_text_is_read_whole_whatever_its_first_lines_have(
    tmp_path, monkeypatch, late, place
):
    bare = {name: event()[name] for name in ("page", "ts", "userId", "sessionId", "level")}
    lines = [bare, bare]
    lines.insert(2 * place, late)
    monkeypatch.setattr(extract, "SAMPLED_BYTES", 1 << 62)
    whole = read_log(tmp_path, lines)
    monkeypatch.setattr(extract, "SAMPLED_BYTES", len(to_bytes(lines[0])) + 2)
    assert read_log(tmp_path, lines) == whole
    assert len(whole[0]) == 3 - len(whole[1])
    if '["8"]' not in late:
        assert whole[0][2 * place]["song"] == "Late"


def test_nan_is_what_is_unknown(tmp_path):
    nan = float("nan")
    odd = song(artist_latitude=nan, artist_longitude=nan, artist_location=nan, year=nan)
    path = write_lines(tmp_path / "song.json", [odd])
    nothing = dict.fromkeys(name for name in odd if odd[name] is nan)
    assert read_records(path, "song") == ([song_of(nothing)], [])
    events = [event(length=nan), event(length=nan, song=nan, duration=3.5)]
    known = [event(length=None), event(length=3.5, song=None)]
    assert read_log(tmp_path, events) == ([expected(e, "log") for e in known], [])


def test_other_names_stand_for_fields_that_a_log_lacks(tmp_path):
    fork = event(
        length=None, location=None, duration=277.15872, city="Reno", state="NV", zip="89501"
    )
    both = event(duration="3:20", city=["Reno"], state=True)
    lines = [fork, event(location=None, city="Reno"), event(location=None, state="NV"), both]
    records, rejects = read_log(tmp_path, lines)
    assert rejects == []
    assert [(record["length"], record["location"]) for record in records] == [
        (277.15872, "Reno, NV"),
        (event()["length"], "Reno"),
        (event()["length"], "NV"),
        (event()["length"], event()["location"]),
    ]


@pytest.mark.parametrize("kind", ["odd", "broken"])
def test_a_line_is_read_alike_whatever_its_neighbours_are(tmp_path, kind):
    lines = [event(ts=n, userId=n if n % 7 else str(n), status=200.0) for n in range(250)]
    lines[123] = {"odd": event(page="Home", song=True, ts=123), "broken": "{"}[kind]
    together, rejects = read_log(tmp_path, lines)
    assert [reject.line for reject in rejects] == [124] * (kind == "broken")
    for place in (0, 1, 122, 123, 124, 249):
        alone, _ = read_log(tmp_path, [lines[place]])
        assert alone == [record for record in together if record["ts"] == clock(place)]


@pytest.mark.parametrize(
    "odd", [{"itemInSession": "x"}, {"status": 2**70}, {"method": True}, {"auth": ["x"]}]
)
def test_what_only_page_views_need_may_be_anything_in_a_play(tmp_path, odd):
    nothing = dict.fromkeys(odd)
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
        ({"status": 404.5}, "status: whole number expected, 404.5 found"),
        ({"registration": "1540919166796"}, "registration: number expected, string found"),
        ({"registration": 1540919166796.5}, "registration is no whole number"),
        ({"registration": 1540919166}, "registration is out of range"),
        ({"registration": extract.LAST_MS + 1}, "registration is out of range"),
        ({"tag": ["A"]}, "tag: string expected, array found"),
        *(
            ({name: "a\0"}, f"{name} holds the character U+0000, which Postgres can't store")
            for name in (
                "page",
                "method",
                "auth",
                "level",
                "location",
                "userAgent",
                "lastName",
                "tag",
            )
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


WHOLE = "ts: whole number expected, {} found"
BAD_LINES = [
    ('{"artist": "x", "so', "broken JSON in column 17: Unterminated string starting at"),
    ('{"artist": "x"', "broken JSON in column 15: Expecting ',' delimiter"),
    ('{"a": 1, "b": }', "broken JSON in column 15: Expecting value"),
    ('{"é": NaN 1}', "broken JSON in column 11: Expecting ',' delimiter"),
    ('{"a": "x}', "broken JSON in column 7: Unterminated string starting at"),
    ('{"a": "tab\there"}', "broken JSON in column 11: Invalid control character at"),
    ('{"a": 1} x', "broken JSON in column 9: the object has ended"),
    ("bad", "broken JSON in column 1: Expecting value"),
    ("[" * 100_000, "JSON that is nested too deeply"),
    (event(song="\ud800"), "song holds half a surrogate pair, which is no character"),
    ("[1]", "no JSON object"),
    ("null", "no JSON object"),
    ('"text"', "no JSON object"),
    ("1" * 5000, "no JSON object"),
    ("{}{}", "broken JSON in column 3: the object has ended"),
    ("{} null {}", "broken JSON in column 3: the object has ended"),
    ("\x00", "broken JSON in column 1: Expecting value"),
    (b'{"a": "\xff"}', "not UTF-8"),
    (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
    ("{}", "page is missing"),
    (event(page=None), "page is missing"),
    (event(ts=None), "ts is missing"),
    (event(ts=None, page="Home"), "ts is missing"),
    (event(ts=-1), extract.EARLY),
    (event(ts=extract.FIRST_MS - 1), extract.EARLY),
    (event(ts=1541106106, page="Home"), extract.EARLY),
    (event(ts=extract.LAST_MS + 1), extract.LATE),
    (event(ts=1541106106796000), extract.LATE),
    (event(ts="1541106106796"), "ts: number expected, string found"),
    (event(ts=1541106106796.5), "ts: whole number expected, 1541106106796.5 found"),
    ('{"ts": 1541106106796.00000000000000000001}', WHOLE.format("1541106106796.0000000000000000")),
    ('{"ts": 1e-999999999}', WHOLE.format("1e-999999999")),
    *((f'{{"ts": {n}}}', "ts is out of range") for n in (2**63, "1e999999999", "-1E" + "9" * 30)),
    (event(ts=True), "ts: number expected, boolean found"),
    (event(userId=None), "userId is missing"),
    (event(userId=""), "userId is missing"),
    (event(userId=8.5), "userId is no whole number"),
    (event(userId=-8), "userId is no whole number"),
    (event(userId="8.0"), "userId is no whole number"),
    (event(userId=2147483648), "userId is out of range"),
    (event(userId=10**25), "userId is out of range"),
    (event(userId=True), "userId: string expected, boolean found"),
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
    *((event(length=number), "length is out of range") for number in (9e-31, -1.1e30, 5e-324)),
    (event(length=None, duration="218.9"), "duration: number expected, string found"),
    (event(location=None, city="Reno", state=[]), "state: string expected, array found"),
    ('{"page": "NextSong", "ts": 1, "ts": 2}', "ts is given twice"),
    (json.dumps(event(length=float("inf"))), "length is no finite number"),
    (json.dumps(event()).replace("218.93179", "1e999"), "length is no finite number"),
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
    (song(year=1999.5), "year: whole number expected, 1999.5 found"),
    (song(year=True), "year: number expected, boolean found"),
    (song(title=["x"]), "title: string expected, array found"),
    (song(duration=1e-31), "duration is out of range"),
    (song(duration=float("nan")), "duration is missing"),
    (song(duration="218"), "duration: number expected, string found"),
    (song(title="\0"), "title holds the character U+0000, which Postgres can't store"),
    (json.dumps(song(artist_latitude=float("inf"))), "artist_latitude is no finite number"),
]


@pytest.mark.parametrize(("record", "reason"), BAD_SONGS)
def test_a_bad_song_is_set_aside(tmp_path, record, reason):
    records, [reject] = read_records(write_lines(tmp_path / "song.json", [record, song()]), "song")
    assert (records, reject.line, reject.reason) == ([expected(song(), "song")], 1, reason)


def test_only_plays_need_a_user_and_a_level(tmp_path):
    home = event(page="Home", userId="", level=None, status=None, song="\0", artist="\0")
    assert read_log(tmp_path, [home]) == ([expected(home, "log")], [])


def test_all_bad_lines_of_a_file_are_found(tmp_path):
    lines = ["bad" if number % 3 else event(ts=number) for number in range(200)]
    records, rejects = read_log(tmp_path, lines)
    assert [record["ts"] for record in records] == [event(ts=n)["ts"] for n in range(0, 200, 3)]
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
