"""Rejects: the lines that can't be loaded, set aside in a file until they are corrected there."""

import errno
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from sparkify.messages import LoadError
from sparkify.storage import FOLDERS

FILE = "rejected.jsonl"
RETRY_REMEDY = f"--retry needs a file that etl.py wrote, such as {FILE}"


class RejectFile:
    """The record of lines set aside: a JSON object each, entered once however often it is met."""

    def __init__(self, path):
        self.path = Path(path)
        self.entries = None

    def add(self, rejects):
        """Append rejects to the file; they are on the disk on return. Raises LoadError."""
        if not rejects:
            return
        try:
            if self.entries is None:
                self.entries = self.read_entries()
            new = dict.fromkeys(map(format_entry, rejects))
            self.append([entry for entry in new if entry not in self.entries])
            self.entries.update(new)
        except OSError as error:
            message = f"can't record rejected lines in {self.path}: {error.strerror}"
            raise LoadError(f"{message}; --rejects names another file") from None

    def read_entries(self):
        """Return the entries that the file holds, having ended the last line if it was cut off."""
        text = self.path.read_text("utf-8", errors="replace") if self.path.is_file() else ""
        if text and not text.endswith("\n"):
            self.append(["\n"])
        return set(text.splitlines(keepends=True))

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
