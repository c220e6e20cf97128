"""Freshness: whether the newest data are as new as they should be, and which days look incomplete.

What is said of days is a suspicion: nobody but who runs the service knows whether it was down.
"""

import argparse
import re
from collections.abc import Iterator

from psycopg2.extensions import cursor as Cursor

from sparkify.messages import count

RULE = "a day of the last four weeks without any event, or with less than a tenth of what half of "
RULE += "the other days of its weekday have"

# Events of the future, as a clock that is wrong makes them, are no news.
NEWEST = """GREATEST(
    (SELECT max(start_time) FROM songplays WHERE start_time <= now()),
    (SELECT max(start_time) FROM page_views WHERE start_time <= now())
)"""
stale_select = f"""
-- One row per thing that is older than it should be
SELECT name, newest
FROM (
    VALUES ('event', {NEWEST}),
           ('load', (SELECT max(loaded_at) FROM loaded_files))
) AS found (name, newest)
WHERE newest IS NULL OR newest < now() - %s::interval
"""
# The last day may not be over, the first one may have begun before the logs did.
suspicious_days_select = f"""
-- One row per suspicious day, in UTC; usual is the median of the other days of its weekday
WITH counts AS (
    SELECT (start_time AT TIME ZONE 'UTC')::date AS day, count(*) AS events
    FROM (
        SELECT start_time FROM songplays
        UNION ALL
        SELECT start_time FROM page_views
    ) AS happened
    WHERE start_time BETWEEN (SELECT {NEWEST} - INTERVAL '12 weeks') AND (SELECT {NEWEST})
    GROUP BY day
),
days AS (
    SELECT day::date, COALESCE(events, 0) AS events
    FROM generate_series(
        (SELECT min(day) + 1 FROM counts), (SELECT max(day) - 1 FROM counts), '1 day'
    ) AS day
    LEFT JOIN counts USING (day)
)
SELECT day, events, usual
FROM days
CROSS JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY others.events) AS usual
    FROM days AS others
    WHERE others.day <> days.day AND extract(dow FROM others.day) = extract(dow FROM days.day)
) AS weekdays
WHERE day > (SELECT max(day) FROM days) - 28 AND (events = 0 OR events < usual / 10)
ORDER BY day
"""


def age(text):
    """Return an age as Postgres takes it, such as 26h, 90m or 2d. Raises ArgumentTypeError."""
    if not re.fullmatch(r"\d{1,6} ?[mhd]", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no age such as 90m, 26h or 2d")
    return text


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--newer-than",
        metavar="AGE",
        type=age,
        help="fail unless there are an event, and a load of a file, of the last 26h, say (m, h, d)",
    )


def find_stale(cur: Cursor, newer_than: str | None) -> Iterator[tuple[str, str]]:
    """Yield (name, fault) for the newest event, and load, if that is older than an age."""
    if newer_than:
        cur.execute(stale_select, (newer_than,))
        for name, newest in cur.fetchall():
            when = f"of {newest:%Y-%m-%d %H:%M} UTC" if newest else "missing"
            yield "freshness", f"the newest {name} is {when}, not of the last {newer_than}"


def find_suspicions(cur: Cursor) -> Iterator[str]:
    """Yield a line on each day that looks incomplete."""
    cur.execute(suspicious_days_select)
    for day, events, usual in cur.fetchall():
        most = f", where half of its weekdays have {usual:,.0f} or more" if usual else ""
        yield f"{day:%Y-%m-%d} has {count(events, 'event')}{most}"
