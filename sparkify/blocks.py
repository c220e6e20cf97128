"""Blocks: files read, extracted and transformed about 16 MB at a time.

Many small files make a block together, for one by one they would take ten times as long; a large
one makes several. A block is read here, by a thread beside COPY, or on a worker of a cluster.
"""

import codecs
import io
import itertools
import os
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter, itemgetter
from typing import NamedTuple

import numpy as np

from sparkify.encode import ENCODINGS
from sparkify.extract import Reject, extract
from sparkify.files import File, LocalStorage, UnreadableFile, stored_uri
from sparkify.transform import TRANSFORMS, split_rows

BLOCK_BYTES = 16 << 20  # of lines that are parsed together
ENTRIES = 1000  # of lines set aside, likewise


@dataclass
class Outcome:
    """What becomes of a file, or a part of it: records loaded, page views of them, bad lines."""

    file: File
    records: int = 0
    page_views: int = 0
    rejects: list = field(default_factory=list)
    error: OSError | None = None  # that met its reading
    seconds: float = 0.0
    set_aside: int = 0  # rejects that were handed over

    def add(self, other):
        """Add what becomes of another part of the same file."""
        self.records += other.records
        self.page_views += other.page_views
        self.rejects += other.rejects
        self.set_aside += other.set_aside

    def hand_over_rejects(self):
        """Return the bad lines, and go on with no more than their number: they may be many."""
        rejects, self.rejects = self.rejects, []
        self.set_aside += len(rejects)
        return rejects

    def name(self):
        """Return what the parts of one file have in common, and no others."""
        return self.file.kind, self.file.uri

    def describe(self, as_stored=False):
        """Return what there is to note of a file that was loaded."""
        return {
            "uri": stored_uri(self.file.uri) if as_stored else self.file.uri,
            "kind": self.file.kind,
            "size": self.file.size,
            "modified": datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self.file.modified),
            "records": self.records,
            "loaded": self.records,
            "page_views": self.page_views,
            "set_aside": self.set_aside,
            "seconds": self.seconds,
        }


class Block(NamedTuple):
    """What some files, or a part of one, hold: rows to load in turn, and an Outcome for each."""

    rounds: list  # of frames, or of what is encoded for COPY
    outcomes: list
    line_ends: int  # in the first file


# Plan


