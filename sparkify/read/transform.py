"""Transform: a frame of records in, the rows of the tables out.

Frames have the Arrow types that fit the columns of the tables: int32 for INT, int64 for BIGINT,
float64 for DOUBLE PRECISION, string for TEXT. Their column `piece` says which file a row is from.
Nothing here knows a database.
"""

import itertools
from collections import namedtuple
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def transform_song_records(songs: pd.DataFrame) -> list[tuple]:
    """Return what song records hold as rounds to load in turn, one: rows of artists, songs."""
    return [(transform_artists(songs), transform_songs(songs))]


def transform_log_records(events: pd.DataFrame) -> list[tuple]:
    """Return what events hold as rounds to load in turn, mostly one.

    A round is the rows of time, users, songplays and page_views.
    """
    plays, views = transform_plays(events), transform_page_views(events)
    first, *more = list(split_rounds(plays)) or [plays]
    return [
        (transform_time(part), transform_users(part), transform_songplays(part), part_of_views)
        for part, part_of_views in [(first, views), *((part, views[:0]) for part in more)]
    ]


def transform_artists(songs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of artists: artist_id, name, location, latitude, longitude in degrees."""
    return songs[["piece", *ARTIST_COLUMNS]].rename(columns=ARTIST_COLUMNS)


ARTIST_COLUMNS = {
    "artist_id": "artist_id",
    "artist_name": "name",
    "artist_location": "location",
    "artist_latitude": "latitude",
    "artist_longitude": "longitude",
}


def transform_songs(songs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of songs, duration in seconds, with the name that they give their artist."""
    return songs[["piece", *SONG_COLUMNS]].astype({"year": "int32[pyarrow]"})


SONG_COLUMNS = ["song_id", "title", "artist_id", "year", "duration", "artist_name"]


def undo_double_encoding(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return events with song and artist as they were meant, and the pieces of plays changed so.

    The simulator that logs come from reads its list of songs as ISO-8859-1, though it is UTF-8.
    """
    other = np.zeros(len(events), bool)
    for name in ("song", "artist"):
        logged = pa.array(events[name])
        texts = logged.filter(pc.invert(pc.string_is_ascii(logged))).unique().to_pylist()
        meant = {text: fixed for text in texts if (fixed := decode_again(text)) != text}
        if meant:
            places = pc.index_in(logged, pa.array(meant))
            column = pc.coalesce(pa.array(meant.values()).take(places), logged)
            events = events.assign(**{name: pd.arrays.ArrowExtensionArray(column)})
            other |= np.asarray(places.is_valid())
    return events, events.loc[other & (events["page"] == "NextSong"), "piece"]


def decode_again(text: str) -> str:
    """Return a text that was encoded as UTF-8 several times as it was meant.

    One that is valid UTF-8 once its characters are taken as bytes was; ASCII alone is its own.
    """
    while not text.isascii():
        try:
            text = text.encode("latin-1").decode()
        except UnicodeError:
            break
    return text


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
    "length": "duration",
    "song": "title",
    "artist": "artist",
}
NAMES = ["first_name", "last_name", "gender"]
MOMENT = "timestamp[ms, tz=UTC][pyarrow]"


def transform_plays(events: pd.DataFrame) -> pd.DataFrame:
    """Return the plays among the events: the NextSong ones, with the schema's names and types."""
    plays = events.loc[events["page"] == "NextSong", ["piece", *PLAY_COLUMNS]]
    plays = plays.rename(columns=PLAY_COLUMNS)
    return plays.assign(
        start_time=plays["start_time"].astype(MOMENT),
        user_id=plays["user_id"].astype("int32[pyarrow]"),
    )


def split_rounds(plays: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the plays in rounds in which none of a file share user and start_time: mostly one.

    Which of two such plays counts is for the conflict clauses in sql_queries to say, and they
    compare what is loaded with what is stored.
    """
    while len(plays):
        again = plays.duplicated(["piece", "user_id", "start_time"])
        yield plays[~again]
        plays = plays[again].drop_duplicates()


def transform_time(plays: pd.DataFrame) -> pd.DataFrame:
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


def transform_users(plays: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of users as of each one's latest play, followed by what that play is.

    Where that is several plays, so are the rows.
    """
    of_user = ["user_id", *NAMES, "level"]
    of_play = plays.columns.drop(["piece", "session_id", *of_user])
    latest = plays.groupby(["piece", "user_id"])["start_time"].transform("max")
    return plays.loc[plays["start_time"] == latest, ["piece", *of_user, *of_play]].drop_duplicates()


def transform_songplays(plays: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of songplays but for the song's ids, and the song as the log names it."""
    return plays.drop(columns=NAMES)


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
    "firstName": "first_name",
    "lastName": "last_name",
    "gender": "gender",
    "registration": "registered_at",
    "tag": "tag",
}


def transform_page_views(events: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of page_views: the events other than plays; who is logged out is NA."""
    views = events.loc[events["page"] != "NextSong", ["piece", *VIEW_COLUMNS]]
    views = views.rename(columns=VIEW_COLUMNS)
    return views.assign(
        start_time=views["start_time"].astype(MOMENT),
        user_id=views["user_id"].replace("", pd.NA).astype("int32[pyarrow]"),
        item_in_session=views["item_in_session"].astype("int32[pyarrow]"),
        status=views["status"].astype("int32[pyarrow]"),
        registered_at=views["registered_at"].astype("int64[pyarrow]").astype(MOMENT),
    )


TRANSFORMS = {"song": transform_song_records, "log": transform_log_records}  # by kind of file


# Rows


def all_rows(frame: pd.DataFrame) -> list[tuple]:
    """Return a frame's rows as named tuples, without `piece`, of values that psycopg2 takes.

    NA becomes None and a timestamp text, which is faster to adapt than a datetime.
    """
    row = namedtuple("Row", frame.columns[1:])  # type: ignore[misc]
    columns = [pa.array(frame[name]) for name in frame.columns[1:]]
    columns = [c.cast("string") if pa.types.is_timestamp(c.type) else c for c in columns]
    return list(map(row._make, zip(*(column.to_pylist() for column in columns), strict=True)))


def split_rows(frame: pd.DataFrame, pieces: int) -> list[list[tuple]]:
    """Return a frame's rows as tuples in a list per piece. They must be in the order of pieces."""
    rows = all_rows(frame)
    bounds = np.searchsorted(frame["piece"], range(pieces + 1))
    return [rows[start:end] for start, end in itertools.pairwise(bounds)]
