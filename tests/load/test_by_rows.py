"""Tiny files into a real Postgres: whole rows."""

import contextlib
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime

import psycopg2
import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from records import EVENT, event, load_file, moment, read_tables, song, write_data, write_lines
from scripts import thorough

import etl
from sparkify import errors
from sparkify.postgres import connection
from sparkify.read import blocks, extract
from sql_queries import song_select

MOMENT = datetime(2018, 11, 1, 21, 1, 46, 796000, UTC)
PLAYED = (MOMENT, 8, "free")
PLACE_AND_BROWSER = ("Tampa-St. Petersburg-Clearwater, FL", '"Mozilla/5.0 (X11; Linux x86_64)"')
ADA = ("Ada", "Reyes", "F", moment(EVENT["registration"]), None)
REST = (7, *PLACE_AND_BROWSER, 218.93179)


@pytest.fixture
def load(conn, cur, tmp_path, loader):
    """Loads songs or events, given as records, as one file; returns all tables."""

    def load(*records):
        load_file(cur, conn, write_lines(tmp_path / "file.json", records), loader)
        return read_tables(cur)

    return load


def test_a_song_and_its_play_fill_every_table(load):
    load(song())
    assert load(event(), event(page="Home", ts=1, status=404, method="GET")) == {
        "songplays": [(*PLAYED, "SO1", "AR1", *REST)],
        "users": [(8, "Ada", "Reyes", "F", "free")],
        "songs": [("SO1", "Slow River", "AR1", 1999, 218.93179, "The Ferrymen")],
        "artists": [("AR1", "The Ferrymen", "Memphis, TN", 35.14968, -90.04892)],
        "time": [(MOMENT, 21, 1, 44, 11, 2018, 3)],
        "unmatched_songplays": [],
        "page_views": [
            (moment(1), 8, 7, 0, "Home", "GET", 404, "Logged In", "free", *PLACE_AND_BROWSER, *ADA)
        ],
    }


def test_missing_values_are_null(load):
    bare = song(artist_latitude=None, artist_longitude=None, artist_location=None, year=None)
    tables = load(bare)
    assert tables["songs"] == [("SO1", "Slow River", "AR1", None, 218.93179, "The Ferrymen")]
    assert tables["artists"] == [("AR1", "The Ferrymen", None, None, None)]
    nobody = event(firstName=None, lastName=None, gender=None, location=None, userAgent=None)
    tables = load(nobody | {"song": None, "artist": None, "length": None})
    assert tables["users"] == [(8, None, None, None, "free")]
    assert tables["songplays"] == [(*PLAYED, None, None, 7, None, None, None)]
    assert tables["unmatched_songplays"] == [(8, MOMENT, 7, None, None)]


@pytest.mark.parametrize(
    "text", ["007", "NaN", "NULL", "\\N", "%s", "'; DROP TABLE users; --", "é🎵"]
)
def test_text_arrives_as_it_is(load, cur, text):
    load(song(title=text, artist_name=text, artist_location=text))
    tables = load(event(song=text, artist=text, firstName=text, location=text, userAgent=text))
    assert tables["songs"][0][1] == text
    assert tables["artists"][0][1:3] == (text, text)
    assert tables["users"][0][1] == text
    assert tables["songplays"] == [(*PLAYED, "SO1", "AR1", 7, text, text, 218.93179)]


@pytest.mark.parametrize("length", [3_000, thorough(1_000_000)])
def test_text_of_any_length_is_stored_and_found(load, length):
    text = "".join(chr(33 + n * n % 90) for n in range(length))
    load(song(title=text, artist_name=text))
    assert load(event(song=text, artist=text))["unmatched_songplays"] == []
    assert load(event(ts=1, song=text, artist="?"))["unmatched_songplays"][0][3] == text


def test_ids_and_levels_at_the_limits(load):
    song_id, artist_id, level = "S" * 256, "é" * 256, "🎵" * 256
    load(song(song_id=song_id, artist_id=artist_id, year=-(2**31)))
    tables = load(event(userId="2147483647", sessionId=2**63 - 1, ts=extract.LAST_MS, level=level))
    assert tables["songplays"][0][1:6] == (2147483647, level, song_id, artist_id, 2**63 - 1)


