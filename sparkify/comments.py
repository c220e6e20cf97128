r"""The data dictionary: what each table, view and column holds, for \d+ in psql and for BI tools.

The first line of a table or view says its grain. Times are of UTC.
"""

PLAY = {
    "songplay_id": "Number of the play, generated; says nothing else",
    "start_time": "Moment at which the play began",
    "user_id": "Who played",
    "level": "Plan of the user at that moment: free or paid",
    "song_id": "Song of the catalogue that was played; NULL where the catalogue lacks it",
    "artist_id": "Artist of that song; NULL where the catalogue lacks the song",
    "session_id": "Session, as the log numbers it; different users' may share a number",
    "location": "Where the user was, as the log names it; NULL where unknown",
    "user_agent": "Browser, as it introduces itself; NULL where unknown",
}
# By relation: what a row of it is, and what each column holds.
COMMENTS = {
    "songplays": ("Fact. One row per NextSong event: a song that a user began to play", PLAY),
    "users": (
        "Dimension. One row per user who has played, as of the latest play",
        {
            "user_id": "Number of the user, as the logs give it",
            "first_name": "First name; NULL where unknown",
            "last_name": "Last name; NULL where unknown",
            "gender": "F or M; NULL where unknown",
            "level": "Plan at the latest play: free or paid",
        },
    ),
    "songs": (
        "Dimension. One row per song of the catalogue",
        {
            "song_id": "Id of the song, as the catalogue gives it",
            "title": "Title",
            "artist_id": "Who performs it",
            "year": "Year of release; 0 or NULL where unknown",
            "duration": "Length in seconds",
        },
    ),
    "artists": (
        "Dimension. One row per artist of the catalogue",
        {
            "artist_id": "Id of the artist, as the catalogue gives it",
            "name": "Name",
            "location": "Where the artist is from, as free text; NULL or empty where unknown",
            "latitude": "Degrees north of the equator; NULL where unknown",
            "longitude": "Degrees east of Greenwich; NULL where unknown",
        },
    ),
    "time": (
        "Dimension. One row per moment at which a play began, taken apart in UTC",
        {
            "start_time": "The moment, to the millisecond",
            "hour": "Hour of the day, 0 to 23",
            "day": "Day of the month",
            "week": "ISO week of the year, 1 to 53; it may belong to the year before or after",
            "month": "Month, 1 to 12",
            "year": "Year",
            "weekday": "Day of the week, Monday = 0 to Sunday = 6",
        },
    ),
    "unmatched_songplays": (
        "One row per play whose song the catalogue lacks (so far), with the song as logged",
        {
            "songplay_id": "The play",
            "title": "Title, as logged; NULL where the log has none",
            "artist": "Name of the artist, as logged; NULL where the log has none",
            "duration": "Length in seconds, as logged; NULL where the log has none",
        },
    ),
    "page_views": (
        "Fact. One row per logged event of a page other than NextSong",
        {
            "page_view_id": "Number of the page view, generated; says nothing else",
            "start_time": "Moment of the request; need not be in the table time",
            "user_id": "Who saw the page, not necessarily one of users; NULL when logged out",
            "session_id": "Session, as the log numbers it; different users' may share a number",
            "item_in_session": "Place of the event in its session; NULL where not logged",
            "page": "Name of the page, such as Home or Submit Upgrade",
            "method": "HTTP method of the request, GET or PUT; NULL where not logged",
            "status": "HTTP status of the answer, 400 and above for errors; NULL where not logged",
            "auth": "Logged In, Logged Out and the like; NULL where not logged",
            "level": "Plan at that moment: free or paid; NULL where not logged",
            "location": "Where the user was, as the log names it; NULL where unknown",
            "user_agent": "Browser, as it introduces itself; NULL where unknown",
        },
    ),
    "loaded_files": (
        "One row per file that has been loaded, as of the last time",
        {
            "uri": "Path or URI of the file",
            "kind": "song or log",
            "size": "Bytes, as the file was listed",
            "modified": "When the file was last modified, as it was listed",
            "rows_loaded": "Records of it that were loaded: songs, or plays and page views",
            "lines_set_aside": "Lines of it that could not be loaded",
            "seconds": "Seconds that were spent on it",
            "loaded_at": "When it was loaded",
        },
    ),
    "listening": (
        "View. One row per play, with its song by name, whether or not the catalogue has it",
        PLAY
        | {
            "title": "Title, of the catalogue or as logged; NULL where neither has one",
            "artist": "Name of the artist, of the catalogue or as logged; NULL likewise",
            "duration": "Length in seconds, of the catalogue or as logged; NULL likewise",
        },
    ),
}


def comment_on(what, text):
    """Return the statement that says of a table, view or column what it holds."""
    return f"COMMENT ON {what} IS '{text.replace(chr(39), 2 * chr(39))}'"


comment_queries = [
    comment_on(f"{'VIEW' if relation == 'listening' else 'TABLE'} {relation}", grain)
    for relation, (grain, _) in COMMENTS.items()
] + [
    comment_on(f"COLUMN {relation}.{column}", text)
    for relation, (_, columns) in COMMENTS.items()
    for column, text in columns.items()
]
