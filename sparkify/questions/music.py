"""What is played, what is not, what is missing, and what to recommend."""

# Plays are counted per song_id before the names are looked up, listeners for the top ten alone:
# many times faster than to group the view listening by names. Given the ten songs as an array,
# Postgres goes through their plays once, not song by song.
PLAYS_BY_NAME = """
counted AS (
    SELECT song_id, count(*) AS plays
    FROM songplays
    WHERE song_id IS NOT NULL
    GROUP BY song_id
),
named AS (
    SELECT songs.title, artists.name AS artist, counted.plays, TRUE AS in_catalogue
    FROM counted
    JOIN songs USING (song_id)
    JOIN artists USING (artist_id)
    UNION ALL
    SELECT title, artist, count(*), FALSE
    FROM unmatched_songplays
    WHERE title IS NOT NULL AND artist IS NOT NULL
    GROUP BY title, artist
)
"""

most_played_songs = f"""
-- One row per song, in the catalogue or not: the ten with most plays
WITH {PLAYS_BY_NAME.strip()},
top AS (
    SELECT title,
           artist,
           sum(plays)::bigint AS plays,
           bool_or(in_catalogue) AS in_catalogue
    FROM named
    GROUP BY title, artist
    ORDER BY plays DESC, title COLLATE "C", artist COLLATE "C"
    LIMIT 10
),
top_songs AS (
    SELECT top.title, top.artist, songs.song_id
    FROM top
    JOIN songs USING (title)
    JOIN artists ON artists.artist_id = songs.artist_id AND artists.name = top.artist
),
heard AS (
    SELECT title, artist, listeners.user_id
    FROM top_songs
    JOIN (
        SELECT DISTINCT song_id, user_id
        FROM songplays
        WHERE song_id = ANY(ARRAY(SELECT song_id FROM top_songs))
    ) AS listeners USING (song_id)
    UNION
    SELECT title, artist, songplays.user_id
    FROM top
    JOIN unmatched_songplays USING (title, artist)
    JOIN songplays USING (songplay_id)
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

most_played_artists = f"""
-- One row per artist, in the catalogue or not: the ten with most plays
WITH {PLAYS_BY_NAME.strip()},
top AS (
    SELECT artist,
           count(DISTINCT title) AS songs,
           sum(plays)::bigint AS plays,
           bool_or(in_catalogue) AS in_catalogue
    FROM named
    GROUP BY artist
    ORDER BY plays DESC, artist COLLATE "C"
    LIMIT 10
),
heard AS (
    SELECT top.artist, songplays.user_id
    FROM top
    JOIN artists ON artists.name = top.artist
    JOIN songplays USING (artist_id)
    UNION
    SELECT artist, songplays.user_id
    FROM top
    JOIN unmatched_songplays USING (artist)
    JOIN songplays USING (songplay_id)
    WHERE unmatched_songplays.title IS NOT NULL
)
SELECT artist,
       plays,
       songs AS songs_played,
       count(*) AS listeners,
       in_catalogue
FROM top
JOIN heard USING (artist)
GROUP BY artist, plays, songs, in_catalogue
ORDER BY plays DESC, artist COLLATE "C"
"""

unplayed_songs = """
-- One row per song of the catalogue that nobody has played
SELECT songs.song_id,
       songs.title,
       artists.name AS artist,
       NULLIF(songs.year, 0) AS year
FROM songs
JOIN artists USING (artist_id)
WHERE NOT EXISTS (SELECT FROM songplays WHERE songplays.song_id = songs.song_id)
ORDER BY artists.name COLLATE "C", songs.title COLLATE "C", songs.song_id COLLATE "C"
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
-- share that played both; the mean over the favourites. Popular songs, with score 0, fill the list.
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
           COALESCE(artists.name, unmatched_songplays.artist) AS artist,
           recent.user_id
    FROM recent
    LEFT JOIN songs USING (song_id)
    LEFT JOIN artists USING (artist_id)
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
       reason
FROM offers
ORDER BY score DESC, listeners DESC, title COLLATE "C", artist COLLATE "C"
LIMIT %(limit)s
"""
