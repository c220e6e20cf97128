"""The tables are a function of the set of records, never of their order or their files.

Records are drawn from so few values that most of them contradict others: songs that change their
title or their artist, artists their name, plays logged twice with different details, users with two
levels in one millisecond. However they are dealt to files, the tables must be those that a plain
reading of the rules gives.
"""

import struct
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st
from records import event, load_file, moment, read_tables, song, write_lines

from sql_queries import table_names

names = st.sampled_from(["B", "é"])
maybe_words = st.sampled_from([None, "", "a", "B"])
lengths = st.sampled_from([9.5] * 5 + [10.25])

songs = st.builds(
    song,
    song_id=st.sampled_from(["SO1", "SO2", "SO3"]),
    artist_id=st.sampled_from(["AR1", "AR2"]),
    artist_name=names,
    artist_location=maybe_words,
    artist_latitude=st.sampled_from([None, 1.5, 10.25]),
    title=names,
    duration=lengths,
    year=st.sampled_from([None, 0, 1999, 2005]),
)
plays = st.builds(
    event,
    ts=st.sampled_from([1, 2]),
    userId=st.sampled_from(["1", "2"]),
    sessionId=st.sampled_from([1, 2]),
    level=st.sampled_from(["free", "paid"]),
    firstName=maybe_words,
    location=maybe_words,
    song=st.sampled_from(["B", "é", "B", "é", None]),
    artist=names,
    length=st.sampled_from([9.5] * 5 + [10.25, None]),
)
views = st.builds(
    event,
    ts=st.sampled_from([1, 2]),
    userId=st.sampled_from(["", "1", None]),
    sessionId=st.sampled_from([1, 2]),
    itemInSession=st.sampled_from([None, 0]),
    page=st.sampled_from(["Home", "é"]),
    method=st.sampled_from([None, "GET", "PUT"]),
    status=st.sampled_from([None, 200, 1000]),
    auth=st.sampled_from([None, "Logged In"]),
    level=st.sampled_from([None, "free"]),
    location=maybe_words,
    userAgent=maybe_words,
    firstName=maybe_words,
    registration=st.sampled_from([None, 1540919166796.0, 1540919166000, 946684800000]),
    tag=maybe_words,
)


