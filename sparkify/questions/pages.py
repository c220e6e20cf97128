"""What users do besides listening: the pages they see, and the sessions in which nothing plays."""

from sparkify.questions.days import days_of

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
-- One row per day on which a session began, from the first to the last, also without sessions
-- A session is a user's events under one session_id. Events logged out belong to the only user
-- with that session_id; without any, they are a session of nobody known; of several users, it
-- can't be said which, and they are left out.
WITH parts AS (
    SELECT session_id, user_id, min(start_time) AS began, TRUE AS is_play
    FROM songplays
    GROUP BY session_id, user_id
    UNION ALL
    SELECT session_id, user_id, min(start_time), FALSE
    FROM page_views
    GROUP BY session_id, user_id
),
users_of AS (
    SELECT *,
           min(user_id) OVER same_number AS least_user,
           max(user_id) OVER same_number AS greatest_user
    FROM parts
    WINDOW same_number AS (PARTITION BY session_id)
),
sessions AS (
    SELECT (min(began) AT TIME ZONE 'UTC')::date AS day,
           COALESCE(user_id, least_user) AS known_user,
           bool_or(is_play) AS has_play
    FROM users_of
    WHERE user_id IS NOT NULL OR least_user IS NOT DISTINCT FROM greatest_user
    GROUP BY session_id, known_user
),
counted AS (
    SELECT day,
           count(*) AS sessions,
           count(*) FILTER (WHERE NOT has_play) AS without_play,
           count(*) FILTER (WHERE known_user IS NULL) AS never_logged_in
    FROM sessions
    GROUP BY day
),
{days_of("counted")}
SELECT day,
       COALESCE(sessions, 0) AS sessions,
       COALESCE(without_play, 0) AS without_play,
       COALESCE(never_logged_in, 0) AS of_them_never_logged_in,
       round(without_play::numeric / sessions, 3)::float8 AS share_without_play
FROM days
LEFT JOIN counted USING (day)
ORDER BY day
"""
