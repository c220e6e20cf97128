"""When and where users listen: by hour, weekday, day, place, gender and level."""

activity_by_hour = """
-- One row per hour of the day in UTC, also without plays
WITH active AS (
    SELECT time.hour, songplays.user_id, count(*) AS plays
    FROM songplays
    JOIN time USING (start_time)
    GROUP BY time.hour, songplays.user_id
)
SELECT hour,
       COALESCE(sum(plays), 0)::bigint AS plays,
       count(user_id) AS users
FROM generate_series(0, 23) AS hour
LEFT JOIN active USING (hour)
GROUP BY hour
ORDER BY hour
"""

# A period seldom has each weekday equally often, so plays in all would mislead.
activity_by_weekday = """
-- One row per day of the week in UTC, Monday = 0, also without plays
WITH period AS (
    SELECT min(start_time AT TIME ZONE 'UTC')::date AS first_day,
           max(start_time AT TIME ZONE 'UTC')::date AS last_day
    FROM time
),
days AS (
    SELECT extract(isodow FROM first_day + n)::int - 1 AS weekday, count(*) AS days
    FROM period, generate_series(0, last_day - first_day) AS n
    GROUP BY weekday
),
active AS (
    SELECT time.weekday, songplays.user_id, count(*) AS plays
    FROM songplays
    JOIN time USING (start_time)
    GROUP BY time.weekday, songplays.user_id
)
SELECT weekday,
       COALESCE(days, 0) AS days,
       COALESCE(sum(plays), 0)::bigint AS plays,
       round(sum(plays) / days, 1)::float8 AS plays_per_day,
       count(user_id) AS users
FROM generate_series(0, 6) AS weekday
LEFT JOIN days USING (weekday)
LEFT JOIN active USING (weekday)
GROUP BY weekday, days
ORDER BY weekday
"""

activity_by_weekday_and_hour = """
-- One row per hour of the week in UTC, Monday = 0, also without plays
WITH active AS (
    SELECT time.weekday, time.hour, count(*) AS plays
    FROM songplays
    JOIN time USING (start_time)
    GROUP BY time.weekday, time.hour
)
SELECT weekday,
       hour,
       COALESCE(plays, 0) AS plays
FROM generate_series(0, 6) AS weekday
CROSS JOIN generate_series(0, 23) AS hour
LEFT JOIN active USING (weekday, hour)
ORDER BY weekday, hour
"""

activity_by_day = """
-- One row per day from the first play to the last, also without plays
WITH sessions AS (
    SELECT (start_time AT TIME ZONE 'UTC')::date AS day,
           user_id,
           session_id,
           count(*) AS plays
    FROM songplays
    GROUP BY day, user_id, session_id
),
days AS (
    SELECT first_day + n AS day
    FROM (SELECT min(day) AS first_day, max(day) AS last_day FROM sessions) AS period,
         generate_series(0, last_day - first_day) AS n
)
SELECT day,
       COALESCE(sum(plays), 0)::bigint AS plays,
       count(DISTINCT user_id) AS users,
       count(session_id) AS sessions
FROM days
LEFT JOIN sessions USING (day)
GROUP BY day
ORDER BY day
"""

plays_by_metropolitan_area = """
-- One row per metropolitan area, NULL where the log names none
WITH active AS (
    SELECT location, user_id, count(*) AS plays
    FROM songplays
    GROUP BY location, user_id
)
SELECT split_part(location, ', ', 1) AS metropolitan_area,
       split_part(location, ', ', 2) AS states,
       sum(plays)::bigint AS plays,
       count(*) AS users,
       round(sum(plays) / count(*), 1)::float8 AS plays_per_user
FROM active
GROUP BY location
ORDER BY plays DESC, location COLLATE "C"
"""

# An area that spans several states counts in that of its first city.
plays_by_week_and_state = """
-- One row per week (its Monday) and US state that has plays, NULL where the log names no place
WITH active AS (
    SELECT date_trunc('week', start_time AT TIME ZONE 'UTC')::date AS week,
           location,
           user_id,
           count(*) AS plays
    FROM songplays
    GROUP BY week, location, user_id
),
placed AS (
    SELECT week,
           split_part(split_part(location, ', ', 2), '-', 1) AS state,
           user_id,
           plays
    FROM active
)
SELECT week,
       state,
       sum(plays)::bigint AS plays,
       count(DISTINCT user_id) AS users
FROM placed
GROUP BY week, state
ORDER BY week, state COLLATE "C"
"""

plays_by_day_and_gender = """
-- One row per day and gender that has plays; NULL where the log names none
WITH active AS (
    SELECT (start_time AT TIME ZONE 'UTC')::date AS day,
           user_id,
           count(*) AS plays
    FROM songplays
    GROUP BY day, user_id
)
SELECT day,
       gender,
       sum(plays)::bigint AS plays,
       count(*) AS users
FROM active
JOIN users USING (user_id)
GROUP BY day, gender
ORDER BY day, gender COLLATE "C"
"""

plays_by_day_and_level = """
-- One row per day and level, as it was at the time of the plays
WITH active AS (
    SELECT (start_time AT TIME ZONE 'UTC')::date AS day,
           level,
           user_id,
           count(*) AS plays
    FROM songplays
    GROUP BY day, level, user_id
)
SELECT day,
       level,
       sum(plays)::bigint AS plays,
       count(*) AS users
FROM active
GROUP BY day, level
ORDER BY day, level COLLATE "C"
"""
