"""What is played, by whom, what is not, what is missing, and what to recommend."""

from sparkify.analysis.questions.days import COVERED

# Plays are counted per song_id before the names are looked up, listeners for the top ten alone:
# many times faster than to group the view listening by names. Given the ten songs as an array,
# Postgres goes through their plays once, not song by song. Where no play of the ten is unmatched,
# it doesn't read the unmatched ones again.
PLAYS_BY_NAME = """
counted AS (
    SELECT song_id, count(*) AS plays
    FROM songplays
    WHERE song_id IS NOT NULL
    GROUP BY song_id
),
named AS (
    SELECT title, artist_name AS artist, artist_id, plays, TRUE AS in_catalogue
    FROM counted
    JOIN songs USING (song_id)
    UNION ALL
    SELECT title, artist, NULL, count(*), FALSE
    FROM unmatched_songplays
    WHERE title IS NOT NULL AND artist IS NOT NULL
    GROUP BY title, artist
)
"""

# The ten may have a tenth of all plays, which are read faster in the order of the table than by the
# index of song_id, in several processes: to that end, the condition is not on song_id itself.
most_played_songs = f"""
-- One row per song, in the catalogue or not: the ten with most plays
WITH {PLAYS_BY_NAME.strip()},
top AS (
    SELECT title,
           artist,
           sum(plays)::bigint AS plays,
           bool_or(in_catalogue) AS in_catalogue,
           bool_or(NOT in_catalogue) AS is_also_unmatched
    FROM named
    GROUP BY title, artist
    ORDER BY plays DESC, title COLLATE "C", artist COLLATE "C"
    LIMIT 10
),
top_songs AS (
    SELECT top.title, top.artist, songs.song_id
    FROM top
    JOIN songs ON songs.title = top.title AND songs.artist_name = top.artist
),
heard AS (
    SELECT title, artist, listeners.user_id
    FROM top_songs
    JOIN (
        SELECT DISTINCT song_id, user_id
        FROM songplays
        WHERE song_id || '' = ANY(ARRAY(SELECT song_id FROM top_songs))
    ) AS listeners USING (song_id)
    UNION
    SELECT title, artist, songplays.user_id
    FROM top
    JOIN unmatched_songplays USING (title, artist)
    JOIN songplays USING (songplay_id)
    WHERE is_also_unmatched
)
SELECT title,
       artist,
       plays,
       count(*) AS listeners,
       in_catalogue
FROM top
JOIN heard USING (title, artist)
GROUP BY title, artist, plays, in_catalogue
ORDER BY plays DESC, title COLLATE "C", artist COLLATE "C"
"""

# An artist is known by artist_id, under whatever names. Of songs that the catalogue lacks, only the
# artist's name is known. Several artists may have it, and then it doesn't tell which is meant.
ONLY_ARTISTS = """
only_artists AS (
    SELECT artist_name AS artist, min(artist_id) AS only_id
    FROM songs
    GROUP BY artist_name
    HAVING count(DISTINCT artist_id) = 1
)
""".strip()

most_played_artists = f"""
-- One row per artist, in the catalogue or not: the ten with most plays
-- An artist is known by artist_id. Plays whose song the catalogue lacks have only a name: they are
-- those of the only artist of the catalogue with that name, or of an artist known by name.
WITH {PLAYS_BY_NAME.strip()},
{ONLY_ARTISTS},
known AS (
    SELECT named.*, COALESCE(artist_id, only_id, 'named ' || artist) AS known_by
    FROM named
    LEFT JOIN only_artists USING (artist)
),
top AS (
    SELECT known_by,
           min(artist) AS logged_name,
           count(DISTINCT title) AS songs,
           sum(plays)::bigint AS plays,
           bool_or(in_catalogue) AS in_catalogue
    FROM known
    GROUP BY known_by
    ORDER BY plays DESC, known_by COLLATE "C"
    LIMIT 10
),
heard AS (
    SELECT known_by, songplays.user_id
    FROM top
    JOIN songplays ON songplays.artist_id = known_by
    UNION
    SELECT known_by, songplays.user_id
    FROM (SELECT DISTINCT known_by, artist FROM known WHERE NOT in_catalogue) AS logged
    JOIN top USING (known_by)
    JOIN unmatched_songplays USING (artist)
    JOIN songplays USING (songplay_id)
    WHERE unmatched_songplays.title IS NOT NULL
)
SELECT COALESCE(artists.name, logged_name) AS artist,
       plays,
       songs AS songs_played,
       count(*) AS listeners,
       in_catalogue
FROM top
JOIN heard USING (known_by)
LEFT JOIN artists ON artists.artist_id = known_by
GROUP BY known_by, artists.name, logged_name, plays, songs, in_catalogue
ORDER BY plays DESC, known_by COLLATE "C"
"""

