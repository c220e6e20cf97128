"""Who registered, when, and what became of it: by the time and the test group that page views log.

A user whom no page view names has played, but is of no known registration and of no group.
"""

from sparkify.analysis.questions.days import COVERED, IS_COVERED, days_of

REGISTERED = """
registered AS (
    SELECT user_id, min(registered_at) AS registered_at
    FROM page_views
    WHERE user_id IS NOT NULL AND registered_at IS NOT NULL
    GROUP BY user_id
)
""".strip()

never_played = """
-- One row per user who has seen pages but played nothing, as of the latest of these views
WITH latest AS (
    SELECT DISTINCT ON (user_id) *
    FROM page_views
    WHERE user_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM users WHERE users.user_id = page_views.user_id)
    ORDER BY user_id, start_time DESC, item_in_session DESC NULLS LAST, session_id, page COLLATE "C"
)
SELECT user_id,
       first_name,
       last_name,
       gender,
       registered_at AT TIME ZONE 'UTC' AS registered_at,
       start_time AT TIME ZONE 'UTC' AS last_seen
FROM latest
ORDER BY last_seen DESC, user_id
"""

new_users_by_week = f"""
-- One row per week (its Monday) in which users registered, and those between, since the data begin
-- Who registered in the latest weeks has had less time to play.
WITH {COVERED},
{REGISTERED},
newcomers AS (
    SELECT user_id,
           registered_at,
           date_trunc('week', registered_at AT TIME ZONE 'UTC')::date AS week,
           (
               SELECT min(start_time) FROM songplays WHERE songplays.user_id = registered.user_id
           ) AS first_play
    FROM registered
    WHERE registered_at >= (SELECT first_moment FROM covered)
),
{days_of("newcomers", "week", 7)}
SELECT week,
       count(user_id) AS registered_users,
       count(first_play) AS playing_users,
       count(*) FILTER (WHERE first_play < registered_at) AS of_them_played_before,
       round(count(first_play)::numeric / NULLIF(count(user_id), 0), 3)::float8 AS share_playing,
       round(
           percentile_cont(0.5) WITHIN GROUP (
               ORDER BY CASE
                   WHEN first_play < registered_at THEN 0
                   ELSE extract(epoch FROM first_play - registered_at) / 86400
               END
           )::numeric, 1
       )::float8 AS median_days_to_first_play,
       week {IS_COVERED} AS whole_week
FROM weeks
LEFT JOIN newcomers USING (week)
GROUP BY week
ORDER BY week
"""

plays_by_tenure = f"""
-- One row per week of users' membership, 0 being the seven days from the registration on
-- Plays before the registration are week -1. NULL: of users whose registration is not known.
WITH {REGISTERED},
played AS (
    SELECT user_id, registered_at, begin, plays, paid_plays
    FROM users
    LEFT JOIN registered USING (user_id)
    CROSS JOIN LATERAL (
        SELECT date_bin('7 days', start_time, registered_at) AS begin,
               count(*) AS plays,
               count(*) FILTER (WHERE songplays.level = 'paid') AS paid_plays
        FROM songplays
        WHERE songplays.user_id = users.user_id
        GROUP BY begin
    ) AS weeks
    WHERE EXISTS (SELECT FROM registered)
),
counted AS (
    SELECT CASE
               WHEN begin < registered_at THEN -1
               ELSE extract(epoch FROM begin - registered_at)::bigint / 604800
           END AS week,
           user_id,
           sum(plays) AS plays,
           sum(paid_plays) AS paid_plays
    FROM played
    GROUP BY week, user_id
)
SELECT week::int AS weeks_since_registration,
       count(*) AS users,
       sum(plays)::bigint AS plays,
       round(sum(plays) / count(*), 1)::float8 AS plays_per_user,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY plays::float8) AS median_plays,
       round(sum(paid_plays) / sum(plays), 3)::float8 AS share_paid_plays
FROM counted
GROUP BY week
ORDER BY week
"""

test_groups = """
-- One row per group of the A/B test, NULL being users of none, if any group is logged
-- Users are those whom page views name; one of several groups counts in each. Plays are all of a
-- user's, also those before the test.
WITH seen AS (
    SELECT user_id, tag
    FROM page_views
    WHERE user_id IS NOT NULL
    GROUP BY user_id, tag
),
members AS (
    SELECT user_id, tag
    FROM seen
    WHERE tag IS NOT NULL
    UNION ALL
    SELECT user_id, NULL
    FROM seen
    GROUP BY user_id
    HAVING count(tag) = 0
),
played AS (
    SELECT user_id, count(*) AS plays
    FROM songplays
    GROUP BY user_id
)
SELECT tag,
       count(*) AS users,
       count(plays) AS playing_users,
       round(count(plays)::numeric / count(*), 3)::float8 AS share_playing,
       COALESCE(sum(plays), 0)::bigint AS plays,
       round(COALESCE(sum(plays), 0) / count(*), 1)::float8 AS plays_per_user,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY COALESCE(plays, 0)) AS median_plays,
       count(*) FILTER (WHERE level = 'paid') AS paid_users,
       round(count(*) FILTER (WHERE level = 'paid')::numeric / count(*), 3)::float8 AS share_paid
FROM members
LEFT JOIN played USING (user_id)
LEFT JOIN users USING (user_id)
WHERE EXISTS (SELECT FROM seen WHERE tag IS NOT NULL)
GROUP BY tag
ORDER BY tag COLLATE "C"
"""
