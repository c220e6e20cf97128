"""Tests of data/generate.py: the formats, the rules of the simulation, and the command."""

import csv
import gzip
import json
import runpy
import struct
import subprocess
import sys
import tracemalloc
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from records import LOAD
from simulated import simulate_nights

DATA = Path(__file__).parent.parent / "data"
sys.path.insert(0, str(DATA))

import generate  # noqa: E402
from service import HOUR, Service, User, Visit, quote  # noqa: E402

import etl  # noqa: E402
from sparkify.read.storage import list_files  # noqa: E402
from sparkify.run.summary import Run  # noqa: E402

SONG_TYPES = {
    "num_songs": int,
    "artist_id": str,
    "artist_latitude": float | None,
    "artist_longitude": float | None,
    "artist_location": str,
    "artist_name": str,
    "song_id": str,
    "title": str,
    "duration": float,
    "year": int,
}
EVENT_TYPES = {
    "artist": str | None,
    "auth": str,
    "firstName": str | None,
    "gender": str | None,
    "itemInSession": int,
    "lastName": str | None,
    "length": float | None,
    "level": str,
    "location": str | None,
    "method": str,
    "page": str,
    "registration": float | None,
    "sessionId": int,
    "song": str | None,
    "status": int,
    "ts": int,
    "userAgent": str | None,
    "userId": str,
}
LOGGED_IN, LOGGED_OUT = "Logged In", "Logged Out"
KINDS_OF_EVENT = {
    ("NextSong", "PUT", 200, LOGGED_IN),
    ("Home", "GET", 200, LOGGED_IN),
    ("Logout", "PUT", 307, LOGGED_IN),
    ("Upgrade", "GET", 200, LOGGED_IN),
    ("Submit Upgrade", "PUT", 307, LOGGED_IN),
    ("Downgrade", "GET", 200, LOGGED_IN),
    ("Submit Downgrade", "PUT", 307, LOGGED_IN),
    ("Settings", "GET", 200, LOGGED_IN),
    ("Save Settings", "PUT", 307, LOGGED_IN),
    ("Help", "GET", 200, LOGGED_IN),
    ("About", "GET", 200, LOGGED_IN),
    ("Error", "GET", 404, LOGGED_IN),
    ("Home", "GET", 200, LOGGED_OUT),
    ("Login", "PUT", 307, LOGGED_OUT),
    ("Help", "GET", 200, LOGGED_OUT),
    ("About", "GET", 200, LOGGED_OUT),
}


