"""The bytes of a file: as many as were listed, and all or nothing of what is in a .gz."""

import gzip
import json
import random
import tracemalloc

import pytest
from pyarrow.fs import LocalFileSystem
from records import event, listed, write_lines
from scripts import thorough

from sparkify.read import blocks, raw
from sparkify.read.files import File
from sparkify.read.object_store import SharedStorage
from sparkify.read.storage import LocalStorage

STORAGES = {"local": (LocalStorage(), ""), "shared": (SharedStorage(LocalFileSystem()), "x://")}
storages = pytest.mark.parametrize("storage", STORAGES)


@storages
@pytest.mark.parametrize("part", [(0, None), (0, 5), (9, 12), (12, None), (20, 30), (20, None)])
def test_a_file_that_is_shorter_than_listed_is_not_read(tmp_path, storage, part):
    storage, scheme = STORAGES[storage]
    path = write_lines(tmp_path / "log.json", ["[1]", "[2]", "[3]"])
    file = File("log", f"{scheme}{path}", 1200, None, *part)
    with pytest.raises(OSError, match=r"shorter than listed, 11 of 1,200 bytes; run it again"):
        raw.read_lines(file, storage)


@pytest.mark.parametrize(
    ("part", "text"),
    [((0, None), b"[1]\n[2]\n[3]"), ((0, 5), b"[1]\n[2]\n"), ((5, None), b"[3]")],
)
def test_a_file_that_grew_is_noted_as_it_was_read(tmp_path, part, text):
    path = write_lines(tmp_path / "log.json", ["[1]", "[2]", "[3]"])
    assert raw.read_lines(File("log", path, 9, None, *part), LocalStorage()) == (text, 11)


# Compressed files


@pytest.fixture
def zipped(tmp_path):
    """A .gz of two members, which begins with a byte-order mark, and has a line that is bad."""
    lines = [event(ts=n, userAgent=random.Random(n).randbytes(200).hex()) for n in range(1, 31)]
    plain = tmp_path / "plain"
    write_lines(plain, [*lines[:22], "bad", *lines[23:]])
    text = b"\xef\xbb\xbf" + plain.read_bytes()
    path = tmp_path / "log.json.gz"
    path.write_bytes(gzip.compress(text[:9000]) + gzip.compress(text[9000:]))
    return path


@pytest.fixture(params=["whole", "in turn"])
def way(request, monkeypatch):
    """How a .gz is read: so much is in a block, and a larger one is read in turn."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 5000 if request.param == "in turn" else 1 << 20)
    return request.param


def read(path, storage, scheme=""):
    """Read a log and a second one; return Blocks and, for each file, records, bad lines, errors."""
    other = path.with_name("other.json")
    write_lines(other, [event(), "worse"])
    files = [listed("log", path), listed("log", other)]
    found = list(
        blocks.read_blocks([f._replace(uri=scheme + f.uri) for f in files], storage=storage)
    )
    facts = {"log.json.gz": [0, [], []], "other.json": [0, [], []]}
    for outcome in (outcome for block in found for outcome in block.outcomes):
        records, bad, errors = facts[outcome.file.uri.rpartition("/")[2]]
        bad += [reject.line for reject in outcome.rejects]
        errors += filter(None, [outcome.error and outcome.error.strerror])
        facts[outcome.file.uri.rpartition("/")[2]][0] += outcome.records
    return found, facts["log.json.gz"], facts["other.json"]


@storages
def test_a_gzip_file_gives_the_lines_that_are_in_it(zipped, way, storage):
    found, *facts = read(zipped, *STORAGES[storage])
    assert facts == [[29, [23], []], [1, [2], []]]
    assert (len(found) > 4) == (way == "in turn")
    outcomes = [outcome for block in found for outcome in block.outcomes]
    last = [outcome.file for outcome in outcomes if outcome.file.is_gzip][-1]
    assert (last.size, last.end) == (zipped.stat().st_size, None)


@pytest.mark.parametrize("content", ["array", "pretty", "UTF-16", "too large"])
def test_a_gzip_file_may_hold_a_document_and_is_refused_for_what_is_none(
    tmp_path, way, monkeypatch, content
):
    events = [event(ts=n, userAgent=random.Random(n).randbytes(200).hex()) for n in range(30)]
    text = json.dumps(events, indent=None if content == "array" else 1)
    path = tmp_path / "log.json.gz"
    path.write_bytes(gzip.compress(text.encode("utf-16" if content == "UTF-16" else "utf-8")))
    if content == "too large":
        monkeypatch.setattr(raw, "DOCUMENT_BYTES", 9000)
    refused = {"UTF-16": ["it is UTF-16: save it as UTF-8"], "too large": [raw.TOO_LARGE]}
    _, facts, other = read(path, LocalStorage())
    assert facts == ([0, [], refused[content]] if content in refused else [30, [], []])
    assert other == [1, [2], []]


def cut(data):
    return data[:-9]


def damage(data):
    return data[:-900] + bytes(9) + data[-891:]


NO_GZIP = r"it is no whole .gz file (Not a gzipped file); get it anew, or correct its name"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (cut, "it is no whole .gz file (Compressed file ended before the end-of-stream marker"),
        (damage, "it is no whole .gz file ("),
        (
            lambda data: data[:-8] + bytes(4) + data[-4:],
            "it is no whole .gz file (CRC check failed",
        ),
        (lambda data: data + b"and more", NO_GZIP),
        (gzip.decompress, NO_GZIP),
        (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
        (lambda _: b"<!DOCTYPE html>", "it is a web page: download the file itself"),
        (lambda _: b"", "it is no whole .gz file (it is empty);"),
    ],
    ids=["cut", "damaged", "wrong sum", "more", "no gzip", "pointer", "page", "empty"],
)
def test_a_damaged_gzip_file_is_one_error(zipped, way, change, reason):
    zipped.write_bytes(change(zipped.read_bytes()))
    found, (_, _, errors), other = read(zipped, LocalStorage())
    [error] = errors
    assert error.startswith(reason)
    assert other == [1, [2], []]


def test_a_gzip_file_that_is_shorter_than_listed_is_not_read(zipped, way):
    file = listed("log", zipped)
    zipped.write_bytes(zipped.read_bytes()[:-100])
    [block] = blocks.read_blocks([file])
    assert "is shorter than listed" in block.outcomes[0].error.strerror


def test_a_gzip_file_that_fails_for_once_is_read_on_from_there(zipped, monkeypatch):
    class Failing(SharedStorage):
        opened = 0

        def open(self, uri):
            self.opened += 1
            return super().open(uri)

    def fail_for_once(stream, size):
        if size == 5000 and stream.tell() > 6000 and not failed:
            failed.append(stream)
            raise OSError("a bad moment")
        return read_some(stream, size)

    failed, read_some = [], gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", fail_for_once)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 5000)
    storage = Failing(LocalFileSystem())
    _, *facts = read(zipped, storage, "x://")
    assert (facts, storage.opened) == ([[29, [23], []], [1, [2], []]], 3)
    assert failed


@pytest.mark.parametrize("lines", [[b"\0" * (64 << 20)], thorough([b"\n" * (64 << 20)])])
def test_a_gzip_file_that_expands_takes_no_more_memory(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(raw, "LINE_BYTES", 1 << 20)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 20)
    path = tmp_path / "log.json.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines), 1))
    tracemalloc.start()
    errors = [block.outcomes[0].error for block in blocks.read_blocks([listed("log", path)])]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if b"\0" in lines[0]:
        assert [error.strerror for error in errors] == ["a line of it is longer than 1 MiB"]
    assert peak < 32 << 20
