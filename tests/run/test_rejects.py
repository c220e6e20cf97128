"""Lines set aside: they are recorded or the load fails; those that are good by now are loaded."""

import errno
import json
import os
import socket
from pathlib import Path

import pytest
from nights import append, correct, failing, read_entries
from records import event, song, write_lines
from servers import IS_ROOT

# Rejects that can't be recorded


def test_lines_set_aside_are_told_in_the_night_they_come_alone(night, data, recorded, tmp_path):
    write_lines(data / "log_data" / "x.json", [event(ts=9), "bad", event(ts=8, level=None)])
    assert night(data)[0] == 3
    before = (tmp_path / "rejected.jsonl").read_bytes()
    assert recorded()["x.json"][1:] == [1, 2]
    status, output, errors = night(data)
    assert (status, errors) == (0, [])
    assert "Nothing new" in output
    assert (tmp_path / "rejected.jsonl").read_bytes() == before


def test_a_file_that_is_loaded_again_replaces_its_entries(night, data, tmp_path, loader):
    path, log = tmp_path / "rejected.jsonl", data / "log_data" / "x.json"
    path.write_text('["of somebody else"]')
    write_lines(log, ["a", "bad", '{"c": "\u2028"}', event(ts=9), '{"cut'])
    assert night(data, "--load", loader)[0] == 3
    first, *before = path.read_text().splitlines()
    assert first == '["of somebody else"]'
    assert [json.loads(line)["text"] for line in before] == ["a", "bad", '{"c": "\u2028"}', '{"cut']
    edited = before[1].replace('"bad"', '"half corrected"')
    path.write_text("\n".join([first, before[0], edited, *before[2:]]))
    write_lines(log, ["a", "bad", event(ts=7), event(ts=9), event(ts=8), "new"])  # it has grown
    write_lines(data / "song_data" / "y.json", ["y"])
    assert night(data, "--load", loader)[0] == 3
    lines = path.read_text().splitlines()
    assert [lines[0], *lines[2:4]] == [first, before[0], edited]
    assert [json.loads(lines[at])["text"] for at in (1, 4)] == ["y", "new"]
    assert [entry["kind"] for entry in map(json.loads, lines[1:])] == ["song", *["log"] * 3]
    write_lines(log, [event(ts=7)])
    (data / "song_data" / "y.json").write_text("")
    assert night(data, "--load", loader)[0] == 0
    assert path.read_text().splitlines() == [first]


def test_a_line_that_was_corrected_does_not_come_back(night, data, rejects, loader, tables):
    correct(rejects, _2=event(ts=60))
    assert night("--retry", rejects)[0] == 3
    append(data / "log_data" / "x.json", event(ts=61))
    status, output, _ = night(data, "--load", loader)
    assert (status, "2 lines were set aside" in output) == (3, True)
    assert [entry["line"] for entry in read_entries(rejects)] == [1, 1, 3, 4]
    assert night(data, "--load", loader, "--all")[0] == 3
    assert len(read_entries(rejects)) == 4
    lines = (data / "log_data" / "x.json").read_text().splitlines()
    write_lines(data / "log_data" / "x.json", [json.dumps(event(ts=63, level=None)), *lines[1:]])
    assert night(data, "--load", loader)[0] == 3
    assert [entry["line"] for entry in read_entries(rejects)] == [1, 1, 1, 3, 4]


def test_what_a_killed_run_has_not_written_the_next_one_writes(night, data, rejects):
    before = rejects.read_bytes()
    rejects.unlink()
    assert night(data)[::2] == (0, [])
    assert rejects.read_bytes() == before


def name_read_only_folder(folder):
    if IS_ROOT:
        return Path("/proc/rejected.jsonl")
    (folder / "fixed").mkdir(mode=0o500)
    return folder / "fixed" / "rejected.jsonl"


