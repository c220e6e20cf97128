"""The questions on who listens to what, where and for how long, and on how sound the data are."""

import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
import test_questions
from records import event, load_data, load_paths, song, write_data, write_lines
from sessions import find_sessions
from test_questions import (
    HOUR,
    Answers,
    group,
    half_up,
    load_kind,
    make_odd_data,
    read_data,
    rounded,
    users,
)

from sparkify.analysis.questions import LEGENDS, analytics_queries

FAVOURITES = "favourite artists of a user"
BY_GROUP = "favourite artists by gender, level and state"
REGISTRATIONS = "from Register to the first play"
RISING = "songs that rise and fall"
TRUST = "how far the data can be trusted"
ZONES = {"AZ": "America/Phoenix", "MO": "America/Chicago"}  # of the odd data


@pytest.fixture(scope="module", params=["sample", "odd"])
def loaded(request, server, tmp_path_factory):
    with load_kind(request.param, make_odd_data, tmp_path_factory) as loaded:
        yield loaded


data, ask = test_questions.data, test_questions.ask  # of what is loaded here

ANSWERS = answers = Answers()


def state_of(play):
    return play.location and re.search(r", (\w\w)", play.location)[1]


def find_artists(data):
    """Return a function of a play: what its artist is known by, and the artist's name, or None."""
    ids, names, only = {}, {}, defaultdict(set)
    for record in sorted(data.songs, key=lambda record: record.song_id, reverse=True):
        ids[record.title, record.artist_name, record.duration] = record.artist_id
        names[record.artist_id] = record.artist_name
        only[record.artist_name].add(record.artist_id)

    def artist_of(play):
        if play.is_known:
            known_by = ids[(*play.name, play.length)]
            return known_by, names[known_by]
        if len(only[play.artist]) == 1:
            known_by = min(only[play.artist])
            return known_by, names[known_by]
        return play.artist and (f"named {play.artist}", play.artist)

    return artist_of


@answers(BY_GROUP)
def favourites_of_groups(data):
    since = data.plays[-1].at - timedelta(days=28)
    recent = [play for play in data.plays if play.at > since]
    latest = {play.user: play for play in recent}
    artist_of = find_artists(data)
    rows = []
    for name in ("gender", "level", "state"):
        of_group = {"state": state_of}.get(name, lambda play, name=name: getattr(play, name))
        members = group(latest.values(), of_group)
        for value, of_value in members.items():
            names = {play.user for play in of_value}
            plays = [play for play in recent if play.user in names and artist_of(play)]
            ranked = [
                (-users(those), -len(those), artist)
                for artist, those in group(plays, artist_of).items()
            ]
            for rank, (listeners, count, artist) in enumerate(sorted(ranked)[:3], start=1):
                share = half_up(Fraction(-listeners, len(names)), 3)
                rows.append((name, value, rank, artist[1], -listeners, share, -count))
    return rows


@answers(RISING)
def rising_songs(data):
    last, week = max(data.last_at, data.first_at), timedelta(days=7)
    if data.first_at > last - 2 * week:
        return []
    named = [play for play in data.plays if play.is_named and play.at > last - 2 * week]
    changes = []
    for name, plays in group(named, lambda play: play.name).items():
        after = sum(play.at > last - week for play in plays)
        before = len(plays) - after
        known = any(play.is_known for play in plays)
        changes.append((*name, before, after, after - before, known))
    rows = []
    for direction, sign in (("rising", 1), ("falling", -1)):
        those = [row for row in changes if sign * row[4] > 0]
        rows += [
            (direction, *row) for row in sorted(those, key=lambda row: (-abs(row[4]), row[:2]))[:5]
        ]
    return rows


@answers("activity by hour where the listeners are")
def activity_by_local_hour(data):
    plays = Counter(map(local_hour, data.plays)) + Counter()
    return [
        (hour, plays[hour], half_up(Fraction(plays[hour], len(data.plays)), 3))
        for hour in [*range(24), *([None] if plays[None] else [])]
    ]


def local_hour(play):
    """Return the hour of a play where its listener is; the sample's states by hours from UTC."""
    state = state_of(play)
    zone = ZONES.get(state) or next((z for z, states in STATES.items() if state in states), None)
    return zone and play.at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).hour


STATES = {
    "America/New_York": ("NY", "DC", "PA", "FL", "GA", "MA", "MI"),
    "America/Chicago": ("IL", "TX", "MN", "TN", "LA", "WI", "AL"),
    "America/Denver": ("CO", "UT"),
    "America/Los_Angeles": ("CA", "WA", "OR"),
    "Pacific/Honolulu": ("HI",),
}


