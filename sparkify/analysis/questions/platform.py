"""How the platform is doing: browsers, errors, silences, loads."""

from sparkify.analysis.questions.days import MOST_DAYS, days_of
from sparkify.analysis.questions.sessions import UNNAMED

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

# A play has no status in the tables; a song that is played was answered with 200, so it is counted
# as a request without error. So is a request whose status the log leaves out.
requests_by_day = f"""
-- One row per day with requests, and those between, which have no share
WITH requests AS (
    SELECT date_bin('1 day', start_time, 'epoch') AS moment, count(*) AS requests, 0 AS errors
    FROM songplays
    GROUP BY moment
    UNION ALL
    SELECT date_bin('1 day', start_time, 'epoch') AS moment,
           count(*),
           count(*) FILTER (WHERE status >= 400)
    FROM page_views
    GROUP BY moment
),
counted AS (
    SELECT (moment AT TIME ZONE 'UTC')::date AS day,
           sum(requests)::bigint AS requests,
           sum(errors)::bigint AS errors
    FROM requests
    GROUP BY moment
),
{days_of("counted")}
SELECT day,
       COALESCE(requests, 0) AS requests,
       COALESCE(errors, 0) AS errors,
       round(errors::numeric / requests, 4)::float8 AS share_of_errors
FROM days
LEFT JOIN counted USING (day)
ORDER BY day
"""

requests_by_page = """
-- One row per page that was requested; plays are requests of NextSong, none of them an error
WITH requests AS (
    SELECT 'NextSong' AS page, count(*) AS requests, 0 AS errors
    FROM songplays
    HAVING count(*) > 0
    UNION ALL
    SELECT page, count(*), count(*) FILTER (WHERE status >= 400)
    FROM page_views
    GROUP BY page
)
SELECT page,
       requests,
       errors,
       round(errors::numeric / requests, 4)::float8 AS share_of_errors
FROM requests
ORDER BY requests DESC, page COLLATE "C"
"""


def usual(count):
    """Return the SQL of what an hour's count is in other weeks, at that hour of that weekday.

    Few weeks say little of an hour, so what that hour of all other days averages counts like four
    weeks more. An hour has no part in what is usual for it.
    """
    other_days = f"(sum({count}) OVER day - {count}) / NULLIF(count(*) OVER day - 1, 0)"
    return f"""(
               (sum({count}) OVER week - {count} + 4 * COALESCE({other_days}, 0))
               / (count(*) OVER week + 3)
           )"""


def as_busy_as(usual_arrivals, hours, added):
    """Return the SQL of the usual arrivals, times how busy so many hours before and after are."""
    around = f"""OVER (
               ORDER BY hour
               ROWS BETWEEN {hours} PRECEDING AND {hours} FOLLOWING EXCLUDE CURRENT ROW
           )"""
    return f"""{usual_arrivals}
           * (COALESCE(sum(arrivals) {around}, 0)::float8 + {added})
           / (COALESCE(sum({usual_arrivals}) {around}, 0) + {added})"""


