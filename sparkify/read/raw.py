"""Raw text: the bytes of a file, or a part of one, unzipped where it is a .gz, and their form.

That is an object a line, a document (an array, objects over several lines), or no JSON at all.
A large file is read in parts, any of them first. A large .gz can't be: it is unzipped part after
part, of which no more is in memory than a part, and a line that is longer.
"""

import codecs
import contextlib
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from sparkify.read.files import File
from sparkify.read.storage import Storage

LINE_BYTES = 64 << 20  # the longest line of a .gz, lest one that expands without end fills memory
BUFFER_BYTES = 1 << 20  # of a .gz that are asked for together

HEAD_BYTES = 1 << 16  # of a file, which tell its form
DOCUMENT_BYTES = 128 << 20  # the most that is read of a document: memory holds some six times that
TOO_LARGE = (
    f"it is not one JSON object a line, and read otherwise up to {DOCUMENT_BYTES >> 20} MiB only; "
    "write an object a line, as jq -c does"
)
GZIP = b"\x1f\x8b"
# What a file that is no JSON begins with, what that is, and what helps
STRANGERS = {
    rb"version https://git-lfs": "a pointer of Git LFS to the file: run git lfs pull",
    rb"(?i)\s*<(!--|!doctype|html|head|\?xml)": "a web page: download the file itself",
    rb"PK(\x03\x04|\x05\x06)": "a zip archive: unpack it",
    GZIP: "compressed by gzip: let its name end in .gz",
    rb"\xff\xfe|\xfe\xff|[^\0]\0[^\0]\0|\0[^\0]\0[^\0]": "UTF-16: save it as UTF-8",
    rb"\0\x05\x16[\0\x07]": "what macOS keeps beside a file: delete it",
    rb"SQLite|PAR1|\x89PNG|%PDF|BZh\d|\xfd7zXZ|\x28\xb5\x2f\xfd": "no text: see what it is",
}


class Document(bytes):
    """The text of a file whose JSON is not one object a line."""


class Lines(NamedTuple):
    """The lines of a File or a part: their bytes, and those of the file, as it was read."""

    text: bytes
    size: int


def read_lines(file: File, storage: Storage) -> Lines | OSError:
    """Return the Lines of a File, or a part of it, or the OSError that says why it has none.

    A byte-order mark is left out. Raises OSError where another try may help, as where the file is
    shorter than it was listed.
    """
    if file.is_part:
        with storage.open(file.uri) as stream:
            return read_part(file, io.BufferedReader(stream))
    text = storage.read_bytes(file.uri)
    size = require_size(file, len(text))
    return check_form(Lines(unzip(text) if file.is_gzip else text, size))


def check_form(lines):
    """Return the Lines that a file begins with, or the OSError that says why it can't be loaded."""
    text = find_form(lines.text.removeprefix(codecs.BOM_UTF8), lines.size)
    return text if isinstance(text, OSError) else Lines(text, lines.size)


def require_size(file, size):
    """Return the bytes that a file has. Raises OSError where that is less than it was listed with.

    So it is where what reads isn't shown what was listed: an older copy, or a file cut meanwhile.
    """
    if size < file.size:
        raise OSError(f"it is shorter than listed, {size:,} of {file.size:,} bytes; run it again")
    return size


def read_part(file, stream):
    """Return the Lines that begin in a part of a file; of what is no lines, all, or its fault."""
    size = require_size(file, stream.seek(0, os.SEEK_END))
    stream.seek(0)
    if (text := read_whole(file, stream)) is not None:
        return Lines(text, size) if file.start else check_form(Lines(text, size))
    end = size if file.end is None else file.end
    # No further than its end: a line that is longer than all of it belongs to a part before.
    start = seek_line(stream, file.start, end - file.start + 1)
    if start >= end:
        return Lines(b"", size)
    end = seek_line(stream, end)
    stream.seek(start)
    text = stream.read(end - start)
    if len(text) < end - start:
        require_size(file, start + len(text))
    return Lines(text if start else text.removeprefix(codecs.BOM_UTF8), size)


def seek_line(stream, position, limit=-1):
    """Go to the first line that begins at byte `position` or later, and return where that is."""
    stream.seek(max(0, position - 1))
    if position:
        stream.readline(limit)
    return stream.tell()


# Compressed files


def unzip(data):
    """Return what a small .gz holds. Raises OSError where it is damaged, or expands too far."""
    with gzip_errors():
        text = open_gzip(io.BytesIO(data)).read(LINE_BYTES + 1)
    if len(text) > LINE_BYTES:
        raise OSError(f"{len(data):,} bytes of it hold more than {LINE_BYTES >> 20} MiB; unzip it")
    return text


def open_gzip(stream):
    """Return the stream of what is in a .gz, given its own.

    Raises EOFError where it is empty, OSError for what has no more of a .gz than the name.
    """
    if not stream.seek(0, os.SEEK_END):
        raise EOFError("it is empty")
    stream.seek(0)
    head = stream.read(HEAD_BYTES)
    if not head.startswith(GZIP) and (what := find_stranger(head)):
        raise OSError(what)
    stream.seek(0)
    return gzip.GzipFile(fileobj=stream)


