"""Files: what there is of them in a folder, and which of them are new."""

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

AT_ONCE = 12  # files that are read for a block: two of them may share S3's 25 connections
HANDFUL = 100  # files that a thread reads before it is handed more: to hand them over takes time
LATEST = 253_402_214_400_000_000  # the last day of the year 9999: Python's datetime ends there


class File(NamedTuple):
    """A file as it was listed: its kind, path or URI, bytes, and the time of its modification.

    Times are in microseconds since 1970.
    Or a part of one: the lines that begin at byte `start` or later, and before `end`.
    """

    kind: str
    uri: str
    size: int
    modified: int | None = None
    start: int = 0
    end: int | None = None


class UnreadableFile(Exception):
    """A file that can't be read, or not to its end: its argument is the OSError."""


class LocalStorage:
    """The folders and files of this machine, by their paths."""

    block_files = 4000  # at most in a block

    def is_folder(self, path):
        return os.path.isdir(path)

    def list_json(self, folder, on_error):
        """Yield path, bytes and time of modification of the *.json below a folder.

        Links to folders are followed, after the folders themselves, and each folder is gone through
        once. It is the os module that lists and reads: pyarrow can't name files whose names are no
        UTF-8, and follows links round and round.
        """
        seen, folders, links = set(), [folder], []
        while folders or links:
            path = (folders or links).pop()
            try:
                info = os.stat(path)
                if (info.st_dev, info.st_ino) in seen:
                    continue
                seen.add((info.st_dev, info.st_ino))
                with os.scandir(path) as entries:
                    for entry in entries:
                        if entry.is_dir():
                            (links if entry.is_symlink() else folders).append(entry.path)
                        elif is_json(entry.name):
                            yield from stat_file(entry, on_error)
            except OSError as error:
                on_error(error)

    def open(self, path):
        """Open a file to read bytes, without a buffer, which small files can do without."""
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would keep us waiting for ever
            raise OSError(errno.EINVAL, "not a regular file", path)
        return open(path, "rb", buffering=0)

    def read(self, files, read_lines):
        """Yield what read_lines reads of each of some Files, or the OSError that it meets."""

        def read_some(files):
            return [self.try_to_read(file, read_lines) for file in files]

        handfuls = [files[n : n + HANDFUL] for n in range(0, len(files), HANDFUL)]
        for answers in at_once(read_some, handfuls):
            yield from answers

    def try_to_read(self, file, read_lines):
        try:
            return read_lines(file, self)
        except OSError as error:
            return error

    def close(self):
        """Nothing that is read here takes long."""


def at_once(read, parts):
    """Yield what `read` makes of each of some parts, in order: some threads read them."""
    executor = ThreadPoolExecutor(AT_ONCE)
    try:
        yield from executor.map(read, parts)
    finally:  # whoever stops doesn't wait for what is being read
        executor.shutdown(wait=False, cancel_futures=True)


def stat_file(entry, on_error):
    """Yield path, bytes and time of modification of a file, or hand the OSError to on_error."""
    try:
        info = entry.stat()
    except OSError as error:
        on_error(error)
    else:
        yield entry.path, info.st_size, info.st_mtime_ns // 1000


def is_json(name):
    return name.endswith(".json")


def list_files(kind, folder, on_error, storage=None):
    """Return the *.json files of a kind below a folder, sorted; on_error takes an OSError each."""
    found = (storage or LocalStorage()).list_json(str(folder), on_error)
    return sorted(
        File(kind, uri, size, min(max(modified, 0), LATEST)) for uri, size, modified in found
    )


def select_new(files, loaded):
    """Return those files that were not loaded as they are now, given what loaded_files says."""
    return [f for f in files if loaded.get(stored_uri(f.uri)) != (f.size, f.modified)]


def stored_uri(uri):
    """Return a path or URI as Postgres can store it: bytes that are no UTF-8 as escapes."""
    return uri.encode(errors="backslashreplace").decode()