def run(*arguments):
    """The finished process of the command."""
    command = [sys.executable, str(DATA / "generate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def make(out, **options):
    """Generate into the folder, in this process; options as the command names them."""
    arguments = [
        f"--{name}" + ("" if value is True else f"={value}") for name, value in options.items()
    ]
    generate.main([str(out), *arguments])
    return out


def read_bytes(root):
    """The bytes of every song and log file, by path below the root."""
    paths = [*root.glob("song_data/**/*.json"), *root.glob("log_data/**/*.json")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def read_songs(root):
    return [json.loads(path.read_bytes()) for path in sorted(root.glob("song_data/*/*/*/*.json"))]


def read_events(root):
    paths = sorted(root.glob("log_data/*/*/*.json"))
    return [json.loads(line) for path in paths for line in path.read_bytes().split(b"\n")]


def by_user(events):
    users = defaultdict(list)
    for event in events:
        if event["userId"]:
            users[event["userId"]].append(event)
    return users


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """More songs and events than the sample, with accounts that are shared."""
    return make(tmp_path_factory.mktemp("large"), songs=500, events=20000, days=9, users=12)


@pytest.fixture(scope="module")
def songs(large):
    return read_songs(large)


@pytest.fixture(scope="module")
def events(large):
    return read_events(large)


def test_committed_sample_is_the_default_output(tmp_path):
    assert run(tmp_path).returncode == 0
    assert read_bytes(tmp_path) == read_bytes(DATA)


def test_song_has_the_keys_and_types_of_the_format(songs):
    assert len(songs) == 500
    for song in songs:
        assert list(song) == list(SONG_TYPES)
        assert all(isinstance(song[key], kind) for key, kind in SONG_TYPES.items()), song


def test_song_file_is_one_line_of_ascii_under_the_letters_of_its_track(large):
    paths = list(large.glob("song_data/*/*/*/*.json"))
    for path in paths:
        text = path.read_bytes().decode("ascii")
        assert text == json.dumps(json.loads(text))
        assert "".join(path.parts[-4:-1]) == path.name[2:5]


def test_event_has_the_keys_and_types_of_the_format(events):
    for event in events:
        assert list(event) == list(EVENT_TYPES)
        assert all(isinstance(event[key], kind) for key, kind in EVENT_TYPES.items()), event


def test_log_line_is_compact_ascii_with_escaped_slashes_and_no_last_line_feed(large):
    for path in large.glob("log_data/*/*/*.json"):
        text = path.read_bytes().decode("ascii")
        for line in text.split("\n"):
            compact = json.dumps(json.loads(line), separators=(",", ":"))
            assert line == compact.replace("/", "\\/")


def log_visit(page, level):
    """The log line of a visit of this page by a user of this level, and the user."""
    facts = {
        "firstName": quote("Zoë"),
        "gender": quote("F"),
        "lastName": quote("O'Hara"),
        "location": quote("Lansing-East Lansing, MI"),
        "registration": "1540919166437.0",
        "userAgent": quote('"Mozilla/5.0 (X11)"'),
        "userId": 7,
    }
    user = User(7, facts, -5, (0, 0, 0), 1, level, 0, 0)
    visit = Visit(1541030400, page, None)
    second, song, line = Service().log_visit(0, 38, user, visit)
    assert (second, song) == (visit.second, None)
    return line, user


def test_a_known_line_of_the_log():
    line, user = log_visit("Submit Upgrade", "free")
    assert line == (
        '{"artist":null,"auth":"Logged In","firstName":"Zo\\u00eb","gender":"F",'
        '"itemInSession":0,"lastName":"O\'Hara","length":null,"level":"free",'
        '"location":"Lansing-East Lansing, MI","method":"PUT","page":"Submit Upgrade",'
        '"registration":1540919166437.0,"sessionId":38,"song":null,"status":307,'
        '"ts":1541030400437,"userAgent":"\\"Mozilla\\/5.0 (X11)\\"","userId":"7"}'
    )
    assert user.level == "paid"


def test_same_seed_same_bytes_and_other_seed_other_bytes(tmp_path):
    size = {"songs": 20, "events": 300, "days": 3, "users": 5}
    first, again, other = (
        read_bytes(make(tmp_path / name, seed=seed, **size))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again
    assert not set(first.values()) & set(other.values())
    titles = [
        [song["title"] for song in read_songs(tmp_path / name)] for name in ("first", "other")
    ]
    assert sorted(titles[0]) != sorted(titles[1])


@pytest.mark.parametrize(
    ("count", "songs", "users", "days"),
    [(0, 1, 1, 1), (1, 1, 1, 1), (1, 3, 2, 40), (777, 1, 1, 1), (777, 50, 200, 2)],
)
def test_exactly_so_many_events(tmp_path, count, songs, users, days):
    make(tmp_path, events=count, songs=songs, users=users, days=days)
    assert len(read_events(tmp_path)) == count
    assert len(read_songs(tmp_path)) == songs


def test_ids_and_plays_are_unique(large, songs, events):
    tracks = [path.name for path in large.glob("song_data/*/*/*/*.json")]
    plays = [event for event in events if event["page"] == "NextSong"]
    for keys in (
        tracks,
        [song["song_id"] for song in songs],
        [(song["title"], song["artist_name"], song["duration"]) for song in songs],
        [(play["userId"], play["ts"], play["sessionId"]) for play in plays],
        [(event["sessionId"], event["itemInSession"]) for event in events],
    ):
        assert len(set(keys)) == len(keys) > 0


@pytest.mark.thorough
def test_ids_stay_unique_up_to_a_million_songs():
    rng = SimpleNamespace(random=lambda: 0.0)  # the same letters for all
    service = Service(seed=5)
    ids = {service.make_id(rng, "SO", "12A8", number) for number in range(10**6)}
    assert len(ids) == 10**6


def test_an_artist_has_one_name_and_place_in_all_songs(songs):
    artists = defaultdict(set)
    for song in songs:
        artists[song["artist_id"]].add(tuple(song[key] for key in list(SONG_TYPES)[2:6]))
    assert max(Counter(song["artist_id"] for song in songs).values()) > 1
    assert all(len(descriptions) == 1 for descriptions in artists.values())


def test_events_are_of_the_known_kinds(events):
    keys = ("page", "method", "status", "auth")
    assert {tuple(event[key] for key in keys) for event in events} == KINDS_OF_EVENT


def test_logged_out_events_do_not_say_who(events):
    personal = ("firstName", "gender", "lastName", "location", "registration", "userAgent")
    for event in events:
        is_out = event["auth"] == LOGGED_OUT
        assert is_out == (event["userId"] == "")
        assert [event[key] is None for key in personal] == [is_out] * len(personal)


def test_song_artist_and_length_belong_to_plays(events):
    for event in events:
        is_play = event["page"] == "NextSong"
        assert [event[key] is not None for key in ("artist", "length", "song")] == [is_play] * 3


def test_most_plays_are_of_catalogue_songs_with_their_exact_length(songs, events):
    known = {(song["title"], song["artist_name"], song["duration"]) for song in songs}
    plays = [event for event in events if event["page"] == "NextSong"]
    in_catalogue = [(play["song"], play["artist"], play["length"]) in known for play in plays]
    assert 0.79 < sum(in_catalogue) / len(plays) < 0.85


def test_items_count_up_and_sessions_are_numbered_by_their_start(events):
    sessions = defaultdict(list)
    for event in events:
        sessions[event["sessionId"]].append(event["itemInSession"])
    assert list(sessions) == sorted(sessions)
    assert all(items == list(range(len(items))) for items in sessions.values())


def test_the_next_song_starts_when_the_last_one_ended(events):
    sessions = defaultdict(list)
    for event in events:
        if event["page"] in ("NextSong", "Logout"):
            sessions[event["sessionId"]].append(event)
    pairs = [pair for session in sessions.values() for pair in pairwise(session)]
    gaps = [
        after["ts"] - before["ts"] - int(before["length"]) * 1000
        for before, after in pairs
        if before["page"] == after["page"] == "NextSong"
    ]
    assert len(gaps) > 1000
    assert sum(gap == 0 for gap in gaps) > 0.99 * len(gaps)
    assert min(gaps) >= 0


def test_level_changes_only_after_a_submit(events):
    changed = Counter()
    for history in by_user(events).values():
        for before, after in pairwise(history):
            if before["page"] in ("Submit Upgrade", "Submit Downgrade"):
                changed[before["page"]] += 1
                assert before["level"] != after["level"]
            else:
                assert before["level"] == after["level"]
    assert changed["Submit Upgrade"] > 0
    assert changed["Submit Downgrade"] > 0


def test_plan_pages_fit_the_level(events):
    needed = {"Upgrade": "free", "Downgrade": "paid"}
    for event in events:
        plan = event["page"].removeprefix("Submit ")
        assert needed.get(plan, event["level"]) == event["level"]


@pytest.mark.parametrize(
    ("page", "level", "shown"),
    [
        ("Submit Upgrade", "free", "Submit Upgrade"),
        ("Submit Upgrade", "paid", "Home"),
        ("Downgrade", "free", "Home"),
        ("Help", "paid", "Help"),
    ],
)
def test_a_plan_page_for_the_other_level_sends_home(page, level, shown):
    line, _ = log_visit(page, level)
    assert json.loads(line)["page"] == shown


def test_users_keep_their_names_and_register_before_they_come(events):
    keys = ("firstName", "lastName", "gender", "location", "registration", "userAgent")
    for history in by_user(events).values():
        assert len({tuple(event[key] for key in keys) for event in history}) == 1
        assert history[0]["registration"] < history[0]["ts"]


def test_events_are_in_order_and_in_the_file_of_their_day(large):
    paths = sorted(large.glob("log_data/*/*/*.json"))
    assert len(paths) == 9
    for path in paths:
        times = [json.loads(line)["ts"] for line in path.read_text().split("\n")]
        days = {datetime.fromtimestamp(ts / 1000, UTC).date() for ts in times}
        assert times == sorted(times)
        assert [f"{day:%Y/%m/%Y-%m-%d}-events.json" for day in days] == [
            "/".join(path.parts[-3:]),
        ]


def test_nothing_happens_during_the_outage_of_the_sample():
    first, last = (datetime(2018, 11, 16, hour, tzinfo=UTC) for hour in (20, 21))
    outage_end = last.timestamp() + 3 * 3600
    times = [event["ts"] / 1000 for event in read_events(DATA)]
    assert any(first.timestamp() <= ts < last.timestamp() for ts in times)
    assert not any(last.timestamp() <= ts < outage_end for ts in times)
    assert any(outage_end <= ts < outage_end + 3600 for ts in times)


def simulate(**options):
    """The events of a service, and the service."""
    service = Service(**options)
    return [json.loads(line) for _, _, line in service.simulate()], service


def count_by_fifth(service, events):
    """How many events each fifth of the period has."""
    fifths = Counter(
        (event["ts"] // 1000 - service.begin) * 5 // (service.end - service.begin)
        for event in events
    )
    return [fifths[number] for number in range(5)]


SIZE = {"songs": 20, "events": 8000, "days": 30, "users": 300, "outage": (0, 0)}


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        ({"growth": 1}, 0.7, 1.4),
        ({"growth": 15}, 3, 9),  # 15-fold from end to end, so 5.7-fold from fifth to fifth
        ({"cancel": 0}, 0.7, 1.4),
        ({"cancel": 80}, 0.1, 0.45),
    ],
)
def test_services_are_steady_or_grow_or_shrink(options, least, most):
    events, service = simulate(**SIZE, **options)
    first, *_, last = count_by_fifth(service, events)
    assert len(events) == SIZE["events"]
    assert least < last / first < most


def test_users_who_cancel_say_so_and_nothing_follows():
    events, _ = simulate(**SIZE, cancel=80)
    cancelled = {}
    for before, after in pairwise(
        sorted(events, key=lambda event: (event["sessionId"], event["ts"]))
    ):
        if after["page"] == "Cancellation Confirmation":
            assert (before["page"], before["status"]) == ("Cancel", 307)
            assert after["auth"] == "Cancelled"
            cancelled[after["userId"]] = after["ts"]
    assert 0.7 < len(cancelled) / SIZE["users"] < 0.85
    assert not [e for e in events if e["ts"] > cancelled.get(e["userId"], e["ts"])]


def test_an_outage_is_where_it_was_asked_for():
    begin, seconds = generate.outage("2018-11-12T21/6")
    assert (begin, seconds) == (1542056400, 6 * HOUR)

    def is_inside(event):
        return begin <= event["ts"] / 1000 < begin + seconds

    busy = SIZE | {"events": 20_000}
    events, _ = simulate(**busy | {"outage": (begin, seconds)}, growth=1)
    assert not any(map(is_inside, events))
    usual, _ = simulate(**busy, growth=1)
    assert sum(map(is_inside, usual)) > 20
    # The sessions that were on break off.
    running = Counter(
        event["sessionId"] for event in events if begin - 600 < event["ts"] / 1000 < begin
    )
    assert running
    assert not running.keys() & {e["sessionId"] for e in events if e["ts"] / 1000 > begin}


def test_night_by_night_the_same_files_are_written(tmp_path):
    whole = make(tmp_path / "whole", songs=20, events=2000, days=4, users=20)
    log_days = sorted(whole.glob("log_data/*/*/*.json"))
    assert len(log_days) == 4
    nights = tmp_path / "nights"
    for number, path in enumerate(
        simulate_nights(nights, songs=20, events=2000, days=4, users=20), 1
    ):
        assert path.read_bytes() == log_days[number - 1].read_bytes()
        assert len(list(nights.glob("log_data/*/*/*.json"))) == number
    assert read_bytes(nights) == read_bytes(whole)


ODD = {"songs": 500, "events": 8000, "days": 30, "users": 200}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """An odd service, with the truth of its plays in truth.csv."""
    folder = tmp_path_factory.mktemp("odd")
    return make(folder, odd=True, truth=folder / "truth.csv", **ODD)


def read_files(folder):
    """The records of each file that is not hidden, None for a line that is none; by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.parts):
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
            try:
                record = json.loads(text)
                found[path] = record if isinstance(record, list) else [record]
            except ValueError:
                lines = text.removesuffix("\n").split("\n")
                found[path] = [json.loads(ln) if ln.endswith("}") else None for ln in lines]
    return found


@pytest.fixture(scope="module")
def odd_songs(odd):
    return [song for songs in read_files(odd / "song_data").values() for song in songs]


@pytest.fixture(scope="module")
def odd_events(odd):
    days = read_files(odd / "log_data").values()
    return [event for events in days for event in events if event]


def undo(text):
    """What a text meant before it was encoded doubly, and how often it was."""
    for times in range(9):
        try:
            meant = text.encode("latin-1").decode()
        except UnicodeError:
            return text, times
        if meant == text:
            return text, times
        text = meant


def single(number):
    return struct.pack("f", number)


def test_truth_says_which_song_each_play_is_of(odd, odd_songs, odd_events):
    """By the rules for real data, each play of the catalogue's songs finds its song."""
    known = {
        (str(song["title"]), str(song["artist_name"]), single(song["duration"])): song["song_id"]
        for song in odd_songs
    }
    assert len(known) == ODD["songs"]
    keys = ("userId", "ts", "sessionId", "itemInSession")
    with (odd / "truth.csv").open(encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    truth = {tuple(map(int, key)): song_id for *key, song_id in rows}
    plays = [event for event in odd_events if event["page"] == "NextSong"]
    assert len(plays) == len(rows) == len(truth)
    found = {}
    for play in plays:
        length = play["length"] if "length" in play else play["duration"]
        meant = undo(play["song"])[0], undo(play["artist"])[0], single(length)
        found[tuple(int(play[key]) for key in keys)] = known.get(meant, "")
    assert found == truth
    assert 0.7 < sum(map(bool, truth.values())) / len(truth) < 0.9


@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_each_odd_play_gets_its_song(odd, cur, conn, loader):
    """What the loaders make of an odd service is what the truth says of it: all that has a song."""
    found = [
        file for kind in etl.PROCESS for file in list_files(kind, f"{odd}/{kind}_data", pytest.fail)
    ]
    LOAD[loader](cur, conn, found, Run())
    cur.execute(
        "SELECT user_id, (extract(epoch FROM start_time) * 1000)::bigint, session_id,"
        " coalesce(song_id, '') FROM songplays"
    )
    with (odd / "truth.csv").open(encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    truth = {(int(user), int(ts), int(session), song) for user, ts, session, _, song in rows}
    assert set(cur.fetchall()) == truth


def test_odd_plays_are_doubly_encoded_and_in_single_precision(odd_songs, odd_events):
    plays = [event for event in odd_events if event["page"] == "NextSong"]
    times = Counter(max(undo(play["song"])[1], undo(play["artist"])[1]) for play in plays)
    assert 0.03 < (times[1] + times[2]) / len(plays) < 0.07
    assert times[2] > 0
    lengths = {song["duration"] for song in odd_songs}
    near = {single(length) for length in lengths}
    rounded = [play for play in plays if play.get("duration") not in {None, *lengths}]
    assert sum(single(play["duration"]) in near for play in rounded) > 0.05 * len(plays)


@pytest.mark.parametrize(
    ("least", "is_odd"),
    [
        (5, lambda song: isinstance(song["title"], int)),
        (1, lambda song: isinstance(song["title"], float)),
        (5, lambda song: isinstance(song["artist_name"], int)),
        (5, lambda song: isinstance(song["artist_location"], int)),
        (40, lambda song: isinstance(song["year"], float)),
        (40, lambda song: song["artist_latitude"] != song["artist_latitude"]),
    ],
    ids=["title", "title 4.6", "artist_name", "artist_location", "year", "NaN"],
)
def test_odd_songs_have_numbers_for_texts_and_nan(odd_songs, least, is_odd):
    assert least <= sum(map(is_odd, odd_songs)) < len(odd_songs) / 4


def test_a_share_of_the_odd_artists_has_several_names(odd_songs):
    names = defaultdict(set)
    for song in odd_songs:
        names[song["artist_id"]].add(str(song["artist_name"]))
    several = [found for found in names.values() if len(found) > 1]
    assert 0.08 < len(several) / len(names) < 0.16
    assert all(any(" feat. " in name for name in found) for found in several)


@pytest.mark.parametrize(
    "is_odd",
    [
        lambda event: isinstance(event.get("userId"), int),
        lambda event: event["auth"] == "Guest" and event.get("userId") == "",
        lambda event: event["auth"] == "Guest" and "userId" not in event,
        lambda event: event["auth"] == "Logged Out",
        lambda event: isinstance(event["ts"], float) and isinstance(event["sessionId"], float),
        lambda event: isinstance(event.get("registration"), int),
        lambda event: isinstance(event.get("registration"), float),
        lambda event: "tag" not in event,
        lambda event: event.get("tag", "") is None,
        lambda event: event.get("tag") == "test",
        lambda event: event["page"] == "Submit Registration" and event.get("userId"),
        lambda event: event["page"] == "Submit Registration" and not event.get("userId"),
        lambda event: event["auth"] == "Cancelled",
        lambda event: "duration" in event and "length" not in event,
        lambda event: "city" in event and "state" in event and "location" not in event,
        lambda event: None not in event.values() and event["page"] != "NextSong",
        lambda event: (
            event.get("registration", 0) is not None and event.get("registration", 0) > event["ts"]
        ),
    ],
)
def test_odd_events_are_there(odd_events, is_odd):
    assert 0 < sum(bool(is_odd(event)) for event in odd_events) < 0.7 * len(odd_events)


def test_odd_sessions_share_numbers_and_some_begin_in_the_middle(odd_events):
    assert len(odd_events) == ODD["events"]
    who, items = defaultdict(set), defaultdict(list)
    for event in odd_events:
        who[event["sessionId"]].add(event.get("userId") or event["auth"])
        if event["auth"] == "Logged In":
            items[event["sessionId"], int(event["userId"])].append(event["itemInSession"])
    assert {1, 2, 3} < who.keys()
    assert (
        sum(
            len({str(user) for user in found if user != "Logged Out"}) > 1 for found in who.values()
        )
        > 100
    )
    assert any("Guest" in found and len(found) > 1 for found in who.values())
    assert any(min(found) > 9 for found in items.values())


def test_odd_files_have_every_ending_and_what_is_no_data_beside_them(odd):
    logs = read_files(odd / "log_data")
    names = [path.name for path in logs]
    assert names[0].startswith("2018-11-01")
    first, *_ = next(iter(logs.values()))
    assert datetime.fromtimestamp(first["ts"] / 1000, UTC).hour >= 20
    assert [len(events) for events in logs.values()][-1] == 1
    assert sum(event is None for events in logs.values() for event in events) == 1
    endings = {name.removeprefix(name[:17]) for name in names}
    assert endings == {".json", ".JSON", ".jsonl", ".json.gz"}
    songs = list(read_files(odd / "song_data"))
    assert {path.suffix for path in songs} == {".json", ".JSON", ".jsonl", ".gz"}
    texts = [path.read_bytes() for path in songs if path.suffix != ".gz"]
    assert any(text.startswith(b"[{") for text in texts)
    assert any(text.startswith(b"{\n    ") for text in texts)
    for folder in "song_data", "log_data":
        for litter in list((odd / folder).rglob("._*")):
            path = litter.with_name(litter.name.removeprefix("._"))
            assert path.is_file()
            [copy] = (path.parent / ".ipynb_checkpoints").glob(f"{path.stem}*-checkpoint.json")
            assert copy.read_bytes() != path.read_bytes()
        assert litter


def test_force_replaces_odd_files_too(tmp_path):
    make(tmp_path, songs=60, events=900, odd=True)
    make(tmp_path, songs=2, events=9, force=True)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(
        read_bytes(tmp_path)
    )
    assert len(read_events(tmp_path)) == 9


def test_memory_does_not_grow_with_events():
    def peak(events):
        service = Service(seed=1, songs=50, users=50, events=events)
        tracemalloc.start()
        for _ in service.simulate():
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1000)  # fills the caches
    assert peak(8000) < 2 * peak(1000)


def test_an_existing_data_set_is_not_overwritten(tmp_path):
    kept = tmp_path / "log_data" / "2018" / "mine.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    result = run(tmp_path, "--songs", 1, "--events", 1)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "--force" in result.stderr
    assert [path.name for path in tmp_path.rglob("*.json")] == ["mine.json"]


def test_force_replaces_json_files_and_nothing_else(tmp_path):
    make(tmp_path, songs=3, events=200, days=3)
    notes = tmp_path / "log_data" / "notes.txt"
    notes.write_text("mine")
    generate.main([str(tmp_path), "--songs", "1", "--events", "1", "--seed", "9", "--force"])
    fresh = make(tmp_path / "fresh", songs=1, events=1, seed=9)
    assert read_bytes(tmp_path) == read_bytes(fresh)
    assert notes.read_text() == "mine"


def test_an_interrupted_run_leaves_the_old_data_set(tmp_path, monkeypatch):
    make(tmp_path, songs=2, events=20)
    old = read_bytes(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Service, "log_visit", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            generate.main([str(tmp_path), "--songs", "3", "--force"])
    assert read_bytes(tmp_path) == old
    generate.main([str(tmp_path), "--songs", "4", "--events", "5", "--seed", "9", "--force"])
    assert len(read_songs(tmp_path)) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log_data", "song_data"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("OUT", "--songs", "0"),
        ("OUT", "--events", "-1"),
        ("OUT", "--users", "many"),
        ("OUT", "--days", "1.5"),
        ("OUT", "--start", "2018-13-01"),
        ("OUT", "--start", "1999-12-31"),
        ("OUT", "--outage", "2018-11-16"),
        ("OUT", "--outage", "2018-11-16T21:30/3"),
        ("OUT", "--outage", "2018-11-16T21/0"),
        ("OUT", "--outage", "2018-10-31T00/744"),
        ("OUT", "--cancel", "101"),
        ("OUT", "--growth", "0"),
        ("OUT", "--colour", "red"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(tmp_path, capsys, arguments):
    arguments = [str(tmp_path / "out") if word == "OUT" else word for word in arguments]
    with pytest.raises(SystemExit) as stop:
        generate.main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_cannot_fit_on_the_disk_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        generate.main([str(tmp_path / "out"), "--events", str(10**12)])
    assert stop.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "that takes about 475,000.0 GB, and " in line
    assert f" GB are free in {tmp_path}: choose fewer --events or --songs" in line
    assert not (tmp_path / "out").exists()


def test_ctrl_c_is_no_traceback(tmp_path, capsys, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(generate.time, "perf_counter", interrupt)
    monkeypatch.setattr(sys, "argv", ["generate.py", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(DATA / "generate.py"), run_name="__main__")
    assert stop.value.code == 130
    assert capsys.readouterr().err.startswith("generate.py: interrupted; ")


def test_the_last_line_says_what_was_written(tmp_path):
    result = run(tmp_path, "--songs", 2, "--events", 30)
    assert result.stderr == ""
    assert result.stdout.startswith(f"Wrote 2 songs and 30 events to {tmp_path} in ")
    assert result.stdout.count("\n") == 1
