"""Forms of files: documents are read whole, and what is no JSON is refused once, with the cure."""

import json

import pytest
from records import LOAD, clock, event, listed, read_records, read_tables, song, write_lines

from sparkify.read import blocks, raw
from sparkify.run.summary import Run

EVENTS = [event(ts=n, userId=n % 3, song="a\\b]{\u00e9") for n in range(20)]
TIMES = [clock(n) for n in range(20)]


def pretty(records, **options):
    return "\n".join(json.dumps(record, indent=2, **options) for record in records).encode()


ARRAY = b"[" + b",\n".join(json.dumps(e).encode() for e in EVENTS) + b"]"
DOCUMENTS = {
    "array": json.dumps(EVENTS).encode(),
    "array of lines": ARRAY,
    "commas first": ARRAY.replace(b",\n", b"\n,"),
    "pretty array": json.dumps(EVENTS, indent="\t", ensure_ascii=False).encode(),
    "pretty objects": b"\xef\xbb\xbf" + pretty(EVENTS, ensure_ascii=False) + b"\n",
    "Windows": pretty(EVENTS).replace(b"\n", b"\r\n"),
    "some pretty": b"\n\n" + pretty(EVENTS[:5]) + b"\n" + b"\n".join(ARRAY[1:-1].split(b",\n")[5:]),
    "not closed": ARRAY[:-1] + b",",
    "commas, but no array": ARRAY[1:-1] + b",\n",
    "joined": b"".join(ARRAY[1:-1].split(b",\n")),
    "joined, with an end of line": b"".join(ARRAY[1:-1].split(b",\n")) + b"\r\n",
}


@pytest.mark.parametrize("content", DOCUMENTS.values(), ids=DOCUMENTS)
@pytest.mark.parametrize("block_bytes", [blocks.BLOCK_BYTES, 4000])
def test_documents_are_read_whole(tmp_path, monkeypatch, content, block_bytes):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(raw, "HEAD_BYTES", 500)
    path = write_lines(tmp_path / "log.json", [content])
    records, rejects = read_records(path, "log")
    assert ([record["ts"] for record in records], rejects) == (TIMES, [])
    assert {record["song"] for record in records} == {EVENTS[0]["song"]}


def test_a_song_may_go_over_several_lines(tmp_path):
    path = write_lines(tmp_path / "song.json", [json.dumps(song(), indent=4)])
    [record], rejects = read_records(path, "song")
    assert (record["title"], rejects) == (song()["title"], [])


BROKEN = [
    (b'"level": "free"', b'"level": "free" "x"', "broken JSON in column"),
    (b'"level": "free"', b'"level": "fr\nee"', "broken JSON in column"),
    (b'"level": "free"', b'"level": null', "level is missing"),
]


@pytest.mark.parametrize(("old", "new", "reason"), BROKEN)
@pytest.mark.parametrize("place", [0, 19])
@pytest.mark.parametrize("is_array", [False, True])
def test_what_is_bad_in_a_document_is_set_aside_alone(tmp_path, old, new, reason, place, is_array):
    objects = [pretty([e]) for e in EVENTS]
    objects[place] = objects[place].replace(old, new)
    first = objects[0].count(b"\n") + 1
    content = b"[" + b",\n".join(objects) + b"]" if is_array else b"\n".join(objects)
    records, [reject] = read_records(write_lines(tmp_path / "log.json", [content]), "log")
    assert [record["ts"] for record in records] == TIMES[:place] + TIMES[place + 1 :]
    assert reject.line == 1 + place * first
    assert reason in reject.reason


def test_the_last_object_of_a_document_may_be_cut_off(tmp_path):
    path = write_lines(tmp_path / "log.json", [pretty(EVENTS)[:-30]])
    records, [reject] = read_records(path, "log")
    assert ([record["ts"] for record in records], reject.line) == (TIMES[:-1], 1 + 19 * 20)


@pytest.mark.parametrize(
    "first", ['{"artist": "x", "so', '{"artist": "x",', '{"x":', "", "bad", "["]
)
def test_a_first_line_that_is_cut_off_makes_no_document_of_the_rest(tmp_path, first):
    path = write_lines(tmp_path / "log.json", [first, *EVENTS])
    records, rejects = read_records(path, "log")
    assert [record["ts"] for record in records] == TIMES
    assert [reject.line for reject in rejects] == [1] * (first not in ("", "["))


STRANGERS = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n": "git lfs pull",
    b"<!-- saved --><p>moved": "download the file itself",
    b"\n\n<!DOCTYPE HTML>\n<html><body>not found</body></html>\n": "download the file itself",
    b"PK\x03\x04\x14\0\0\0\n\n\n": "unpack it",
    b"\x1f\x8b\x08\0\n\n\n": "end in .gz",
    json.dumps(event()).encode("utf-16"): "save it as UTF-8",
    json.dumps(event()).encode("utf-16-be"): "save it as UTF-8",
    "\n".join(map(json.dumps, EVENTS[:2])).encode("utf-16-le"): "save it as UTF-8",
    b"\0\x05\x16\x07\0\x02\0\0Mac OS X        \0\0": "delete it",
}