@contextlib.contextmanager
def gzip_errors():
    """Raise an OSError, with the remedy, for what is raised where a .gz is none, or is cut off."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = str(error).partition(" (")[0].rstrip(".")  # which may quote what is no .gz
        remedy = "get it anew, or correct its name"
        raise OSError(f"it is no whole .gz file ({reason}); {remedy}") from None


def read_in_turn(
    file: File, storage: Storage, part_bytes: int
) -> Iterator[tuple[File, Lines | OSError]]:
    """Yield the parts of a .gz with their Lines, one after another; an OSError ends them.

    A part has `part_bytes`, and the rest of its last line; a document is one part. What failed is
    tried anew by another stream, which passes over what was read before.
    """
    streams: list[tuple] = []
    position = start = 0

    def read_next(file, storage):
        with gzip_errors():
            stream, size = streams.pop() if streams else open_at(position, file, storage)
            text = stream.read(part_bytes)
            ended = len(text) < part_bytes
            if not start and isinstance(find_form(text, size), Document):
                text, ended = text + stream.read(DOCUMENT_BYTES), True
            return stream, Lines(text if ended else text + read_rest(stream), size), ended

    while True:
        [answer] = storage.read([file], read_next)
        if isinstance(answer, OSError):
            yield file._replace(start=start), answer
            return
        stream, lines, ended = answer
        part = lines if start else check_form(lines)
        if ended or isinstance(part, OSError):
            yield file._replace(start=start), part
            return
        end = max(stream.fileobj.tell(), start + 1)
        yield file._replace(start=start, end=end), part
        streams, position, start = [(stream, lines.size)], position + len(lines.text), end


def open_at(position, file, storage):
    """Return a stream of what is in a .gz, from byte `position` of it on, and the file's bytes."""
    compressed = io.BufferedReader(storage.open(file.uri), BUFFER_BYTES)
    size = require_size(file, compressed.seek(0, os.SEEK_END))
    stream = open_gzip(compressed)
    while position and (skipped := len(stream.read(min(position, BUFFER_BYTES)))):
        position -= skipped
    return stream, size


def read_rest(stream):
    """Return the rest of a line. Raises OSError where it is too long."""
    rest = stream.readline(LINE_BYTES)
    if len(rest) == LINE_BYTES and not rest.endswith(b"\n"):
        raise OSError(f"a line of it is longer than {LINE_BYTES >> 20} MiB")
    return rest


# Forms


def find_form(text: bytes, size: int) -> bytes | OSError:
    """Return a file's text, as a Document where it is one, or why it can't be loaded.

    The text may be no more than the beginning of the file, which has `size` bytes.
    """
    if text.startswith(b'{"') and text.find(b"\n", 0, -1) < 0 and text.count(b"}") == 1:
        return text  # one object on one line, as most song files are
    head = text[:HEAD_BYTES]
    if what := find_stranger(head):
        return OSError(None, what)
    if not is_document(head):
        return text
    if max(size, len(text)) > DOCUMENT_BYTES:
        return OSError(None, TOO_LARGE)
    return Document(text)


def read_whole(file: File, stream: BinaryIO) -> bytes | None:
    """Return what the first part of a file is that is no lines, all of it, and b"" for the others.

    For a file of lines return None. What find_form refuses is not read to its end.
    """
    head = stream.read(HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
    is_stranger = bool(find_stranger(head))
    if not (is_stranger or is_document(head)):
        return None
    if file.start:
        return b""
    return head if is_stranger or file.size > DOCUMENT_BYTES else head + stream.read()


def find_stranger(head):
    for beginning, what in STRANGERS.items():
        if re.match(beginning, head):
            return f"it is {what}"
    return None


def is_document(head):
    """Tell whether a file, given how it begins, is an array, or objects that aren't one a line."""
    text = head.decode("latin-1").lstrip(BLANKS)
    first, _, more = text.partition("\n")
    if ARRAY.match(text) or first.rstrip(BLANKS) == "{":
        return True
    if not text.startswith("{") or not (more or JOINED.search(first)):
        return False
    end = end_of_value(text, 0)
    # All on one line, or each with a comma after it, as in an array that lacks its brackets.
    is_joined = end > 0 and first[end:].lstrip(BLANKS)[:1] == ("," if more else "{")
    return end > len(first) or is_joined


def split_document(text):
    """Return the values of a document as (line number where it begins, its bytes as one line).

    What is broken ends before what may be the next object. A carriage return stands for a line
    feed: JSON takes both for blanks, and neither in a text.
    """
    string = text.decode("latin-1")  # a character a byte
    values, number, counted, end = [], 1, 0, 0
    while (start := BETWEEN.match(string, end).end()) < len(string):
        end = end_of_value(string, start)
        if end < 0:
            following = NEXT_OBJECT.search(string, start + 1)
            end = following.start() if following else len(string)
        number += string.count("\n", counted, start)
        counted = start
        values.append((number, text[start:end].strip(b" \t\r\n").replace(b"\n", b"\r")))
    return values


BLANKS = " \t\r\n"
ARRAY = re.compile(r"\[[ \t\r\n]*([{\]]|$)")
JOINED = re.compile(r"\}[ \t\r,]*\{")
BETWEEN = re.compile(r"[ \t\r\n,\[\]]*")
NEXT_OBJECT = re.compile(r"[\n,][ \t\r\n]*\{")
DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def end_of_value(string, start):
    """Return where the JSON value ends that begins at a place, -1 if it is broken."""
    try:
        return DECODER.raw_decode(string, start)[1]
    except (ValueError, RecursionError):
        return -1
