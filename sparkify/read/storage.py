"""Where DATA is: in folders of this machine, or of shared storage; either is a Storage."""

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from sparkify.errors import LoadError, WrongArguments
from sparkify.messages import one_line
from sparkify.read.files import File, is_data, is_hidden

DATA = Path(__file__).parents[2] / "data"
FOLDERS = {"song": "song_data", "log": "log_data"}  # by the kind of their files
LAST_DAY = 253_402_214_400_000_000  # of the year 9999: Python's datetime ends there
READ_AT_ONCE = 12  # files of a block: two blocks may share S3's 25 connections
HANDFUL = 100  # files that a thread reads before it is handed more: to hand them over takes time
HANDFUL_SECONDS = 0.05  # from the system's cache, reading them takes a tenth of that, or a fifth
# A pipe would keep who opens it waiting for ever; Windows must be told that lines end as they do.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
Read = TypeVar("Read")


class Storage(Protocol):
    """Folders and files, by their paths or URIs."""

    block_files: int  # at most in a block

    def is_folder(self, uri: str) -> bool:
        """Tell whether a folder is there. Raises OSError where that can't be found out."""

    def list(
        self, folder: str, is_wanted: Callable[[str], bool], on_error: Callable[[OSError], None]
    ) -> Iterator[tuple[str, int, int]]:
        """Yield URI, bytes and time of modification of the files below a folder.

        That is without those that are hidden, or in a hidden folder; is_wanted, which is asked of
        the others by their URIs, says which ones. What can't be listed goes to on_error, or ends
        the run by LoadError where there are no parts that could be.
        """

    def open(self, uri: str) -> BinaryIO:
        """Open a file to read bytes."""

    def read_bytes(self, uri: str) -> bytes:
        """Return all bytes of a file."""

    def read(
        self, files: Sequence[File], read_one: Callable[[File, "Storage"], Read]
    ) -> Iterator[Read | OSError]:
        """Yield what read_one gives for each of some Files, in order, or the OSError it meets.

        Raises LoadError where the storage, not a file, is to blame.
        """

    def close(self) -> None:
        """Have readers in other threads stop."""


class LocalStorage:
    """The folders and files of this machine, by their paths."""

    block_files = 4000

    def is_folder(self, path):
        return os.path.isdir(path)

    def list(self, folder, is_wanted, on_error):
        """Yield path, bytes and time of modification of the files below a folder.

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
                        if is_hidden(entry.name):
                            continue
                        if entry.is_dir():
                            (links if entry.is_symlink() else folders).append(entry.path)
                        elif is_wanted(entry.path):
                            yield from stat_file(entry, on_error)
            except OSError as error:
                on_error(error)

    def open(self, path):
        """Open a file to read bytes, without a buffer."""
        descriptor, _ = open_regular(path)
        return open(descriptor, "rb", buffering=0)

    def read_bytes(self, path):
        """Return all bytes of a file, by as few calls of the system as can be."""
        descriptor, size = open_regular(path)
        try:
            text = os.read(descriptor, size)
            if size and len(text) == size:
                return text
            with open(descriptor, "rb", buffering=0, closefd=False) as stream:
                return text + stream.read()
        finally:
            os.close(descriptor)

    def read(self, files, read_one):
        """Yield them one after another for as long as that is quick, then read many at once.

        From the system's cache it is, where threads would only be in each other's way.
        """

        def read_some(files):
            return [self.try_to_read(file, read_one) for file in files]

        handfuls = deque(files[n : n + HANDFUL] for n in range(0, len(files), HANDFUL))
        seconds = 0.0
        while handfuls and seconds < HANDFUL_SECONDS:
            started = time.monotonic()
            answers = read_some(handfuls.popleft())
            seconds = time.monotonic() - started
            yield from answers
        for answers in read_at_once(read_some, handfuls):
            yield from answers

    def try_to_read(self, file, read_one):
        try:
            return read_one(file, self)
        except OSError as error:
            return error

    def close(self):
        """Nothing that is read here takes long."""


def open_regular(path):
    """Return the descriptor and the bytes of a file. Raises OSError where it is a pipe, say."""
    descriptor = os.open(path, OPEN_FLAGS)
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor, info.st_size


def read_at_once(read: Callable, parts: Iterable) -> Iterator:
    """Yield what `read` makes of each of some parts, in order: some threads read them."""
    executor = ThreadPoolExecutor(READ_AT_ONCE)
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


def find_storage(data: str) -> tuple[Storage, str]:
    """Return the storage and the path or URI that DATA names.

    Raises WrongArguments where it lacks one of its folders or is a URL of none, LoadError where
    that can't be found out.
    """
    storage: Storage
    if "://" in data:
        from pyarrow import fs  # for shared storage alone

        from sparkify import interrupts
        from sparkify.read.object_store import open_url

        # Not every pyarrow can do S3.
        interrupts.waiting_at_exit.add(getattr(fs, "ensure_s3_finalized", None))
        storage, root = open_url(data)
    else:
        storage, root = LocalStorage(), os.path.abspath(data)  # so that a line can be found again
    for folder in (folder_of(root, kind) for kind in FOLDERS):
        try:
            found = storage.is_folder(folder)
        except OSError as error:
            raise LoadError(f"can't read {folder}: {one_line(error)}") from None
        if not found:
            missing = folder if storage.is_folder(root) else root
            raise WrongArguments(
                f"there is no folder {missing}; DATA must hold song_data/ and log_data/"
            )
    return storage, root


def folder_of(root: str, kind: str) -> str:
    """Return the path or URI of the folder that holds the files of a kind."""
    return f"{root.rstrip('/')}/{FOLDERS[kind]}"


def list_files(
    kind: str,
    folder: str | Path,
    on_error: Callable[[OSError], None],
    storage: Storage | None = None,
    pass_over: Callable[[str], None] = lambda uri: None,
) -> list[File]:
    """Return the files of a kind below a folder, sorted.

    on_error is handed what can't be listed, pass_over the paths or URIs of what is no data.
    """

    def is_wanted(uri):
        if is_data(kind, os.path.basename(uri)):
            return True
        pass_over(uri)
        return False

    found = (storage or LocalStorage()).list(str(folder), is_wanted, on_error)
    return sorted(
        File(kind, uri, size, min(max(modified, 0), LAST_DAY)) for uri, size, modified in found
    )
