"""Check the tables by the rules, and warn about each that is broken."""

import psycopg2
from psycopg2 import sql

from sparkify.interpreter import command
from sparkify.messages import ServerError, one_line
from sparkify.rules import sanity_check_queries
from sql_queries import table_names

# So that texts and definitions read as the rules write them, whatever a role's settings are.
session_settings_set = """
SET LOCAL standard_conforming_strings = on;
SET LOCAL quote_all_identifiers = off
"""

ORANGE, RESET = "\033[38;5;208m", "\033[0m"
ROW_LENGTH = 200

# The number of offending rows and up to five of them as JSON.
sanity_offenders_select = """
SELECT count(*) OVER (), row_to_json(offenders)::text
FROM ({}) AS offenders
LIMIT 5
"""

tables_select = "SELECT name FROM unnest(%s) AS name WHERE to_regclass(name) IS NOT NULL"
has_rows_select = "SELECT EXISTS (SELECT FROM {})"


def require_rows(cur, target):
    """Raise ServerError where the target's tables are missing, or hold nothing to check yet."""
    cur.execute(tables_select, (table_names,))
    tables = [name for (name,) in cur]
    if not tables:
        raise ServerError(
            f"{target} has no tables that {cur.connection.info.user} can see; "
            f"run {command('create_tables.py')}"
        )
    if not [name for name in tables if has_rows(cur, name) and name != "loaded_files"]:
        raise ServerError(
            f"there is nothing to check yet: the tables of {target} are empty; "
            f"run {command('etl.py')}"
        )


def has_rows(cur, table):
    cur.execute(sql.SQL(has_rows_select).format(sql.Identifier(table)))
    return cur.fetchone()[0]


def failed_checks(cur):
    """Yield (name, fault) for each check that fails or, say for want of a table, can't be made."""
    cur.execute(session_settings_set)
    for name, query in sanity_check_queries.items():
        cur.execute("SAVEPOINT sanity_check")
        try:
            cur.execute(sanity_offenders_select.format(query))
            if offenders := cur.fetchall():
                yield name, describe_offenders(offenders)
        except psycopg2.Error as error:
            cur.execute("ROLLBACK TO SAVEPOINT sanity_check")
            yield name, f"can't be checked: {one_line(error)}"


def describe_offenders(offenders):
    """Return how many rows break a rule and some of them, given as (number of all, row)."""
    rows, examples = offenders[0][0], [row[:ROW_LENGTH] for _, row in offenders]
    return f"{rows:,} {'row breaks' if rows == 1 else 'rows break'} it: {', '.join(examples)}"


def print_checks(cur, colour=True):
    """Print a line for each check that fails, or one that all have passed; tell whether they did.

    The cursor's connection must not be in autocommit mode.
    """
    failures = list(failed_checks(cur))
    before, after = (ORANGE, RESET) if colour else ("", "")
    for name, fault in failures:
        print(f"{before}[WARNING] {name}: {fault}{after}")
    if not failures:
        print(f"All {len(sanity_check_queries)} sanity checks passed")
    return not failures
