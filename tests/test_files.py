"""Which files a run loads: those that are new or have changed, be it meanwhile."""

import os
from pathlib import Path

import pytest
from nights import append, damage
from records import event, song, write_lines
from scripts import thorough

import create_tables
import etl
from sparkify import blocks, files

# What is new


def test_files_are_listed_in_order_and_by_their_ending(tmp_path):
    for name in ("b/2.json", "a/x/1.json", "b/10.json", "a.json", "c.jsonl", "d.txt"):
        write_lines(tmp_path / name, [])
    (tmp_path / "broken.txt").symlink_to("nowhere")
    paths = [
        file.uri.removeprefix(str(tmp_path)) for file in files.list_files("log", tmp_path, None)
    ]
    assert paths == ["/a.json", "/a/x/1.json", "/b/10.json", "/b/2.json"]


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
    open_file, parts = files.LocalStorage.open, []

    def open_or_remove(self, uri):
        if uri == str(large):
            parts.append(uri)
            if len(parts) == 5:
                large.unlink()
        return open_file(self, uri)

    monkeypatch.setattr(files.LocalStorage, "open", open_or_remove)
    status, _, errors = night(data, "--load", loader)
    assert (status, errors) == (3, [f"etl.py: can't read {large}: No such file or directory"])
    assert "large.json" not in recorded()
    assert tables() == expected


@pytest.mark.parametrize("block_bytes", [1000, blocks.BLOCK_BYTES], ids=["parts", "whole"])
def test_a_file_that_shrinks_meanwhile_is_loaded_as_it_is_and_read_again(
    night, data, after_listing, tables, expect, loader, monkeypatch, block_bytes
):
    large = write_large_log(data)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    lines = large.read_bytes().splitlines(keepends=True)
    after_listing(lambda: large.write_bytes(b"".join(lines[:7]) + lines[7][:50]))
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (3, [])
    assert "1 line was set aside" in output
    found = tables()
    assert len(found["songplays"]) == 4 + 7
    status, output, errors = night(data, "--load", loader)
    assert (status, errors) == (3, [])
    assert "1 log file: 7 plays" in output
    assert tables() == found == expect(data)