def test_a_play_matches_on_title_artist_and_duration(load):
    load(song())
    tables = load(
        event(ts=1),
        event(ts=2, song="slow river"),
        event(ts=3, artist="The Ferrymen "),
        event(ts=4, length=218.9317),
        event(ts=5, length=218.9318),  # the same in single precision
    )
    assert [play[3] for play in tables["songplays"]] == ["SO1", None, None, None, "SO1"]
    assert [play[8] for play in tables["songplays"]][3:] == [218.9317, 218.9318]


def test_of_two_songs_that_fit_the_smallest_id_counts_by_its_bytes(load):
    load(song(song_id="a"))
    load(song(song_id="B"))
    assert load(event())["songplays"] == [(*PLAYED, "B", "AR1", *REST)]
    assert load(song(song_id="A"))["songplays"] == [(*PLAYED, "A", "AR1", *REST)]


def test_a_song_that_arrives_after_its_plays_is_matched(load):
    assert load(event())["unmatched_songplays"] == [(8, MOMENT, 7, "Slow River", "The Ferrymen")]
    tables = load(song())
    assert tables["songplays"] == [(*PLAYED, "SO1", "AR1", *REST)]
    assert tables["unmatched_songplays"] == []


def test_a_play_leaves_a_song_that_turns_out_to_be_called_otherwise(load):
    load(song(year=0))
    load(event())
    tables = load(song(title="Slow River (Remastered)"))
    assert tables["songplays"] == [(*PLAYED, None, None, *REST)]
    assert tables["unmatched_songplays"] == [(8, MOMENT, 7, "Slow River", "The Ferrymen")]


def test_an_artist_may_have_several_names(load):
    featuring = song(song_id="SO2", title="Duet", artist_name="The Ferrymen feat. Ada")
    load(song(artist_location=None), featuring)
    tables = load(event(), event(ts=1, song="Duet", artist="The Ferrymen feat. Ada"))
    assert [play[3] for play in tables["songplays"]] == ["SO2", "SO1"]
    assert [artist[1] for artist in tables["artists"]] == ["The Ferrymen feat. Ada"]
    tables = load(event(ts=2, song="Duet"), event(ts=3, artist="The Ferrymen feat. Ada"))
    assert [play[3] for play in tables["songplays"]] == ["SO2", None, None, "SO1"]


def test_a_play_leaves_a_song_whose_record_turns_out_to_name_its_artist_otherwise(load):
    load(song(year=0))
    load(event(), event(ts=1, artist="Ferrymen"), event(ts=2, length=218.9318))
    tables = load(song(artist_name="Ferrymen"))
    assert [play[3] for play in tables["songplays"]] == ["SO1", None, None]
    assert [play[8] for play in tables["songplays"]] == [218.93179, 218.9318, 218.93179]
    assert [play[3:] for play in tables["unmatched_songplays"]] == [
        ("Slow River", "The Ferrymen"),
        ("Slow River", "The Ferrymen"),
    ]


def test_a_play_follows_its_song_to_another_artist(load):
    load(song(year=0))
    load(event())
    tables = load(song(artist_id="AR2"))
    assert tables["songplays"] == [(*PLAYED, "SO1", "AR2", *REST)]


def test_the_more_complete_song_and_artist_stay(load):
    load(song(artist_latitude=None), song(title="Z", year=0))
    load(song(), song(title="Z", year=0, artist_location="", artist_name="Z"))
    assert load(song(artist_latitude=None)) == {
        "songs": [("SO1", "Slow River", "AR1", 1999, 218.93179, "The Ferrymen")],
        "artists": [("AR1", "The Ferrymen", "Memphis, TN", 35.14968, -90.04892)],
    } | {name: [] for name in ("songplays", "users", "time", "unmatched_songplays", "page_views")}


def test_users_are_as_of_their_latest_play_also_when_an_older_file_comes_later(load):
    load(event(ts=2, level="paid", lastName="Lund"))
    assert load(event(ts=1))["users"] == [(8, "Ada", "Lund", "F", "paid")]
    assert load(event(ts=3))["users"] == [(8, "Ada", "Reyes", "F", "free")]


