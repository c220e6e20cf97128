"""Transform: a frame of records in, the rows of the tables out.

Frames have the Arrow types that fit the columns of the tables: int32 for INT, int64 for BIGINT,
float64 for DOUBLE PRECISION, string for TEXT. Their column `piece` says which file a row is from.
Nothing here knows a database.
"""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa


def transform_song_records(songs):
    """Return what song records hold as rounds to load in turn, one: rows of artists, songs."""
    return [(transform_artists(songs), transform_songs(songs))]


def transform_log_records(events):
    """Return what events hold as rounds to load in turn, mostly one.

    A round is the rows of time, users, songplays and page_views.
    """
    plays, views = transform_plays(events), transform_page_views(events)
    first, *more = list(split_rounds(plays)) or [plays]
    return [
        (transform_time(part), transform_users(part), transform_songplays(part), part_of_views)
        for part, part_of_views in [(first, views), *((part, views[:0]) for part in more)]
    ]


def transform_artists(songs):
    """Return the rows of artists: artist_id, name, location, latitude, longitude in degrees."""
    return songs[["piece", *ARTIST_COLUMNS]].rename(columns=ARTIST_COLUMNS)


ARTIST_COLUMNS = {
    "artist_id": "artist_id",
    "artist_name": "name",
    "artist_location": "location",
    "artist_latitude": "latitude",
    "artist_longitude": "longitude",
}


def transform_songs(songs):
    """Return the rows of songs: song_id, title, artist_id, year, duration in seconds."""
    columns = ["piece", "song_id", "title", "artist_id", "year", "duration"]
    return songs[columns].astype({"year": "int32[pyarrow]"})


PLAY_COLUMNS = {
    "ts": "start_time",
    "userId": "user_id",
    "firstName": "first_name",
    "lastName": "last_name",
    "gender": "gender",
    "level": "level",
    "sessionId": "session_id",
    "location": "location",
    "userAgent": "user_agent",
    "song": "title",
    "artist": "artist",
    "length": "duration",
}


def transform_plays(events):
    """Return the plays among the events: the NextSong ones, with the schema's names and types."""
    plays = events.loc[events["page"] == "NextSong", ["piece", *PLAY_COLUMNS]]
    plays = plays.rename(columns=PLAY_COLUMNS)
    return plays.assign(
        start_time=plays["start_time"].astype("timestamp[ms, tz=UTC][pyarrow]"),
        user_id=plays["user_id"].astype("int32[pyarrow]"),
    )


def split_rounds(plays):
    """Yield the plays in rounds in which none of a file share user and start_time: mostly one.

    Which of two such plays counts is for the conflict clauses in sql_queries to say, and they
    compare what is loaded with what is stored.
    """
    while len(plays):
        again = plays.duplicated(["piece", "user_id", "start_time"])
        yield plays[~again]
        plays = plays[again].drop_duplicates()


def transform_time(plays):
    """Return the rows of time: start_time in UTC, hour, day, ISO week, month, year, weekday."""
    moments = plays[["piece", "start_time"]].drop_duplicates()
    start_time = moments["start_time"].astype("timestamp[ms][pyarrow]").dt  # faster without a zone
    parts = {
        "hour": start_time.hour,
        "day": start_time.day,
        "week": start_time.isocalendar()["week"],
        "month": start_time.month,
        "year": start_time.year,
        "weekday": start_time.day_of_week,
    }
    return moments.assign(**{name: part.astype("int32[pyarrow]") for name, part in parts.items()})


def transform_users(plays):
    """Return the rows of users as of each one's latest play, and the start_time of that play.

    Where that is several plays, so are the rows.
    """
    columns = ["piece", "user_id", "first_name", "last_name", "gender", "level", "start_time"]
    latest = plays.groupby(["piece", "user_id"])["start_time"].transform("max")
    return plays.loc[plays["start_time"] == latest, columns].drop_duplicates()


def transform_songplays(plays):
    """Return the rows of songplays but for the song's ids, with the song as the log names it."""
    columns = ["start_time", "user_id", "level", "session_id", "location", "user_agent"]
    return plays[["piece", *columns, "title", "artist", "duration"]]


VIEW_COLUMNS = {
    "ts": "start_time",
    "userId": "user_id",
    "sessionId": "session_id",
    "itemInSession": "item_in_session",
    "page": "page",
    "method": "method",
    "status": "status",
    "auth": "auth",
    "level": "level",
    "location": "location",
    "userAgent": "user_agent",
}


def transform_page_views(events):
    """Return the rows of page_views: the events other than plays; who is logged out is NA."""
    views = events.loc[events["page"] != "NextSong", ["piece", *VIEW_COLUMNS]]
    views = views.rename(columns=VIEW_COLUMNS)
    return views.assign(
        start_time=views["start_time"].astype("timestamp[ms, tz=UTC][pyarrow]"),
        user_id=views["user_id"].replace("", pd.NA).astype("int32[pyarrow]"),
        item_in_session=views["item_in_session"].astype("int32[pyarrow]"),
        status=views["status"].astype("int32[pyarrow]"),
    )


TRANSFORMS = {"song": transform_song_records, "log": transform_log_records}  # by kind of file


# Rows


def all_rows(frame):
    """Return a frame's rows as tuples, without `piece`, of values that Postgres's driver takes.

    NA becomes None and a timestamp text, which is faster to adapt than a datetime.
    """
    columns = [pa.array(frame[name]) for name in frame.columns[1:]]
    columns = [c.cast("string") if pa.types.is_timestamp(c.type) else c for c in columns]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def split_rows(frame, pieces):
    """Return a frame's rows as tuples in a list per piece. They must be in the order of pieces."""
    rows = all_rows(frame)
    bounds = np.searchsorted(frame["piece"], range(pieces + 1))
    return [rows[start:end] for start, end in itertools.pairwise(bounds)]
