"""The days, in UTC, that the data cover, and who came on them: what several questions begin with.

A user comes on a day by a play or a page view. What is logged while logged out names no user.
"""

# The facts' indexes begin with the time or are on it, so this reads hardly a row.
COVERED = """
covered AS (
    SELECT (first_moment AT TIME ZONE 'UTC')::date AS first_day,
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
    SELECT user_id, (start_time AT TIME ZONE 'UTC')::date AS day
    FROM songplays
    GROUP BY user_id, day
    UNION
    SELECT user_id, (start_time AT TIME ZONE 'UTC')::date AS day
    FROM page_views
    WHERE user_id IS NOT NULL
    GROUP BY user_id, day
)
""".strip()


def days_of(relation):
    """Return the CTE of all days from the first in a relation to the last, also those between."""
    return f"""
days AS (
    SELECT first_day + n AS day
    FROM (SELECT min(day) AS first_day, max(day) AS last_day FROM {relation}) AS period,
         generate_series(0, last_day - first_day) AS n
)
""".strip()