def test_of_two_plays_in_one_millisecond_the_greater_decides_on_the_user(load):
    load(event(level="paid"), event(sessionId=8))
    assert load(event(sessionId=9))["users"] == [(8, "Ada", "Reyes", "F", "paid")]


def test_a_play_logged_twice_with_different_details_is_one_play(load):
    better, worse = event(level="paid", song="Other"), event(location=None)
    expected = [(MOMENT, 8, "paid", None, None, *REST)]
    load(song())
    assert load(better, worse, better)["songplays"] == expected
    assert load(worse)["songplays"] == expected
    assert load(better)["unmatched_songplays"] == [(8, MOMENT, 7, "Other", "The Ferrymen")]
    tables = load(event(level="paid", song="Slow River!", artist="z"))
    assert tables["songplays"] == [(MOMENT, 8, "paid", None, None, *REST)]


@pytest.mark.parametrize("names", [{}, {"lastName": "Zoe"}])
def test_a_user_is_that_of_the_record_that_the_play_is_of(load, names):
    complete, bare = event(), event(level="paid", location=None, **names)
    for records in ([complete], [bare], [complete], [bare, complete]):
        tables = load(*records)
        assert tables["songplays"] == [(*PLAYED, None, None, *REST)]
        assert tables["users"] == [(8, "Ada", "Reyes", "F", "free")]


def test_a_better_record_of_a_stored_play_replaces_it(load):
    load(song())
    load(event(location=None, song="Other"))
    tables = load(event())
    assert tables["songplays"] == [(*PLAYED, "SO1", "AR1", *REST)]
    assert tables["unmatched_songplays"] == []


HOME = {"page": "Home", "status": 200, "method": "GET"}
VIEWED = (MOMENT, 8, 7, 0, "Home", "GET", 200, "Logged In", "free", *PLACE_AND_BROWSER, *ADA)


def test_a_page_view_logged_twice_is_one_and_the_more_complete_record_counts(load):
    better, worse = event(**HOME), event(**HOME | {"location": None, "status": 404})
    assert load(better, worse, better)["page_views"] == [VIEWED]
    assert load(worse)["page_views"] == [VIEWED]
    greater = load(event(**HOME | {"status": 307}))
    assert [view[6] for view in greater["page_views"]] == [307]
    assert [view[6] for view in load(better)["page_views"]] == [307]


def test_page_views_are_told_apart_by_all_that_says_which_one_it_is(load):
    home = event(**HOME)
    others = [
        home | {"ts": event(ts=1)["ts"]},
        home | {"sessionId": 8},
        home | {"userId": "9"},
        home | {"userId": ""},
        home | {"itemInSession": 1},
        home | {"itemInSession": None},
        home | {"page": "Help"},
    ]
    assert len(load(home, *others)["page_views"]) == 8
    tables = load(*others, home)
    assert len(tables["page_views"]) == 8
    assert (tables["songplays"], tables["users"], tables["time"]) == ([], [], [])


def load_at_once(conn, load_first, load_second):
    """Load by two connections: the second begins before the first commits."""
    with contextlib.closing(connection.connect()) as other, ThreadPoolExecutor() as thread:
        load_first(conn.cursor())
        second = thread.submit(load_second, other.cursor())
        assert not wait([second], timeout=0.2).done
        conn.commit()
        second.result()
        other.commit()


def test_an_older_file_that_is_loaded_at_the_same_time_leaves_the_latest_user(conn, cur, tmp_path):
    new = write_lines(tmp_path / "new.json", [event(ts=10, level="paid")])
    old = write_lines(tmp_path / "old.json", [event(ts=5, level="free")])
    load_at_once(
        conn, lambda cur: etl.process_log_file(cur, new), lambda cur: etl.process_log_file(cur, old)
    )
    assert read_tables(cur)["users"] == [(8, "Ada", "Reyes", "F", "paid")]


def test_a_song_and_its_play_that_are_loaded_at_the_same_time_match(conn, cur, tmp_path):
    songs = write_lines(tmp_path / "song.json", [song()])
    plays = write_lines(tmp_path / "log.json", [event()])
    load_at_once(
        conn,
        lambda cur: etl.process_song_file(cur, songs),
        lambda cur: etl.process_log_file(cur, plays),
    )
    assert read_tables(cur)["songplays"] == [(*PLAYED, "SO1", "AR1", *REST)]


