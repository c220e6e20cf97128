"""Rejects: the lines set aside, written to a file for people to correct them there."""

import errno
import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from sparkify.errors import LoadError
from sparkify.postgres.transactions import ON_PRIMARY
from sparkify.read.files import Reject
from sparkify.read.storage import FOLDERS
from sparkify.replacing import replace_file

FILE = "rejected.jsonl"
RETRY_REMEDY = f"--retry needs a file that etl.py wrote, such as {FILE}"

open_lines_select = """
SELECT rejected_lines.uri, line, set_aside::text, reason, text, kind
FROM rejected_lines
JOIN loaded_files USING (uri)
WHERE NOT corrected
ORDER BY kind = 'log', uri COLLATE "C", line
"""
open_line_count_select = "SELECT count(*), min(set_aside) FROM rejected_lines WHERE NOT corrected"
known_files_select = "SELECT uri FROM loaded_files WHERE uri = ANY(%s)"
line_correct = """
UPDATE rejected_lines
SET corrected = true
FROM (VALUES %s) AS good (uri, line)
WHERE rejected_lines.uri = good.uri AND rejected_lines.line = good.line
"""


def check_place(path: str) -> None:
    """Raise LoadError where no line can be appended; a device such as /dev/null will do, though."""
    place, fault = Path(path), None
    if not place.absolute().parent.is_dir():
        fault = f"there is no folder {place.parent}"
    elif place.is_dir() or place.is_fifo() or place.is_socket():
        fault = "it is no plain file"
    if fault:
        message = f"can't record rejected lines in {path}: {fault}"
        raise LoadError(f"{message}; --rejects names another file")


def write_open_lines(cur: Cursor, path: str) -> None:
    """Have a file hold the lines that the database has set aside. Raises LoadError.

    A line that somebody has changed there stays as they left it, unless it was set aside anew.
    Lines of files that this database doesn't know stay, too: they may be another database's. Memory
    holds what the file holds.
    """
    file = Path(path)
    if file.exists() and not file.is_file():
        return
    try:
        cur.execute(f"SELECT {ON_PRIMARY}")
        kept, others = read_entries_as_text(cur, file)
        cur.execute(open_lines_select)
        entries = [kept.get(row[:3]) or format_entry(*row) for row in cur]
        if kept or others or entries:
            replace_file(file, "".join(others + entries))
    except OSError as error:
        raise LoadError(
            f"can't record rejected lines in {path}: {error.strerror}; they are kept in the table "
            "rejected_lines; --rejects names another file"
        ) from None


def read_entries_as_text(cur, path):
    """Return a file's lines that tell of files the database knows, by key, and the other ones."""
    known, others = {}, []
    lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape") if path.exists() else ""
    for line in filter(None, lines.split("\n")):
        try:
            entry = json.loads(line)
            known[entry["file"], int(entry["line"]), entry.get("set_aside")] = f"{line}\n"
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            others.append(f"{line}\n")
    cur.execute(known_files_select, (list({uri for uri, *_ in known if isinstance(uri, str)}),))
    uris = {uri for (uri,) in cur}
    others += [line for (uri, *_), line in known.items() if uri not in uris]
    return {key: line for key, line in known.items() if key[0] in uris}, others


def format_entry(uri, line, set_aside, reason, text, kind):
    """Return a line set aside as a line of the file; bytes that are no UTF-8 as lone surrogates."""
    text = bytes(text).decode(errors="surrogateescape")
    entry = {"file": uri, "line": line, "reason": reason, "text": text}
    return json.dumps(entry | {"kind": kind, "set_aside": set_aside}) + "\n"


def count_open_lines(cur: Cursor) -> tuple[int, datetime | None]:
    """Return how many lines are set aside, and since when."""
    cur.execute(open_line_count_select)
    return next(cur)


# Retry


def read_rejects(path: Path) -> list[tuple[str, str, int, bytes]]:
    """Return the entries of a file of rejects as (kind, file, line, text). Raises LoadError."""
    entries = []
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError(errno.EINVAL, "it is no plain file")  # nor to be replaced by one
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise LoadError(f"can't read {path}: {why}; {RETRY_REMEDY}") from None
    if not lines[-1]:
        lines.pop()  # what follows the last line's end
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            file, text = entry["file"], entry["text"].encode(errors="surrogateescape")
            kind = entry["kind"] if entry.get("kind") in FOLDERS else kind_of_path(file)
            entries.append((kind, file, int(entry["line"]), text))
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


def note_corrected(cur: Cursor, lines: Iterable[tuple[str, int]]) -> None:
    """Note lines, as (file, number), as corrected: they don't come back with their file."""
    execute_values(cur, line_correct, lines)


def keep_uncorrected(path: Path, bad: dict[tuple[str, int], Reject]) -> None:
    """Leave only those lines in a file of rejects that are still bad: Rejects by (file, number)."""
    entries = map(json.loads, filter(None, path.read_text("utf-8-sig").split("\n")))
    kept = [(entry, bad.get((entry["file"], int(entry["line"])))) for entry in entries]
    lines = [json.dumps(entry | {"reason": bad.reason}) + "\n" for entry, bad in kept if bad]
    try:
        replace_file(path, "".join(lines))
    except OSError as error:
        message = f"the lines are loaded, but {path} can't be rewritten: {error.strerror}"
        raise LoadError(message) from None