def test_rejects_where_no_file_can_be_made(night, data, tables, recorded, tmp_path, loader):
    write_lines(data / "log_data" / "f.json", [event(ts=9), "bad"])
    path = name_read_only_folder(tmp_path)
    status, _, [error] = night(data, "--load", loader, "--rejects", path)
    assert status == 1
    assert error.startswith(f"etl.py: can't record rejected lines in {path}: ")
    assert "they are kept in the table rejected_lines; --rejects names another file" in error
    assert recorded()["f.json"][1:] == [1, 1]
    assert len(tables()["songplays"]) == 5
    assert night(data, "--load", loader)[0] == 0
    assert [entry["text"] for entry in read_entries(tmp_path / "rejected.jsonl")] == ["bad"]


# Retry


def test_lines_that_were_corrected_are_loaded_and_the_others_kept(
    night, data, rejects, tables, tmp_path, expect
):
    before = read_entries(rejects)
    late_song, late_play = song(song_id="SO3", title="Unheard of"), event(ts=50)
    correct(rejects, _0=late_song, _2=late_play, _3=event(ts=52, sessionId=None))
    rejects.chmod(0o640)
    status, output, errors = night("--retry", rejects)
    assert (status, errors) == (3, [])
    assert "2 lines are good now, and loaded" in output
    assert f"3 lines are still set aside: see {rejects}" in output
    text = json.dumps(event(ts=52, sessionId=None))
    changed = {"line": 3, "reason": "sessionId is missing", "text": text}
    assert read_entries(rejects) == [before[1], before[3] | changed, before[4]]
    assert rejects.stat().st_mode & 0o777 == 0o640
    found = tables()
    write_lines(data / "song_data" / "x.json", [late_song])
    append(data / "log_data" / "x.json", late_play)
    assert found == expect(data)


def test_when_no_line_is_left_the_file_is_empty(night, rejects, tmp_path):
    good = {f"_{n}": song(song_id=f"S{n}") if n < 2 else event(ts=60 + n) for n in range(5)}
    correct(rejects, **good)
    assert night("--retry", "rejected.jsonl")[::2] == (0, [])
    assert rejects.read_bytes() == b""
    assert night("--retry", "rejected.jsonl")[::2] == (0, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "rejected.jsonl"]


def test_lines_that_are_as_bad_as_before_are_kept_as_they_are(night, rejects, tables):
    before, found = rejects.read_bytes(), tables()
    assert night("--retry", rejects)[0] == 3
    assert (rejects.read_bytes(), tables()) == (before, found)


def test_a_line_that_nothing_is_left_of_is_dropped(night, rejects):
    before = read_entries(rejects)
    entries = [before[0] | {"text": " "}, *before[1:]]
    rejects.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert night("--retry", rejects)[0] == 3
    assert read_entries(rejects) == before[1:]


def test_corrections_may_hold_any_character(night, rejects, tables):
    title, entries = "\x85\u2028é🎵", read_entries(rejects)
    entries[0]["text"] = json.dumps(song(song_id="SO3", title=title), ensure_ascii=False)
    first = json.dumps(entries[0], ensure_ascii=False)  # as an editor may have written it
    others = "".join(json.dumps(entry) + "\n" for entry in entries[1:])
    rejects.write_text(f"{first}\n{others}", encoding="utf-8")
    assert night("--retry", rejects)[::2] == (3, [])
    assert read_entries(rejects) == entries[1:]
    assert tables()["songs"][2][1] == title


ENTRY = {"file": "/x/log_data/a.json", "line": 1, "reason": "?", "text": json.dumps(event())}
NO_ENTRIES = {
    "nonsense": "nonsense",
    "blank": "",
    "list": "[]",
    "empty": "{}",
    "neither": json.dumps(ENTRY | {"file": "/x/data/a.json"}),
    "file": json.dumps(ENTRY | {"file": 1}),
    "text": json.dumps(ENTRY | {"text": None}),
    "line": json.dumps(ENTRY | {"line": "first"}),
    "infinite": json.dumps(ENTRY | {"line": 1e999}),
    "deep": "[" * 100_000,
    "surrogate": json.dumps(ENTRY | {"text": "\ud800"}),
    "cut off": json.dumps(ENTRY)[:-5],
}


