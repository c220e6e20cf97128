"""The questions on requests of all kinds, plays and page views, against the raw JSON."""

import contextlib
import math
import random
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from types import SimpleNamespace

import pytest
from records import event, load_data, load_paths, write_data, write_lines
from scripts import PROJECT, thorough
from sessions import find_sessions
from test_questions import (
    BY_DAY,
    BY_PAGE,
    DAY,
    HOUR,
    SILENCES,
    WEEK,
    by_count,
    each,
    group,
    half_up,
    make_odd_data,
    read_json,
    rounded,
    with_gaps,
)

import create_tables
from sparkify.analysis.questions import DEFAULTS, analytics_queries
from sparkify.read import storage

START = 1541030400000  # 2018-11-01 00:00 UTC in milliseconds
STATUSES = [200, 200, 200, 307, 399, 400, 404, 500, None]
# The simulator's services: the first is the sample, the others as their arguments say.
SERVICES = {
    "30 days of few": None,
    "150 days": "--days 150 --events 60000 --users 300 --songs 500",
    "60 days": "--days 60 --events 30000 --users 500 --seed 3",
    "75 days": "--days 75 --events 40000 --users 400 --seed 8",
}


# The data: the sample, odd plays and page views, and either without the other


def view(**changes):
    return event(page="Home", method="GET", song=None, artist=None, length=None) | changes


def make_views():
    """Return page views with gaps in which nothing happens, also before and after all plays."""
    rng = random.Random(5)
    views = []
    for session in range(120):
        now = START - 3 * 86_400_000 + rng.randrange(50 * 86_400_000)
        user, pages = rng.choice(["", "3", "4", "77"]), ["Home", "Error", "Über", "Home page"]
        for item in range(rng.randrange(1, 12)):
            now += rng.choice([1, 1000, 240_000, 240_000, 3_000_000, 7_200_000])
            views.append(
                view(
                    ts=now,
                    userId=user if item else "",
                    sessionId=session % 40,
                    itemInSession=rng.choice([item, None]),
                    page=rng.choice(pages),
                    status=rng.choice(STATUSES),
                )
            )
    return views


def make_data(name, folder):
    """Write the data of that name, and return their folder."""
    if name == "sample":
        return storage.DATA
    if name == "views only":
        return write_data(folder, events=make_views())
    make_odd_data(folder)
    if name == "odd":
        views = make_views()
        write_lines(folder / "log_data" / "views.json", [*views, *views[:9]])
    return folder


def read_requests(folder):
    """Return what each request says that counts here, each request once."""
    requests = {}
    for record in read_json(folder / "log_data"):
        at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=record["ts"])
        is_play, user = record["page"] == "NextSong", record["userId"]
        place = None if is_play else record["itemInSession"]
        key = (at, user, record["sessionId"], place, record["page"])
        status = 200 if is_play else record["status"]
        requests[key] = SimpleNamespace(
            at=at.replace(tzinfo=None),
            day=at.date(),
            hour=at.replace(minute=0, second=0, microsecond=0, tzinfo=None),
            user=int(user) if user else None,
            sessionId=record["sessionId"],
            itemInSession=place,
            page=record["page"],
            is_error=status is not None and status >= 400,
        )
    for who, events in enumerate(find_sessions(requests.values())):
        for request in events:
            request.who = who
    return list(requests.values())


@pytest.fixture(scope="module", params=["sample", "odd", "plays only", "views only"])
def loaded(request, server, tmp_path_factory):
    """The requests as read in plain Python, and a connection to tables that hold them."""
    folder = make_data(request.param, tmp_path_factory.mktemp("requests"))
    cur, conn = create_tables.create_database()
    with contextlib.closing(conn):
        load_data(cur, conn, folder)
        yield read_requests(folder), conn


def ask(conn, question):
    """Return the rows that answer; a session far from UTC must make no difference."""
    with conn.cursor() as cur:
        cur.execute("SET LOCAL TIME ZONE 'Asia/Kathmandu'")  # 5 h 45 min from UTC
        cur.execute(analytics_queries[question], DEFAULTS)
        rows = cur.fetchall()
    conn.rollback()
    return rows


# The answers, in plain Python


def count_errors(requests):
    """Return how many requests there are, how many were errors, and the share of these."""
    errors = sum(request.is_error for request in requests)
    share = half_up(Fraction(errors, len(requests)), 4) if requests else None
    return len(requests), errors, share


