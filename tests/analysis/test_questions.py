"""Each analytics query against the same figures, computed from the raw JSON in plain Python."""

import contextlib
import json
import random
import re
import statistics
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from records import event, load_data, song, write_data
from scripts import thorough

import create_tables
from sparkify.analysis.questions import DEFAULTS, analytics_queries
from sparkify.read import storage

MILLISECOND = timedelta(milliseconds=1)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
RECOMMENDATIONS = "songs to recommend to a user"
LOADS = "how long the loads take"
LOCAL = ("activity by hour", "activity by weekday", "activity by weekday and hour")
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
# In test_questions_platform.py, for they are on page views as well.
BY_DAY = "requests and errors by day"
BY_PAGE = "requests and errors by page"
SILENCES = "hours in which the service may have been down"
AGENTS = {  # other than those of the sample
    '"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/114.0 Safari/537.36"': (
        "Chrome",
        "ChromeOS",
    ),
    "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/114.0 Safari/537.36 Edg/114.0": (
        "Edge",
        "Windows",
    ),
    "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/99.0 Safari/537.36 OPR/85.0": (
        "Opera",
        "Windows",
    ),
    "Mozilla/5.0 (iPhone; CPU iPhone OS 12_0 like Mac OS X) CriOS/70.0 Safari/605.1": (
        "Chrome",
        "iOS",
    ),
    "Mozilla/5.0 (Android 9; Mobile; rv:63.0) Gecko/63.0 Firefox/63.0": ("Firefox", "Android"),
    "curl/8.5.0": ("other", "other"),
    None: ("unknown", "unknown"),
}


# The data: the sample, and a small one in which everything that can be unknown is unknown somewhere


def make_odd_data(folder):
    """Write some weeks of plays with gaps, ties and missing values, and return the folder."""
    rng = random.Random(8)
    songs = [
        song(song_id=f"SO{n}", title=f"Ö{n % 7}", artist_name="Zé", duration=100.5 + n)
        for n in range(10)
    ]
    songs.append(song(song_id="SO10", artist_id="AR2", artist_name="zé", title="Ö0", year=0))
    events = []
    for user in range(1, 15):
        now, level = 1_541_000_000_000 + user % 3 * 86_400_000, "free"
        for number in range(rng.randrange(1, 60)):
            pause = rng.choice([1000, 60_000, 600_000, 5_000_000, 80_000_000])
            now += pause if number % 5 else rng.choice([0, pause])
            level = rng.choice([level] * 5 + ["free", "paid"])
            title, artist = f"Ö{rng.randrange(9)}", rng.choice(["Zé", "Zé", "zé"])
            events.append(
                event(
                    userId=str(user),
                    firstName=f"User {user}",
                    gender=[None, "F", "M"][user % 3],
                    sessionId=number // 5,
                    ts=now // 1000 * 1000,
                    level=level,
                    song=rng.choice([title] * 9 + [None]),
                    artist=rng.choice([artist] * 9 + [None]),
                    length=rng.choice([100.5 + int(title[1:]), 218.93179, 107.5, None]),
                    location=rng.choice(["Yuma, AZ", "St. Louis, MO-IL", "Yuma-Dome, AZ", None]),
                    userAgent=rng.choice(list(AGENTS)),
                )
            )
    nameless = {"artist": "Zé", "song": None, "length": None, "userAgent": None}
    events.append(event(userId="15", firstName="User 15", **nameless))
    return write_data(folder, songs, events)


