#!/usr/bin/env bash
# polars 2.1.0. Tried in November 2026.
#
# Expected: of a key that a line gives twice, the last value counts, as in Python's
# json, pandas, jq and Postgres' jsonb.
#
# Seen: read_ndjson, read_json and str.json_decode take the first,
# str.json_path_match takes the last: two columns made of one line disagree.
#
# It matters because a forwarder that adds its own ts or level leaves both in the
# line, and a load by polars then differs from one by Postgres.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet polars==2.1.0

cat >"$folder/expected" <<'END'
json paid
read_ndjson free
read_json free
json_decode free
json_path_match paid
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import io
import json

import polars

line = '{"level": "free", "level": "paid"}'
column = polars.Series([line])
print("json", json.loads(line)["level"])
print("read_ndjson", polars.read_ndjson(io.StringIO(line))["level"][0])
print("read_json", polars.read_json(io.StringIO(f"[{line}]"))["level"][0])
print("json_decode", column.str.json_decode(polars.Struct({"level": polars.String}))[0]["level"])
print("json_path_match", column.str.json_path_match("$.level")[0])
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: polars takes the other of two values of one key" >&2
    exit 1
fi
echo "seen as stated"