# Requests come in sessions, so an hour is judged by the sessions that arrive in it (a session that
# pauses for an hour arrives again): in a silent hour none did, and none of those in progress went
# on. How likely is that?
# - Nobody arrives: the zero of a negative binomial distribution, whose dispersion is that of all
#   hours. Its mean is what is usual, times how busy the week around it is compared with what is
#   usual there, for services grow and shrink, times how busy the twelve hours before and after are
#   compared with that. Lest a few decide, 2 and 20 sessions as usual are added.
# - Nobody goes on: for each session of the hour before, the share of those that stop among all
#   whose last request of an hour came in the same five minutes of it.
# The product over the hours of a run, times the hours of the period, is how often chance alone has
# a silence like this in such a period. Nobody can know that to one in more than a million. Of
# simulated services that were never down, at most one in ten has a silence of ten periods or more:
# see tests/tools/calibrate.py.
# For speed, hours come of date_bin, which knows no time zones, and sessions are grouped in the
# order in which they are then followed.
silent_hours = f"""
-- One row per run of hours without any request, the least probable first
-- Chance alone would have one like it once in so many periods as long as this; below 1, several in
-- each. More than a year without requests is no silence: the data are of several times then.
WITH {UNNAMED},
requests AS (
    SELECT start_time, user_id, session_id, 0 AS stranger FROM songplays
    UNION ALL
    SELECT start_time, user_id, session_id, 0 FROM page_views WHERE user_id IS NOT NULL
    UNION ALL
    SELECT start_time, user_id, session_id, stranger FROM unnamed
),
sessions AS (
    SELECT session_id,
           user_id,
           stranger,
           date_bin('1 hour', start_time, 'epoch') AS hour,
           count(*)::int AS requests,
           max(start_time) AS last_request
    FROM requests
    GROUP BY session_id, user_id, stranger, hour
),
followed AS (
    SELECT date_bin('5 minutes', last_request, 'epoch') AS five_minutes,
           requests,
           lag(hour) OVER session IS DISTINCT FROM hour - INTERVAL '1 hour' AS arrives,
           lead(hour) OVER session IS DISTINCT FROM hour + INTERVAL '1 hour' AS stops
    FROM sessions
    WINDOW session AS (PARTITION BY session_id, user_id, stranger ORDER BY hour)
),
parts AS (
    SELECT date_bin('1 hour', five_minutes, 'epoch') AS hour,
           five_minutes,
           sum(requests) AS requests,
           count(*) AS sessions,
           count(*) FILTER (WHERE arrives) AS arrivals,
           count(*) FILTER (WHERE stops) AS stops
    FROM followed
    GROUP BY five_minutes
),
stopping AS (
    SELECT hour,
           requests,
           arrivals,
           -sessions * ln(
               (sum(stops) OVER alike + 1)::float8 / (sum(sessions) OVER alike + 1)
           ) AS if_all_stop
    FROM parts
    WINDOW alike AS (PARTITION BY five_minutes - hour)
),
counted AS (
    SELECT hour AT TIME ZONE 'UTC' AS hour,
           sum(requests) AS requests,
           sum(arrivals) AS arrivals,
           sum(if_all_stop) AS if_all_stop
    FROM stopping
    GROUP BY hour
),
gaps AS (
    SELECT hour AS begin,
           CASE
               WHEN next_hour < hour + INTERVAL '{MOST_DAYS} days'
               THEN next_hour - hour - INTERVAL '1 hour'
               ELSE INTERVAL '0'
           END AS silence
    FROM (SELECT hour, lead(hour) OVER (ORDER BY hour) AS next_hour FROM counted) AS followed_by
),
hours AS (
    SELECT hour,
           COALESCE(requests, 0) AS requests,
           COALESCE(arrivals, 0) AS arrivals,
           COALESCE(lag(if_all_stop) OVER (ORDER BY hour), 0) AS nobody_goes_on
    FROM gaps,
         generate_series(begin, begin + silence, INTERVAL '1 hour') AS hour
    LEFT JOIN counted USING (hour)
),
weekly AS (
    SELECT *,
           {usual("requests")} AS usual_requests,
           {usual("arrivals")}::float8 AS usual_arrivals
    FROM hours
    WINDOW day AS (PARTITION BY extract(hour FROM hour)),
           week AS (PARTITION BY extract(isodow FROM hour), extract(hour FROM hour))
),
trending AS (
    SELECT *, {as_busy_as("usual_arrivals", hours=84, added=2)} AS trend
    FROM weekly
),
expected AS (
    SELECT *, {as_busy_as("trend", hours=12, added=20)} AS expected_arrivals
    FROM trending
),
dispersed AS (
    SELECT GREATEST(
               sum((arrivals - expected_arrivals) ^ 2 - expected_arrivals)
               / NULLIF(sum(expected_arrivals ^ 2), 0),
               1e-6
           ) AS dispersion,
           count(*) AS hours
    FROM expected
),
silent AS (
    SELECT hour,
           usual_requests,
           nobody_goes_on + ln(1 + dispersion * expected_arrivals) / dispersion AS surprise,
           dispersed.hours AS hours_of_period,
           hour - row_number() OVER (ORDER BY hour) * INTERVAL '1 hour' AS run
    FROM expected, dispersed
    WHERE requests = 0
)
SELECT min(hour) AS start_time,
       max(hour) + INTERVAL '1 hour' AS end_time,
       count(*) AS hours,
       round(sum(usual_requests), 1)::float8 AS usual_requests,
       LEAST(
           round((exp(LEAST(sum(surprise), 100)) / min(hours_of_period))::numeric, 2), 1000000
       )::float8 AS once_in_periods
FROM silent
GROUP BY run
ORDER BY round(sum(surprise)::numeric, 6) DESC, start_time
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

load_runs = """
-- One row per run of etl.py, the latest first, also of those that found nothing new
SELECT started_at,
       CASE
           WHEN exit_status = 0 THEN 'all loaded'
           WHEN exit_status = 3 THEN 'some set aside'
           WHEN exit_status = 1 THEN 'failed'
           WHEN exit_status = 2 THEN 'wrong arguments'
           WHEN exit_status > 128 THEN 'interrupted'
           ELSE 'killed, or under way'
       END AS outcome,
       files,
       rows_loaded,
       lines_set_aside,
       round(seconds::numeric, 2)::float8 AS seconds,
       run_id
