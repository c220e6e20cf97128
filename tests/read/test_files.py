"""Which files a run loads: those that are data and new or have changed, be it meanwhile."""

import gzip
import json
import os
from pathlib import Path

import pytest
from nights import append, damage
from records import event, song, write_lines
from scripts import thorough

import create_tables
import etl
from sparkify.read import blocks
from sparkify.read.files import is_data
from sparkify.read.storage import LocalStorage, list_files

# What is data


DATA = [
    "a.json",
    "a.json.gz",
    "B.JSON",
    "c.jsonl",
    "d.Jsonl.GZ",
    "e.ndjson",
    "f g.2018.ndjson.gz",
    "page_view_events",
    "x/page_view_events",
    "page_view_events.gz",
    "page_view_events.json",
]
NO_DATA = ["old.zip", "events", "README.md", "json", "a.json.bak", "a.gz", "page_view_events.csv"]
PARTS = ["listen_events", "auth_events.json", "Status_Change_Events.jsonl.gz"]
HIDDEN = [
    ".ipynb_checkpoints/a-checkpoint.json",
    "__MACOSX/._a.json",
    "._a.json",
    ".json",
    "_a.json",
    "x/_temporary/a.json",
    ".DS_Store",
    "_SUCCESS",
]


def test_files_are_listed_in_order_and_by_their_ending(tmp_path):
    for name in ("b/2.json", "a/x/1.json", "b/10.json", "a.json", "d.txt"):
        write_lines(tmp_path / name, [])
    (tmp_path / "broken.txt").symlink_to("nowhere")
    paths = [file.uri.removeprefix(str(tmp_path)) for file in list_files("log", tmp_path, None)]
    assert paths == ["/a.json", "/a/x/1.json", "/b/10.json", "/b/2.json"]


def test_names_tell_what_is_data():
    names = [name.rpartition("/")[2] for name in [*DATA, *NO_DATA, *PARTS]]
    assert [is_data("log", name) for name in names] == [name in DATA for name in names]
    assert [name for name in names if is_data("log", name) != is_data("song", name)] == [
        "page_view_events",
        "page_view_events",
        "page_view_events.gz",
    ]


def write_log(path, ts):
    """Write a log file of one event, as a .gz if its name says so."""
    write_lines(path, [event(ts=ts)])
    if path.name.lower().endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))


