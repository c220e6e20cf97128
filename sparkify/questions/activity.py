"""When and where users listen: by hour, weekday, day, place, gender and level."""

from sparkify.questions.days import CAME, COVERED, IS_COVERED, days_of

# Plays have no status in the tables; they count as requests without error.
key_figures = f"""
-- One row: the period from the first event to the last, and what is in it
-- A song is known by title and artist; the share in the catalogue is that of the plays.
WITH {COVERED},
names AS (
    SELECT songs.title, artists.name AS artist
    FROM (SELECT DISTINCT song_id FROM songplays WHERE song_id IS NOT NULL) AS played
    JOIN songs USING (song_id)
    JOIN artists USING (artist_id)
    UNION
    SELECT title, artist
    FROM unmatched_songplays
    WHERE title IS NOT NULL AND artist IS NOT NULL
),
played AS (
    SELECT count(*) AS plays, count(song_id) AS in_catalogue
    FROM songplays
),
viewed AS (
    SELECT count(*) AS views, count(*) FILTER (WHERE status >= 400) AS errors
    FROM page_views
)
SELECT first_day,
       last_day,
       plays,
       (SELECT count(*) FROM (SELECT DISTINCT user_id FROM songplays) AS users) AS users,
       (SELECT count(*) FROM names) AS songs_played,
       round(in_catalogue::numeric / NULLIF(plays, 0), 3)::float8 AS share_in_catalogue,
       plays + views AS requests,
       errors,
       round(errors::numeric / NULLIF(plays + views, 0), 4)::float8 AS share_of_errors
FROM covered, played, viewed
"""

NAME_OF_WEEKDAY = "to_char(DATE '2018-01-01' + number, 'FMDay')"  # that day was a Monday

# The table time has the hours and weekdays of UTC; these questions are for the zone that is asked.
activity_by_hour = """
-- One row per hour of the day, also without plays
WITH active AS (
    SELECT extract(hour FROM start_time AT TIME ZONE %(time_zone)s)::int AS hour,
           user_id,
           count(*) AS plays
    FROM songplays
    GROUP BY hour, user_id
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
activity_by_weekday = f"""
-- One row per day of the week, Monday first, also without plays
WITH period AS (
    SELECT (min(start_time) AT TIME ZONE %(time_zone)s)::date AS first_day,
           (max(start_time) AT TIME ZONE %(time_zone)s)::date AS last_day
    FROM time
),
days AS (
    SELECT extract(isodow FROM first_day + n)::int - 1 AS weekday, count(*) AS days
    FROM period, generate_series(0, last_day - first_day) AS n
    GROUP BY weekday
),
active AS (
    SELECT extract(isodow FROM start_time AT TIME ZONE %(time_zone)s)::int - 1 AS weekday,
           user_id,
           count(*) AS plays
    FROM songplays
    GROUP BY weekday, user_id
)
SELECT {NAME_OF_WEEKDAY} AS weekday,
       COALESCE(days, 0) AS days,
       COALESCE(sum(plays), 0)::bigint AS plays,
       round(sum(plays) / days, 1)::float8 AS plays_per_day,
       count(user_id) AS users
FROM generate_series(0, 6) AS number
LEFT JOIN days ON days.weekday = number
LEFT JOIN active ON active.weekday = number
GROUP BY number, days
ORDER BY number
"""

activity_by_weekday_and_hour = f"""
-- One row per hour of the week, Monday first, also without plays
WITH active AS (
    SELECT extract(isodow FROM start_time AT TIME ZONE %(time_zone)s)::int - 1 AS number,
           extract(hour FROM start_time AT TIME ZONE %(time_zone)s)::int AS hour,
           count(*) AS plays
    FROM songplays
    GROUP BY number, hour
)
SELECT {NAME_OF_WEEKDAY} AS weekday,
       hour,
       COALESCE(plays, 0) AS plays
FROM generate_series(0, 6) AS number
CROSS JOIN generate_series(0, 23) AS hour
LEFT JOIN active USING (number, hour)
ORDER BY number, hour
"""

activity_by_day = f"""
-- One row per day from the first play to the last, also without plays
WITH sessions AS (
    SELECT (start_time AT TIME ZONE 'UTC')::date AS day,
           user_id,
           session_id,
           count(*) AS plays
    FROM songplays
    GROUP BY day, user_id, session_id
),
{days_of("sessions")}
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
plays_by_week_and_state = f"""
-- One row per week (its Monday) and US state that has plays, NULL where the log names no place
WITH {COVERED},
active AS (
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
       count(DISTINCT user_id) AS users,
       week {IS_COVERED} AS whole_week
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

plays_per_user = """
-- One row per gender and one per level, of the users who play; NULL where the log names no gender
-- The level is that at the time of the plays: a user may count on both, so that the shares of the
-- users add up to more than 1.
WITH active AS (
    SELECT user_id, level, count(*) AS plays
    FROM songplays
    GROUP BY user_id, level
),
grouped AS (
    SELECT 1 AS position, 'gender' AS grouped_by, gender AS value, user_id, plays
    FROM active
    JOIN users USING (user_id)
    UNION ALL
    SELECT 2, 'level', level, user_id, plays
    FROM active
),
total AS (
    SELECT count(DISTINCT user_id) AS users, sum(plays) AS plays
    FROM active
),
counted AS (
    SELECT position,
           grouped_by,
           value,
           count(DISTINCT user_id) AS users,
           sum(plays)::bigint AS plays
    FROM grouped
    GROUP BY position, grouped_by, value
)
SELECT grouped_by,
       value,
       counted.users,
       round(counted.users::numeric / total.users, 3)::float8 AS share_of_users,
       counted.plays,
       round(counted.plays / total.plays, 3)::float8 AS share_of_plays,
       round(counted.plays::numeric / counted.users, 1)::float8 AS plays_per_user
FROM counted
CROSS JOIN total
ORDER BY position, value COLLATE "C"
"""

# To count the users of the last 30 days, each counts from a day on which they come up to the next
# such day, or for 30 days if that is sooner: then they are in as many sums as they should be, once.
active_users = f"""
-- One row per day from the first event to the last, also without users
-- Active is who has a play or a page view. The month is the day and the 29 before it; whole_month
-- is false where the data begin later than that.
WITH {COVERED},
{CAME},
spans AS (
    SELECT day,
           LEAST(day + 30, lead(day) OVER (PARTITION BY user_id ORDER BY day)) AS next_day
    FROM came
),
steps AS (
    SELECT day, count(*) AS came, 0 AS went
    FROM spans
    GROUP BY day
    UNION ALL
    SELECT next_day, 0, count(*)
    FROM spans
    GROUP BY next_day
),
counted AS (
    SELECT first_day + n AS day,
           n >= 29 AS whole_month,
           COALESCE(sum(came), 0)::bigint AS daily_users,
           sum(COALESCE(sum(came - went), 0)) OVER (ORDER BY n)::bigint AS monthly_users
    FROM covered
    CROSS JOIN generate_series(0, last_day - first_day) AS n
    LEFT JOIN steps ON steps.day = first_day + n
    GROUP BY first_day, n
)
SELECT day,
       daily_users,
       monthly_users,
       round(daily_users::numeric / NULLIF(monthly_users, 0), 3)::float8 AS stickiness,
       whole_month
FROM counted
ORDER BY day
"""
