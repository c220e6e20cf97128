"""Rows in COPY's binary format: what arrives is what was encoded."""

import pandas as pd
import pyarrow as pa
import pytest

from sparkify.load import by_copy
from sparkify.read import copy_format, extract

TYPES = {
    "integer": (pa.int32(), [0, 1, -1, 2**31 - 1, -(2**31), None]),
    "bigint": (pa.int64(), [0, 1, -1, 2**63 - 1, -(2**63), None]),
    "double precision": (pa.float64(), [0.0, -0.0, 1e300, -5e-324, 0.1 + 0.2, None]),
    "text": (pa.string(), ["", "a\tb\\\r\n\\N\\.", "é🎵", "x" * 70_000, "\x01", None]),
    "timestamptz": (
        pa.timestamp("ms", "UTC"),
        [0, 1, extract.LAST_MS, 946_684_800_000, 946_684_799_999, None],
    ),
}
ALL_NULL = {name: (type_, [None] * 6) for name, (type_, _) in TYPES.items()}


def frame_of(columns):
    arrays = [pa.array(values, type_) for type_, values in columns.values()]
    names = [f"n{position}" for position in range(len(columns))]
    pieces = pa.array([0] * len(arrays[0]))
    table = pa.table([pieces, *arrays], names=["piece", *names])
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def values_of(frame):
    """Return the rows of a frame as Python values, in its order."""
    columns = [pa.array(frame[name]).to_pylist() for name in frame.columns[1:]]
    return list(zip(*columns, strict=True))


CUTS = {
    "all": lambda frame: frame,
    "none": lambda frame: frame[:0],
    "one": lambda frame: frame[3:4],
    "the middle": lambda frame: frame[1:5],
    "some": lambda frame: frame[[True, False, True, True, False, True]],
    "in two chunks": lambda frame: pd.concat([frame[4:], frame[:3]]),
    "backwards": lambda frame: frame[::-1],
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("columns", [TYPES, ALL_NULL], ids=["values", "nulls"])
def test_copy_stores_what_was_encoded(cur, columns, cut):
    frame = CUTS[cut](frame_of(columns))
    names = ", ".join(f"n{position} {name}" for position, name in enumerate(columns))
    cur.execute(f"CREATE TEMP TABLE encoded ({names}, n SERIAL)")
    names = ", ".join(frame.columns[1:])
    by_copy.copy(
        cur, f"COPY encoded ({names}) FROM STDIN (FORMAT binary)", copy_format.encode_rows(frame)
    )
    cur.execute(f"SELECT {names} FROM encoded ORDER BY n")
    assert [list(map(show, row)) for row in cur] == [
        list(map(show, row)) for row in values_of(frame)
    ]


def show(value):
    """Return a value as text that tells zero from minus zero, but not one UTC from another."""
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)


@pytest.mark.parametrize("bounds", [(0, 4), (0, 0), (2, 2), (1, 3), (3, 4)])
def test_copy_stores_some_of_the_rows_that_were_encoded(cur, bounds):
    frame = frame_of({"text": (pa.string(), ["a", None, "", "b"])})
    start, end = bounds
    cur.execute("CREATE TEMP TABLE encoded (word TEXT, n SERIAL)")
    rows = copy_format.encode_rows(frame)[start:end]
    by_copy.copy(cur, "COPY encoded (word) FROM STDIN (FORMAT binary)", rows)
    cur.execute("SELECT word FROM encoded ORDER BY n")
    assert [word for (word,) in cur] == ["a", None, "", "b"][start:end]
