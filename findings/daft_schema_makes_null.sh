#!/usr/bin/env bash
# daft 0.7.26. Tried in November 2026.
#
# Expected: read_json with a schema refuses what the type of a column can't hold; what
# it can hold once converted, as the text "7" for a whole number, is converted.
#
# Seen: 3000000000 for int32 is null, and so is the text "7"; 1.9 is cut to 1. Nothing
# is said. Without a schema, one text among a column's numbers makes texts of all.
#
# It matters because a schema is how a load is kept strict: here it makes the load
# silent. Plays lose their user or length, and counts of nulls alone could tell.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet daft==0.7.26

cat >"$folder/expected" <<'END'
int32: [3, None, 1, None]
int64: [3, 3000000000, 1, None]
string: ['3', '3000000000', '1.9', '7']
no schema: ['3', '3000000000', '1.9', '7']
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import pathlib
import sys

import daft

path = pathlib.Path(sys.argv[1], "log.json")
path.write_text('{"x": 3}\n{"x": 3000000000}\n{"x": 1.9}\n{"x": "7"}\n')
for kind in ("int32", "int64", "string", None):
    schema = {"x": getattr(daft.DataType, kind)()} if kind else None
    print(f"{kind or 'no schema'}: {daft.read_json(str(path), schema=schema).to_pydict()['x']}")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: daft reads one of the values in another way" >&2
    exit 1
fi
echo "seen as stated"
