"""What users are like: their changes of level, their sessions, and whether they come back."""

from sparkify.analysis.questions.days import CAME, COVERED, IS_COVERED, days_of

# A change is looked for only in a user's days with two levels, among all plays, and in
# those with another level than the day before, among the plays from one to the other: the index of
# the natural key, which has the level, leads to these, and to sort all plays would take far longer.
# Levels need only be told apart, so they are compared byte by byte.
LEVEL_CHANGES = """
days AS (
    SELECT user_id,
           date_bin('1 day', start_time, 'epoch') AS day,
           min(start_time) AS first_time,
           max(start_time) AS last_time,
           min(level COLLATE "C") AS lowest,
           max(level COLLATE "C") AS highest
    FROM songplays
    GROUP BY user_id, day
),
neighbours AS (
    SELECT *,
           lag(last_time) OVER earlier AS time_before,
           lag(lowest) OVER earlier AS lowest_before,
           lag(highest) OVER earlier AS highest_before
    FROM days
    WINDOW earlier AS (PARTITION BY user_id ORDER BY day)
),
changes AS (
    SELECT plays.*
    FROM neighbours
    CROSS JOIN LATERAL (
        SELECT user_id,
               start_time,
               session_id,
               level,
               lag(level) OVER (ORDER BY start_time, session_id) AS previous_level
        FROM songplays
        WHERE songplays.user_id = neighbours.user_id
          AND start_time >= COALESCE(time_before, first_time)
          AND start_time <= CASE WHEN lowest = highest THEN first_time ELSE last_time END
    ) AS plays
    WHERE (lowest <> highest OR lowest <> lowest_before OR highest <> highest_before)
      AND level <> previous_level
      AND start_time >= first_time
)
"""

level_changes = f"""
-- One row per change of a user's level: the first play on the new one
WITH {LEVEL_CHANGES.strip()}
SELECT changes.start_time AT TIME ZONE 'UTC' AS start_time,
       changes.user_id,
       users.first_name,
       users.last_name,
       users.gender,
       changes.previous_level,
       changes.level,
       songplays.location
FROM changes
JOIN songplays USING (user_id, start_time, session_id)
JOIN users USING (user_id)
ORDER BY changes.start_time, changes.user_id, changes.session_id
"""

level_changes_by_week = f"""
-- One row per week (its Monday) with changes, and those between
-- A change is the first play on the new level, so that of a user who submits one and never plays
-- again isn't here.
WITH {COVERED},
{LEVEL_CHANGES.strip()},
counted AS (
    SELECT date_trunc('week', start_time AT TIME ZONE 'UTC')::date AS week,
           count(*) FILTER (WHERE level = 'paid') AS to_paid,
           count(*) FILTER (WHERE level = 'free') AS to_free
    FROM changes
    GROUP BY week
),
{days_of("counted", "week", 7)}
SELECT week,
       COALESCE(to_paid, 0) AS to_paid,
       COALESCE(to_free, 0) AS to_free,
       week {IS_COVERED} AS whole_week
FROM weeks
LEFT JOIN counted USING (week)
ORDER BY week
"""

sessions_per_user = """
-- One row per user
SELECT user_id,
       users.first_name,
       users.last_name,
       users.level,
       counted.sessions,
       counted.plays
FROM users
CROSS JOIN LATERAL (
    SELECT count(*) AS sessions, sum(plays)::bigint AS plays
    FROM (
        SELECT count(*) AS plays
        FROM songplays
        WHERE songplays.user_id = users.user_id
        GROUP BY session_id
    ) AS sessions
) AS counted
WHERE counted.sessions > 0
ORDER BY sessions DESC, user_id
"""


def percentiles(value):
    """Return the SQL of the array of a value's median and of what nine in ten have at most."""
    return f"percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY {value}::float8)"


