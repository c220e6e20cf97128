"""When and where users listen: by hour, weekday, day, place, gender and level."""

from sparkify.analysis.questions.days import CAME, COVERED, IS_COVERED, days_of, hours_covered

# Plays have no status in the tables; they count as requests without error.
key_figures = f"""
-- One row: the period from the first event to the last, and what is in it
-- A song is known by title and artist; the share in the catalogue is that of the plays.
WITH {COVERED},
names AS (
    SELECT title, artist_name AS artist
    FROM songs
    WHERE EXISTS (SELECT FROM songplays WHERE songplays.song_id = songs.song_id)
    UNION
    SELECT title, artist
    FROM unmatched_songplays
    WHERE title IS NOT NULL AND artist IS NOT NULL
    GROUP BY title, artist
),
listeners AS (
    SELECT count(*) AS users
    FROM users
    WHERE EXISTS (SELECT FROM songplays WHERE songplays.user_id = users.user_id)
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
       users,
       (SELECT count(*) FROM names) AS songs_played,
       round(in_catalogue::numeric / NULLIF(plays, 0), 3)::float8 AS share_in_catalogue,
       plays + views AS requests,
       errors,
       round(errors::numeric / NULLIF(plays + views, 0), 4)::float8 AS share_of_errors
FROM covered, listeners, played, viewed
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

# A period seldom has each weekday equally often and as a whole, so plays in all would mislead.
activity_by_weekday = f"""
-- One row per day of the week, Monday first, also without plays
-- The days are those that the data cover from the first event to the last, parts of days as parts;
-- NULL plays per day where they cover less than half of one.
WITH {COVERED},
counted AS (
    SELECT date_bin('1 day', start_time AT TIME ZONE %(time_zone)s, 'epoch') AS day,
           user_id,
           count(*) AS plays
    FROM songplays
    GROUP BY day, user_id
),
active AS (
    SELECT extract(isodow FROM day)::int - 1 AS number, user_id, sum(plays) AS plays
    FROM counted
    GROUP BY number, user_id
),
weekdays AS (
    SELECT number,
           {hours_covered("24 * number", 24)} / 24 AS days,
           COALESCE(sum(plays), 0)::bigint AS plays,
           count(user_id) AS users
    FROM covered
    CROSS JOIN generate_series(0, 6) AS number
    LEFT JOIN active USING (number)
    GROUP BY number, first_moment, last_moment
)
SELECT {NAME_OF_WEEKDAY} AS weekday,
       round(COALESCE(days, 0), 2)::float8 AS days,
       plays,
       CASE WHEN days >= 0.5 THEN round(plays / days, 1)::float8 END AS plays_per_day,
       users
FROM weekdays
ORDER BY number
"""

activity_by_weekday_and_hour = f"""
-- One row per hour of the week, Monday first, also without plays
-- The hours are those that the data cover from the first event to the last, parts of hours as
-- parts; NULL plays per hour where they cover less than half of one.
WITH {COVERED},
counted AS (
    SELECT date_bin('1 hour', start_time AT TIME ZONE %(time_zone)s, 'epoch') AS begin,
           count(*) AS plays
    FROM songplays
    GROUP BY begin
),
active AS (
    SELECT extract(isodow FROM begin)::int - 1 AS number,
           extract(hour FROM begin)::int AS hour,
           sum(plays)::bigint AS plays
    FROM counted
    GROUP BY number, hour
),
hours_of_week AS (
    SELECT number,
           hour,
           {hours_covered("24 * number + hour", 1)} AS hours,
           COALESCE(plays, 0) AS plays
    FROM covered
    CROSS JOIN generate_series(0, 6) AS number
    CROSS JOIN generate_series(0, 23) AS hour
    LEFT JOIN active USING (number, hour)
)
SELECT {NAME_OF_WEEKDAY} AS weekday,
       hour,
       round(COALESCE(hours, 0), 2)::float8 AS hours,
       plays,
       CASE WHEN hours >= 0.5 THEN round(plays / hours, 2)::float8 END AS plays_per_hour