unplayed_songs = """
-- One row per song of the catalogue that nobody has played
SELECT songs.song_id,
       songs.title,
       artist_name AS artist,
       NULLIF(songs.year, 0) AS year
FROM songs
WHERE NOT EXISTS (SELECT FROM songplays WHERE songplays.song_id = songs.song_id)
ORDER BY artist_name COLLATE "C", songs.title COLLATE "C", songs.song_id COLLATE "C"
"""

most_wanted_songs = """
-- One row per song that the catalogue lacks: the ten with most plays
WITH wanted AS (
    SELECT title, artist, count(*) AS plays
    FROM unmatched_songplays
    WHERE title IS NOT NULL AND artist IS NOT NULL
    GROUP BY title, artist
    ORDER BY plays DESC, title COLLATE "C", artist COLLATE "C"
    LIMIT 10
)
SELECT title,
       artist,
       plays,
       count(DISTINCT songplays.user_id) AS listeners
FROM wanted
JOIN unmatched_songplays USING (title, artist)
JOIN songplays USING (songplay_id)
GROUP BY title, artist, plays
ORDER BY plays DESC, title COLLATE "C", artist COLLATE "C"
"""

# What keeps this fast however many plays there are: it looks at the user's ten most played songs
# and at what others played lately, in the last 28 days and at most 50,000 plays.
recommendations = """
-- One row per song to recommend to the user, the best first.
-- Score: of the other users who lately played the song or one of the user's ten favourites, the
-- share that played both, or 0 if a single one did, for that may be chance; the mean over the
-- favourites. Popular songs, with score 0, fill the list. A song need not be in the catalogue.
WITH history AS (
    SELECT title, artist, count(*) AS plays
    FROM listening
    WHERE user_id = %(user_id)s AND title IS NOT NULL AND artist IS NOT NULL
    GROUP BY title, artist
),
favourites AS (
    SELECT title, artist, plays
    FROM history
    ORDER BY plays DESC, title COLLATE "C", artist COLLATE "C"
    LIMIT 10
),
recent AS (
    SELECT songplay_id, song_id, user_id
    FROM songplays
    WHERE start_time > (SELECT max(start_time) - INTERVAL '28 days' FROM songplays)
    ORDER BY start_time DESC, songplay_id DESC
    LIMIT 50000
),
tastes AS MATERIALIZED (
    SELECT DISTINCT
           COALESCE(songs.title, unmatched_songplays.title) AS title,
           COALESCE(songs.artist_name, unmatched_songplays.artist) AS artist,
           recent.user_id
    FROM recent
    LEFT JOIN songs USING (song_id)
    LEFT JOIN unmatched_songplays USING (songplay_id)
    WHERE recent.user_id <> %(user_id)s
),
popularity AS (
    SELECT title, artist, count(*) AS listeners
    FROM tastes
    WHERE title IS NOT NULL AND artist IS NOT NULL
    GROUP BY title, artist
),
candidates AS (
    SELECT popularity.*
    FROM popularity
    LEFT JOIN history USING (title, artist)
    WHERE history.plays IS NULL
),
shared AS (
    SELECT fans.title AS favourite,
           fans.artist AS favourite_artist,
           tastes.title,
           tastes.artist,
           count(*) AS listeners
    FROM favourites
    JOIN tastes AS fans USING (title, artist)
    JOIN tastes ON tastes.user_id = fans.user_id
    GROUP BY fans.title, fans.artist, tastes.title, tastes.artist
    HAVING count(*) > 1
),
alike AS (
    SELECT shared.favourite,
           shared.favourite_artist,
           candidates.title,
           candidates.artist,
           shared.listeners::numeric
               / (fans.listeners + candidates.listeners - shared.listeners) AS similarity
    FROM shared
    JOIN candidates USING (title, artist)
    JOIN popularity AS fans
        ON fans.title = shared.favourite AND fans.artist = shared.favourite_artist
),
scored AS (
    SELECT title,
           artist,
           round(sum(similarity) / (SELECT count(*) FROM favourites), 4) AS score
    FROM alike
    GROUP BY title, artist
),
reasons AS (
    SELECT DISTINCT ON (title, artist)
           title,
           artist,
           'because you played "' || favourite || '" by ' || favourite_artist AS reason
    FROM alike
    ORDER BY title,
             artist,
             round(similarity, 4) DESC,
             favourite COLLATE "C",
             favourite_artist COLLATE "C"
),
offers AS (
    SELECT title,
           artist,
           listeners,
           COALESCE(score, 0)::float8 AS score,
           COALESCE(
               reason,
               'popular with ' || listeners || CASE listeners WHEN 1 THEN ' listener'
                                                              ELSE ' listeners' END
           ) AS reason
    FROM candidates
    LEFT JOIN scored USING (title, artist)
    LEFT JOIN reasons USING (title, artist)
)
SELECT title,
       artist,
       score,
       reason,
       EXISTS (
           SELECT
           FROM songs
           WHERE songs.title = offers.title AND songs.artist_name = offers.artist
       ) AS in_catalogue
FROM offers
ORDER BY score DESC, listeners DESC, title COLLATE "C", artist COLLATE "C"
LIMIT %(limit)s
"""