typical_engagement = f"""
-- One row per measure
WITH sessions AS (
    SELECT user_id,
           session_id,
           count(*) AS plays,
           COALESCE(sum(duration), 0) / 60 AS minutes
    FROM songplays
    GROUP BY user_id, session_id
),
measured AS (
    SELECT 1 AS position, 'sessions per user' AS measure, {percentiles("sessions")} AS found
    FROM (SELECT count(*) AS sessions FROM sessions GROUP BY user_id) AS users
    UNION ALL
    SELECT 2, 'plays per session', {percentiles("plays")} FROM sessions
    UNION ALL
    SELECT 3, 'minutes per session', {percentiles("minutes")} FROM sessions
)
SELECT measure,
       round(found[1]::numeric, 1)::float8 AS median,
       round(found[2]::numeric, 1)::float8 AS percentile_90
FROM measured
WHERE found IS NOT NULL
ORDER BY position
"""

returning_users = f"""
-- One row per week of first play (its Monday) and week since then, up to the last play of all
-- Not all users of the first week are new: they may have played before the data begin. The share is
-- NULL where it would be of fewer than five. whole_week is about the week so many weeks later.
WITH {COVERED},
active AS (
    SELECT DISTINCT user_id, date_trunc('week', day AT TIME ZONE 'UTC')::date AS week
    FROM (
        SELECT user_id, date_bin('1 day', start_time, 'epoch') AS day
        FROM songplays
        GROUP BY user_id, day
    ) AS days
),
first_weeks AS (
    SELECT user_id, min(week) AS first_week
    FROM active
    GROUP BY user_id
),
cohorts AS (
    SELECT first_week, count(*) AS new_users
    FROM first_weeks
    GROUP BY first_week
),
returns AS (
    SELECT first_week, week, count(*) AS users
    FROM active
    JOIN first_weeks USING (user_id)
    GROUP BY first_week, week
),
{days_of("active", "week", 7)}
SELECT first_week,
       new_users,
       (week - first_week) / 7 AS weeks_later,
       COALESCE(users, 0) AS users,
       CASE
           WHEN new_users >= 5 THEN round(COALESCE(users, 0)::numeric / new_users, 3)::float8
       END AS share,
       week {IS_COVERED} AS whole_week
FROM cohorts
JOIN weeks ON week >= first_week
LEFT JOIN returns USING (first_week, week)
ORDER BY first_week, week
"""

# Days are compared, not moments, so that it makes no difference at what hour the data end.
stopped_users = f"""
-- One row per week (its Monday) in which users came, and those between
-- A user has stopped coming if neither play nor page view follows on the 14 days after their last
-- day of the week, though they may be back later. NULL where the data end before the 14 days after
-- that week's Sunday do.
WITH {COVERED},
{CAME},
followed AS (
    SELECT user_id,
           date_trunc('week', day)::date AS week,
           day,
           lead(day) OVER (PARTITION BY user_id ORDER BY day) AS next_day
    FROM came
),
last_days AS (
    SELECT *
    FROM followed
    WHERE next_day IS NULL OR next_day >= week + 7
),
{days_of("last_days", "week", 7)},
counted AS (
    SELECT week,
           week + 20 <= (SELECT last_day FROM covered) AS is_followed,
           count(user_id) AS users,
           count(user_id) FILTER (WHERE next_day IS NULL OR next_day > day + 14) AS stopped,
           count(user_id) FILTER (WHERE next_day > day + 14) AS back_later
    FROM weeks
    LEFT JOIN last_days USING (week)
    GROUP BY week
)
SELECT week,
       users,
       CASE WHEN is_followed THEN stopped END AS stopped,
       CASE WHEN is_followed THEN back_later END AS of_them_back_later,
       CASE
           WHEN is_followed THEN round(stopped::numeric / NULLIF(users, 0), 3)::float8
       END AS share_stopped,
       week {IS_COVERED} AS whole_week
FROM counted
ORDER BY week
"""
