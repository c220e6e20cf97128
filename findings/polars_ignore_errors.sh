#!/usr/bin/env bash
# polars 2.1.0: read_ndjson(ignore_errors=True). Tried in November 2026.
#
# Expected: lines that cannot be read are left out, and the others are read.
#
# Seen: a line of broken JSON ends the read all the same, even if it is only the
# last one, cut off. What is ignored are values of another type: such a line stays,
# with null instead of the value, and nothing tells how many there were.
#
# It matters because it is the one option that promises a load of the good lines:
# it gives no line where JSON is cut, and lines with holes where types differ.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet polars==2.1.0

cat >"$folder/expected" <<'END'
[(39, 'free'), (None, 'paid'), (39, 'free')]
ComputeError
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import io

import polars


def read(*lines):
    """Return the rows that polars reads of lines, or the name of the error."""
    schema = {"userId": polars.Int64, "level": polars.String}
    try:
        return polars.read_ndjson(io.StringIO("\n".join(lines)), schema=schema, ignore_errors=True).rows()
    except polars.exceptions.ComputeError as error:
        return type(error).__name__


good = '{"userId": 39, "level": "free"}'
print(read(good, '{"userId": "unknown", "level": "paid"}', good))
print(read(good, good, '{"userId": 39, "lev'))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: polars ignores other errors" >&2
    exit 1
fi
echo "seen as stated"