def requests_by_day(requests):
    requests_on = group(requests, lambda request: request.day)
    return [(day, *count_errors(requests_on.get(day, []))) for day in with_gaps(requests_on)]


def requests_by_page(requests):
    requests_of = group(requests, lambda request: request.page)
    return by_count([(page, *count_errors(those)) for page, those in requests_of.items()], 1)


def find_silences(requests):
    """Return the runs of silent hours, the least probable first."""
    count = Counter(request.hour for request in requests)
    period = list(each(min(count), max(count), HOUR))
    last_of = defaultdict(dict)
    for request in sorted(requests, key=lambda request: request.at):
        last_of[request.hour][request.who] = request.at
    arrivals = {
        hour: len(last_of[hour].keys() - last_of[hour - HOUR].keys()) for hour in period[1:]
    }
    arrivals[period[0]] = len(last_of[period[0]])
    usual_requests, usual_arrivals = find_usual(count, period), find_usual(arrivals, period)
    chances = chance_of_nobody(arrivals, usual_arrivals, period)
    all_stop = chance_that_all_stop(last_of, period)
    rows = []
    for run in find_runs(period, count):
        chance = all_stop[run[0] - HOUR] * math.prod(chances[hour] for hour in run)
        periods = min(round(1 / (chance * len(period)), 2), 1e6)
        missed = half_up(sum(usual_requests[hour] for hour in run), 1)
        rows.append((chance, (run[0], run[-1] + HOUR, len(run), missed, periods)))
    return [row for _, row in sorted(rows, key=lambda pair: (pair[0], pair[1][0]))]


def find_runs(period, count):
    runs = []
    for hour in period:
        if not count[hour]:
            if runs and runs[-1][-1] == hour - HOUR:
                runs[-1].append(hour)
            else:
                runs.append([hour])
    return runs


def find_usual(count, period):
    """Return by hour what other weeks have then and, like four weeks more, what other days have."""
    usual = {}
    for hour in period:
        weeks = [other for other in every(hour, WEEK, period) if other != hour]
        days = [other for other in every(hour, DAY, period) if other != hour]
        average = Fraction(sum(count[other] for other in days), max(len(days), 1))
        usual[hour] = (sum(count[other] for other in weeks) + 4 * average) / (len(weeks) + 4)
    return usual


def every(hour, step, period):
    first = hour - (hour - period[0]) // step * step
    return each(first, period[-1], step)


def chance_of_nobody(arrivals, usual, period):
    """Return by hour how likely it is that nobody arrives: a negative binomial zero."""
    trend = as_busy_as(arrivals, {hour: float(usual[hour]) for hour in period}, 84, 2)
    expected = as_busy_as(arrivals, trend, 12, 20)
    excess = sum((arrivals[hour] - mean) ** 2 - mean for hour, mean in expected.items())
    dispersion = max(excess / sum(mean**2 for mean in expected.values()), 1e-6)
    return {hour: (1 + dispersion * mean) ** (-1 / dispersion) for hour, mean in expected.items()}


def as_busy_as(arrivals, usual, hours, added):
    """Return what is usual, times how busy so many hours before and after are."""
    expected = {}
    for hour in usual:
        around = [
            other
            for other in each(hour - hours * HOUR, hour + hours * HOUR, HOUR)
            if other != hour and other in usual
        ]
        level = added + sum(arrivals[other] for other in around)
        expected[hour] = usual[hour] * level / (added + sum(usual[other] for other in around))
    return expected


