"""How the platform is doing: browsers, silences, loads."""

# The order matters: most user agents name other browsers and systems too, to be taken for them.
plays_by_browser_and_system = """
-- One row per browser and operating system
WITH active AS (
    SELECT user_agent, user_id, count(*) AS plays
    FROM songplays
    GROUP BY user_agent, user_id
),
agents AS (
    SELECT user_agent,
           CASE
               WHEN user_agent IS NULL THEN 'unknown'
               WHEN user_agent ~ 'Edge?/|EdgA/|EdgiOS/' THEN 'Edge'
               WHEN user_agent ~ 'OPR/|Opera' THEN 'Opera'
               WHEN user_agent ~ 'Trident/|MSIE' THEN 'Internet Explorer'
               WHEN user_agent ~ 'Firefox/|FxiOS/' THEN 'Firefox'
               WHEN user_agent ~ 'Chrome/|CriOS/|Chromium/' THEN 'Chrome'
               WHEN user_agent ~ 'Safari/|AppleWebKit/.* Mobile/' THEN 'Safari'
               ELSE 'other'
           END AS browser,
           CASE
               WHEN user_agent IS NULL THEN 'unknown'
               WHEN user_agent ~ 'iPhone|iPad|iPod' THEN 'iOS'
               WHEN user_agent ~ 'Android' THEN 'Android'
               WHEN user_agent ~ 'Windows' THEN 'Windows'
               WHEN user_agent ~ 'Macintosh|Mac OS X' THEN 'macOS'
               WHEN user_agent ~ 'CrOS' THEN 'ChromeOS'
               WHEN user_agent ~ 'Linux|X11' THEN 'Linux'
               ELSE 'other'
           END AS operating_system
    FROM (SELECT DISTINCT user_agent FROM active) AS distinct_agents
)
SELECT browser,
       operating_system,
       sum(plays)::bigint AS plays,
       count(DISTINCT user_id) AS users
FROM active
JOIN agents ON agents.user_agent IS NOT DISTINCT FROM active.user_agent
GROUP BY browser, operating_system
ORDER BY plays DESC, browser COLLATE "C", operating_system COLLATE "C"
"""

# Silence in a busy hour is more likely an outage than silence at night.
silent_hours = """
-- One row per run of hours without any play; usual_plays is what these hours of the day average
WITH counted AS (
    SELECT date_trunc('hour', start_time AT TIME ZONE 'UTC') AS hour, count(*) AS plays
    FROM songplays
    GROUP BY hour
),
hours AS (
    SELECT hour,
           plays,
           avg(COALESCE(plays, 0)) OVER (PARTITION BY extract(hour FROM hour)) AS usual_plays
    FROM (SELECT min(hour) AS first_hour, max(hour) AS last_hour FROM counted) AS period,
         generate_series(first_hour, last_hour, INTERVAL '1 hour') AS hour
    LEFT JOIN counted USING (hour)
),
silent AS (
    SELECT hour,
           usual_plays,
           hour - row_number() OVER (ORDER BY hour) * INTERVAL '1 hour' AS run
    FROM hours
    WHERE plays IS NULL
)
SELECT min(hour) AS start_time,
       max(hour) + INTERVAL '1 hour' AS end_time,
       count(*) AS hours,
       round(sum(usual_plays), 1)::float8 AS usual_plays
FROM silent
GROUP BY run
ORDER BY round(sum(usual_plays), 1) DESC, start_time
"""

# A file counts where it was loaded last: the table keeps no more of it.
load_times = """
-- One row per day (in UTC) and kind of file, of the files that were last loaded on that day
SELECT (loaded_at AT TIME ZONE 'UTC')::date AS day,
       kind,
       count(*) AS files,
       sum(rows_loaded)::bigint AS rows_loaded,
       sum(lines_set_aside)::bigint AS lines_set_aside,
       round(sum(size) / 1e6, 2)::float8 AS megabytes,
       round(sum(seconds)::numeric, 2)::float8 AS seconds
FROM loaded_files
GROUP BY day, kind
ORDER BY day, kind COLLATE "C"
"""