@answers(TRUST)
def trust(data):
    plays, named = len(data.plays), [play for play in data.plays if not play.is_known]
    hours = {event.at.replace(minute=0, second=0, microsecond=0) for event in data.plays}
    hours |= {view.at.replace(minute=0, second=0, microsecond=0) for view in data.views}
    files, lines = sum(1 for _ in data.folder.rglob("*.json")), len(data.songs) + plays
    counts = {
        "plays of a song of the catalogue": (plays - len(named), plays),
        "plays without title or artist": (sum(not play.is_named for play in named), plays),
        "plays of a name that was doubly encoded, and undone": (0, plays),
        "hours with a request, from the first to the last": (
            len(hours),
            (max(hours) - min(hours)) // HOUR + 1,
        ),
        "lines set aside": (0, lines + len(data.views)),
        "files without a line that could be loaded": (0, files),
    }
    return [(name, n, of, half_up(Fraction(n, of), 4)) for name, (n, of) in counts.items()]


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_is_what_the_raw_files_say(ask, data, question):
    answer = ask(question)
    assert answer or (question, data.last_day.day) == (
        RISING,
        13,
    )  # less than two weeks of odd data
    assert rounded(answer) == rounded(ANSWERS[question](data))


def test_favourites_are_what_the_raw_files_say(ask, data):
    for user in sorted({play.user for play in data.plays})[::9]:
        plays = [play for play in data.plays if play.user == user and play.artist]
        rows = [
            (
                artist[1],
                len(those),
                half_up(Fraction(len(those), len(plays)), 3),
                len({play.song for play in those} - {None}),
                those[-1].day,
            )
            for artist, those in group(plays, find_artists(data)).items()
        ]
        assert ask(FAVOURITES, user, 100) == sorted(rows, key=lambda row: -row[1])


def test_artists_of_one_name_are_told_apart_and_a_name_is_that_of_the_only_one(conn, cur, tmp_path):
    """Two catalogue artists are called Zé, one is called Ann; of others, only the name is known."""
    songs = [
        song(song_id=f"SO{n}", artist_id=f"AR{n}", artist_name=name, title=f"T{n}", duration=n)
        for n, name in enumerate(["Zé", "Zé", "Ann"])
    ]
    played = [(0, "Zé"), (0, "Zé"), (1, "Zé"), (2, "Ann"), (7, "Ann"), (8, "Ann"), (9, "Zé")]
    events = [
        event(ts=1541106106796 + n, userId=str(n), song=f"T{title}", artist=artist, length=title)
        for n, (title, artist) in enumerate(played)
    ]
    load_data(cur, conn, write_data(tmp_path, songs, events))
    cur.execute(analytics_queries["most played artists"])
    assert cur.fetchall() == [
        ("Ann", 3, 3, 3, True),
        ("Zé", 2, 1, 2, True),
        ("Zé", 1, 1, 1, True),
        ("Zé", 1, 1, 1, False),
    ]


def test_plays_under_all_names_of_an_artist_are_that_artists(conn, cur, tmp_path):
    names = ["Ann", "Ann feat. Bo", "Cy"]
    songs = [
        song(song_id=f"SO{n}", artist_id=f"AR{n // 2}", artist_name=name, title=name, duration=n)
        for n, name in enumerate(names)
    ]
    events = [
        event(ts=n, userId="8", song=name, artist=name, length=length)
        for n, (name, length) in enumerate([(names[0], 0), (names[1], 1), (names[1], 9), ("Cy", 2)])
    ]
    load_data(cur, conn, write_data(tmp_path, songs, events))
    cur.execute("SELECT name FROM artists WHERE artist_id = 'AR0'")
    [(name,)] = cur.fetchall()
    cur.execute(analytics_queries["most played artists"])
    assert cur.fetchall() == [(name, 3, 2, 1, True), ("Cy", 1, 1, 1, True)]
    cur.execute(analytics_queries[FAVOURITES], {"user_id": 8, "limit": 9})
    assert [row[:2] for row in cur.fetchall()] == [(name, 3), ("Cy", 1)]
    cur.execute(analytics_queries["most played songs"])
    assert [row[:3] for row in cur.fetchall()][0] == ("Ann feat. Bo", "Ann feat. Bo", 2)