def chance_that_all_stop(last_of, period):
    """Return by hour how likely it is that none of its sessions has a request in the next."""
    stopped = group(
        (
            (at.minute // 5, who not in last_of[hour + HOUR])
            for hour in period
            for who, at in last_of[hour].items()
        ),
        lambda pair: pair[0],
    )
    share = {
        part: (sum(stops for _, stops in pairs) + 1) / (len(pairs) + 1)
        for part, pairs in stopped.items()
    }
    return {
        hour: math.prod(share[at.minute // 5] for at in last_of[hour].values()) for hour in period
    }


# The tests


@pytest.mark.parametrize(
    ("question", "answer"),
    [(BY_DAY, requests_by_day), (BY_PAGE, requests_by_page), (SILENCES, find_silences)],
)
def test_an_answer_is_what_the_raw_files_say(loaded, question, answer):
    requests, conn = loaded
    rows = ask(conn, question)
    assert rows
    assert rounded(rows) == rounded(answer(requests))


def test_the_odd_data_have_what_is_to_be_told_apart():
    views = make_views()
    assert {view["status"] for view in views} == set(STATUSES)
    assert {view["userId"] for view in views} > {""}


@pytest.fixture
def load(conn, cur, tmp_path):
    """Returns a connection to tables that hold these events."""

    def load(events):
        load_data(cur, conn, write_data(tmp_path, events=events))
        return conn

    return load


def at_hours(make, *hours, **changes):
    return [make(ts=START + round(hour * 3_600_000), **changes) for hour in hours]


def test_an_hour_is_silent_only_if_no_page_was_viewed_and_between_others(load):
    conn = load([*at_hours(event, 0.99, 4), *at_hours(view, 2.5, 6, userId="", status=503)])
    silent = [row[:3] for row in ask(conn, SILENCES)]
    midnight = datetime(2018, 11, 1)
    assert sorted(silent) == [
        (midnight + first * HOUR, midnight + (first + 1) * HOUR, 1) for first in (1, 3, 5)
    ]


def test_days_without_requests_have_neither_errors_nor_a_share_of_them(load):
    conn = load([*at_hours(event, 23.99, 72), *at_hours(view, 5, 6, status=400)])
    assert ask(conn, BY_DAY) == [
        (date(2018, 11, 1), 3, 2, 0.6667),
        (date(2018, 11, 2), 0, 0, None),
        (date(2018, 11, 3), 0, 0, None),
        (date(2018, 11, 4), 1, 0, 0.0),
    ]


def test_a_page_without_status_is_no_error_and_plays_are_none(load):
    views = [
        *at_hours(view, 1, 2, status=None),
        *at_hours(view, 3, page="Help", status=399),
        *at_hours(view, 4, page="Error", status=400),
    ]
    conn = load([*at_hours(event, 1, 2, 3), *views])
    assert ask(conn, BY_PAGE) == [
        ("NextSong", 3, 0, 0.0),
        ("Home", 2, 0, 0.0),
        ("Error", 1, 1, 1.0),
        ("Help", 1, 0, 0.0),
    ]


def test_sessions_that_come_like_clockwork_are_not_thought_to_come_in_bursts(load):
    """Ten sessions in each hour but one: not even chance spreads them so evenly."""
    events = [
        event(ts=START + hour * 3_600_000, sessionId=hour, userId=str(user))
        for hour in range(360)
        for user in range(10)
        if hour != 100
    ]
    silence = datetime(2018, 11, 5, 4)
    by_poisson = math.exp(10) / 360  # that nobody goes on is certain
    once_in = pytest.approx(by_poisson, rel=0.1)
    assert ask(load(events), SILENCES) == [(silence, silence + HOUR, 1, 10.0, once_in)]


def test_silence_in_a_busy_service_is_improbable_and_no_number_overflows(conn, cur, tmp_path):
    """Five hundred sessions, with a request every half hour, all stop for two hours."""
    minutes = [minute for minute in range(25, 60 * 24, 30) if not 720 <= minute < 840]
    events = [
        event(sessionId=user, userId=str(user), ts=START + minute * 60_000)
        for user in range(500)
        for minute in minutes
    ]
    load_paths(cur, conn, {"log": [write_lines(tmp_path / "events.json", events)]}, "copy")
    conn.commit()
    noon = datetime(2018, 11, 1, 12)
    assert [(*row[:3], row[4]) for row in ask(conn, SILENCES)] == [(noon, noon + 2 * HOUR, 2, 1e6)]


FIRST, *OTHERS = SERVICES


@pytest.mark.parametrize("service", [FIRST, *map(thorough, OTHERS)])
def test_the_outage_that_is_simulated_comes_first(conn, cur, tmp_path, service):
    """It begins at 21:00 UTC on the day in the middle of the period."""
    folder = storage.DATA
    if arguments := SERVICES[service]:
        folder = tmp_path / "service"
        command = [sys.executable, PROJECT / "data" / "generate.py", folder, *arguments.split()]
        subprocess.run(command, check=True, capture_output=True)
    days = sorted((folder / "log_data").rglob("*.json"))
    load_paths(cur, conn, {"log": days}, "copy")
    conn.commit()
    first, *_ = ask(conn, SILENCES)
    outage = datetime(2018, 11, 1, 21) + len(days) // 2 * DAY
    assert first[:2] == (outage, outage + 3 * HOUR)