FROM hours_of_week
ORDER BY number, hour
"""

# Of a state in several zones, the one where most of its people live.
ZONES = {
    "America/Anchorage": "AK",
    "America/Chicago": "AL AR IA IL KS LA MN MO MS ND NE OK SD TN TX WI",
    "America/Denver": "CO ID MT NM UT WY",
    "America/Los_Angeles": "CA NV OR WA",
    "America/New_York": "CT DC DE FL GA IN KY MA MD ME MI NC NH NJ NY OH PA RI SC VA VT WV",
    "America/Phoenix": "AZ",
    "America/Puerto_Rico": "PR",
    "Pacific/Honolulu": "HI",
}

# All these zones are whole hours from UTC, so hours are counted before they are moved.
activity_by_local_hour = f"""
-- One row per hour of the day where the listeners are, and one, NULL, for plays of unknown place
-- The zone is that of the US state, of its largest part where it has several; an area that spans
-- several states counts in that of its first city.
WITH counted AS (
    SELECT location, date_bin('1 hour', start_time, 'epoch') AS begin, count(*) AS plays
    FROM songplays
    GROUP BY location, begin
),
zones AS (
    SELECT zone, state
    FROM (
        VALUES {", ".join(f"('{zone}', '{states}')" for zone, states in ZONES.items())}
    ) AS states_of (zone, states),
         regexp_split_to_table(states, ' ') AS state
),
local AS (
    SELECT extract(hour FROM begin AT TIME ZONE zone)::int AS hour, plays
    FROM counted
    LEFT JOIN zones ON state = split_part(split_part(location, ', ', 2), '-', 1)
    UNION ALL
    SELECT hour, 0 FROM generate_series(0, 23) AS hour
)
SELECT hour,
       sum(plays)::bigint AS plays,
       round(sum(plays) / NULLIF(sum(sum(plays)) OVER (), 0), 3)::float8 AS share_of_plays
FROM local
GROUP BY hour
ORDER BY hour
"""

activity_by_day = f"""
-- One row per day with plays, and those between
WITH sessions AS (
    SELECT moment, user_id, plays
    FROM users
    CROSS JOIN LATERAL (
        SELECT date_bin('1 day', start_time, 'epoch') AS moment, session_id, count(*) AS plays
        FROM songplays
        WHERE songplays.user_id = users.user_id
        GROUP BY moment, session_id
    ) AS played
),
active AS (
    SELECT moment, user_id, sum(plays) AS plays, count(*) AS sessions
    FROM sessions
    GROUP BY moment, user_id
),
counted AS (
    SELECT (moment AT TIME ZONE 'UTC')::date AS day,
           sum(plays)::bigint AS plays,
           count(*) AS users,
           sum(sessions)::bigint AS sessions
    FROM active
    GROUP BY moment
),
{days_of("counted")}
SELECT day,
       COALESCE(plays, 0) AS plays,
       COALESCE(users, 0) AS users,
       COALESCE(sessions, 0) AS sessions
FROM days
LEFT JOIN counted USING (day)
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

# An area that spans several states counts in that of its first city. 2018-01-01 was a Monday.
plays_by_week_and_state = f"""
-- One row per week (its Monday) and US state that has plays, NULL where the log names no place
WITH {COVERED},
active AS (
    SELECT date_bin('7 days', start_time, '2018-01-01 00:00Z') AS moment,
           location,
           user_id,
           count(*) AS plays
    FROM songplays
    GROUP BY moment, location, user_id
),
placed AS (
    SELECT (moment AT TIME ZONE 'UTC')::date AS week,
           split_part(split_part(location, ', ', 2), '-', 1) AS state,
           user_id,
           sum(plays) AS plays
    FROM active
    GROUP BY moment, state, user_id
)
SELECT week,
       state,
       sum(plays)::bigint AS plays,
       count(*) AS users,
       week {IS_COVERED} AS whole_week
FROM placed
GROUP BY week, state
ORDER BY week, state COLLATE "C"
"""

plays_by_day_and_gender = """
-- One row per day and gender that has plays; NULL where the log names none
WITH active AS (
    SELECT date_bin('1 day', start_time, 'epoch') AS moment, user_id, count(*) AS plays
    FROM songplays
    GROUP BY moment, user_id
)
SELECT (moment AT TIME ZONE 'UTC')::date AS day,
       gender,
       sum(plays)::bigint AS plays,
       count(*) AS users
FROM active
JOIN users USING (user_id)
GROUP BY moment, gender
ORDER BY moment, gender COLLATE "C"
"""

