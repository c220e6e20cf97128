#!/usr/bin/env bash
# pyarrow 26.0.1: pyarrow.json.read_json with its default options. Tried in
# November 2026.
#
# Expected: newlines_in_values is False, so an object over several lines is an
# error from its first line on; and a line that is only null is an error, since
# each line is to be an object (5 and "x" are refused).
#
# Seen: objects over several lines are read, as long as the file fits in one block
# of 1 MiB. A larger file of the same kind fails, at whatever object a block ends
# in. And null is read as a row of nulls.
#
# It matters because a loader that was tried on a small pretty-printed file fails
# on the large one, at a line without fault; and rows of nulls count as events.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==26.0.1

cat >"$folder/expected" <<'END'
small 1000
large JSON parse error
null [{'userId': '39'}, {'userId': None}]
5 JSON parse error
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import io

import pyarrow
import pyarrow.json


def count_rows(data):
    """Return how many rows are read, or the kind of error."""
    try:
        return pyarrow.json.read_json(io.BytesIO(data)).num_rows
    except pyarrow.ArrowInvalid as error:
        return str(error).split(":")[0]


event = b'{"userId":\n  "39",\n "level": "free"}\n'
print("small", count_rows(event * 1000))
print("large", count_rows(event * 40000))
print("null", pyarrow.json.read_json(io.BytesIO(b'{"userId": "39"}\nnull\n')).to_pylist())
print("5", count_rows(b'{"userId": "39"}\n5\n'))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: pyarrow reads objects over several lines, or null, in another way" >&2
    exit 1
fi
echo "seen as stated"
