#!/usr/bin/env bash
# polars 2.1.0, pandas 3.1.1 and ijson 3.6.0. Tried in November 2026.
#
# Expected: half a surrogate pair (JSON allows it; a program leaves it that cuts a
# title between two UTF-16 units) is refused, as pyarrow does, or kept, as Python's
# json does, or becomes U+FFFD.
#
# Seen: polars puts the character U+0000 in its place, in read_ndjson, read_json
# and str.json_decode, whereas str.json_path_match gives null for the value. pandas
# leaves it out, and ijson puts '?'. None of them says so.
#
# It matters because Postgres refuses text with U+0000: the load fails with an
# error about a character that is nowhere in the file.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet polars==2.1.0 pandas==3.1.1 ijson==3.6.0

cat >"$folder/expected" <<'END'
json 'cut \ud83d here'
polars 'cut \x00 here'
polars json_decode 'cut \x00 here'
polars json_path_match None
pandas 'cut  here'
ijson 'cut ? here'
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import io
import json

import ijson
import pandas
import polars

line = '{"song": "cut \\ud83d here"}'
print("json", ascii(json.loads(line)["song"]))
print("polars", ascii(polars.read_ndjson(io.StringIO(line))["song"][0]))
column = polars.Series([line])
print("polars json_decode", ascii(column.str.json_decode(polars.Struct({"song": polars.String}))[0]["song"]))
print("polars json_path_match", column.str.json_path_match("$.song")[0])
print("pandas", ascii(pandas.read_json(io.StringIO(line), lines=True)["song"][0]))
print("ijson", ascii(next(ijson.items(io.BytesIO(line.encode()), "song"))))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: polars, pandas or ijson reads half a surrogate pair in another way" >&2
    exit 1
fi
echo "seen as stated"