def plan_blocks(files, block_files):
    """Yield lists of Files of about BLOCK_BYTES: many small ones, or a part of a large one.

    No more than `block_files`: where they are small, it is files, not bytes, that take the time.
    """
    block, size = [], 0
    for file in files:
        if block and (size + file.size > BLOCK_BYTES or len(block) == block_files):
            yield block
            block, size = [], 0
        if file.size > BLOCK_BYTES:
            parts = -(-file.size // BLOCK_BYTES)
            bounds = [*(file.size * part // parts for part in range(parts)), None]
            for start, end in itertools.pairwise(bounds):
                yield [file._replace(start=start, end=end)]
        else:
            block.append(file)
            size += file.size
    if block:
        yield block


# Read a block


def read_block(files, storage, target=None, catalogue=None):
    """Return Files of one kind as a Block, ready to be loaded row by row or by COPY to a target."""
    texts, errors = [], []
    for file, answer in zip(files, storage.read(files, read_lines), strict=True):
        failed = isinstance(answer, OSError)
        texts.append(b"" if failed else answer)
        errors.append(name_file(answer, file) if failed else None)
    return make_block(files, texts, errors, target, catalogue)


def name_file(error, file):
    """Return an OSError as one that names its file."""
    return OSError(error.errno, error.strerror or str(error), file.uri)


def read_lines(file, storage):
    """Return the bytes of a File's lines. A byte-order mark is left out."""
    is_part = file.start or file.end is not None
    with storage.open(file.uri) as stream:
        text = read_part(file, io.BufferedReader(stream)) if is_part else stream.read()
    return text if file.start else text.removeprefix(codecs.BOM_UTF8)


def read_part(file, stream):
    """Return the bytes of the lines that begin in a part of a file."""
    # No further than its end: a line that is longer than all of it belongs to a part before.
    limit = -1 if file.end is None else file.end - file.start + 1
    start = seek_line(stream, file.start, limit)
    if start in (file.start - 1, file.end):  # the file is shorter by now, or no line begins
        return b""
    end = file.end and seek_line(stream, file.end)
    stream.seek(start)
    return stream.read() if end is None else stream.read(end - start)


def seek_line(stream, position, limit=-1):
    """Go to the first line that begins at byte `position` or later, and return where that is."""
    if position:
        stream.seek(position - 1)
        stream.readline(limit)
    return stream.tell()


def make_block(files, texts, errors, target=None, catalogue=None):
    """Return the texts of Files of one kind as a Block, with rejects numbered as in their text."""
    kind = files[0].kind
    records, faults = extract(texts, kind)
    rejects = [[] for _ in files]
    for (position, number, line), reason in faults:
        text = line.decode(errors="surrogateescape")
        rejects[position].append(Reject(files[position].uri, number, reason, text))
    views = records[records["page"] != "NextSong"] if kind == "log" else records[:0]
    counts = count_rows(records, len(files)), count_rows(views, len(files))
    outcomes = itertools.starmap(Outcome, zip(files, *counts, rejects, errors, strict=True))
    encode, transform = ENCODINGS[kind], TRANSFORMS[kind]
    rounds = encode(records, target, catalogue) if target else transform(records)
    line_ends = int(np.count_nonzero(np.frombuffer(texts[0], np.uint8) == ord("\n")))
    return Block(rounds, list(outcomes), line_ends)


def count_rows(frame, pieces):
    """Return the number of a frame's rows per piece."""
    return np.bincount(frame["piece"], minlength=pieces).tolist()


# Read all blocks, ahead of their loading


def read_blocks(files, storage=None, target=None, catalogue=None, executor=None, ahead=0):
    """Yield the Blocks of Files, in order, with rejects numbered as in their file.

    They are for loading row by row or, encoded, for COPY to a `target`: "table" or "staging"; logs
    need the catalogue then, to find their songs in. An executor reads up to `ahead` of them while
    others are being loaded.
    """
    storage = storage or LocalStorage()
    kinds = (group for _, group in itertools.groupby(files, key=attrgetter("kind")))
    blocks = (block for group in kinds for block in plan_blocks(group, storage.block_files))
    plan = ((block, storage, target, catalogue) for block in blocks)
    lines_before = 0
    for block in read_ahead(read_block, plan, executor, ahead):
        if block.outcomes[0].file.start == 0:
            lines_before = 0
        for outcome in block.outcomes:
            number_rejects(outcome, lines_before)
        lines_before += block.line_ends
        yield block


def number_rejects(outcome, lines_before):
    """Change the line numbers of Rejects from those in their text to those in their file."""
    outcome.rejects = [r._replace(line=r.line + lines_before) for r in outcome.rejects]


def read_ahead(read, plan, executor, ahead):
    """Yield what `read` makes of each part of a plan. A slow loader makes the readers wait."""
    if executor is None:
        yield from itertools.starmap(read, plan)
        return
    waiting = deque()
    try:
        for part in plan:
            waiting.append(executor.submit(read, *part))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


# Take blocks apart again, file by file


class FileRows:
    """The rows of one file, in rounds to load in turn, and its Outcome, whole at the end.

    Going through the rounds raises UnreadableFile where the file could not be read.
    """

    def __init__(self, parts):
        self.parts, self.outcome = parts, None

    def __iter__(self):
        for outcome, rounds in self.parts:
            if outcome.error:
                raise UnreadableFile(outcome.error)
            yield from rounds
            if self.outcome:
                self.outcome.add(outcome)
            else:
                self.outcome = outcome


def split_files(blocks):
    """Yield (kind, path) and FileRows for each file of the Blocks: of several if it is large."""
    parts = (part for block in blocks for part in split_block(block))
    for name, parts_of_file in itertools.groupby(parts, key=lambda part: part[0].name()):
        yield name, FileRows(parts_of_file)


def split_block(block):
    """Yield (Outcome, rounds) for each file of a Block: rounds of lists of rows, one a table."""
    pieces = len(block.outcomes)
    rounds = [[split_rows(frame, pieces) for frame in frames] for frames in block.rounds]
    for position, outcome in enumerate(block.outcomes):
        own_rounds = ([rows[position] for rows in tables] for tables in rounds)
        yield outcome, [tables for tables in own_rounds if any(tables)]


def read_file(filepath, kind):
    """Return the FileRows of one file."""
    file = File(kind, str(filepath), os.path.getsize(filepath))
    _, rows = next(split_files(read_blocks([file])))
    return rows


def read_entries(entries, watch=iter):
    """Yield what split_files does, of lines set aside, given as (kind, file, line, text).

    `watch` is given the Blocks on their way.
    """
    return split_files(watch(make_entry_blocks(entries)))


def make_entry_blocks(entries):
    """Yield lines set aside as Blocks: to a Block, each line is a file."""
    for kind, group in itertools.groupby(entries, key=itemgetter(0)):
        while chunk := list(itertools.islice(group, ENTRIES)):
            _, uris, first_lines, texts = zip(*chunk, strict=True)
            files = [File(kind, uri, len(text)) for uri, text in zip(uris, texts, strict=True)]
            block = make_block(files, texts, [None] * len(texts))
            for outcome, first_line in zip(block.outcomes, first_lines, strict=True):
                number_rejects(outcome, first_line - 1)
            yield block
