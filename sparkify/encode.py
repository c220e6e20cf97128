"""Encode: rows as COPY takes them, https://www.postgresql.org/docs/current/sql-copy.html.

Nothing here knows a database.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkify.transform import (
    transform_page_views,
    transform_plays,
    transform_song_records,
    transform_songplays,
    transform_time,
    transform_users,
)

BINARY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
BINARY_TRAILER = b"\xff\xff"
NULL_FIELD = b"\xff\xff\xff\xff"
POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970
NUMBERS = {pa.int32(): ">i4", pa.int64(): ">i8", pa.float64(): ">f8"}


def encode_log_records(events):
    """Return, encoded, what is to be loaded of events, as one round for CopyLoader.load_log.

    That is the rows of time, of users, of songplays and of page_views. Moments are a batch of their
    `start_time` and the `row`. Plays are a batch to be completed: the fields of `play` and of the
    song as `logged`, and the `song` by its name, as a dictionary, NULL where no song can fit. All
    plays are in this one round: COPY has duplicates sorted out by the database.
    """
    plays = transform_plays(events)
    moments, users = transform_time(plays), transform_users(plays)
    columns = list_columns(transform_songplays(plays))
    names = [columns[6], columns[7], columns[8].cast("string")]
    song = pc.binary_join_element_wise(*names, NAME_SEPARATOR).dictionary_encode()
    fields = [encode_column(column) for column in columns]
    joined = [join_fields(*fields[:6]), join_fields(*fields[6:])]
    times = combine(pa.array(moments["start_time"])).cast(pa.int64())
    return [
        (
            pa.record_batch([times, encode_rows(moments)], ["start_time", "row"]),
            encode_rows(users),
            pa.record_batch([*joined, song], ["play", "logged", "song"]),
            encode_rows(transform_page_views(events)),
        )
    ]


NAME_SEPARATOR = "\0"  # no text holds it: see find_value_faults


def split_name(name):
    """Return the title, the artist and the duration that a song's name is made of."""
    title, artist, duration = name.split(NAME_SEPARATOR)
    return title, artist, float(duration)


def list_columns(frame):
    """Return the columns of a frame but for `piece`, as Arrow arrays."""
    return [combine(pa.array(frame[name])) for name in frame.columns.drop("piece")]


def combine(column):
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def encode_rows(frame):
    """Return the rows of a frame, without the column `piece`, for columns of the same types."""
    return complete_rows(map(encode_column, list_columns(frame)), len(frame.columns) - 1)


def complete_rows(fields, width):
    """Return rows of so many fields, which are given as columns of one or more fields each."""
    return join_fields(pa.scalar(width.to_bytes(2, "big"), pa.binary()), *fields)


def encode_stream(rows):
    """Return all that COPY reads, for these rows."""
    joined = pc.binary_join(pa.ListArray.from_arrays([0, len(rows)], rows), b"")
    return b"".join([BINARY_HEADER, joined[0].as_buffer(), BINARY_TRAILER])


def join_fields(*fields):
    return pc.binary_join_element_wise(
        *fields, b"", null_handling="replace", null_replacement=NULL_FIELD
    )


def encode_column(column):
    """Return the values of a column as fields: each after its size, NULL as NULL."""
    if pa.types.is_string(column.type):
        sizes = as_binary(np.asarray(pc.binary_length(column).fill_null(0), ">i4"))
        return pc.binary_join_element_wise(sizes, column.cast(pa.binary()), b"")
    if pa.types.is_timestamp(column.type):
        microseconds = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        column = pc.subtract(microseconds, POSTGRES_EPOCH)
    fields = np.empty(len(column), [("size", ">i4"), ("value", NUMBERS[column.type])])
    fields["size"] = fields["value"].itemsize
    fields["value"] = column.fill_null(0)
    return pc.if_else(column.is_valid(), as_binary(fields), None)


def as_binary(values):
    """Return a numpy array as an Arrow array of the bytes of each of its values."""
    data = [None, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.binary(values.itemsize), len(values), data).cast(pa.binary())


# By kind of file; of songs, frames: the loader must look at them before it copies them.
ENCODINGS = {"song": transform_song_records, "log": encode_log_records}
