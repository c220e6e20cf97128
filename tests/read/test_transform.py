"""Transforms on tiny frames: no file and no database."""

import pandas as pd
import pyarrow as pa
import pytest
from records import event, song

import sql_queries
from sparkify.read import extract, fields, transform


def frame_of(records, schema):
    columns = {name: [record.get(name) for record in records] for name in schema.names}
    table = pa.table(columns, schema=schema).add_column(0, "piece", [[0] * len(records)])
    return table.to_pandas(types_mapper=pd.ArrowDtype)


def events_frame(*events):
    return frame_of(events, fields.LOG_SCHEMA)


def rows(frame):
    return transform.split_rows(frame, 1)[0]


def test_a_song_record_gives_a_row_of_songs_and_one_of_artists():
    songs = frame_of([song()], fields.SONG_SCHEMA)
    assert rows(transform.transform_songs(songs)) == [
        ("SO1", "Slow River", "AR1", 1999, 218.93179, "The Ferrymen")
    ]
    assert rows(transform.transform_artists(songs)) == [
        ("AR1", "The Ferrymen", "Memphis, TN", 35.14968, -90.04892)
    ]


def test_missing_numbers_are_none_and_not_nan():
    songs = frame_of([song(artist_latitude=None, artist_longitude=None)], fields.SONG_SCHEMA)
    assert rows(transform.transform_artists(songs)) == [
        ("AR1", "The Ferrymen", "Memphis, TN", None, None)
    ]


def test_only_next_song_events_are_plays():
    events = events_frame(event(), event(page="Home", song=None), event(ts=1541106106797))
    assert transform.transform_plays(events)["start_time"].tolist() == [
        pd.Timestamp("2018-11-01 21:01:46.796", tz="UTC"),
        pd.Timestamp("2018-11-01 21:01:46.797", tz="UTC"),
    ]


@pytest.mark.parametrize(
    ("ts", "expected"),
    [
        (1541106106796, ("2018-11-01 21:01:46.796Z", 21, 1, 44, 11, 2018, 3)),
        (0, ("2000-01-01 00:00:00.000Z", 0, 1, 52, 1, 2000, 5)),
        # A Sunday that still belongs to the last ISO week of the year before
        (1483228799999 + 1, ("2017-01-01 00:00:00.000Z", 0, 1, 52, 1, 2017, 6)),
        (1582934400000, ("2020-02-29 00:00:00.000Z", 0, 29, 9, 2, 2020, 5)),
        (extract.LAST_MS, ("9999-12-31 23:59:59.999Z", 23, 31, 52, 12, 9999, 4)),
    ],
)
def test_time_is_taken_apart_in_utc(ts, expected):
    assert rows(
        transform.transform_time(transform.transform_plays(events_frame(event(ts=ts))))
    ) == [expected]


def test_moments_are_listed_once():
    plays = transform.transform_plays(events_frame(event(), event(userId="9")))
    assert len(transform.transform_time(plays)) == 1


def test_users_are_as_of_their_latest_play_wherever_it_stands_in_the_file():
    plays = transform.transform_plays(
        events_frame(event(ts=3, level="paid"), event(ts=1), event(ts=2, userId="9"))
    )
    play = ("Tampa-St. Petersburg-Clearwater, FL", '"Mozilla/5.0 (X11; Linux x86_64)"', 218.93179)
    assert rows(transform.transform_users(plays)) == [
        (8, "Ada", "Reyes", "F", "paid", "2000-01-01 00:00:00.003Z", *play, *SONG_NAME),
        (9, "Ada", "Reyes", "F", "free", "2000-01-01 00:00:00.002Z", *play, *SONG_NAME),
    ]


SONG_NAME = ("Slow River", "The Ferrymen")


def test_rows_have_the_columns_of_the_tables_in_their_order():
    plays = transform.transform_plays(events_frame(event()))
    artists, songs = transform.transform_song_records(frame_of([song()], fields.SONG_SCHEMA))[0]
    for frame, table in (
        (artists, sql_queries.ARTISTS),
        (songs, sql_queries.SONGS),
        (transform.transform_time(plays), sql_queries.TIME),
        (transform.transform_users(plays), sql_queries.SEEN_USERS),
        (transform.transform_songplays(plays), sql_queries.PLAYS),
        (transform.transform_page_views(events_frame(event())), sql_queries.PAGE_VIEWS),
    ):
        assert list(frame.columns) == ["piece", *table.columns]


