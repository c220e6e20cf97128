"""Write the data dictionary in docs/schema.md anew, from the tables of the server in use.

.venv/bin/python create_tables.py && .venv/bin/python tests/tools/dictionary.py
"""

import contextlib
import sys
from pathlib import Path

import psycopg2

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT))

from sparkify.errors import ServerError
from sparkify.messages import one_line
from sparkify.postgres import connection
from sql_queries import table_names

PAGE = PROJECT / "docs" / "schema.md"
MARK = (
    "<!-- tests/tools/dictionary.py writes what follows, from the tables and their comments. -->\n"
)

grain_select = "SELECT obj_description(%s::regclass, 'pg_class')"
columns_select = """
-- One row per column, in order
SELECT attname,
       format_type(atttypid, atttypmod),
       attnotnull,
       col_description(attrelid, attnum)
FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
"""
keys_select = """
-- One row per column of a key: primary, foreign, unique
SELECT attname,
       CASE contype WHEN 'p' THEN 'primary' WHEN 'u' THEN 'unique'
                    ELSE 'refers to ' || pg_class.relname END
FROM pg_constraint
LEFT JOIN pg_class ON pg_class.oid = confrelid
JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY(conkey)
WHERE conrelid = %s::regclass AND contype IN ('p', 'f', 'u')
ORDER BY contype = 'f', contype = 'u', attnum
"""
unique_select = """
-- One row per unique key
SELECT pg_get_constraintdef(oid)
FROM pg_constraint
WHERE conrelid = %s::regclass AND contype = 'u'
ORDER BY 1
"""


def make_dictionary(cur):
    """Return a section of Markdown for each table, and one for the view."""
    return "\n".join(describe_relation(cur, name) for name in [*table_names, "listening"])


def describe_relation(cur, name):
    cur.execute(grain_select, (name,))
    [grain] = cur.fetchone()
    keys = fetch_keys(cur, name)
    cur.execute(columns_select, (name,))
    rows = [
        f"| `{column}` | {kind} | {'NOT NULL' if required else ''} "
        f"| {', '.join(keys.get(column, []))} | {comment} |"
        for column, kind, required, comment in cur
    ]
    cur.execute(unique_select, (name,))
    unique = [f"`{definition}`" for (definition,) in cur]
    head = ["| Column | Type | | Key | Holds |", "| --- | --- | --- | --- | --- |"]
    after = ["", *unique] if unique else []
    return "\n".join([f"### `{name}`", "", f"{grain}.", "", *head, *rows, *after, ""])


def fetch_keys(cur, name):
    """Return what keys a column of a table belongs to, by column."""
    cur.execute(keys_select, (name,))
    keys = {}
    for column, key in cur:
        keys.setdefault(column, []).append(key)
    return keys


def main():
    """Write the page anew, or return one line on why that could not be done."""
    try:
        write_page()
    except (ServerError, psycopg2.Error) as error:
        return f"dictionary.py: {one_line(error)}"
    return 0


def write_page():
    with contextlib.closing(connection.connect()) as conn, conn.cursor() as cur:
        made = make_dictionary(cur)
    by_hand = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(f"{by_hand}{MARK}\n{made}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