@pytest.mark.parametrize("content", STRANGERS)
@pytest.mark.parametrize("parts", [1, 2])
def test_what_is_no_json_is_refused_once(tmp_path, monkeypatch, content, parts):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", len(content) // parts + 1)
    path = write_lines(tmp_path / "log.json", [content])
    first, *others = [block.outcomes[0] for block in blocks.read_blocks([listed("log", path)])]
    assert STRANGERS[content] in first.error.strerror
    assert first.error.filename == path
    assert not any(part.rejects or part.records for part in (first, *others))


@pytest.mark.parametrize(
    ("lines", "why"),
    [([b"\x7fELF\0", b"\xff", b"\xfe"], "no text"), ([event(page=None)] * 3, "page_view_events")],
)
def test_a_file_is_refused_once_where_all_its_lines_lack_the_same(tmp_path, lines, why):
    path = write_lines(tmp_path / "log.json", lines)
    [block] = blocks.read_blocks([listed("log", path)])
    [outcome] = block.outcomes
    assert why in outcome.error.strerror
    assert (outcome.records, outcome.rejects) == (0, [])


def test_a_line_of_a_log_with_others_is_no_reason_to_refuse_it(tmp_path):
    lines = [event(page=None), "\0", event(page=None), event()]
    records, rejects = read_records(write_lines(tmp_path / "log.json", lines), "log")
    assert (len(records), [reject.line for reject in rejects]) == (1, [1, 2, 3])


@pytest.mark.parametrize("block_bytes", [blocks.BLOCK_BYTES, 4000])
def test_a_document_that_is_too_large_for_memory_is_refused_once(
    tmp_path, monkeypatch, block_bytes
):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(raw, "HEAD_BYTES", 500)
    path = write_lines(tmp_path / "log.json", [DOCUMENTS["pretty objects"]])
    monkeypatch.setattr(raw, "DOCUMENT_BYTES", (tmp_path / "log.json").stat().st_size)
    assert len(read_records(path, "log")[0]) == 20
    monkeypatch.setattr(raw, "DOCUMENT_BYTES", raw.DOCUMENT_BYTES - 1)
    first, *others = [block.outcomes[0] for block in blocks.read_blocks([listed("log", path)])]
    assert "128 MiB" in first.error.strerror
    assert not any(part.rejects or part.records for part in (first, *others))
    lines = write_lines(tmp_path / "lines.json", EVENTS)  # which are read in parts
    assert len(read_records(lines, "log")[0]) == 20


@pytest.mark.parametrize("loader", LOAD)
@pytest.mark.parametrize("block_bytes", [blocks.BLOCK_BYTES, 2000])
def test_all_forms_are_loaded_alike(cur, conn, tmp_path, monkeypatch, loader, block_bytes):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    doubly = event(ts=5, artist="BjÃ¶rk", song="x", userId="9")
    files = {
        "array": json.dumps([event(page="Home", ts=n, userId="") for n in range(20)]),
        "pretty": pretty([event(ts=3, userId=8.0, status=200.0), doubly]),
        "lfs": b"version https://git-lfs.github.com/spec/v1\n" * 99,
        "pageless": "\n".join([json.dumps(event(page=None))] * 9),
    }
    paths = [write_lines(tmp_path / f"{name}.json", [files[name]]) for name in files]
    songs = write_lines(
        tmp_path / "songs.json", [json.dumps(song(title=311, year=2004.0), indent=1)]
    )
    found = [listed("song", songs), *(listed("log", path) for path in paths)]
    run = Run()
    LOAD[loader](cur, conn, found, run)
    tables = read_tables(cur)
    assert [row[1] for row in tables["songplays"]] == [8, 9]
    assert len(tables["page_views"]) == 20
    assert [(row[1], row[3]) for row in tables["songs"]] == [("311", 2004)]
    assert [row[3:5] for row in tables["unmatched_songplays"]][-1] == ("x", "Björk")
    assert run.left_out == {paths[2], paths[3]}
    assert run.tallies["log"].rejected == 0


def test_what_is_bad_in_one_line_of_a_document_is_one_array_to_be_corrected(tmp_path):
    bad = [event(ts=1, level=None), event(ts=2, level=None)]
    path = write_lines(tmp_path / "log.json", [json.dumps([event(), *bad, event(ts=3)])])
    records, [reject] = read_records(path, "log")
    assert (len(records), reject.line, json.loads(reject.text)) == (2, 1, bad)
    entry = ("log", path, 1, reject.text.replace("null", '"free"').encode())
    for file in blocks.read_entries([entry]):
        assert sum(len(plays) for *_, plays, _ in file.rounds) == 2
        assert (file.outcome.records, file.outcome.rejects) == (2, [])
