"""What a session is: the one definition that all questions share. docs/schema.md states it, too.

A session is a user's events under one session_id, with the views of nobody known that belong to it.
Several sessions may have one number, so item_in_session, the place of an event in its session,
tells whose a view of nobody known is. It goes on what was at the place just before, if that is a
logout or another view of nobody known; of several, the latest. So does the view with which a user
comes from a login or a registration. What goes on a logout, or leads to a login, is of that user's
session; all else is a session of nobody known. Where the log gives no places, time orders them.
"""

# Each view stands at its own place, where another may go on it, and at the place before, to go on
# what is there. There, what it goes on comes just before it or, where two sessions go on at the
# same time, has not been gone on yet: more have come to that place than have gone on. A view that
# goes on nothing begins a chain, as does one after a logout.
# No two rows of steps have the same place in these orders, so ROWS is what RANGE would be, in less
# time. That a page is one of several is asked of the view, not of the index, which would be read
# once for each of them, as the page isn't what it begins with.
CHAINS = """
steps AS (
    SELECT session_id, item_in_session, start_time, page, user_id, TRUE AS is_first,
           item_in_session AS place
    FROM page_views
    WHERE user_id IS NULL OR page = 'Logout'
    UNION ALL
    SELECT session_id, item_in_session, start_time, page, user_id, FALSE, item_in_session - 1
    FROM page_views
    WHERE user_id IS NULL
       OR (session_id, COALESCE(item_in_session - 1, -1)) IN (
           SELECT session_id, COALESCE(item_in_session, -1)
           FROM page_views
           WHERE user_id IS NULL
             AND page || '' IN ('Login', 'Register', 'Submit Registration')
       )
),
linked AS (
    SELECT *,
           lag(CASE WHEN is_first THEN user_id END) OVER beside AS user_before,
           lag(CASE WHEN is_first THEN page END) OVER beside AS page_before,
           sum(CASE WHEN is_first THEN 1 WHEN user_id IS NULL THEN -1 ELSE 0 END) OVER beside
               AS not_gone_on
    FROM steps
    WINDOW beside AS (
        PARTITION BY session_id, place
        ORDER BY start_time, item_in_session, is_first, page, user_id
        ROWS UNBOUNDED PRECEDING
    )
),
chained AS (
    SELECT session_id,
           start_time,
           page,
           user_id,
           user_before,
           count(*) FILTER (
               WHERE user_id IS NULL
                 AND (page_before IS NULL AND not_gone_on < 0 OR user_before IS NOT NULL)
           ) OVER (
               PARTITION BY session_id
               ORDER BY start_time, item_in_session, page, user_id
               ROWS UNBOUNDED PRECEDING
           ) AS chain
    FROM linked
    WHERE NOT is_first
      AND (
          user_id IS NULL
          OR user_before IS NULL
             AND page_before IS NOT NULL
             AND (page_before IN ('Login', 'Submit Registration') OR page = 'Submit Registration')
      )
),
-- One row per chain under a number: when it begins, and the user whose session it is of, or NULL
chains AS (
    SELECT session_id,
           chain,
           COALESCE(min(user_before), min(user_id)) AS owner,
           min(start_time) FILTER (WHERE user_id IS NULL) AS began
    FROM chained
    GROUP BY session_id, chain
)
""".strip()

# To tell the sessions of nobody known under one number apart, they are numbered; others have 0.
STRANGER = "CASE WHEN owner IS NULL THEN chain ELSE 0 END"

UNNAMED = f"""
{CHAINS},
-- One row per view of nobody known: the user whose session it is of, or NULL
unnamed AS (
    SELECT start_time, session_id, page, owner AS user_id, {STRANGER} AS stranger
    FROM chained
    JOIN chains USING (session_id, chain)
    WHERE user_id IS NULL
)
""".strip()