FROM load_runs
ORDER BY started_at DESC, run_id COLLATE "C"
"""

trust = """
-- One row per measure of how complete and how sound the data are
-- Files that were passed over, as they aren't data or couldn't be read, are not in the tables: what
-- etl.py says as it loads has them.
WITH hours AS (
    SELECT date_bin('1 hour', start_time, 'epoch') AS hour FROM songplays GROUP BY hour
    UNION
    SELECT date_bin('1 hour', start_time, 'epoch') AS hour FROM page_views GROUP BY hour
),
played AS (
    SELECT count(*) AS plays, count(song_id) AS in_catalogue FROM songplays
),
named AS (
    SELECT title, artist, count(*) AS plays
    FROM unmatched_songplays
    GROUP BY title, artist
),
files AS (
    SELECT count(*) AS files,
           count(*) FILTER (WHERE rows_loaded = 0) AS empty_files,
           COALESCE(sum(plays_reencoded), 0) AS plays_reencoded,
           COALESCE(sum(lines_set_aside), 0) AS lines_set_aside,
           COALESCE(sum(rows_loaded + lines_set_aside), 0) AS lines
    FROM loaded_files
),
measures AS (
    SELECT 1 AS position,
           'plays of a song of the catalogue' AS measure,
           in_catalogue::numeric AS number,
           plays::numeric AS of_all
    FROM played
    UNION ALL
    SELECT 2,
           'plays without title or artist',
           COALESCE(sum(named.plays) FILTER (WHERE title IS NULL OR artist IS NULL), 0),
           min(played.plays)
    FROM played
    LEFT JOIN named ON TRUE
    UNION ALL
    SELECT 3,
           'plays of a name that was doubly encoded, and undone',
           files.plays_reencoded,
           played.plays
    FROM played
    CROSS JOIN files
    UNION ALL
    SELECT 4,
           'hours with a request, from the first to the last',
           count(*),
           extract(epoch FROM max(hour) - min(hour)) / 3600 + 1
    FROM hours
    UNION ALL
    SELECT 5, 'lines set aside', lines_set_aside, lines FROM files
    UNION ALL
    SELECT 6, 'files without a line that could be loaded', empty_files, files FROM files
)
SELECT measure,
       number::bigint AS number,
       COALESCE(of_all, 0)::bigint AS of_all,
       round(number / NULLIF(of_all, 0), 4)::float8 AS share
FROM measures
ORDER BY position
"""