def test_each_file_that_is_data_is_loaded_and_others_are_said(
    night, data, tables, recorded, loader
):
    for number, name in enumerate([*DATA, *NO_DATA, *PARTS, *HIDDEN], 10):
        write_log(data / "log_data" / name, number)
    (data / "song_data" / ".ipynb_checkpoints").mkdir()
    stale = data / "song_data" / ".ipynb_checkpoints" / "000-checkpoint.json"
    write_lines(stale, [song(title="Older")])
    said = (
        "10 files passed over: README.md, Status_Change_Events.jsonl.gz, a.gz, a.json.bak, "
        "auth_events.json, events, json, listen_events, old.zip, page_view_events.csv\n"
        "page_view_events has the plays of Status_Change_Events.jsonl.gz, auth_events.json, "
        "listen_events\n"
        "if events is data, rename it: data ends with .json, .jsonl or .ndjson, each also .gz\n"
    )
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (0, [])
    assert said in output
    plays = {row[0].microsecond // 1000 for row in tables()["songplays"]}
    assert plays == {796, 1, 2, 3, *range(10, 10 + len(DATA))}
    assert "Older" not in str(tables()["songs"])
    status, output, errors = night(data, "--log-json")
    assert status == 0
    assert said in "\n".join([*errors, ""])
    *files, run = map(json.loads, output.splitlines())
    assert {(file["event"], file["status"]) for file in files} == {("file", "passed over")}
    names = [os.path.relpath(file["uri"], data / "log_data") for file in files]
    assert sorted(names) == sorted([*NO_DATA, *PARTS])
    assert (run["passed_over"], run["unchanged"]) == (10, 4 + len(DATA))


def test_a_folder_without_data_says_what_lies_there(night, tmp_path, data):
    for path in data.glob("*_data/*"):
        path.rename(path.with_suffix(""))
    status, _, [error] = night(data)
    assert status == 2
    assert error == (
        f"etl.py: there is no data file, such as *.json, in song_data/ or log_data/ of {data}; "
        "4 files passed over: 000, 001, events, more; if 000 is data, rename it: data ends with "
        ".json, .jsonl or .ndjson, each also .gz"
    )


# What is new


def test_a_file_that_is_unchanged_is_not_opened(night, data, tables, expect, loader):
    expected = expect(data)
    assert night(data, "--load", loader)[0] == 0
    damage(data)
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (0, [])
    assert "\nNothing new\n" in output
    assert tables() == expected
    status, output, errors = night(data, "--load", loader, "--all")
    assert (status, errors) == (3, [])
    assert "4 lines were set aside" in output
    assert tables() == expected


def test_a_file_that_grew_is_read_again_whole(night, data, tables, expect, recorded, loader):
    grown = data / "log_data" / "events.json"
    night(data, "--load", loader)
    append(grown, event(ts=5, level="paid"), "bad")
    status, output, _ = night(data, "--load", loader)
    assert status == 3
    assert "0 song files: 0 songs\n1 log file: 3 plays and 1 page view\n" in output
    assert recorded()["events.json"] == [grown.stat().st_size, 4, 1]
    assert len(recorded()) == 4
    found = tables()
    assert found == expect(data)


def test_what_is_noted_of_a_file_is_of_its_last_load(night, data, conn, cur, loader):
    night(data, "--load", loader)
    cur.execute("SELECT * FROM loaded_files ORDER BY uri")
    *noted, first_loaded_at = zip(*cur, strict=True)
    assert all(0 < seconds < 60 for seconds in noted[-1])
    cur.execute(
        """
        UPDATE loaded_files
        SET kind = '', size = 0, modified = 'epoch', rows_loaded = 9, lines_set_aside = 9,
            seconds = 1e6, loaded_at = 'epoch'
        """
    )
    conn.commit()
    night(data, "--load", loader)
    cur.execute("SELECT * FROM loaded_files ORDER BY uri")
    *noted_again, loaded_at = zip(*cur, strict=True)
    assert noted_again[:-1] == noted[:-1]
    assert all(0 < seconds < 60 for seconds in noted_again[-1])
    assert min(loaded_at) > max(first_loaded_at)


def rewrite(path):
    """Change a file but not its size."""
    path.write_text(path.read_text().replace('"free"', '"paid"'))
    os.utime(path, (1, 1))


def insert_spaces(path):
    """Change a file and its size but not its modification time."""
    info = path.stat()
    path.write_text(path.read_text().replace('"free"', '"paid" '))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


@pytest.mark.parametrize("change", [rewrite, thorough(insert_spaces)])
def test_a_file_that_changed_is_read_again(night, data, tables, expect, loader, change):
    night(data, "--load", loader)
    change(data / "log_data" / "more.json")
    status, output, _ = night(data, "--load", loader)
    assert status == 0
    assert "0 song files: 0 songs\n1 log file: 2 plays" in output
    found = tables()
    assert "Nothing new" in night(data)[1]
    assert found == expect(data)
    assert "Nothing new" not in night(data)[1]


def test_a_song_that_comes_a_night_later_is_matched(night, data, tables, expect, loader):
    night(data, "--load", loader)
    write_lines(data / "song_data" / "new.json", [song(song_id="SO3", title="Unheard of")])
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (0, [])
    assert "1 song file: 1 song\n0 log files: 0 plays" in output
    assert "4 of 4 plays found their song" in output
    found = tables()
    assert found == expect(data)
    assert found["unmatched_songplays"] == []


def test_after_create_tables_everything_is_new(night, data, tables, conn, cur, recorded):
    night(data)
    expected = tables()
    create_tables.reset_tables(cur, conn)
    assert recorded() == {}
    status, output, _ = night(data)
    assert status == 0
    assert "2 song files: 2 songs\n2 log files: 4 plays" in output
    assert tables() == expected


def test_a_file_that_cannot_be_read_is_tried_every_night(night, data, tables, recorded, loader):
    late = data / "log_data" / "late.json"
    late.symlink_to("elsewhere")
    for _ in range(2):
        status, _, errors = night(data, "--load", loader)
        assert (status, errors) == (3, [f"etl.py: can't read {late}: No such file or directory"])
    assert len(recorded()) == 4
    write_lines(data / "log_data" / "elsewhere", [event(ts=9)])
    assert night(data, "--load", loader)[0] == 0
    assert recorded()["late.json"][1:] == [1, 0]
    assert len(tables()["songplays"]) == 5


def test_with_strict_a_file_with_a_bad_line_stays_new(night, data, recorded, loader):
    bad = write_lines(data / "log_data" / "f.json", [event(ts=8), "bad"])
    for _ in range(2):
        status, _, [error] = night(data, "--load", loader, "--strict")
        assert status == 1
        assert error.startswith(f"etl.py: {bad}, line 2: ")
        assert len(recorded()) == (3 if loader == "rows" else 0)


# Files that change while they are being loaded


@pytest.fixture
def after_listing(monkeypatch):
    """Has a function called after the files were listed and before they are read."""

    def call(function):
        choose = etl.choose_loader

        def call_and_choose(*arguments):
            monkeypatch.setattr(etl, "choose_loader", choose)
            function()
            return choose(*arguments)

        monkeypatch.setattr(etl, "choose_loader", call_and_choose)

    return call


def test_a_file_that_grows_meanwhile_is_read_again(
    night, data, after_listing, tables, expect, loader
):
    grown = data / "log_data" / "more.json"
    after_listing(lambda: append(grown, event(ts=9)))
    assert night(data, "--load", loader)[0] == 0
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (0, [])
    assert "1 log file: 3 plays" in output
    found = tables()
    assert found == expect(data)


def test_a_file_that_disappears_meanwhile_is_left_out(
    night, data, after_listing, tables, expect, recorded, loader
):
    gone = data / "log_data" / "events.json"
    after_listing(gone.unlink)
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (3, [f"etl.py: can't read {gone}: No such file or directory"])
    assert "1 file or folder could not be read" in output
    assert sorted(recorded()) == ["000.json", "001.json", "more.json"]
    found = tables()
    assert found == expect(data)


def write_large_log(data):
    """Write a log file that is read in ten parts, given BLOCK_BYTES of 1000."""
    events = [event(ts=100 + number, sessionId=number) for number in range(20)]
    return Path(write_lines(data / "log_data" / "large.json", events))


def test_a_file_that_disappears_while_it_is_read_leaves_nothing_in_the_tables(
    night, data, tables, expect, recorded, loader, monkeypatch
):
    expected, large = expect(data), write_large_log(data)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1000)
    open_file, parts = LocalStorage.open, []

    def open_or_remove(self, uri):
        if uri == str(large):
            parts.append(uri)
            if len(parts) == 5:
                large.unlink()
        return open_file(self, uri)

    monkeypatch.setattr(LocalStorage, "open", open_or_remove)
    status, _, errors = night(data, "--load", loader)
    assert (status, errors) == (3, [f"etl.py: can't read {large}: No such file or directory"])
    assert "large.json" not in recorded()
    assert tables() == expected


