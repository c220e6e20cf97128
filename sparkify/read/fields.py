"""Fields: what is read of a line of JSON, by the kind of its file, and as which type."""

import pyarrow as pa

SONG_SCHEMA = pa.schema(
    {
        "song_id": pa.string(),
        "title": pa.string(),
        "artist_id": pa.string(),
        "year": pa.int64(),
        "duration": pa.float64(),
        "artist_name": pa.string(),
        "artist_location": pa.string(),
        "artist_latitude": pa.float64(),
        "artist_longitude": pa.float64(),
    }
)
LOG_SCHEMA = pa.schema(
    {
        "page": pa.string(),
        "ts": pa.int64(),
        "userId": pa.string(),
        "firstName": pa.string(),
        "lastName": pa.string(),
        "gender": pa.string(),
        "level": pa.string(),
        "sessionId": pa.int64(),
        "location": pa.string(),
        "userAgent": pa.string(),
        "song": pa.string(),
        "artist": pa.string(),
        "length": pa.float64(),
        "auth": pa.string(),
        "itemInSession": pa.int64(),
        "method": pa.string(),
        "status": pa.int64(),
        "registration": pa.float64(),  # pandas writes whole numbers so where some are missing
        "tag": pa.string(),
    }
)
# Other versions of eventsim log a song's length as duration, forks of it a location as two fields.
OTHER_NAMES = {"duration": "length", "city": "location", "state": "location"}
LOG_LINE_SCHEMA = pa.schema(
    [*LOG_SCHEMA, *(LOG_SCHEMA.field(name).with_name(other) for other, name in OTHER_NAMES.items())]
)
LINE_SCHEMAS = {"song": SONG_SCHEMA, "log": LOG_LINE_SCHEMA}

# What only plays are loaded with can be anything where another page is logged, and the reverse.
OF_PLAYS = ("song", "artist", "length", "duration")
OF_PAGE_VIEWS = ("auth", "itemInSession", "method", "status", "registration", "tag")
PLAY_FIELDS = [name for name in LOG_SCHEMA.names if name not in OF_PAGE_VIEWS]
PAGE_VIEW_FIELDS = [name for name in LOG_SCHEMA.names if name not in OF_PLAYS]


def is_loaded(name: str, given: dict) -> bool:
    """Tell whether a field of a log's line is loaded, given the line's other fields by name."""
    if name in OTHER_NAMES and given.get(OTHER_NAMES[name]) is not None:
        return False
    return name not in (OF_PAGE_VIEWS if given.get("page") == "NextSong" else OF_PLAYS)