def test_songs_rise_or_fall_only_where_two_weeks_are_covered(conn, cur, tmp_path):
    """Exactly fourteen days from the first event to the last are enough."""
    first, day = 1541106106796, 86_400_000
    for minutes, expected in (
        (0, [("rising", "Slow River", "The Ferrymen", 0, 1, 1, True)]),
        (1, []),
    ):
        events = [event(ts=first + minutes * 60_000, page="Home"), event(ts=first + 14 * day)]
        load_data(cur, conn, write_data(tmp_path / str(minutes), [song()], events))
        cur.execute(analytics_queries[RISING])
        assert cur.fetchall() == expected


def test_levels_change_within_a_day_and_from_one_day_to_another(conn, cur, tmp_path):
    """Days on one level and on both follow each other in each order."""
    levels = [("paid", "free"), ("paid",), ("paid", "free"), ("free",), ("free", "paid"), ("free",)]
    levels += [("free", "paid"), ("paid",), ("paid",), ("free",)]
    first, hour = 1541106106796, 3_600_000
    events = [
        event(ts=first + (24 * day + number) * hour, level=level)
        for day, of_day in enumerate(levels)
        for number, level in enumerate(of_day)
    ]
    load_data(cur, conn, write_data(tmp_path / "data", [song()], events))
    cur.execute(analytics_queries["changes of level"])
    names = [column.name for column in cur.description]
    found = [
        (row["start_time"], row["level"])
        for row in (dict(zip(names, values, strict=True)) for values in cur)
    ]
    played = [
        (datetime.fromtimestamp(each["ts"] / 1000, UTC).replace(tzinfo=None), each["level"])
        for each in events
    ]
    assert found == [now for before, now in pairwise(played) if before[1] != now[1]]


@pytest.mark.parametrize("named", [True, False], ids=["a user submits", "a guest submits"])
def test_registrations_are_followed_to_the_first_play(conn, cur, tmp_path, named):
    """Of four guests, two submit, and one of them plays; all have the number of another user's."""
    steps = [
        *[(None, "Home"), (None, "Register"), ("8", "Submit Registration"), ("8", "Home")],
        ("8", "NextSong"),
    ]
    events, ts = [event(userId="3", sessionId=1)], 1541106106796
    for number, length in enumerate((5, 4, 2, 1), start=1):
        for place, (user, page) in enumerate(steps[:length]):
            who = user and str(10 * number)
            if page == "Submit Registration" and not named:
                who = None
            ts += 1000
            visit = {"userId": who or "", "page": page, "itemInSession": place, "ts": ts}
            events.append(event(**visit, sessionId=1 + number % 2))
    load_data(cur, conn, write_data(tmp_path, [song()], events))
    cur.execute(analytics_queries[REGISTRATIONS])
    assert cur.fetchall() == [(3, 2, 0.667, 1, 0.5)]
    sessions = find_sessions([*read_data(tmp_path).plays, *read_data(tmp_path).views])
    pages = [{one.page for one in events} for events in sessions]
    assert sum("Register" in each for each in pages) == 3
    assert sum({"Register", "Submit Registration"} <= each for each in pages) == 2


def test_names_that_are_doubly_encoded_and_lines_set_aside_are_counted(conn, cur, tmp_path):
    artists = [
        "Bj\u00c3\u00b6rk",
        "Sigur R\u00f3s",
        "Beyonc\u00c3\u0083\u00c2\u00a9",
        "caf\u00e9 \u00bb",
        "\u00e2\u20ac\u2122",
    ]
    events = [event(ts=n, artist=artist, length=n) for n, artist in enumerate(artists)]
    lines = [
        write_lines(tmp_path / "events.json", [*events, "{"]),
        write_lines(tmp_path / "no.json", ["{"]),
    ]
    load_paths(cur, conn, {"log": lines}, "copy")
    cur.execute(analytics_queries[TRUST])
    rows = {row[0]: row[1:] for row in cur.fetchall()}
    assert rows["plays of a name that was doubly encoded, and undone"] == (2, 5, 0.4)
    assert rows["lines set aside"] == (2, 7, 0.2857)
    assert rows["files without a line that could be loaded"] == (1, 2, 0.5)


def test_each_legend_is_about_a_column_of_some_question(cur):
    answers = {}
    for question, sql in analytics_queries.items():
        cur.execute(sql, {"user_id": 1, "limit": 1, "time_zone": "UTC"})
        answers[question] = {column.name for column in cur.description}
    known = set().union(*answers.values())
    assert set(LEGENDS) <= known
    for names in answers.values():
        for name in names & set(LEGENDS):
            told = known & set(re.findall(r"\w+_\w+", LEGENDS[name]))
            assert told <= names, f"{name} is explained by what is not in the answer"
