"""Files: as they are listed, which of them are data and new, and what becomes of each."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

GZIP_RATIO = 12  # bytes of lines for one of a .gz, roughly: 10 to 13 in logs
DATA = re.compile(r".+\.(json|jsonl|ndjson)(\.gz)?", re.IGNORECASE | re.DOTALL)
# eventsim's forks write four files for a log, often without an ending: one has all of it.
WHOLE_LOG = re.compile(r"page_view_events(\.gz)?", re.IGNORECASE)
PART_OF_LOG = re.compile(r"(listen|auth|status_change)_events(\..*)?", re.IGNORECASE | re.DOTALL)


class File(NamedTuple):
    """A file as it was listed: its kind, path or URI, bytes, and the time of its modification.

    Times are in microseconds since 1970.
    Or a part of one: the lines that begin at byte `start` or later, and before `end`; of a .gz,
    those that are unzipped from there on.
    """

    kind: str
    uri: str
    size: int
    modified: int | None = None
    start: int = 0
    end: int | None = None

    @property
    def is_gzip(self) -> bool:
        return self.uri.lower().endswith(".gz")

    @property
    def is_part(self) -> bool:
        return self.start > 0 or self.end is not None

    @property
    def text_size(self) -> int:
        """The bytes of its lines, roughly."""
        return self.size * GZIP_RATIO if self.is_gzip else self.size


class UnreadableFile(Exception):
    """A file that can't be read, or not to its end: its argument is the OSError."""


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is some program's own: .ipynb_checkpoints, ._a.json, _SUCCESS.

    It is by a name that begins with a dot or an underscore.
    """
    return name.startswith((".", "_"))


def is_data(kind: str, name: str) -> bool:
    """Tell by its name whether a file that lies among those of a kind is one of them."""
    if PART_OF_LOG.fullmatch(name):
        return False
    return bool(DATA.fullmatch(name) or (kind == "log" and WHOLE_LOG.fullmatch(name)))


def explain_passing_over(names: Iterable[str]) -> list[str]:
    """Return sentences on why files of these names are no data, and what to do if they are."""
    parts = sorted(name for name in names if PART_OF_LOG.fullmatch(name))
    unnamed = sorted(name for name in names if "." not in name and name not in parts)
    sentences = []
    if parts:
        sentences.append(f"page_view_events has the plays of {', '.join(parts)}")
    if unnamed:
        endings = "data ends with .json, .jsonl or .ndjson, each also .gz"
        sentences.append(f"if {unnamed[0]} is data, rename it: {endings}")
    return sentences


def select_new(files: Iterable[File], loaded: Mapping[str, tuple]) -> list[File]:
    """Return those files that were not loaded as they are now, given what loaded_files says."""
    return [f for f in files if loaded.get(stored_uri(f.uri)) != (f.size, f.modified)]


def stored_uri(uri: str) -> str:
    """Return a path or URI as Postgres can store it: bytes that are no UTF-8 as escapes."""
    return uri.encode(errors="backslashreplace").decode()


# What becomes of a file


class Reject(NamedTuple):
    """A line set aside: `text` is the line itself, bytes that are no UTF-8 as lone surrogates."""

    file: str
    line: int
    reason: str
    text: str


@dataclass
class Outcome:
    """What becomes of a file, or a part of it: records loaded, page views of them, bad lines."""

    file: File
    records: int = 0
    page_views: int = 0
    reencoded: int = 0  # plays whose song or artist was doubly encoded
    rejects: list = field(default_factory=list)
    error: OSError | None = None  # that met its reading
    seconds: float = 0.0
    set_aside: int = 0  # rejects that were handed over, but for those that were corrected since
    first_reject: tuple | None = None  # of these: its line, and why

    def add(self, other: "Outcome") -> None:
        """Add what becomes of the next part of the same file, which may have grown meanwhile."""
        self.file = other.file
        self.records += other.records
        self.page_views += other.page_views
        self.reencoded += other.reencoded
        self.rejects += other.rejects
        self.set_aside += other.set_aside

    def hand_over_rejects(self) -> list[Reject]:
        """Return the bad lines, and go on with no more than their number: they may be many."""
        rejects, self.rejects = self.rejects, []
        self.set_aside += len(rejects)
        return rejects

    def name(self) -> tuple[str, str]:
        """Return (kind, uri)."""
        return self.file.kind, self.file.uri

    def stored_uri(self) -> str:
        return stored_uri(self.file.uri)

    def describe(self) -> dict[str, Any]:
        """Return what there is to note of a file that was loaded: the columns of loaded_files."""
        modified = self.file.modified or 0
        return {
            "uri": self.stored_uri(),
            "kind": self.file.kind,
            "size": self.file.size,
            "modified": datetime.fromtimestamp(0, UTC) + timedelta(microseconds=modified),
            "rows_loaded": self.records,
            "lines_set_aside": self.set_aside,
            "plays_reencoded": self.reencoded,
            "seconds": self.seconds,
        }