def read_json(folder):
    return [
        json.loads(line)
        for path in sorted(folder.rglob("*.json"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def read_data(folder):
    """Return the catalogue's songs, and the events in order of time with what is derived of them.

    The events are the plays and the views, the first and the last day those of either.
    """
    songs = [SimpleNamespace(**record) for record in read_json(folder / "song_data")]
    catalogue = {(song.title, song.artist_name, song.duration) for song in songs}
    events = [read_event(record) for record in read_json(folder / "log_data")]
    events.sort(key=lambda event: (event.at, event.user or 0, event.sessionId))
    plays = [event for event in events if event.page == "NextSong"]
    for play in plays:
        play.hour = play.at.replace(minute=0, second=0, microsecond=0)
        play.name = (play.song, play.artist)
        play.is_named = None not in play.name
        play.is_known = (*play.name, play.length) in catalogue
    return SimpleNamespace(
        songs=songs,
        catalogue=catalogue,
        plays=plays,
        views=[event for event in events if event.page != "NextSong"],
        first_at=events[0].at,
        last_at=events[-1].at,
        first_day=events[0].day,
        last_day=events[-1].day,
        folder=folder,
    )


def read_event(record):
    at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=record["ts"])
    user = int(record["userId"]) if record["userId"] else None
    event = SimpleNamespace(**record, at=at.replace(tzinfo=None), user=user)
    event.day = event.at.date()
    event.week = event.day - event.day.weekday() * DAY
    event.session = (event.user, event.sessionId)
    return event


@pytest.fixture(scope="module", params=["sample", "odd"])
def loaded(request, server, tmp_path_factory):
    with load_kind(request.param, make_odd_data, tmp_path_factory) as loaded:
        yield loaded


@contextlib.contextmanager
def load_kind(kind, make_data, folders):
    """The data as read in plain Python, and a connection to tables that hold them."""
    folder = storage.DATA if kind == "sample" else make_data(folders.mktemp(kind))
    cur, conn = create_tables.create_database()
    with contextlib.closing(conn):
        load_data(cur, conn, folder)
        yield read_data(folder), conn


@pytest.fixture
def data(loaded):
    return loaded[0]


@pytest.fixture
def ask(loaded):
    """Returns the rows that answer a question; a session far from UTC must make no difference."""
    conn = loaded[1]
    cur = conn.cursor()
    cur.execute("SET LOCAL TIME ZONE 'Pacific/Kiritimati'")

    def ask(question, user_id=0, limit=10, time_zone="UTC"):
        values = {"user_id": user_id, "limit": limit, "time_zone": time_zone}
        cur.execute(analytics_queries[question], values)
        return cur.fetchall()

    yield ask
    conn.rollback()


# The answers, in plain Python


class Answers(dict):
    """By question, the function that answers it from the data; called with one, it takes it in."""

    def __call__(self, question):
        def register(function):
            self[question] = function
            return function

        return register


ANSWERS = answers = Answers()


def group(items, key):
    """Return the items by key, in order of the keys, None after all others."""
    groups = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(sorted(groups.items(), key=lambda pair: nulls_last(pair[0])))


def nulls_last(key):
    return [(part is None, part) for part in (key if isinstance(key, tuple) else (key,))]


def by_count(rows, count):
    """Return rows in order of a count, the greatest first, and of their other values."""
    return sorted(rows, key=lambda row: (-row[count], nulls_last(row[:2])))


def users(plays):
    return len({play.user for play in plays})


def each(first, last, step):
    while first <= last:
        yield first
        first += step


def with_gaps(days, step=DAY):
    """Return the days, or weeks, and those between unless they are a year."""
    days = sorted(set(days))
    found = days[:1]
    for before, day in zip(days, days[1:], strict=False):
        found += each(before + step, day, step) if day - before <= 366 * DAY else [day]
    return found


def half_up(number, digits):
    exact = Decimal(number.numerator) / Decimal(number.denominator)
    return float(exact.quantize(Decimal(10) ** -digits, ROUND_HALF_UP))


@answers("most played songs")
def most_played_songs(data):
    plays_of = group((play for play in data.plays if play.is_named), lambda play: play.name)
    rows = [
        (*name, len(plays), users(plays), any(play.is_known for play in plays))
        for name, plays in plays_of.items()
    ]
    return by_count(rows, 2)[:10]


@answers("most played artists")
def most_played_artists(data):
    plays_of = group((play for play in data.plays if play.is_named), lambda play: play.artist)
    rows = [
        (
            artist,
            len(plays),
            len({play.song for play in plays}),
            users(plays),
            any(play.is_known for play in plays),
        )
        for artist, plays in plays_of.items()
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:10]


@answers("songs of the catalogue that nobody plays")
def unplayed_songs(data):
    # Of songs that are called the same, the one with the smallest id has the plays.
    played = {(*play.name, play.length) for play in data.plays}
    rows, taken = [], set()
    for record in sorted(data.songs, key=lambda record: record.song_id):
        name = (record.title, record.artist_name, record.duration)
        if name not in played or name in taken:
            rows.append((record.song_id, *name[:2], record.year or None))
        taken.add(name)
    return sorted(rows, key=lambda row: (row[2], row[1], row[0]))


@answers("most wanted songs that the catalogue lacks")
def most_wanted_songs(data):
    wanted = (play for play in data.plays if play.is_named and not play.is_known)
    plays_of = group(wanted, lambda play: play.name)
    rows = [(*name, len(plays), users(plays)) for name, plays in plays_of.items()]
    return by_count(rows, 2)[:10]


@answers("key figures")
def key_figures(data):
    days = [event.day for event in data.plays + data.views]
    errors = sum((view.status or 0) >= 400 for view in data.views)
    known = sum(play.is_known for play in data.plays)
    return [
        (
            min(days),
            max(days),
            len(data.plays),
            users(data.plays),
            len({play.name for play in data.plays if play.is_named}),
            half_up(Fraction(known, len(data.plays)), 3),
            len(days),
            errors,
            half_up(Fraction(errors, len(days)), 4),
        )
    ]


@answers("activity by hour")
def activity_by_hour(data):
    plays = group(data.plays, lambda play: play.hour.hour)
    return [(hour, len(plays.get(hour, [])), users(plays.get(hour, []))) for hour in range(24)]


def cover(data):
    """Return how much of each hour of the week the data cover, as (weekday, hour): hours."""
    covered = Counter()
    for hour in each(data.first_at.replace(minute=0, second=0, microsecond=0), data.last_at, HOUR):
        part = min(hour + HOUR, data.last_at) - max(hour, data.first_at)
        covered[hour.weekday(), hour.hour] += Fraction(part // MILLISECOND, HOUR // MILLISECOND)
    return covered


@answers("activity by weekday")
def activity_by_weekday(data):
    plays_on = group(data.plays, lambda play: play.day.weekday())
    covered = cover(data)
    rows = []
    for weekday, name in enumerate(WEEKDAYS):
        plays = plays_on.get(weekday, [])
        days = Fraction(sum(covered[weekday, hour] for hour in range(24)), 24)
        rate = half_up(len(plays) / days, 1) if days >= 0.5 else None
        rows.append((name, half_up(days, 2), len(plays), rate, users(plays)))
    return rows


@answers("activity by weekday and hour")
def activity_by_weekday_and_hour(data):
    plays = Counter((play.day.weekday(), play.hour.hour) for play in data.plays)
    covered = cover(data)
    rows = []
    for weekday, hour in sorted((day, hour) for day in range(7) for hour in range(24)):
        number, hours = plays[weekday, hour], Fraction(covered[weekday, hour])
        rate = half_up(number / hours, 2) if hours >= 0.5 else None
        rows.append((WEEKDAYS[weekday], hour, half_up(hours, 2), number, rate))
    return rows


@answers("plays, users and sessions by day")
def activity_by_day(data):
    plays_on = group(data.plays, lambda play: play.day)
    rows = []
    for day in with_gaps(plays_on):
        plays = plays_on.get(day, [])
        rows.append((day, len(plays), users(plays), len({play.session for play in plays})))
    return rows


@answers("plays and users by metropolitan area")
def plays_by_metropolitan_area(data):
    rows = []
    for location, plays in group(data.plays, lambda play: play.location).items():
        place = location.split(", ") if location else (None, None)
        per_user = half_up(Fraction(len(plays), users(plays)), 1)
        rows.append((*place, len(plays), users(plays), per_user))
    return by_count(rows, 2)


def is_whole(data, week):
    return data.first_day <= week and week + 6 * DAY <= data.last_day


def count_plays(data, key):
    plays_of = group(data.plays, key)
    return [(*values, len(plays), users(plays)) for values, plays in plays_of.items()]


@answers("plays and users by week and state")
def plays_by_week_and_state(data):
    def state(play):
        return play.location and re.search(r", (\w\w)", play.location)[1]

    rows = count_plays(data, lambda play: (play.week, state(play)))
    return [(*row, is_whole(data, row[0])) for row in rows]


@answers("plays and users by day and gender")
def plays_by_day_and_gender(data):
    return count_plays(data, lambda play: (play.day, play.gender))


@answers("plays and users by day and level")
def plays_by_day_and_level(data):
    return count_plays(data, lambda play: (play.day, play.level))


def find_level_changes(data):
    """Return the plays on another level than the user's play before, each with that one."""
    last, changes = {}, []
    for play in data.plays:
        before = last.get(play.user, play)
        if before.level != play.level:
            changes.append((before, play))
        last[play.user] = play
    return changes


@answers("changes of level")
def level_changes(data):
    return [
        (
            play.at,
            play.user,
            play.firstName,
            play.lastName,
            play.gender,
            before.level,
            play.level,
            play.location,
        )
        for before, play in find_level_changes(data)
    ]


@answers("changes of level by week")
def level_changes_by_week(data):
    changes = Counter((play.week, play.level) for _, play in find_level_changes(data))
    weeks = with_gaps([week for week, _ in changes], WEEK)
    return [
        (week, changes[week, "paid"], changes[week, "free"], is_whole(data, week)) for week in weeks
    ]


@answers("sessions per user")
def sessions_per_user(data):
    rows = []
    for user, plays in group(data.plays, lambda play: play.user).items():
        latest, sessions = plays[-1], {play.session for play in plays}
        level = max(play.level for play in plays if play.at == latest.at)
        names = (latest.firstName, latest.lastName)
        rows.append((user, *names, level, len(sessions), len(plays)))
    return sorted(rows, key=lambda row: (-row[4], row[0]))


@answers("a typical user and session")
def typical_engagement(data):
    sessions = group(data.plays, lambda play: play.session)
    measures = {
        "sessions per user": list(Counter(user for user, _ in sessions).values()),
        "plays per session": [len(plays) for plays in sessions.values()],
        "minutes per session": [
            sum(play.length or 0 for play in plays) / 60 for plays in sessions.values()
        ],
    }
    return [
        (
            measure,
            half_up(Fraction(repr(float(statistics.median(values)))), 1),
            half_up(Fraction(repr(statistics.quantiles(values, n=10, method="inclusive")[-1])), 1),
        )
        for measure, values in measures.items()
    ]


@answers("returning users by week of first play")
def returning_users(data):
    weeks = {
        user: {play.week for play in plays}
        for user, plays in group(data.plays, lambda play: play.user).items()
    }
    cohorts = group(weeks.values(), min)
    all_weeks = with_gaps(set().union(*weeks.values()), WEEK)
    rows = []
    for first_week, members in cohorts.items():
        for week in all_weeks[all_weeks.index(first_week) :]:
            later, returned = (week - first_week) // WEEK, sum(week in member for member in members)
            share = half_up(Fraction(returned, len(members)), 3) if len(members) >= 5 else None
            counts = (len(members), later, returned, share)
            rows.append((first_week, *counts, is_whole(data, week)))
    return rows


@answers("plays and users by browser and operating system")
def plays_by_browser_and_system(data):
    plays_by = group(data.plays, lambda play: AGENTS.get(play.userAgent) or classify(play))
    rows = [(*pair, len(plays), users(plays)) for pair, plays in plays_by.items()]
    return by_count(rows, 2)


def classify(play):
    """Return browser and operating system of one of the sample's user agents."""
    agent = play.userAgent
    names = {"Edge/": "Edge", "Trident/": "Internet Explorer", "Firefox/": "Firefox"}
    names |= {"Chrome/": "Chrome", "AppleWebKit/": "Safari"}
    browser = next(name for mark, name in names.items() if mark in agent)
    systems = {"Windows": "Windows", "Android": "Android", "CrOS": "ChromeOS", "Linux": "Linux"}
    systems |= {"(iP": "iOS", "Macintosh": "macOS"}
    return browser, next(name for mark, name in systems.items() if mark in agent)


def recommend(data, user, limit):
    """Return what to recommend to the user: title, artist, score, reason, if there is a song."""
    of_catalogue = {(song.title, song.artist_name) for song in data.songs}
    since = data.plays[-1].at - timedelta(days=28)
    history = Counter(play.name for play in data.plays if play.user == user and play.is_named)
    favourites = sorted(history, key=lambda name: (-history[name], name))[:10]
    listeners = defaultdict(set)
    for play in data.plays:
        if play.at > since and play.user != user and play.is_named:
            listeners[play.name].add(play.user)
    rows = []
    for name, audience in listeners.items():
        if name not in history:
            alike = {
                favourite: Fraction(len(shared), len(audience | listeners[favourite]))
                for favourite in favourites
                if len(shared := audience & listeners.get(favourite, set())) > 1
            }
            score, reason = (
                0.0,
                f"popular with {len(audience)} listener" + "s" * (len(audience) > 1),
            )
            if alike:
                score = half_up(sum(alike.values()) / len(favourites), 4)
                title, artist = min(alike, key=lambda name: (-half_up(alike[name], 4), name))
                reason = f'because you played "{title}" by {artist}'
            rows.append((*name, score, reason, name in of_catalogue, len(audience)))
    rows.sort(key=lambda row: (-row[2], -row[5], row[:2]))
    return [row[:5] for row in rows[:limit]]


# The tests


def rounded(rows):
    return [
        tuple(round(value, 9) if isinstance(value, float) else value for value in row)
        for row in rows
    ]


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_is_what_the_raw_files_say(ask, data, question):
    answer = ask(question)
    assert answer
    assert rounded(answer) == rounded(ANSWERS[question](data))


@pytest.mark.parametrize("question", LOCAL)
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu"])
def test_hours_and_weekdays_are_those_of_the_zone_that_is_asked_for(ask, data, question, zone):
    first, last = (to_zone(at, zone) for at in (data.first_at, data.last_at))
    plays = [in_zone(play, zone) for play in data.plays]
    local = SimpleNamespace(plays=plays, first_at=first, last_at=last)
    answer = ask(question, time_zone=zone)
    assert answer == ANSWERS[question](local)
    assert answer != ask(question)


def to_zone(at, zone):
    return at.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def in_zone(play, zone):
    at = to_zone(play.at, zone)
    return SimpleNamespace(user=play.user, day=at.date(), hour=at)


@pytest.mark.parametrize("first", [0, thorough(1), thorough(2), thorough(3)])
def test_recommendations_are_what_the_raw_files_say(ask, data, first):
    for user in sorted({play.user for play in data.plays})[first::4]:
        assert ask(RECOMMENDATIONS, user, 10_000) == recommend(data, user, 10_000)


def test_recommendations_are_new_to_the_user_and_have_a_reason(ask, data):
    user = data.plays[0].user
    played = {play.name for play in data.plays if play.user == user}
    offers = ask(RECOMMENDATIONS, user, 5)
    assert 0 < len(offers) <= 5
    assert not {offer[:2] for offer in offers} & played
    assert all(0 < offer[2] <= 1 for offer in offers)
    assert all(offer[3].startswith('because you played "') for offer in offers)


def test_a_user_without_history_gets_what_most_others_played_lately(ask, data):
    offers = ask(RECOMMENDATIONS, 99_999, 5)
    assert offers == recommend(data, 99_999, 5)
    assert all(re.fullmatch(r"popular with \d+ listeners", offer[3]) for offer in offers)


def test_loads_are_those_of_the_files(ask, data):
    rows_loaded = {"song": len(data.songs), "log": len(data.plays) + len(data.views)}
    *rows, seconds = zip(*ask(LOADS), strict=True)
    by_kind = group(zip(*rows, strict=True), lambda row: row[1])  # it may have become midnight
    assert set(by_kind) == set(rows_loaded)
    for kind, loads in by_kind.items():
        sizes = [file.stat().st_size for file in (data.folder / f"{kind}_data").rglob("*.json")]
        *counts, megabytes = map(sum, zip(*(row[2:] for row in loads), strict=True))
        assert counts == [len(sizes), rows_loaded[kind], 0]
        assert megabytes == pytest.approx(sum(sizes) / 1e6, abs=0.011)
    assert all(0 <= taken < 600 for taken in seconds)


def test_loads_are_summed_by_day_in_utc_and_kind(conn, cur):
    cur.execute(
        """
        SET LOCAL TIME ZONE 'Pacific/Kiritimati';
        INSERT INTO loaded_files VALUES
            ('a', 'song', 300, now(), 1, 0, 0, 0.25, '2024-03-01 23:59:59.9+00'),
            ('b', 'song', 4000000000, now(), 7, 2, 0, 1.5, '2024-03-02 00:00:00+00'),
            ('c', 'log', 21000, now(), 90, 1, 0, 0.125, '2024-03-02 12:00:00+00'),
            ('d', 'log', 5000, now(), 8, 0, 0, 0.375, '2024-03-02 23:59:59.9+00')
        """
    )
    cur.execute(analytics_queries[LOADS])
    assert cur.fetchall() == [
        (date(2024, 3, 1), "song", 1, 1, 0, 0.0, 0.25),
        (date(2024, 3, 2), "log", 2, 98, 1, 0.03, 0.5),
        (date(2024, 3, 2), "song", 1, 7, 2, 4000.0, 1.5),
    ]


@pytest.mark.parametrize("question", analytics_queries)
def test_empty_tables_raise_no_error(conn, cur, question):
    cur.execute(analytics_queries[question], {"user_id": 1, "limit": 10} | DEFAULTS)
    rows = cur.fetchall()
    assert {value for row in rows for value in row if isinstance(value, float)} <= {0.0}


@pytest.mark.parametrize("question", analytics_queries)
def test_a_query_states_its_grain_and_orders_its_rows(question):
    query = analytics_queries[question]
    assert re.match(r"\s*-- One row(?: per |: )", query)
    assert "ORDER BY" in query or "-- One row: " in query


@pytest.mark.parametrize("question", analytics_queries)
def test_percent_signs_are_parameters_only(question):
    found = set(re.findall(r"%(?:[(]\w+[)]s)?", analytics_queries[question]))
    assert found <= {"%(user_id)s", "%(limit)s", "%(time_zone)s"}
    takers = (RECOMMENDATIONS, "favourite artists of a user", *LOCAL)
    assert bool(found) == (question in takers)