def test_songplays_carry_the_song_as_logged():
    plays = transform.transform_plays(events_frame(event(song=None, artist="007", length=None)))
    assert rows(transform.transform_songplays(plays)) == [
        (
            "2018-11-01 21:01:46.796Z",
            8,
            "free",
            7,
            "Tampa-St. Petersburg-Clearwater, FL",
            '"Mozilla/5.0 (X11; Linux x86_64)"',
            None,
            None,
            "007",
        )
    ]


DOUBLY = "Bj\u00c3\u00b6rk"


@pytest.mark.parametrize(
    ("logged", "meant"),
    [
        (DOUBLY, "Björk"),
        (DOUBLY.encode().decode("latin-1"), "Björk"),
        ("\u00e2\u0080\u0099\u00f0\u009f\u008e\u00b5", "’🎵"),
        *((text, text) for text in ("Björk", "Ã", "Ã¶é", "Ã¶ – Ã¶", "Â", "a\x7f", "", "â€™", None)),
    ],
)
def test_names_that_were_encoded_several_times_are_as_they_were_meant(logged, meant):
    given = [event(), event(song=logged), event(artist=logged, song=logged), event(page="Home")]
    events = events_frame(*given, event(page="Home", song=logged), event(lastName=logged))
    fixed, changed = transform.undo_double_encoding(events)
    names = [
        tuple(names)
        for names in fixed[["song", "artist", "lastName"]].to_numpy(object, na_value=None)
    ]
    song, artist, last = (event()[name] for name in ("song", "artist", "lastName"))
    assert names == [
        (song, artist, last),
        (meant, artist, last),
        (meant, meant, last),
        (song, artist, last),
        (meant, artist, last),
        (song, artist, logged),
    ]
    assert list(changed.index) == ([1, 2] if logged != meant else [])


def test_plays_that_share_user_and_moment_go_in_different_rounds():
    a, b, c = event(sessionId=1), event(sessionId=2), event(ts=5)
    rounds = transform.split_rounds(transform.transform_plays(events_frame(a, b, c, a, b)))
    assert [part["session_id"].tolist() for part in rounds] == [[1, 7], [2], [1]]


def test_events_give_their_rows_in_rounds():
    a, b = event(sessionId=1), event(sessionId=2)
    home = event(page="Home", userId="", itemInSession=None, method="GET", status=404, level=None)
    first, second = transform.transform_log_records(events_frame(a, home, b))
    assert [len(rows(frame)) for frame in first] == [1, 1, 1, 1]
    assert [len(rows(frame)) for frame in second] == [1, 1, 1, 0]
    assert rows(first[3]) == [
        (
            *("2018-11-01 21:01:46.796Z", None, 7, None, "Home", "GET", 404, "Logged In", None),
            *("Tampa-St. Petersburg-Clearwater, FL", '"Mozilla/5.0 (X11; Linux x86_64)"'),
            *("Ada", "Reyes", "F", "2018-10-30 17:06:06.796Z", None),
        )
    ]


def test_page_views_need_no_plays():
    [tables] = transform.transform_log_records(events_frame(event(page="Home")))
    assert [len(rows(frame)) for frame in tables] == [0, 0, 0, 1]
    assert rows(tables[3])[0][1] == 8


def test_pieces_of_a_block_are_kept_apart():
    plays = transform.transform_plays(events_frame(event(), event(level="paid"), event(userId="9")))
    plays["piece"] = pd.array([0, 2, 2], "int64[pyarrow]")
    users = transform.split_rows(transform.transform_users(plays)[["piece", "user_id", "level"]], 4)
    assert users == [[(8, "free")], [], [(8, "paid"), (9, "free")], []]
    assert [len(rows) for rows in transform.split_rows(transform.transform_time(plays), 4)] == [
        1,
        0,
        1,
        0,
    ]


def test_all_of_the_plays_in_the_latest_moment_count_for_a_user():
    plays = transform.transform_plays(
        events_frame(event(ts=1), event(ts=2), event(ts=2, level="x"))
    )
    assert [row[4] for row in rows(transform.transform_users(plays))] == ["free", "x"]
