"""Files: what there is of them in a folder, and which of them are new."""

import errno
import os
import stat
from datetime import UTC, datetime
from typing import NamedTuple

LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


class File(NamedTuple):
    """A file as it was listed: its kind, path or URI, bytes, and when it was modified.

    Or a part of one: the lines that begin at byte `start` or later, and before `end`.
    """

    kind: str
    uri: str
    size: int
    modified: datetime | None = None
    start: int = 0
    end: int | None = None


class UnreadableFile(Exception):
    """A file that can't be read, or not to its end: its argument is the OSError."""


class LocalStorage:
    """The folders and files of this machine, by their paths."""

    def is_folder(self, path):
        return os.path.isdir(path)

    def list_json(self, folder, on_error):
        """Yield path, bytes and modification time in seconds of the *.json below a folder.

        Links to folders are followed, each folder once. It is the os module that lists and reads:
        pyarrow can't name files whose names are no UTF-8, and follows links round and round.
        """
        seen = set()
        for root, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
            place = os.path.realpath(root)
            if place in seen:
                folders.clear()
                continue
            seen.add(place)
            for name in filter(is_json, names):
                path = os.path.join(root, name)
                try:
                    info = os.stat(path)
                    yield path, info.st_size, info.st_mtime
                except OSError as error:
                    on_error(error)

    def open(self, path):
        """Open a file to read bytes."""
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would keep us waiting for ever
            raise OSError(errno.EINVAL, "not a regular file", path)
        return open(path, "rb")


def is_json(name):
    return name.endswith(".json")


def list_files(kind, folder, on_error, storage=None):
    """Return the *.json files of a kind below a folder, sorted; on_error takes an OSError each."""
    found = (storage or LocalStorage()).list_json(str(folder), on_error)
    return sorted(
        File(kind, uri, size, datetime.fromtimestamp(min(max(modified, 0), LATEST), UTC))
        for uri, size, modified in found
    )


def select_new(files, loaded):
    """Return those files that were not loaded as they are now, given what loaded_files says."""
    return [f for f in files if loaded.get(stored_uri(f.uri)) != (f.size, f.modified)]


def stored_uri(uri):
    """Return a path or URI as Postgres can store it: bytes that are no UTF-8 as escapes."""
    return uri.encode(errors="backslashreplace").decode()