def test_process_data_loads_a_folder_and_again_changes_nothing(conn, cur, tmp_path):
    songs = [song(song_id=f"SO{n}", title=str(n)) for n in range(5)]
    events = [event(ts=n, song=str(n % 7)) for n in range(50)]
    data = write_data(tmp_path, songs, events)
    snapshots = []
    for _ in range(2):
        tally = etl.process_data(cur, conn, data / "song_data", etl.process_song_file)
        assert (tally.files, tally.records) == (5, 5)
        tally = etl.process_data(cur, conn, str(data / "log_data"), etl.process_log_file)
        assert (tally.files, tally.records, tally.page_views) == (1, 50, 0)
        snapshots.append(read_tables(cur))
    assert snapshots[0] == snapshots[1]
    assert len(snapshots[0]["unmatched_songplays"]) == 14
    assert [play[3] for play in snapshots[0]["songplays"]][:7] == [
        *(f"SO{n}" for n in range(5)),
        None,
        None,
    ]


def test_repeated_lines_are_counted_as_what_they_are(cur, tmp_path):
    path = write_lines(tmp_path / "log.json", [event(), event(page="Home")] * 3)
    outcome = etl.process_log_file(cur, path)
    assert (outcome.records, outcome.page_views, outcome.rejects) == (6, 3, [])
    tables = read_tables(cur)
    assert (len(tables["songplays"]), len(tables["page_views"])) == (1, 1)


def test_a_file_of_several_blocks_is_one_transaction(conn, cur, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2000)
    events = [event(ts=n % 60, sessionId=n % 7) for n in range(100)]
    path = write_lines(tmp_path / "log_data" / "a.json", events)
    etl.process_log_file(cur, path)
    whole = read_tables(cur)
    assert len(whole["songplays"]) == 100
    conn.rollback()
    assert read_tables(cur)["songplays"] == []
    etl.process_data(cur, conn, tmp_path / "log_data", etl.process_log_file)
    conn.rollback()
    assert read_tables(cur) == whole


def test_a_file_that_fails_leaves_nothing_and_the_files_before_it_stay(conn, cur, tmp_path):
    for number in range(3):
        write_lines(tmp_path / f"{number}.json", [event(ts=number), event(ts=10 + number)])
    cur.execute("ALTER TABLE songplays ADD CHECK (start_time <> to_timestamp(946684800.011))")
    conn.commit()
    with pytest.raises(
        errors.LoadError, match=r"1\.json: new row for relation .songplays. violates"
    ):
        etl.process_data(cur, conn, tmp_path, etl.process_log_file)
    assert [play[0].microsecond for play in read_tables(cur)["songplays"]] == [0, 10000]


def test_a_load_leaves_no_transaction_open(conn, cur, tmp_path, loader):
    load_file(cur, conn, write_lines(tmp_path / "file.json", [event()]), loader)
    assert conn.info.transaction_status == TRANSACTION_STATUS_IDLE


def test_a_failed_statement_leaves_the_connection_usable(conn, cur, tmp_path):
    path = write_lines(tmp_path / "log.json", [event(ts=n) for n in range(20)])
    cur.execute("ALTER TABLE songplays ADD CONSTRAINT none CHECK (false) NOT VALID")
    conn.commit()
    with pytest.raises(psycopg2.IntegrityError):
        etl.process_log_file(cur, path)
    conn.rollback()
    cur.execute("ALTER TABLE songplays DROP CONSTRAINT none")
    assert etl.process_log_file(cur, path).records == 20


def test_the_song_lookup_uses_an_index(cur):
    cur.execute(
        """
        INSERT INTO artists SELECT n, n FROM generate_series(1, 20000) AS n;
        INSERT INTO songs SELECT n, n, n, 0, n, n FROM generate_series(1, 20000) AS n;
        ANALYZE songs, artists
        """
    )
    cur.execute("EXPLAIN " + song_select, (["7", "8"], ["7", "8"], [7.0, 8.0]))
    plan = "\n".join(line for (line,) in cur)
    assert "songs_hashtextextended_hashtextextended1_idx" in plan and "Seq Scan" not in plan, plan
