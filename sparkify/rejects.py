"""Rejects: the lines that can't be loaded, set aside in a file until they are corrected there."""

import errno
import itertools
import json
import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from sparkify.messages import LoadError
from sparkify.storage import FOLDERS

FILE = "rejected.jsonl"
RETRY_REMEDY = f"--retry needs a file that etl.py wrote, such as {FILE}"
KEPT_BYTES = 16 << 20  # of entries that are kept in memory; more go to a temporary file
ENTRIES = 10_000  # that are looked up together
DIGEST_BYTES = 16


class RejectFile:
    """The record of lines set aside: a JSON object each, entered once however many runs meet it.

    Lines are kept until their file is read to its end, and then entered. Of what the file holds
    from earlier runs, memory holds DIGEST_BYTES an entry; of this run, no more than KEPT_BYTES.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.kept = tempfile.SpooledTemporaryFile(  # noqa: SIM115 (it goes with the run)
            KEPT_BYTES, "w+", encoding="ascii", newline="\n"
        )
        self.digests = None  # of the entries of earlier runs, sorted

    def keep(self, rejects):
        """Keep rejects until they are entered or dropped. Raises LoadError."""
        with self.naming_file():
            self.kept.writelines(map(format_entry, rejects))

    def start_over(self):
        """Forget what is kept, and take what was entered for an earlier run's."""
        self.drop()
        self.digests = None

    def drop(self):
        self.kept.seek(0)
        self.kept.truncate()

    def enter(self):
        """Append what is kept to the file; it is on the disk on return. Raises LoadError."""
        if not self.kept.tell():
            return
        with self.naming_file():
            if self.digests is None:
                self.digests = self.digest_file()
            self.kept.seek(0)
            self.append(self.select_new(iter(self.kept)))
            self.drop()

    @contextmanager
    def naming_file(self):
        """Raise an error of the system as a LoadError."""
        try:
            yield
        except OSError as error:
            message = f"can't record rejected lines in {self.path}: {error.strerror}"
            raise LoadError(f"{message}; --rejects names another file") from None

    def digest_file(self):
        """Return the digests of the file's lines, having ended the last one if it was cut off."""
        if not self.path.is_file():
            return digest_lines([])
        with open(self.path, "rb") as file:
            digests = digest_lines(file)
            file.seek(-1 if digests.size else 0, os.SEEK_END)
            if file.read() not in (b"", b"\n"):
                self.append(["\n"])
        digests.sort()
        return digests

    def select_new(self, entries):
        """Yield those of the entries that no earlier run has entered."""
        while some := list(itertools.islice(entries, ENTRIES)):
            digests = digest_lines(entry.encode() for entry in some)
            if len(self.digests):
                places = self.digests.searchsorted(digests).clip(max=len(self.digests) - 1)
                is_new = self.digests[places] != digests
                some = itertools.compress(some, is_new)
            yield from some

    def append(self, entries):
        with open(self.path, "a", encoding="ascii", newline="\n") as file:
            file.writelines(entries)
            file.flush()
            if self.path.is_file():  # and not /dev/null
                os.fsync(file.fileno())


def check_place(path):
    """Raise LoadError where no line can be appended; a device such as /dev/null will do, though."""
    place, fault = Path(path), None
    if not place.absolute().parent.is_dir():
        fault = f"there is no folder {place.parent}"
    elif place.is_dir() or place.is_fifo() or place.is_socket():
        fault = "it is no plain file"
    if fault:
        message = f"can't record rejected lines in {path}: {fault}"
        raise LoadError(f"{message}; --rejects names another file")


def digest_lines(lines):
    """Return a digest of each line, whatever ends it, as an array."""
    import numpy  # which takes time, and most runs set nothing aside

    digests = bytearray()
    for line in lines:
        digests += blake2b(line.rstrip(b"\r\n"), digest_size=DIGEST_BYTES).digest()
    return numpy.frombuffer(digests, f"S{DIGEST_BYTES}")


def format_entry(reject):
    """Return a Reject as a line of the file."""
    return json.dumps(reject._asdict()) + "\n"


# Retry


def read_rejects(path):
    """Return the entries of a file of rejects as (kind, file, line, text). Raises LoadError."""
    entries = []
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError(errno.EINVAL, "it is no plain file")  # nor to be replaced by one
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise LoadError(f"can't read {path}: {why}; {RETRY_REMEDY}") from None
    if not lines[-1]:
        lines.pop()  # what follows the last line's end
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            file, text = entry["file"], entry["text"].encode(errors="surrogateescape")
            entries.append((kind_of_path(file), file, int(entry["line"]), text))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            message = f"{path}, line {number}: this is no line set aside; nothing was loaded"
            remedy = "take it out of the file" if entries else RETRY_REMEDY
            raise LoadError(f"{message}; {remedy}") from None
    return entries


def kind_of_path(path):
    """Return the kind of a file by the last of its folders that tells. Raises ValueError."""
    for folder in reversed(re.split(r"[/\\]", path)):
        if folder in FOLDERS.values():
            return next(kind for kind, name in FOLDERS.items() if name == folder)
    raise ValueError(path)


def replace_rejects(path, rejects):
    """Write the rejects to the file in place of what it holds, at once or not at all."""
    new = None
    try:
        descriptor, new = tempfile.mkstemp(prefix=path.name, dir=path.parent)
        with open(descriptor, "w", encoding="ascii", newline="\n") as file:
            file.writelines(map(format_entry, rejects))
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, new)
        os.replace(new, path)
    except OSError as error:
        if new:
            os.unlink(new)
        message = f"the lines are loaded, but {path} can't be rewritten: {error.strerror}"
        raise LoadError(message) from None
