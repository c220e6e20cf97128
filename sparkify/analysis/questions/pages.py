"""What users do besides listening: the pages they see, and the sessions in which nothing plays."""

from sparkify.analysis.questions.days import days_of
from sparkify.analysis.questions.sessions import CHAINS, STRANGER, UNNAMED

# The first play is looked up for the few who submit: to group all plays by user takes far longer.
ways_between_levels = """
-- One row per page from which users change their level or leave, if any user has seen it
-- Users are those known by user_id. They submit if they see the page that does so at or after
-- their first view of the one that leads to it; the days are those from their first play to
-- that, and the median is of those who had played by then.
WITH ways (position, page, submitting_page) AS (
    VALUES
        (1, 'Upgrade', 'Submit Upgrade'),
        (2, 'Downgrade', 'Submit Downgrade'),
        (3, 'Cancel', 'Cancellation Confirmation')
),
seen AS (
    SELECT position, page, submitting_page, user_id, min(start_time) AS seen_at
    FROM ways
    JOIN page_views USING (page)
    WHERE user_id IS NOT NULL
    GROUP BY position, page, submitting_page, user_id
),
submitted AS (
    SELECT seen.position,
           seen.user_id,
           min(page_views.start_time) AS submitted_at,
           (
               SELECT min(start_time) FROM songplays WHERE songplays.user_id = seen.user_id
           ) AS first_play
    FROM seen
    JOIN page_views
        ON page_views.user_id = seen.user_id
       AND page_views.page = seen.submitting_page
       AND page_views.start_time >= seen.seen_at
    GROUP BY seen.position, seen.user_id
),
timed AS (
    SELECT position,
           user_id,
           CASE
               WHEN first_play <= submitted_at
               THEN extract(epoch FROM submitted_at - first_play) / 86400
           END AS days
    FROM submitted
)
SELECT page,
       submitting_page,
       count(*) AS users,
       count(timed.user_id) AS submitting_users,
       round(count(timed.user_id)::numeric / count(*), 3)::float8 AS share,
       round(
           percentile_cont(0.5) WITHIN GROUP (ORDER BY days)::numeric, 1
       )::float8 AS median_days_from_first_play
FROM seen
LEFT JOIN timed USING (position, user_id)
GROUP BY position, page, submitting_page
ORDER BY position
"""

page_views_by_level = """
-- One row per page other than NextSong and level that is logged with it, NULL where none is
-- Views include those logged out, of no known user; the plays are those on the same level.
WITH viewed AS (
    SELECT page, level, user_id, count(*) AS views
    FROM page_views
    GROUP BY page, level, user_id
),
played AS (
    SELECT level, count(*) AS plays
    FROM songplays
    GROUP BY level
)
SELECT page,
       level,
       sum(views)::bigint AS views,
       COALESCE(sum(views) FILTER (WHERE user_id IS NULL), 0)::bigint AS logged_out_views,
       count(user_id) AS users,
       round(100 * sum(views) / plays, 2)::float8 AS views_per_100_plays
FROM viewed
LEFT JOIN played USING (level)
GROUP BY page, level, plays
ORDER BY views DESC, page COLLATE "C", level COLLATE "C"
"""

sessions_without_play = f"""
-- One row per day on which a session began, and those between
-- Sessions are those of sparkify/analysis/questions/sessions.py.
WITH {CHAINS},
parts AS (
    SELECT session_id, user_id, 0 AS stranger, began, TRUE AS is_play
    FROM users
    CROSS JOIN LATERAL (
        SELECT session_id, min(start_time) AS began
        FROM songplays
        WHERE songplays.user_id = users.user_id
        GROUP BY session_id
    ) AS played
    UNION ALL
    SELECT session_id, user_id, 0, start_time, FALSE
    FROM page_views
    WHERE user_id IS NOT NULL
    UNION ALL
    SELECT session_id, owner, {STRANGER}, began, FALSE
    FROM chains
),
sessions AS (
    SELECT date_bin('1 day', min(began), 'epoch') AS moment,
           user_id,
           bool_or(is_play) AS has_play
    FROM parts
    GROUP BY session_id, user_id, stranger
),
counted AS (
    SELECT (moment AT TIME ZONE 'UTC')::date AS day,
           count(*) AS sessions,
           count(*) FILTER (WHERE NOT has_play) AS without_play,
           count(*) FILTER (WHERE user_id IS NULL) AS never_logged_in
    FROM sessions
    GROUP BY moment
),
{days_of("counted")}
SELECT day,
       COALESCE(sessions, 0) AS sessions_begun,
       COALESCE(without_play, 0) AS without_play,
       COALESCE(never_logged_in, 0) AS of_them_never_logged_in,
       round(without_play::numeric / sessions, 3)::float8 AS share_without_play
FROM days
LEFT JOIN counted USING (day)
ORDER BY day
"""

registrations = f"""
-- One row: the sessions that see Register, if any, and how far they come
-- Sessions are those of sparkify/analysis/questions/sessions.py. A session plays if a song follows
-- the registration in it.
WITH {UNNAMED},
viewed AS (
    SELECT session_id, user_id, stranger, page, start_time
    FROM unnamed
    WHERE page IN ('Register', 'Submit Registration')
    UNION ALL
    SELECT session_id, user_id, 0, page, start_time
    FROM page_views
    WHERE page IN ('Register', 'Submit Registration') AND user_id IS NOT NULL
),
sessions AS (
    SELECT session_id,
           user_id,
           min(start_time) FILTER (WHERE page = 'Register') AS seen_at,
           max(start_time) FILTER (WHERE page = 'Submit Registration') AS submitted_at
    FROM viewed
    GROUP BY session_id, user_id, stranger
),
followed AS (
    SELECT *,
           EXISTS (
               SELECT
               FROM songplays
               WHERE songplays.user_id = sessions.user_id
                 AND songplays.session_id = sessions.session_id
                 AND start_time >= submitted_at
           ) AS plays
    FROM sessions
    WHERE seen_at IS NOT NULL
)
SELECT count(*) AS sessions_with_register,
       count(submitted_at) AS submitting_sessions,
       round(count(submitted_at)::numeric / NULLIF(count(*), 0), 3)::float8 AS share_submitting,
       count(*) FILTER (WHERE plays) AS playing_sessions,
       round(
           count(*) FILTER (WHERE plays)::numeric / NULLIF(count(submitted_at), 0), 3
       )::float8 AS share_playing
FROM followed
HAVING count(*) > 0
"""
