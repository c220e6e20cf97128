"""Files in blocks: where they are cut, what is read together, and how far ahead."""

import threading
from threading import Event
from types import SimpleNamespace

import pytest
from pyarrow.fs import LocalFileSystem
from records import clock, event, listed, read_records, write_lines
from remote import PATIENCE_SECONDS
from scripts import thorough

from sparkify.read import blocks, files
from sparkify.read import storage as storages
from sparkify.read.object_store import SharedStorage

# Cutting and planning


def test_a_file_larger_than_a_block_is_read_in_several(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2000)
    lines = [event(ts=number) if number != 77 else "bad" for number in range(100)]
    path = write_lines(tmp_path / "log.json", lines)
    assert len(list(blocks.plan_blocks([listed("log", path)], 9))) > 10
    records, [reject] = read_records(path, "log")
    assert [record["ts"] for record in records] == [clock(n) for n in range(100) if n != 77]
    assert reject.line == 78


@pytest.mark.parametrize("size", [thorough(1), thorough(2), 3, thorough(7), 10, thorough(50)])
@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n\r\n"])
def test_wherever_a_file_is_cut_each_line_is_read_once_and_keeps_its_number(
    tmp_path, monkeypatch, size, ending
):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
    lines = [b"[1]", b"", b"[22222]", b"\xef\xbb\xbf[3]", b" ", b"[4]", b"x" * 30]
    path = tmp_path / "log.json"
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines) + ending)
    _, rejects = read_records(str(path), "log")
    found = [(reject.line, reject.text.encode()) for reject in rejects]
    assert found == [(n, line) for n, line in enumerate(lines, 1) if line.strip()]


def test_small_files_are_read_together_and_large_ones_apart(monkeypatch):
    sizes = {"a": 3, "b": 4, "c": 21, "d": 20, "e": 0, "f": 1, "g": 1}
    found = [files.File("log", name, size) for name, size in sizes.items()]
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 10)
    plan = [[(f.uri, f.start, f.end) for f in block] for block in blocks.plan_blocks(found, 2)]
    assert plan == [
        [("a", 0, None), ("b", 0, None)],
        [("c", 0, 7)],
        [("c", 7, 14)],
        [("c", 14, None)],
        [("d", 0, 10)],
        [("d", 10, None)],
        [("e", 0, None), ("f", 0, None)],
        [("g", 0, None)],
    ]


STORAGES = {"local": storages.LocalStorage(), "shared": SharedStorage(LocalFileSystem())}


@pytest.mark.parametrize("storage", STORAGES)
def test_files_of_a_block_are_read_at_once_and_stay_in_order(tmp_path, monkeypatch, storage):
    def read_first_as_the_last(self, path):
        if path.endswith("0.json"):
            assert others_are_read.wait(PATIENCE_SECONDS)
        elif path.endswith("3.json"):
            others_are_read.set()
        return read_bytes(self, path)

    monkeypatch.setattr(storages, "HANDFUL", 1)
    monkeypatch.setattr(storages, "HANDFUL_SECONDS", 0)
    others_are_read, read_bytes = Event(), type(STORAGES[storage]).read_bytes
    monkeypatch.setattr(type(STORAGES[storage]), "read_bytes", read_first_as_the_last)
    paths = [write_lines(tmp_path / f"{n}.json", [event(ts=n)] * n) for n in range(4)]
    (tmp_path / "1.json").unlink()
    scheme = "x://" if storage == "shared" else ""
    found = [files.File("log", f"{scheme}{path}", 0) for path in paths]
    outcomes = blocks.read_block(found, STORAGES[storage]).outcomes
    assert [(o.file.uri, o.records, bool(o.error)) for o in outcomes] == [
        (found[0].uri, 0, False),
        (found[1].uri, 0, True),
        (found[2].uri, 2, False),
        (found[3].uri, 3, False),
    ]


def test_files_of_a_folder_are_read_at_once_from_where_that_takes_long(monkeypatch):
    seconds = {"a": 0, "b": 2, "c": 0, "d": 0}
    now, readers = [0], {}

    def read_one(file, storage):
        now[0] += seconds[file.uri]
        readers[file.uri] = threading.current_thread()
        return file.uri

    monkeypatch.setattr(storages, "HANDFUL", 1)
    monkeypatch.setattr(storages, "HANDFUL_SECONDS", 1)
    monkeypatch.setattr(storages, "time", SimpleNamespace(monotonic=lambda: now[0]))
    found = [files.File("song", name, 0) for name in seconds]
    assert list(storages.LocalStorage().read(found, read_one)) == [*seconds]
    is_here = {name: reader is threading.current_thread() for name, reader in readers.items()}
    assert is_here == {"a": True, "b": True, "c": False, "d": False}


# Reading ahead


class Future:
    """What a part of a plan will be read as, but only when it is asked for."""

    def __init__(self, read, part):
        self.read, self.part, self.state = read, part, "under way"

    def result(self):
        self.state = "done"
        return self.read(*self.part)

    def cancel(self):
        self.state = "cancelled"


class Executor:
    def __init__(self):
        self.futures = []

    def submit(self, read, *part):
        self.futures.append(Future(read, part))
        return self.futures[-1]

    def count(self, state):
        return sum(future.state == state for future in self.futures)


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_a_slow_loader_makes_the_readers_wait(ahead):
    executor, taken = Executor(), []
    plan = ((taken.append(n), n) for n in range(20))
    read = blocks.read_ahead(lambda _, n: -n, plan, executor, ahead)
    for number, block in enumerate(read):
        assert block == -number
        assert executor.count("under way") == min(ahead, 19 - number)
        assert len(taken) == len(executor.futures) == min(number + 1 + ahead, 20)
    assert executor.count("done") == 20


def test_what_is_not_needed_is_not_read():
    executor = Executor()
    read = blocks.read_ahead(lambda n: n, ((n,) for n in range(20)), executor, 4)
    assert [next(read), next(read)] == [0, 1]
    read.close()
    assert [future.state for future in executor.futures] == ["done"] * 2 + ["cancelled"] * 4


def test_a_reader_that_fails_stops_the_others():
    executor = Executor()
    read = blocks.read_ahead(lambda n: 1 / (n - 1), ((n,) for n in range(20)), executor, 4)
    assert next(read) == -1
    with pytest.raises(ZeroDivisionError):
        next(read)
    assert (executor.count("under way"), executor.count("cancelled")) == (0, 4)


def test_without_an_executor_blocks_are_read_one_by_one():
    taken = []
    read = blocks.read_ahead(lambda n: taken.append(n) or n, ((n,) for n in range(5)), None, 4)
    assert (next(read), next(read)) == (0, 1)
    assert taken == [0, 1]