@pytest.mark.parametrize("block_bytes", [1000, blocks.BLOCK_BYTES], ids=["parts", "whole"])
def test_a_file_that_shrinks_meanwhile_is_left_out_and_read_again(
    night, data, after_listing, tables, expect, recorded, loader, monkeypatch, block_bytes
):
    without, large = expect(data), write_large_log(data)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    text = large.read_bytes()
    shorter = text[: text.index(b"\n", 3000)]
    after_listing(lambda: large.write_bytes(shorter))
    status, output, [error] = night(data, "--load", loader)
    assert status == 3
    assert error == (
        f"etl.py: can't read {large}: it is shorter than listed, {len(shorter):,} of "
        f"{len(text):,} bytes; run it again"
    )
    assert "1 file or folder could not be read" in output
    assert "large.json" not in recorded()
    assert tables() == without
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (0, [])
    assert "1 log file: 8 plays" in output
    found = tables()
    assert found == expect(data)


@pytest.mark.parametrize("block_bytes", [1000, blocks.BLOCK_BYTES], ids=["parts", "whole"])
def test_a_large_file_that_grows_meanwhile_is_noted_as_it_was_read(
    night, data, after_listing, tables, expect, recorded, loader, monkeypatch, block_bytes
):
    large = write_large_log(data)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    after_listing(lambda: append(large, event(ts=9)))
    assert night(data, "--load", loader)[0] == 0
    assert recorded()["large.json"] == [large.stat().st_size, 21, 0]
    found = tables()
    assert found == expect(data)