@settings(max_examples=settings().max_examples // 3)  # each is loaded file by file
@given(st.data())
def test_tables_depend_on_the_set_of_records_only(conn, cur, tmp_path, data):
    some_songs = data.draw(st.lists(songs, min_size=2, max_size=8))
    some_plays = data.draw(st.lists(plays, min_size=2, max_size=8))
    records = some_songs + some_plays + data.draw(st.lists(views, max_size=8))
    dealt = data.draw(st.permutations(records + data.draw(st.lists(st.sampled_from(records)))))
    file_sizes = st.lists(st.integers(1, 5), min_size=len(dealt), max_size=len(dealt))
    try:
        for path in write_files(tmp_path, dealt, data.draw(file_sizes)):
            tally = load_file(cur, conn, path, data.draw(st.sampled_from(["rows", "copy"])))
            assert tally.rejected == 0
        assert read_tables(cur) == tables_of(records)
    finally:
        conn.rollback()
        cur.execute(f"TRUNCATE {', '.join(table_names)}")
        conn.commit()


def write_files(folder, records, sizes):
    """Yield files of the given sizes, as far as neighbours are of one kind."""
    numbers = count()
    for size in sizes:
        is_song = records and "song_id" in records[0]
        chunk = [r for r in records[:size] if ("song_id" in r) == is_song]
        if not chunk:
            return
        for record in chunk:
            records.remove(record)
        yield write_lines(folder / f"{next(numbers)}.json", chunk)


# The rules once more, in plain Python and over all records at once.


def tables_of(records):
    logged = [record for record in records if "song_id" not in record]
    events = [event for event in logged if event["page"] == "NextSong"]
    catalogue = [record for record in records if "song_id" in record]
    artists = best_by("artist_id", catalogue, ["artist_location:", "artist_latitude"], ARTIST)
    titles = best_by("song_id", catalogue, ["year:0"], SONG)
    plays_by_key = best_by("userId ts sessionId", events, PLAY_FACTS, PLAY)
    fitting = {
        (s["title"], s["artist_name"], single(s["duration"])): s
        for _, s in sorted(titles.items(), reverse=True)
    }
    latest = {}
    for e in events:
        if e["ts"] == max(other["ts"] for other in events if other["userId"] == e["userId"]):
            latest.setdefault(e["userId"], []).append(e)
    rows = {name: [] for name in ("songplays", "unmatched_songplays")}
    for _, e in sorted(plays_by_key.items(), key=lambda item: (item[0][0], item[0][1], item[0][2])):
        s = fitting.get(
            (e["song"], e["artist"], single(e["length"])), {"song_id": None, "artist_id": None}
        )
        start_time = moment(e["ts"])
        rows["songplays"].append(
            (start_time, int(e["userId"]), e["level"], s["song_id"], s["artist_id"], e["sessionId"])
            + (e["location"], e["userAgent"], e["length"])
        )
        if s["song_id"] is None:
            key = (int(e["userId"]), start_time, e["sessionId"])
            rows["unmatched_songplays"].append((*key, e["song"], e["artist"]))
    return rows | {
        "page_views": views_of([event for event in logged if event["page"] != "NextSong"]),
        "users": [
            (int(user), *(best_user(rivals)[name] for name in USER))
            for user, rivals in sorted(latest.items())
        ],
        "songs": [(i, *(s[name] for name in SONG)) for i, s in sorted(titles.items())],
        "artists": [(i, *(a[name] for name in ARTIST)) for i, a in sorted(artists.items())],
        "time": [
            (moment(ts), 0, 1, 52, 1, 2000, 5) for ts in sorted({event["ts"] for event in events})
        ],
    }


def views_of(events):
    events = [
        {"tag": None}
        | event
        | {"userId": event["userId"] or None}
        | {"registration": event["registration"] and moment(event["registration"])}
        for event in events
    ]
    found = best_by("ts sessionId itemInSession page userId", events, VIEW, VIEW)

    return [
        (moment(ts), user and int(user), session, number, page, *(view[name] for name in VIEW))
        for (ts, session, number, page, user), view in sorted(
            found.items(), key=lambda item: [(v is None, v or 0) for v in item[0]]
        )
    ]


VIEW = ["method", "status", "auth", "level", "location", "userAgent"]
VIEW += ["firstName", "lastName", "gender", "registration", "tag"]
SONG = ["title", "artist_id", "year", "duration", "artist_name"]
ARTIST = ["artist_name", "artist_location", "artist_latitude", "artist_longitude"]
USER = ["firstName", "lastName", "gender", "level"]
USER_FACTS = ["firstName", "lastName", "gender"]
PLAY = ["level", "location", "userAgent", "length", "song", "artist"]
PLAY_FACTS = PLAY[1:]


def best_by(key, records, facts, values):
    """Return the best record by key."""
    groups = {}
    for record in records:
        groups.setdefault(tuple(record[name] for name in key.split()), []).append(record)
    return {
        key if len(key) > 1 else key[0]: best(rivals, facts, values)
        for key, rivals in groups.items()
    }


def best(rivals, facts, values):
    """Return the most complete record, of several the greatest as text, None after any text."""
    return max(rivals, key=lambda record: rank(record, facts, values))


def best_user(rivals):
    """Return of records of a user's latest moment the one that the user is of."""
    ranks = [(PLAY_FACTS, PLAY), (USER_FACTS, USER)]
    return max(rivals, key=lambda record: [rank(record, *of) for of in ranks])


def rank(record, facts, values):
    """Return what records are compared by: a fact such as "year:0" is unknown where it is 0."""
    known = 0
    for fact in facts:
        name, _, unknown = fact.partition(":")
        known += str(record[name]) not in ("None", unknown if ":" in fact else "None")
    return known, [(record[v] is None, str(record[v]).encode()) for v in values]


def single(number):
    """Return a number in single precision."""
    return number if number is None else struct.unpack("f", struct.pack("f", number))[0]
