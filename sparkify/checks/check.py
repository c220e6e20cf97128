"""Check the tables by the rules, and warn about each that is broken."""

from collections.abc import Callable, Iterator
from typing import TextIO

import psycopg2
from psycopg2.extensions import cursor as Cursor

from sparkify.checks import freshness
from sparkify.checks.rules import RowRule, sanity_check_queries
from sparkify.errors import ServerError
from sparkify.interpreter import command
from sparkify.messages import one_line
from sparkify.postgres.connection import name_database
from sparkify.postgres.rights import require_ours, session
from sparkify.postgres.transactions import fetch_value
from sql_queries import table_names

ORANGE, RESET = "\033[38;5;208m", "\033[0m"
ROW_LENGTH = 200

# The number of offending rows and up to five of them as JSON.
sanity_offenders_select = """
SELECT count(*) OVER (), row_to_json(offenders)::text
FROM ({}) AS offenders
LIMIT 5
"""

tables_select = "SELECT name FROM unnest(%s) AS name WHERE to_regclass(name) IS NOT NULL"
UNCHECKED = {"loaded_files", "load_runs"}  # which have rows before there is anything to check


def require_rows(cur):
    """Raise ServerError where there are no tables of ours, or they hold nothing to check yet."""
    target = name_database(cur.connection)
    cur.execute(tables_select, (table_names,))
    tables = [name for (name,) in cur]
    if "songplays" not in tables:
        require_ours(cur)  # users, say, are another application's
        raise ServerError(
            f"{target} has no table songplays that {cur.connection.info.user} can see; "
            f"run {command('create_tables.py')}"
        )
    filled = [name for name in tables if fetch_value(cur, f"SELECT EXISTS (SELECT FROM {name})")]
    if not set(filled) - UNCHECKED:
        raise ServerError(
            f"there is nothing to check yet: the tables of {target} are empty; "
            f"run {command('etl.py')}"
        )


def failed_checks(cur: Cursor) -> Iterator[tuple[str, str]]:
    """Yield (name, fault) for each check that fails or, say for want of a table, can't be made."""
    sound = find_sound(cur)
    for name, query in sanity_check_queries.items():
        if isinstance(query, RowRule) and query.source in sound:
            continue
        if finds_none(cur, query):
            continue
        offenders, error = try_query(cur, sanity_offenders_select.format(query))
        if error:
            yield name, f"can't be checked: {one_line(error)}"
        elif offenders:
            yield name, describe_offenders(offenders)


def find_sound(cur):
    """Return the sources of which no row breaks a rule for single rows; each is read once."""
    conditions = {}
    for query in sanity_check_queries.values():
        if isinstance(query, RowRule):
            conditions.setdefault(query.source, []).append(f"({query.is_broken})")
    sound = set()
    for source, broken in conditions.items():
        if finds_none(cur, f"SELECT FROM {source} WHERE {' OR '.join(broken)}"):
            sound.add(source)
    return sound


def finds_none(cur, query):
    """Tell whether a query finds no row: to count, an index may do, and no row is read."""
    return try_query(cur, f"SELECT count(*) FROM ({query}) AS offenders")[0] == [(0,)]


def try_query(cur, query):
    """Return the rows of a query and, where it fails, the error; the transaction goes on."""
    cur.execute("SAVEPOINT sanity_check")
    try:
        cur.execute(query)
        return cur.fetchall(), None
    except psycopg2.Error as error:
        cur.execute("ROLLBACK TO SAVEPOINT sanity_check")
        return [], error


def describe_offenders(offenders):
    """Return how many rows break a rule and some of them, given as (number of all, row)."""
    rows, examples = offenders[0][0], [row[:ROW_LENGTH] for _, row in offenders]
    return f"{rows:,} {'row breaks' if rows == 1 else 'rows break'} it: {', '.join(examples)}"


def check_tables(suspect: Callable[[str], None], colour: bool, newer_than: str | None) -> bool:
    """Make the checks as print_checks does, and hand each suspicion to `suspect`.

    Returns whether all checks have passed. Raises ServerError where there is nothing to check.
    """
    with session() as cur:
        require_rows(cur)
        good = print_checks(cur, colour, newer_than)
        for suspicion in freshness.find_suspicions(cur):
            suspect(suspicion)
        return good


def print_checks(
    cur: Cursor, colour: bool = True, newer_than: str | None = None, file: TextIO | None = None
) -> bool:
    """Print a line for each check that fails, or one that all have passed; tell whether they did.

    With `newer_than`, an age such as "26h", old data fail, too. The cursor's connection must not be
    in autocommit mode.
    """
    failures = [*failed_checks(cur), *freshness.find_stale(cur, newer_than)]
    before, after = (ORANGE, RESET) if colour else ("", "")
    for name, fault in failures:
        print(f"{before}[WARNING] {name}: {fault}{after}", file=file)
    if not failures:
        print(f"All {len(sanity_check_queries)} sanity checks passed", file=file)
    return not failures
