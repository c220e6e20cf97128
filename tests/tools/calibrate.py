"""Simulate services that were never down, and see how improbable their silences are found.

    .venv/bin/python tests/tools/calibrate.py           20 services of each kind, some minutes

Of so many services, about one in x should have a silence that chance alone has once in x periods;
and outages that are planted should be found.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from datetime import datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "data")]

import generate
from records import load_paths

import create_tables
from sparkify.analysis.questions import analytics_queries
from sparkify.postgres import embedded

KINDS = {"steady": "", "growing": "--growth 15", "cancelling": "--cancel 95"}
SERVICE = "--days 60 --events 60000 --users 500 --songs 100"
DOWN, HOURS = datetime(2018, 12, 1, 15), 6
LEVELS = (1, 10, 100)  # periods
SILENCES = "hours in which the service may have been down"


def find_silences(cur, conn, folder, options):
    """Simulate a service, and return its silences."""
    with contextlib.redirect_stdout(sys.stderr):
        generate.main([str(folder), "--force", *SERVICE.split(), *options.split()])
    create_tables.reset_tables(cur, conn)
    load_paths(cur, conn, {"log": sorted((folder / "log_data").rglob("*.json"))}, "copy")
    cur.execute(analytics_queries[SILENCES])
    rows = cur.fetchall()
    conn.commit()
    return rows


def calibrate(cur, conn, folder, kinds, seeds):
    """Yield the lines of a table: how many services of each kind have which silences."""
    columns = "".join(f"{f'{level} or more':>14}" for level in LEVELS)
    outage = f"--outage {DOWN:%Y-%m-%dT%H}/{HOURS}"
    yield f"{'silence in periods':<20}{columns}{'outage first':>16}"
    for kind in kinds:
        options, counts, found = KINDS[kind], dict.fromkeys(LEVELS, 0), 0
        for seed in range(1, seeds + 1):
            rows = find_silences(cur, conn, folder, f"{options} --seed {seed} --outage none")
            greatest = max((row[-1] for row in rows), default=0)
            for level in LEVELS:
                counts[level] += greatest >= level
            rows = find_silences(cur, conn, folder, f"{options} --seed {seed} {outage}")
            found += rows[0][0] <= DOWN and (rows[0][1] - DOWN).total_seconds() >= HOURS * 3600
        numbers = "".join(f"{f'{number} of {seeds}':>14}" for number in counts.values())
        yield f"{kind:<20}{numbers}{f'{found} of {seeds}':>16}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    text = "services of each kind (default: %(default)s)"
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help=text)
    text = f"of {', '.join(KINDS)} (default: all)"
    parser.add_argument("kinds", nargs="*", metavar="KIND", choices=[*KINDS, []], help=text)
    arguments = parser.parse_args()
    kinds = arguments.kinds or KINDS
    with tempfile.TemporaryDirectory(prefix="sparkify-") as temporary:
        os.environ["SPARKIFY_PGDATA"] = str(Path(temporary, "pg"))
        cur, conn = create_tables.create_database()
        with contextlib.closing(conn):
            for line in calibrate(cur, conn, Path(temporary, "service"), kinds, arguments.seeds):
                print(line, flush=True)
        embedded.end_use(embedded.data_folder())


if __name__ == "__main__":
    main()
