"""Blocks: files read, extracted and transformed about 16 MB at a time.

Many small files make a block together, for one by one they would take ten times as long; a large
one makes several. A block is read by this process, by threads beside COPY, or on a cluster.
"""

import contextlib
import gc
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from sparkify import interrupts
from sparkify.read.copy_format import ENCODINGS
from sparkify.read.extract import NO_PAGE, extract
from sparkify.read.files import File, Outcome, Reject, UnreadableFile
from sparkify.read.lines import NO_OBJECT
from sparkify.read.raw import Document, read_in_turn, read_lines
from sparkify.read.storage import LocalStorage, Storage
from sparkify.read.transform import TRANSFORMS, split_rows, undo_double_encoding

BLOCK_BYTES = 16 << 20  # of lines that are parsed together
ENTRIES = 1000  # of lines set aside, likewise
READERS = 2  # threads that read and transform beside COPY
PAGELESS = "none of its events has a page; of such logs, page_view_events has the plays, too"
BINARY = "it is no text, and none of its lines is JSON; look where it is from"


class Block(NamedTuple):
    """What some files, or a part of one, hold: rows to load in turn, and an Outcome for each."""

    rounds: list  # of frames, or of what is encoded for COPY
    outcomes: list
    line_ends: int  # in the first file


# Plan


def plan_blocks(files: Iterable[File], block_files: int) -> Iterator[list[File]]:
    """Yield lists of Files of about BLOCK_BYTES: many small ones, or a part of a large one.

    No more than `block_files`: where they are small, it is files, not bytes, that take the time.
    """
    block: list[File] = []
    size = 0
    for file in files:
        text_size = file.text_size
        if block and (size + text_size > BLOCK_BYTES or len(block) == block_files):
            yield block
            block, size = [], 0
        if text_size > BLOCK_BYTES:
            yield from cut(file)
        else:
            block.append(file)
            size += text_size
    if block:
        yield block