plays_by_day_and_level = """
-- One row per day and level, as it was at the time of the plays
WITH active AS (
    SELECT date_bin('1 day', start_time, 'epoch') AS moment, level, user_id, count(*) AS plays
    FROM songplays
    GROUP BY moment, level, user_id
)
SELECT (moment AT TIME ZONE 'UTC')::date AS day,
       level,
       sum(plays)::bigint AS plays,
       count(*) AS users
FROM active
GROUP BY moment, level
ORDER BY moment, level COLLATE "C"
"""

plays_per_user = """
-- One row per gender, level, and both, and one for all users who play
-- The level is that at the time of the plays: a user may count on both, so that the shares of the
-- users add up to more than 1. A group's top tenth are its most active users, one at least.
WITH active AS (
    SELECT user_id, COALESCE(gender, 'unknown') AS gender, played.level, plays
    FROM (
        SELECT user_id, level, count(*) AS plays
        FROM songplays
        GROUP BY user_id, level
    ) AS played
    JOIN users USING (user_id)
),
grouped AS (
    SELECT 1 AS position, 'all' AS grouped_by, 'all' AS value, user_id, sum(plays) AS plays
    FROM active
    GROUP BY user_id
    UNION ALL
    SELECT 2, 'gender', gender, user_id, sum(plays)
    FROM active
    GROUP BY gender, user_id
    UNION ALL
    SELECT 3, 'level', level, user_id, plays
    FROM active
    UNION ALL
    SELECT 4, 'gender and level', gender || ', ' || level, user_id, plays
    FROM active
),
ranked AS (
    SELECT *,
           row_number() OVER (PARTITION BY position, value ORDER BY plays DESC) AS rank,
           count(*) OVER (PARTITION BY position, value) AS users,
           sum(plays) OVER (PARTITION BY position) AS all_plays,
           (SELECT count(DISTINCT user_id) FROM active) AS all_users
    FROM grouped
)
SELECT grouped_by,
       value,
       users,
       round(users::numeric / all_users, 3)::float8 AS share_of_users,
       sum(plays)::bigint AS plays,
       round(sum(plays) / all_plays, 3)::float8 AS share_of_plays,
       round(
           (sum(plays) - max(plays)) / NULLIF(all_plays - max(plays), 0), 3
       )::float8 AS share_without_top_user,
       round(sum(plays) / users, 1)::float8 AS plays_per_user,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY plays::float8) AS median_plays,
       round(
           sum(plays) FILTER (WHERE rank <= GREATEST(users / 10, 1)) / sum(plays), 3
       )::float8 AS share_of_top_tenth
FROM ranked
GROUP BY position, grouped_by, value, users, all_plays, all_users
ORDER BY position, value COLLATE "C"
"""

# To count the users of the last 30 days, each counts from a day on which they come up to the next
# such day, or for 30 days if that is sooner: then they are in as many sums as they should be, once.
active_users = f"""
-- One row per day on which users came, and those between
-- Active is who has a play or a page view. The month is the day and the 29 before it; whole_month
-- is false where the data begin later than that.
WITH {COVERED},
{CAME},
{days_of("came")},
spans AS (
    SELECT day,
           LEAST(day + 30, lead(day) OVER (PARTITION BY user_id ORDER BY day)) AS next_day
    FROM came
),
steps AS (
    SELECT day, 1 AS came, 0 AS went FROM spans
    UNION ALL
    SELECT next_day, 0, 1 FROM spans
    UNION ALL
    SELECT day, 0, 0 FROM days
),
counted AS (
    SELECT day,
           sum(came) AS daily_users,
           sum(sum(came - went)) OVER (ORDER BY day)::bigint AS monthly_users
    FROM steps
    GROUP BY day
)
SELECT day,
       daily_users,
       monthly_users,
       round(daily_users::numeric / NULLIF(monthly_users, 0), 3)::float8 AS stickiness,
       day >= first_day + 29 AS whole_month
FROM counted
JOIN days USING (day)
CROSS JOIN covered
ORDER BY day
"""