favourite_artists = f"""
-- One row per artist that the user plays, the one with most plays first
WITH {ONLY_ARTISTS},
known AS (
    SELECT *, COALESCE(artist_id, only_id, 'named ' || artist) AS known_by
    FROM listening
    LEFT JOIN only_artists USING (artist)
    WHERE user_id = %(user_id)s AND artist IS NOT NULL
)
SELECT COALESCE(artists.name, min(artist)) AS artist,
       count(*) AS plays,
       round(count(*)::numeric / sum(count(*)) OVER (), 3)::float8 AS share_of_plays,
       count(DISTINCT title) AS songs_played,
       (max(start_time) AT TIME ZONE 'UTC')::date AS last_day
FROM known
LEFT JOIN artists ON artists.artist_id = known_by
GROUP BY known_by, artists.name
ORDER BY plays DESC, known_by COLLATE "C"
LIMIT %(limit)s
"""

# What keeps this fast however many plays there are: it looks at those of the last 28 days, and at
# most at 300,000.
favourites_of_groups = f"""
-- One row per artist among the three favourites of a gender, a level or a state
-- Favourites are the artists that most of the users played lately, in the last 28 days; among
-- equals, those with most plays. A user's level and state are those of the latest play; gender and
-- state are NULL where unknown.
WITH {ONLY_ARTISTS},
recent AS (
    SELECT songplay_id, user_id, artist_id
    FROM songplays
    WHERE start_time > (SELECT max(start_time) - INTERVAL '28 days' FROM songplays)
    ORDER BY start_time DESC, songplay_id DESC
    LIMIT 300000
),
played AS (
    SELECT user_id,
           COALESCE(artist_id, only_id, 'named ' || artist) AS known_by,
           count(*) AS plays
    FROM recent
    LEFT JOIN unmatched_songplays USING (songplay_id)
    LEFT JOIN only_artists USING (artist)
    GROUP BY user_id, known_by
),
placed AS (
    SELECT users.*, split_part(split_part(location, ', ', 2), '-', 1) AS state
    FROM (SELECT DISTINCT user_id FROM played) AS active
    JOIN users USING (user_id)
    CROSS JOIN LATERAL (
        SELECT location
        FROM songplays
        WHERE songplays.user_id = users.user_id
        ORDER BY start_time DESC, session_id DESC
        LIMIT 1
    ) AS latest
),
sizes AS (
    SELECT GROUPING(gender, level, state) AS groups,
           COALESCE(gender, level, state) AS value,
           count(*) AS users
    FROM placed
    GROUP BY GROUPING SETS (gender, level, state)
),
counted AS (
    SELECT GROUPING(gender, level, state) AS groups,
           COALESCE(gender, level, state) AS value,
           known_by,
           count(*) AS listeners,
           sum(plays)::bigint AS plays
    FROM played
    JOIN placed USING (user_id)
    WHERE known_by IS NOT NULL
    GROUP BY GROUPING SETS ((gender, known_by), (level, known_by), (state, known_by))
),
ranked AS (
    SELECT *,
           row_number() OVER (
               PARTITION BY groups, value
               ORDER BY listeners DESC, plays DESC, known_by COLLATE "C"
           ) AS rank
    FROM counted
)
SELECT CASE groups WHEN 3 THEN 'gender' WHEN 5 THEN 'level' ELSE 'state' END AS grouped_by,
       ranked.value,
       rank,
       COALESCE(artists.name, substr(known_by, length('named ') + 1)) AS artist,
       listeners,
       round(listeners::numeric / users, 3)::float8 AS share_of_users,
       plays
FROM ranked
JOIN sizes USING (groups)
LEFT JOIN artists ON artists.artist_id = known_by
WHERE rank <= 3 AND sizes.value IS NOT DISTINCT FROM ranked.value
ORDER BY groups, ranked.value COLLATE "C", rank
"""