def cut(file):
    """Yield the parts of a large File as lists of one; a .gz is one, which is cut as it is read."""
    parts = 1 if file.is_gzip else -(-file.size // BLOCK_BYTES)
    bounds = [*(file.size * part // parts for part in range(parts)), None]
    for start, end in itertools.pairwise(bounds):
        yield [file._replace(start=start, end=end)]


# Read a block


def read_block(files, storage, target=None, catalogue=None, answers=None):
    """Return Files of one kind as a Block, ready to be loaded row by row or by COPY to a target.

    `answers` are the Lines of each, or the OSErrors met, where they have been read already.
    """
    read, texts, errors = [], [], []
    for file, answer in zip(files, answers or storage.read(files, read_lines), strict=True):
        failed = isinstance(answer, OSError)
        as_listed = failed or answer.size == file.size
        read.append(file if as_listed else file._replace(size=answer.size))
        texts.append(b"" if failed else answer.text)
        errors.append(name_file(answer, file) if failed else None)
    block = make_block(read, texts, errors, target, catalogue)
    for outcome, text in zip(block.outcomes, texts, strict=True):
        refuse_useless(outcome, text)
    return block


def refuse_useless(outcome, text):
    """Have one reason for a file, instead of one a line, where that is why it has no record."""
    if outcome.file.start or outcome.records or len(outcome.rejects) < 2:
        return
    reasons = {reject.reason for reject in outcome.rejects}
    if reasons == {NO_PAGE}:
        outcome.error = OSError(None, PAGELESS, outcome.file.uri)
    elif b"\0" in text and all(reason.startswith(NO_OBJECT) for reason in reasons):
        outcome.error = OSError(None, BINARY, outcome.file.uri)
    if outcome.error:
        outcome.rejects = []


def name_file(error, file):
    """Return an OSError as one that names its file."""
    return OSError(error.errno, error.strerror or str(error), file.uri)


def make_block(files, texts, errors, target=None, catalogue=None):
    """Return the texts of Files of one kind as a Block, with rejects numbered as in their text."""
    kind = files[0].kind
    records, faults = extract(texts, kind)
    rejects = [[] for _ in files]
    for (position, number), same_line in itertools.groupby(faults, key=lambda fault: fault[0][:2]):
        (line, reason), *others = [(line.text, reason) for line, reason in same_line]
        if others:  # of a document: they are an array, so that they can be retried
            line = b"[" + b",".join([line, *(other for other, _ in others)]) + b"]"
        text = line.decode(errors="surrogateescape")
        rejects[position].append(Reject(files[position].uri, number, reason, text))
    views = reencoded = records["piece"][:0]
    if kind == "log":
        records, reencoded = undo_double_encoding(records)
        views = records.loc[records["page"] != "NextSong", "piece"]
    counts = [count_rows(pieces, len(files)) for pieces in (records["piece"], views, reencoded)]
    outcomes = itertools.starmap(Outcome, zip(files, *counts, rejects, errors, strict=True))
    encode, transform = ENCODINGS[kind], TRANSFORMS[kind]
    rounds = encode(records, target, catalogue) if target else transform(records)
    line_ends = int(np.count_nonzero(np.frombuffer(texts[0], np.uint8) == ord("\n")))
    return Block(rounds, list(outcomes), line_ends)


def count_rows(pieces, number):
    """Return how many rows there are of each of so many pieces, given the piece of each row."""
    return np.bincount(pieces, minlength=number).tolist()


# Read all blocks, ahead of their loading


def read_blocks(
    files: Sequence[File],
    target: str | None = None,
    catalogue: pa.Table | None = None,
    storage: Storage | None = None,
    executor=None,
) -> Iterator[Block]:
    """Yield the Blocks of Files, in order, with rejects numbered as in their file.

    They are for loading row by row or, encoded, for COPY to a `target`: "table" or "staging"; logs
    need the catalogue then, to find their songs in. An executor reads some ahead of the loading.
    """
    storage = storage or LocalStorage()
    kinds = (group for _, group in itertools.groupby(files, key=attrgetter("kind")))
    blocks = (block for group in kinds for block in plan_blocks(group, storage.block_files))
    if executor:
        catalogue = executor.share(catalogue)
    plan = (
        (part, storage, target, catalogue, answers)
        for block in blocks
        for part, answers in unzip_large(block, storage)
    )
    lines_before = 0
    ahead = executor.ahead if executor else 0
    for block in read_ahead(read_block, plan, executor, ahead):
        if block.outcomes[0].file.start == 0:
            lines_before = 0
        for outcome in block.outcomes:
            number_rejects(outcome, lines_before)
        lines_before += block.line_ends
        yield block


def unzip_large(files, storage):
    """Yield the parts of a large .gz, as lists of one, and of their Lines; of other Files, None."""
    if not (files[0].is_gzip and files[0].text_size > BLOCK_BYTES):
        yield files, None
        return
    for part, lines in read_in_turn(files[0], storage, BLOCK_BYTES):
        yield [part], [lines]


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


class FileContent:
    """A file that has been read: rows, in `rounds` to load in turn, and its Outcome.

    A round has the rows of each table. The Outcome is whole when all rounds have been taken; taking
    them raises UnreadableFile where the file could not be read to its end.
    """

    def __init__(self, kind: str, uri: str, parts: Iterable[tuple[Outcome, list]]):
        self.uri, self.outcome = uri, Outcome(File(kind, uri, 0))
        self.rounds = self.take(parts)

    def take(self, parts):
        for part, rounds in parts:
            if part.error:
                raise UnreadableFile(part.error)
            yield from rounds
            self.outcome.add(part)


def split_files(blocks: Iterable[Block]) -> Iterator[FileContent]:
    """Yield a FileContent for each file of the Blocks, of several of them if it is large."""
    parts = (part for block in blocks for part in split_block(block))
    for (kind, uri), parts_of_file in itertools.groupby(parts, key=lambda part: part[0].name()):
        yield FileContent(kind, uri, parts_of_file)


def split_block(block):
    """Yield (Outcome, rounds) for each file of a Block: rounds of lists of rows, one a table."""
    pieces = len(block.outcomes)
    rounds = [[split_rows(frame, pieces) for frame in frames] for frames in block.rounds]
    for position, outcome in enumerate(block.outcomes):
        own_rounds = ([rows[position] for rows in tables] for tables in rounds)
        yield outcome, [tables for tables in own_rounds if any(tables)]


def read_file(filepath: str | Path | FileContent, kind: str) -> FileContent:
    """Return the FileContent of a file that is given by its path, or has been read already."""
    if isinstance(filepath, FileContent):
        return filepath
    file = File(kind, str(filepath), os.path.getsize(filepath))
    return next(split_files(read_blocks([file])))


def read_entries(
    entries: Sequence[tuple[str, str, int, bytes]], watch: Callable = iter
) -> Iterator[FileContent]:
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
            texts = [Document(text) if text.startswith(b"[") else text for text in texts]
            block = make_block(files, texts, [None] * len(texts))
            for outcome, first_line in zip(block.outcomes, first_lines, strict=True):
                number_rejects(outcome, first_line - 1)
            yield block


# Who reads them


class Threads(ThreadPoolExecutor):
    """Threads of this process that read Blocks ahead of their loading."""

    ahead = READERS + 1  # Blocks

    def __exit__(self, *_):
        self.shutdown(wait=False, cancel_futures=True)  # whoever stops doesn't wait for them

    def share(self, value):
        return value


@contextlib.contextmanager
def open_reader(
    storage: Storage | None = None,
    threads: bool = False,
    scheduler: str | None = None,
    files: Sequence[File] = (),
) -> Iterator[Callable[..., Iterator[Block]]]:
    """Yield a function that reads some files as read_blocks does.

    They are read here, by threads, or by the cluster whose scheduler has this address. Raises
    LoadError where the cluster can't be used, or doesn't see the same `files`.
    """
    storage = storage or LocalStorage()

    def read(files, target=None, catalogue=None):
        return read_blocks(files, target, catalogue, storage, executor)

    with contextlib.closing(storage), open_executor(storage, threads, scheduler, files) as executor:
        yield read


def open_executor(storage, threads, scheduler, files):
    if scheduler:
        from sparkify.read import cluster  # Dask, for clusters alone

        return cluster.connect(scheduler, storage, files)
    return Threads(READERS) if threads else contextlib.nullcontext()


def spare_memory() -> None:
    """Search no garbage among the libraries, which stay; let what is free go to the system.

    In another program's process, both are up to that program.
    """
    if not interrupts.owns_process():
        return
    gc.freeze()
    pa.set_memory_pool(pa.system_memory_pool())
