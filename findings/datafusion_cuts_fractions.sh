#!/usr/bin/env bash
# DataFusion 55.0.0 (its Python package) with pyarrow 26.0.1. Tried in November 2026.
#
# Expected: 1.9 in a file of JSON lines is refused where a column is Int64, as the
# text "1.9" is, and as pyarrow refuses both; or the column becomes Float64.
#
# Seen: it is read as 1, and -0.5 as 0, as soon as the first 1,000 lines had whole
# numbers only, or a schema says Int64. 1.9 on line 1,000 makes the column Float64. A
# key that is new on line 1,001 is no column.
#
# It matters because sums change with the order of lines: a log whose first 1,000
# lengths are whole seconds loses all fractions after them, in silence.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datafusion==55.0.0 pyarrow==26.0.1

cat >"$folder/expected" <<'END'
line 1000: {'length': [139.0, 1.9]} double
line 1001: {'length': [139, 1]} int64
new key: {'length': [139, 277]} int64
schema: {'length': [139, 1, 0]} int64
text: failed to parse "1.9" as Int64
pyarrow: Failed to convert JSON to int64, couldn't parse:1.9
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import io
import sys

import datafusion
import pyarrow
import pyarrow.json

WHOLE = pyarrow.schema([("length", pyarrow.int64())])


def read(name, *lines, rows=2, schema=None):
    """Print the last rows that DataFusion reads from lines, and the type, or the error."""
    path = f"{sys.argv[1]}/log.json"
    with open(path, "w") as file:
        file.writelines(line + "\n" for line in lines)
    context = datafusion.SessionContext()
    try:
        context.register_json("log", path, schema=schema, file_extension=".json")
        table = pyarrow.Table.from_batches(context.sql("SELECT * FROM log").collect())
        print(f"{name}: {table.slice(max(0, len(table) - rows)).to_pydict()} {table.schema.types[0]}")
    except Exception as error:
        print(f"{name}: {str(error).rsplit(': ', 1)[1]}")


whole, fraction = '{"length": 139}', '{"length": 1.9}'
read("line 1000", *[whole] * 999, fraction)
read("line 1001", *[whole] * 1000, fraction)
read("new key", *[whole] * 1000, '{"length": 277, "tag": "a"}')
read("schema", whole, fraction, '{"length": -0.5}', rows=3, schema=WHOLE)
read("text", '{"length": "1.9"}', schema=WHOLE)
try:
    options = pyarrow.json.ParseOptions(explicit_schema=WHOLE)
    pyarrow.json.read_json(io.BytesIO(fraction.encode()), parse_options=options)
except pyarrow.ArrowInvalid as error:
    print("pyarrow:", error)
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: DataFusion reads fractions, or keys after 1,000 lines, in another way" >&2
    exit 1
fi
echo "seen as stated"