rising_songs = f"""
-- One row per song that rises or falls: the five with the greatest change either way
-- The change is that of the plays in the last seven times 24 hours against the seven before. No
-- rows where the data cover less.
WITH {COVERED},
recent AS NOT MATERIALIZED (
    SELECT songplay_id, song_id, start_time > last_moment - INTERVAL '7 days' AS is_last
    FROM covered
    JOIN songplays ON start_time > last_moment - INTERVAL '14 days'
    WHERE first_moment <= last_moment - INTERVAL '14 days'
),
counted AS (
    SELECT song_id,
           count(*) FILTER (WHERE NOT is_last) AS plays_before,
           count(*) FILTER (WHERE is_last) AS plays
    FROM recent
    WHERE song_id IS NOT NULL
    GROUP BY song_id
),
named AS (
    SELECT title, artist_name AS artist, plays_before, plays, TRUE AS in_catalogue
    FROM counted
    JOIN songs USING (song_id)
    UNION ALL
    SELECT title,
           artist,
           count(*) FILTER (WHERE NOT is_last),
           count(*) FILTER (WHERE is_last),
           FALSE
    FROM recent
    JOIN unmatched_songplays USING (songplay_id)
    WHERE song_id IS NULL AND title IS NOT NULL AND artist IS NOT NULL
    GROUP BY title, artist
),
songs_by_change AS (
    SELECT title,
           artist,
           sum(plays_before)::bigint AS plays_before,
           sum(plays)::bigint AS plays,
           sum(plays - plays_before)::bigint AS change,
           bool_or(in_catalogue) AS in_catalogue
    FROM named
    GROUP BY title, artist
),
ranked AS (
    SELECT *,
           CASE WHEN change > 0 THEN 'rising' ELSE 'falling' END AS direction,
           row_number() OVER (
               PARTITION BY sign(change)
               ORDER BY abs(change) DESC, title COLLATE "C", artist COLLATE "C"
           ) AS rank
    FROM songs_by_change
    WHERE change <> 0
)
SELECT direction,
       title,
       artist,
       plays_before,
       plays,
       change,
       in_catalogue
FROM ranked
WHERE rank <= 5
ORDER BY direction DESC, rank
"""
