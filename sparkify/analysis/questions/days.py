"""The days, in UTC, that the data cover, and who came on them: what several questions begin with.

A user comes on a day by a play or a page view. What is logged while logged out names no user.
"""

MOST_DAYS = 366  # without data, for them to be listed all the same

# The facts' indexes begin with the time or are on it, so this reads hardly a row.
COVERED = """
covered AS (
    SELECT first_moment,
           last_moment,
           (first_moment AT TIME ZONE 'UTC')::date AS first_day,
           (last_moment AT TIME ZONE 'UTC')::date AS last_day
    FROM (
        SELECT LEAST(
                   (SELECT min(start_time) FROM songplays),
                   (SELECT min(start_time) FROM page_views)
               ) AS first_moment,
               GREATEST(
                   (SELECT max(start_time) FROM songplays),
                   (SELECT max(start_time) FROM page_views)
               ) AS last_moment
    ) AS moments
)
""".strip()

# Follows the Monday of a week that is covered by the data from its first day to its last.
IS_COVERED = "BETWEEN (SELECT first_day FROM covered) AND (SELECT last_day - 6 FROM covered)"

CAME = """
came AS (
    SELECT user_id, (day AT TIME ZONE 'UTC')::date AS day
    FROM (
        SELECT user_id, date_bin('1 day', start_time, 'epoch') AS day
        FROM songplays
        GROUP BY user_id, day
        UNION
        SELECT user_id, date_bin('1 day', start_time, 'epoch')
        FROM page_views
        WHERE user_id IS NOT NULL
    ) AS events
)
""".strip()


def days_of(relation, day="day", step=1):
    """Return the CTE of the days in a relation, and of those between unless they are a year.

    Of weeks, told by their Monday, likewise: the step is 7 then. A single event of a wrong year
    would else make millions of rows.
    """
    return f"""
{day}s AS (
    SELECT {day} + n AS {day}
    FROM (
        SELECT {day}, lead({day}) OVER (ORDER BY {day}) - {day} AS gap
        FROM (SELECT DISTINCT {day} FROM {relation}) AS found
    ) AS gaps,
         generate_series(0, CASE WHEN gap <= {MOST_DAYS} THEN gap - {step} ELSE 0 END, {step}) AS n
)
""".strip()


def hours_covered(start, length):
    """Return the SQL of how many hours of the data fall into a part of the week, in a time zone.

    The part, such as all Mondays or the hour from Tuesday 8:00, begins so many hours after Monday
    0:00 and has a length in hours; both may be SQL.
    """
    until_last, until_first = (
        hours_until(moment, start, length) for moment in ("last_moment", "first_moment")
    )
    return f"({until_last} - {until_first})"


def hours_until(moment, start, length):
    """Return the SQL of how many hours of a part of the week there are before a moment."""
    local = f"{moment} AT TIME ZONE %(time_zone)s - TIMESTAMP '2018-01-01'"  # that day was a Monday
    hours = f"extract(epoch FROM {local}) / 3600"
    return f"""(
        SELECT floor(hours / 168) * {length}
               + LEAST(GREATEST(hours - floor(hours / 168) * 168 - ({start}), 0), {length})
        FROM (SELECT {hours} AS hours) AS since_monday
    )"""
