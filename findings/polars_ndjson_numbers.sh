#!/usr/bin/env bash
# polars 2.1.0. Tried in November 2026.
#
# Expected: with a schema that says Int64, 139.0 is 139; with one that says String,
# a number is the text that the file has.
#
# Seen: 139.0 fails for Int64, also after 100 lines of whole numbers without a
# schema. As String, 1.0 is "1" and 1e3 is "1000", whereas 4.6 stays. And a number
# past 2^63 makes the column Int128, no Float64 and no error.
#
# It matters because course data has registration as 1540344794796.0, song titles
# such as 1.0 are JSON numbers there, and no driver for Postgres takes Int128.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet polars==2.1.0

cat >"$folder/expected" <<'END'
cannot parse '139' (f64) as Int64
cannot parse '139' (f64) as Int64
String ['1', '1000', '4.6', '4.6', '112', '1.0']
Int128 [1, 9223372036854775808]
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import io

import polars


def read(*values, **options):
    """Return the column that polars makes of values of JSON, or the error."""
    lines = "\n".join('{"a": %s}' % value for value in values)
    try:
        column = polars.read_ndjson(io.StringIO(lines), **options)["a"]
        return column.dtype, column.to_list()
    except polars.exceptions.ComputeError as error:
        return error


print(read("139.0", "139", schema={"a": polars.Int64}))
print(read(*["139"] * 100, "139.0"))
print(*read("1.0", "1e3", "4.6", "4.60", "112", '"1.0"', schema={"a": polars.String}))
print(*read("1", "9223372036854775808"))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: polars reads whole numbers with a point, numbers as text, or numbers past 2^63 in another way" >&2
    exit 1
fi
echo "seen as stated"
