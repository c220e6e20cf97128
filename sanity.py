"""Check the tables by the rules in sanity_check_queries, and warn about each that is broken."""

import argparse
import contextlib
import sys
from typing import NamedTuple

import psycopg2

import database
from sql_queries import sanity_check_queries, sanity_offenders_select

ORANGE, RESET = "\033[38;5;208m", "\033[0m"
ROW_LENGTH = 200


class Failure(NamedTuple):
    """A check that failed: how many rows break the rule and up to five of them, or an error."""

    name: str
    rows: int
    examples: list
    error: str | None = None

    def __str__(self):
        if self.error:
            return f"[WARNING] {self.name}: can't be checked: {self.error}"
        rows = f"{self.rows:,} {'row breaks' if self.rows == 1 else 'rows break'} it"
        examples = ", ".join(example[:ROW_LENGTH] for example in self.examples)
        return f"[WARNING] {self.name}: {rows}: {examples}"


def failed_checks(cur):
    """Yield a Failure for each check that fails or, say for want of a table, can't be made."""
    for name, query in sanity_check_queries.items():
        cur.execute("SAVEPOINT sanity_check")
        try:
            cur.execute(sanity_offenders_select.format(query))
            if offenders := cur.fetchall():
                yield Failure(name, offenders[0][0], [row for _, row in offenders])
        except psycopg2.Error as error:
            cur.execute("ROLLBACK TO SAVEPOINT sanity_check")
            yield Failure(name, 0, [], database.one_line(error))


def print_checks(cur):
    """Print a line for each check that fails, or one that all have passed; tell whether they did.

    The cursor's connection must not be in autocommit mode.
    """
    failures = list(failed_checks(cur))
    for failure in failures:
        print(f"{ORANGE}{failure}{RESET}")
    if not failures:
        print(f"All {len(sanity_check_queries)} sanity checks passed")
    return not failures


def main():
    """Check the database and return the exit status: 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    try:
        with contextlib.closing(database.connect()) as conn, conn.cursor() as cur:
            return 0 if print_checks(cur) else 1
    except (database.ServerError, psycopg2.Error) as error:
        return f"sanity.py: {database.one_line(error)}"
    except KeyboardInterrupt:
        return database.end_interrupted()


if __name__ == "__main__":
    sys.exit(main())
