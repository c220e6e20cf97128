#!/usr/bin/env bash
# chDB 4.4.0 (chdb-core 26.9.0), ClickHouse within Python. Tried in November 2026.
#
# Expected: a number, a day or a NULL of JSON lines that the type of its column can't
# hold is refused, as 139.9 for Int64 is.
#
# Seen: 3000000000 for Int32 is -1294967296, the 31st of November is the 1st of
# December, a moment past 2106 for DateTime is the last one that it holds, and null is
# 0. Of a key given twice the first value counts, where Python takes the last. Nothing
# is said of any of them.
#
# It matters because types narrow enough for the first files go on taking those of
# later years: ids, lengths and days are altered, and no line is counted as bad.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet chdb==4.4.0 chdb-core==26.9.0

cat >"$folder/expected" <<'END'
Int32 3000000000: -1294967296
Int64 139.9: refused
Date "2018-11-31": "2018-12-01"
DateTime 253402300799: "2106-02-07 06:28:15"
Int64 null: 0
Int64 1, "x": 2: 1
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import chdb

GIVEN = [("Int32", "3000000000"), ("Int64", "139.9"), ("Date", '"2018-11-31"'), ("DateTime", "253402300799"), ("Int64", "null"), ("Int64", '1, "x": 2')]
for kind, value in GIVEN:
    line = '{"x": ' + value + "}"
    query = f"SELECT x FROM format(JSONEachRow, 'x {kind}', '{line}') SETTINGS session_timezone = 'UTC'"
    try:
        seen = str(chdb.query(query, "JSONEachRow")).strip().removeprefix('{"x":').removesuffix("}")
    except RuntimeError:
        seen = "refused"
    print(f"{kind} {value}: {seen}")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: chDB reads one of the values in another way" >&2
    exit 1
fi
echo "seen as stated"
