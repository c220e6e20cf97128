"""Tests of data/generate.py: the formats, the rules of the simulation, and the command."""

import importlib.util
import json
import runpy
import subprocess
import sys
import tracemalloc
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

DATA = Path(__file__).parent.parent / "data"

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


def load_generate():
    spec = importlib.util.spec_from_file_location("generate", DATA / "generate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


generate = load_generate()


def run(*arguments):
    """The finished process of the command."""
    command = [sys.executable, str(DATA / "generate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def make(out, **options):
    """Generate into the folder, in this process; options as the command names them."""
    arguments = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
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


def test_a_known_line_of_the_log():
    library = generate.Library(seed=1, songs=1)
    user = generate.make_users(seed=1, count=1, start=0, days=1)[0]
    user.first_name, user.last_name, user.gender, user.number = "Zoë", "O'Hara", "F", 7
    user.metro, user.agent = ("Lansing-East Lansing, MI", -5, 1), '"Mozilla/5.0 (X11)"'
    user.level, user.registered_ms = "free", 1540919166437
    visits = [generate.Visit(1541030400, "Submit Upgrade", None)]
    session = generate.Session(user, generate.make_identity(user), visits)
    assert generate.log_line(library, 38, 0, session) == (
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
    ids = {generate.identifier(rng, "SO", "12A8", number, seed=5) for number in range(10**6)}
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


def test_a_plan_page_for_the_other_level_sends_home():
    assert generate.allowed_page("Submit Upgrade", "free") == "Submit Upgrade"
    assert generate.allowed_page("Submit Upgrade", "paid") == "Home"
    assert generate.allowed_page("Help", "paid") == "Help"


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


def test_memory_does_not_grow_with_events():
    def peak(events):
        library = generate.Library(seed=1, songs=50)
        users = generate.make_users(seed=1, count=50, start=0, days=30)
        tracemalloc.start()
        for _ in generate.simulate(library, users, start=0, days=30, events=events):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2000)  # fills the caches
    assert peak(20000) < 2 * peak(2000)


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
        patch.setattr(generate, "log_line", lambda *_: 1 / 0)
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


@pytest.mark.parametrize(
    ("songs", "events", "said"),
    [
        (100, 10**6, ""),
        (10**6, 10**7, "generate.py: this takes about 9.2 GB and 8 minutes\n"),
        (100, 10**9, "generate.py: this takes about 475.0 GB and 3.5 hours\n"),
    ],
)
def test_what_takes_long_is_said_beforehand(capsys, songs, events, said):
    generate.say_cost(SimpleNamespace(songs=songs, events=events))
    assert capsys.readouterr().err == said


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