def test_an_editor_of_windows_may_have_saved_the_file(night, data, rejects):
    """Which begins it with a byte-order mark, and ends its lines by two characters."""
    entries = read_entries(rejects)
    correct(rejects, _0=song(song_id="SO3"), _2=event(ts=50, sessionId=None))
    changed = rejects.read_bytes().splitlines()
    rejects.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(changed) + b"\r\n")
    assert night(data)[::2] == (0, [])
    assert [line["text"] for line in read_entries(rejects)] == [
        json.loads(line)["text"] for line in changed
    ]
    rejects.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(changed) + b"\r\n")
    assert night("--retry", rejects)[::2] == (3, [])
    assert [line["line"] for line in read_entries(rejects)] == [e["line"] for e in entries[1:]]


@pytest.mark.parametrize("option", ["--dry-run", "--strict", "--all"])
def test_what_a_retry_would_not_heed_is_refused(night, rejects, option):
    before = rejects.read_bytes()
    status, output, errors = night("--retry", rejects, option)
    assert (status, output) == (2, "")
    assert errors[-1] == f"etl.py: error: --retry takes no {option}"
    assert rejects.read_bytes() == before


@pytest.mark.parametrize("line", NO_ENTRIES.values(), ids=NO_ENTRIES)
def test_a_line_that_is_no_entry_stops_a_retry(night, tmp_path, tables, line):
    good, path = json.dumps(ENTRY), tmp_path / "r.jsonl"
    path.write_text(f"{good}\n{line}\n{good}\n")
    before = path.read_bytes()
    status, output, [error] = night("--retry", path)
    assert status == 1
    assert error.startswith(f"etl.py: {path}, line 2")
    assert "nothing was loaded; take it out of the file" in error
    assert path.read_bytes() == before
    assert tables() == dict.fromkeys(tables(), [])


def test_a_file_of_rejects_that_cannot_be_read(night, tmp_path):
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        status, _, [error] = night("--retry", path)
        assert status == 1
        assert error.startswith(f"etl.py: can't read {path}: {reason}")


def test_a_file_that_is_none_of_rejects_is_not_to_be_emptied(night, tmp_path):
    path = write_lines(tmp_path / "README.md", ["# Sparkify", ""])
    status, _, [error] = night("--retry", path)
    assert status == 1
    assert error.endswith(
        f"{path}, line 1: this is no line set aside; nothing was loaded; "
        "--retry needs a file that etl.py wrote, such as rejected.jsonl"
    )


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no sockets in folders here")
def test_only_a_plain_file_is_rewritten(night, tmp_path, rejects):
    (tmp_path / "link").symlink_to(rejects)
    assert night("--retry", tmp_path / "link")[0] == 3
    assert (tmp_path / "link").is_symlink()
    with socket.socket(socket.AF_UNIX) as place:  # a device is made by root alone
        place.bind("socket")  # a short name, as they must be
    status, output, [error] = night("--retry", tmp_path / "socket")
    assert (status, output) == (1, "")
    assert error.startswith(f"etl.py: can't read {tmp_path / 'socket'}: it is no plain file; ")
    assert (tmp_path / "socket").is_socket()


def test_a_retry_that_the_database_refuses_changes_nothing(night, rejects, conn, cur, tables):
    correct(rejects, _0=song(song_id="SO3"), _2=event(ts=50), _3=event(ts=52, userId="9"))
    before, found = rejects.read_bytes(), tables()
    with failing(conn, cur, "23514", "no 9"):
        status, _, [error] = night("--retry", rejects)
    assert status == 1
    assert error.startswith("etl.py: ") and "no 9" in error
    assert (rejects.read_bytes(), tables()) == (before, found)
    assert night("--retry", rejects)[0] == 3
    assert len(tables()["songplays"]) == len(found["songplays"]) + 2


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_file_of_rejects_that_cannot_be_rewritten_stays(
    night, rejects, tables, tmp_path, monkeypatch, function
):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    correct(rejects, _2=event(ts=77))
    before, songplays = rejects.read_bytes(), len(tables()["songplays"])
    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        status, _, [error] = night("--retry", rejects)
    assert status == 1
    assert f"{rejects} can't be rewritten: No space left on device" in error
    assert rejects.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "rejected.jsonl"]
    assert night("--retry", rejects)[0] == 3
    assert len(read_entries(rejects)) == 4
    assert len(tables()["songplays"]) == songplays + 1
