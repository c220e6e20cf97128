"""Encode: rows as COPY takes them, https://www.postgresql.org/docs/current/sql-copy.html.

Nothing here knows a database.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sparkify.read.transform import (
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
TABLE, STAGING = "table", "staging"  # where plays are copied to


def encode_song_records(songs: pd.DataFrame, target: str, catalogue: pa.Table) -> list:
    """Return what song records hold: frames, for the loader looks at them before it copies them."""
    return transform_song_records(songs)


def encode_log_records(events: pd.DataFrame, target: str, catalogue: pa.Table) -> list:
    """Return, encoded, what is to be loaded of events, as one round for CopyLoader.load_log.

    That is the rows of time, of users, of songplays and of page_views, and of songplays that the
    catalogue lacks. Moments are a batch of their `start_time` and the `row`. All plays are in this
    one round: COPY has duplicates sorted out by the database. Rows of songplays that go to the
    table, not to staging, are still to be ended by their songplay_id, and so are the unmatched.
    """
    plays = transform_plays(events)
    moments, users = transform_time(plays), transform_users(plays)
    times = combine(pa.array(moments["start_time"])).cast(pa.int64())
    return [
        (
            pa.record_batch([times, encode_rows(moments)], ["start_time", "row"]),
            encode_rows(users),
            *encode_plays(transform_songplays(plays), target, catalogue),
            encode_rows(transform_page_views(events)),
        )
    ]


def encode_plays(plays, target, catalogue):
    """Return rows of plays, and a batch of the `row` and `place` of those without a song.

    Staged rows have the song's name as logged, then its ids. In the table only the ids follow.
    """
    columns = list_columns(plays)
    song_ids = find_songs(*(columns[name] for name in ("title", "artist", "duration")), catalogue)
    fields = {name: encode_column(column) for name, column in columns.items()}
    if target == STAGING:
        return complete_rows([*fields.values(), *song_ids]), None
    song_names = [fields.pop(name) for name in ("title", "artist")]
    places = pc.indices_nonzero(song_ids[0].is_null()).cast(pa.int64())
    unmatched = complete_rows([field.take(places) for field in song_names], more=1)
    rows = complete_rows([*fields.values(), *song_ids], more=1)
    return rows, pa.record_batch([unmatched, places], ["row", "place"])


# Songs by what a log calls them

CATALOGUE_SCHEMA = pa.schema(
    {"name": pa.string(), "song_id": pa.binary(), "artist_id": pa.binary()}
)
NAME_SEPARATOR = "\0"  # no text holds it: see find_value_faults


def name_songs(title, artist, duration):
    """Return what tells songs apart in a log, given as columns; NULL where one of them is.

    Lengths are told apart in single precision, as some logs have them.
    """
    length = duration.cast(pa.float32()).cast(pa.string())
    return pc.binary_join_element_wise(title, artist, length, NAME_SEPARATOR)


def make_catalogue(
    title: pa.Array, artist: pa.Array, duration: pa.Array, song_id: pa.Array, artist_id: pa.Array
) -> pa.Table:
    """Return songs, given as columns, as a table to look them up in, their ids encoded."""
    names = name_songs(title, artist, duration)
    ids = encode_column(song_id), encode_column(artist_id)
    return pa.table([names, *ids], schema=CATALOGUE_SCHEMA)


def find_songs(title, artist, duration, catalogue):
    """Return song_id and artist_id, encoded, of songs as logged; NULL where none fits."""
    places = pc.index_in(name_songs(title, artist, duration), catalogue["name"])
    return [combine(catalogue[name].take(places)) for name in ("song_id", "artist_id")]


# Columns and rows


def list_columns(frame):
    """Return the columns of a frame but for `piece`, as Arrow arrays by their names."""
    columns = ((name, column.array) for name, column in frame.items() if name != "piece")
    return {name: combine(pa.array(values)) for name, values in columns}  # faster than of a Series


def combine(column):
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def encode_rows(frame: pd.DataFrame) -> pa.Array:
    """Return the rows of a frame, without the column `piece`, for columns of the same types."""
    return complete_rows([encode_column(column) for column in list_columns(frame).values()])


def complete_rows(fields: list, more: int = 0) -> pa.Array:
    """Return rows of these fields, given as columns, which so many more fields will end."""
    width = len(fields) + more
    return join_fields(pa.scalar(width.to_bytes(2, "big"), pa.binary()), *fields)


def encode_stream(rows: pa.Array) -> bytes:
    """Return all that COPY reads, for these rows."""
    joined = pc.binary_join(pa.ListArray.from_arrays([0, len(rows)], rows), b"")
    return b"".join([BINARY_HEADER, joined[0].as_buffer(), BINARY_TRAILER])


def join_fields(*fields) -> pa.Array:
    return pc.binary_join_element_wise(
        *fields, b"", null_handling="replace", null_replacement=NULL_FIELD
    )


def encode_column(column: pa.Array) -> pa.Array:
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


ENCODINGS = {"song": encode_song_records, "log": encode_log_records}  # by kind of file
