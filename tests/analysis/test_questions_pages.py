"""The queries on page views and on who comes, as those of test_questions.py: against plain Python.

The sample has no page to cancel on, nor do its users share session numbers: the odd data does.
"""

import random
import statistics
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from operator import attrgetter

import pytest
import test_questions
import test_questions_accounts
import test_questions_listeners
from records import event, load_data, song, write_data
from sessions import find_sessions
from test_questions import (
    BY_DAY,
    BY_PAGE,
    DAY,
    MILLISECOND,
    SILENCES,
    WEEK,
    Answers,
    by_count,
    each,
    group,
    half_up,
    is_whole,
    load_kind,
    read_data,
    rounded,
    users,
    with_gaps,
)

from sparkify.analysis.questions import DEFAULTS, analytics_queries

WAYS = {
    "Upgrade": "Submit Upgrade",
    "Downgrade": "Submit Downgrade",
    "Cancel": "Cancellation Confirmation",
}
BY_WEEK = [
    "plays and users by week and state",
    "changes of level by week",
    "returning users by week of first play",
]


# The data: the sample, and a small one in which everything that can be odd is odd somewhere


def make_odd_data(folder):
    """Write some months of visits by few users, with long absences, and return the folder."""
    rng = random.Random(21)
    events = [
        *(visit for user in range(1, 13) for visit in make_visits(rng, user)),
        *make_anonymous_visits(rng),
        *make_deliberate_visits(),
    ]
    numbered = [record | {"itemInSession": number} for number, record in enumerate(events)]
    return write_data(folder, [song()], numbered)


def at(day, hour=12, **more):
    """Return the time in milliseconds of an hour of a day, counted from Wednesday, 2 Jan 2019."""
    moment = datetime(2019, 1, 2, tzinfo=UTC) + timedelta(days=day, hours=hour, **more)
    return round(moment.timestamp() * 1000)


def view(user, page, ts, **changes):
    """An event of a user, of nobody known if that is None."""
    gender = [None, "F", "M"][user % 3] if user else None
    who = {"userId": str(user or ""), "gender": gender, "auth": "Logged In" if user else None}
    return event(page=page, ts=ts, **who, **changes)


def make_visits(rng, user):
    """Yield the visits of a user; the first six share their sessions' numbers."""
    now, level = at(rng.randrange(9), rng.randrange(24)), "free"
    pages = ["NextSong"] * 6 + ["Home", "Help", *WAYS, *WAYS.values()]
    for number in range(rng.randrange(2, 25)):
        session = {"sessionId": number if user <= 6 else 100 * user + number}
        if rng.random() < 0.4:
            yield view(None, "Home", now - 1000, level=rng.choice([level, None]), **session)
        for _ in range(rng.randrange(1, 6)):
            page = rng.choice(pages)
            logged = rng.choice([level] * 4 + [None, "trial"]) if page != "NextSong" else level
            yield view(user, page, now, level=logged, **session)
            now += rng.choice([1000, 240_000, 3_600_000]) if page == "NextSong" else 1
            level = rng.choice([level] * 5 + ["free", "paid"])
        now += rng.choice([1, 1, 1, 2, 3, 7, 13, 14, 15, 29, 30]) * 86_400_000


def make_anonymous_visits(rng):
    """Yield visits in sessions of which nobody is known, the last on a day without others."""
    for number in range(5000, 5008):
        for page in rng.sample(["Home", "Login", *WAYS], 2):
            yield view(None, page, at(rng.randrange(60)), level=None, sessionId=number)
    yield view(None, "Home", at(400), level="free", sessionId=6000)


def make_deliberate_visits():
    """Yield what chance might leave out, each case with a user of its own."""
    visits = {
        # Submits at the very moment of seeing, long before the first play.
        20: [("Upgrade", at(3)), ("Submit Upgrade", at(3)), ("NextSong", at(60))],
        # Submits only before seeing.
        21: [("NextSong", at(1)), ("Submit Upgrade", at(2)), ("Upgrade", at(4))],
        # Plays never.
        22: [("Upgrade", at(5)), ("Submit Upgrade", at(6)), ("Home", at(40))],
        # Comes again on the last day of the 14, on the first after them, and after 30 days.
        23: [("Home", at(4, 23, minutes=59)), ("Home", at(18, 0)), ("Home", at(33, 0))],
        24: [("Home", at(4, 0)), ("NextSong", at(33, 23)), ("NextSong", at(63, 0))],
        # Begins a session on one day and plays on the next.
        25: [("Home", at(10, 23, minutes=59, seconds=59)), ("NextSong", at(11, 0))],
    }
    for user, pages in visits.items():
        for page, ts in pages:
            yield view(user, page, ts, level="free", sessionId=8000 + user)
    # Of two users with one session number, it is open whose the visit was on the day before.
    for user, ts in ((None, at(20)), (26, at(21)), (27, at(22))):
        yield view(user, "Home", ts, sessionId=9000)


@pytest.fixture(scope="module", params=["sample", "odd"])
def loaded(request, server, tmp_path_factory):
    with load_kind(request.param, make_odd_data, tmp_path_factory) as loaded:
        yield loaded


ask = test_questions.ask  # of what is loaded here


# The answers, in plain Python


ANSWERS = answers = Answers({name: test_questions.ANSWERS[name] for name in BY_WEEK})


@answers("the ways to paid, back to free and away")
def ways_between_levels(data):
    known = group((view for view in data.views if view.user is not None), lambda view: view.user)
    rows = []
    for page, submitting_page in WAYS.items():
        seen = {user: views for user, views in known.items() if first(views, page)}
        moments = {
            user: first(views, submitting_page, first(views, page).at)
            for user, views in seen.items()
        }
        moments = {user: view.at for user, view in moments.items() if view}
        begun = {user: first(data.plays, "NextSong", user=user) for user in moments}
        days = [
            Fraction((moment - begun[user].at) // MILLISECOND, DAY // MILLISECOND)
            for user, moment in moments.items()
            if begun[user] and begun[user].at <= moment
        ]
        if seen:
            share = half_up(Fraction(len(moments), len(seen)), 3)
            median = half_up(statistics.median(days), 1) if days else None
            rows.append((page, submitting_page, len(seen), len(moments), share, median))
    return rows


def first(events, page, since=datetime.min, user=None):
    """Return the first event of a page, at a time or after it, of any user or of one; or None."""
    found = (one for one in events if one.page == page and one.at >= since)
    return next((one for one in found if user in (None, one.user)), None)


@answers("page views by page and level")
def page_views_by_level(data):
    rows = []
    for (page, level), views in group(data.views, lambda view: (view.page, view.level)).items():
        plays = sum(play.level == level for play in data.plays)
        known = [view for view in views if view.user is not None]
        per_100 = half_up(Fraction(100 * len(views), plays), 2) if plays else None
        rows.append((page, level, len(views), len(views) - len(known), users(known), per_100))
    return by_count(rows, 2)


@answers("sessions without a play")
def sessions_without_play(data):
    sessions = find_sessions(data.plays + data.views)
    begun = group(sessions, lambda events: min(event.day for event in events))
    rows = []
    for day in with_gaps(begun):
        sessions = begun.get(day, [])
        silent = [
            events for events in sessions if all(event.page != "NextSong" for event in events)
        ]
        nobodys = sum(all(event.user is None for event in events) for events in sessions)
        share = half_up(Fraction(len(silent), len(sessions)), 3) if sessions else None
        rows.append((day, len(sessions), len(silent), nobodys, share))
    return rows


def days_of_users(data):
    """Return the days on which each user has an event."""
    known = (event for event in data.plays + data.views if event.user is not None)
    return {
        user: {event.day for event in events}
        for user, events in group(known, lambda event: event.user).items()
    }


@answers("daily and monthly active users")
def active_users(data):
    came = days_of_users(data).values()
    rows = []
    for day in with_gaps(set().union(*came)):
        month = set(each(day - 29 * DAY, day, DAY))
        daily, monthly = sum(day in days for days in came), sum(bool(days & month) for days in came)
        stickiness = half_up(Fraction(daily, monthly), 3) if monthly else None
        rows.append((day, daily, monthly, stickiness, min(month) >= data.first_day))
    return rows


@answers("users who stopped coming")
def stopped_users(data):
    came = days_of_users(data).values()
    weeks = {day - day.weekday() * DAY for days in came for day in days}
    rows = []
    for week in with_gaps(weeks, WEEK):
        active = [days for days in came if any(week <= day < week + WEEK for day in days)]
        stopped, back = [], []
        for days in active:
            last = max(day for day in days if day < week + WEEK)
            if not days & set(each(last + DAY, last + 14 * DAY, DAY)):
                stopped.append(days)
                back += [days] if max(days) > last else []
        counts = len(stopped), len(back)
        share = half_up(Fraction(len(stopped), len(active)), 3) if active else None
        if week + 6 * DAY + 14 * DAY > data.last_day:
            counts, share = (None, None), None
        rows.append((week, len(active), *counts, share, is_whole(data, week)))
    return rows


@answers("plays per user by gender and by level")
def plays_per_user(data):
    groups = {
        "all": lambda play: "all",
        "gender": lambda play: play.gender or "unknown",
        "level": attrgetter("level"),
        "gender and level": lambda play: f"{play.gender or 'unknown'}, {play.level}",
    }
    rows = []
    for name, key in groups.items():
        for value, plays in group(data.plays, key).items():
            of_users = sorted(Counter(play.user for play in plays).values(), reverse=True)
            count, others = len(of_users), len(data.plays) - of_users[0]
            rest = Fraction(len(plays) - of_users[0], others) if others else None
            rows.append(
                (
                    name,
                    value,
                    count,
                    half_up(Fraction(count, users(data.plays)), 3),
                    len(plays),
                    half_up(Fraction(len(plays), len(data.plays)), 3),
                    None if rest is None else half_up(rest, 3),
                    half_up(Fraction(len(plays), count), 1),
                    statistics.median(of_users),
                    half_up(Fraction(sum(of_users[: max(count // 10, 1)]), len(plays)), 3),
                )
            )
    return rows


# The tests


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_is_what_the_raw_files_say(ask, loaded, question):
    answer = ask(question)
    assert answer
    assert rounded(answer) == rounded(ANSWERS[question](loaded[0]))


def test_each_question_has_an_answer_to_compare():
    compared = {*ANSWERS, *test_questions.ANSWERS, *test_questions_listeners.ANSWERS}
    compared |= {test_questions.RECOMMENDATIONS, test_questions_listeners.FAVOURITES}
    compared |= {test_questions_listeners.REGISTRATIONS, *test_questions_accounts.ANSWERS}
    compared |= {test_questions.LOADS, BY_DAY, BY_PAGE, SILENCES}
    compared |= {"how the loads went"}  # no file has that: see tests/run/test_nightly.py
    assert compared == set(analytics_queries)


@pytest.mark.parametrize("question", [*BY_WEEK, "users who stopped coming"])
@pytest.mark.parametrize("first_day", [5, 6], ids=["from Monday", "from Tuesday"])
@pytest.mark.parametrize("last_day", [31, 32], ids=["to Saturday", "to Sunday"])
def test_a_week_is_whole_by_days(conn, cur, tmp_path, question, first_day, last_day):
    """The data end with page views, and of nobody known: they cover their days all the same."""
    events = [
        view(None, "Home", at(first_day, 23)),
        view(8, "NextSong", at(7), level="free"),
        view(8, "NextSong", at(8), level="paid"),
        view(8, "NextSong", at(28), level="free"),
        view(None, "Home", at(last_day, 0)),
    ]
    load_data(cur, conn, write_data(tmp_path, [song()], events))
    cur.execute(analytics_queries[question])
    rows = cur.fetchall()
    assert rounded(rows) == rounded(ANSWERS[question](read_data(tmp_path)))
    assert (rows[0][-1], rows[-1][-1]) == (first_day == 5, last_day == 32)


@pytest.mark.parametrize("question", ANSWERS)
def test_plays_alone_are_enough(conn, cur, tmp_path, question):
    """A log may have no event of any other page."""
    load_data(cur, conn, write_data(tmp_path, [song()], [event(), event(ts=at(0), level="paid")]))
    cur.execute(analytics_queries[question])
    about_pages = ("page views by page and level", "the ways to paid, back to free and away")
    assert bool(cur.fetchall()) == (question not in about_pages)


# By what it shows: under one number, events as (user, place, page, minute from 23:00), and what
# their sessions are: how many on the first day and the second, without a play, of nobody known.
SHARED_NUMBERS = {
    "a guest comes hours after a user's only play": (
        [(2, 0, "NextSong", 0), (None, 0, "Home", 300)],
        [(1, 0, 0), (1, 1, 1)],
    ),
    "a guest comes while a user plays": (
        [(2, 0, "Home", 0), (2, 1, "NextSong", 1), (None, 0, "Home", 2), (2, 2, "NextSong", 5)],
        [(2, 1, 1)],
    ),
    "two users and a guest, each user logging in or out": (
        [
            *[(None, 0, "Home", 0), (None, 1, "Login", 1), (2, 2, "Home", 2), (2, 3, "Help", 3)],
            *[(3, 0, "NextSong", 4), (3, 1, "Logout", 5), (None, 2, "Home", 6)],
            *[(None, 0, "Home", 8), (None, 1, "Register", 9), (None, 2, "About", 10)],
        ],
        [(3, 2, 1)],
    ),
    "a guest before a user who logs in at the same place": (
        [
            *[(None, 0, "Home", 0), (None, 1, "Help", 1)],
            *[(None, 0, "Home", 70), (None, 1, "Login", 71), (2, 2, "Home", 72)],
            (2, 3, "NextSong", 73),
        ],
        [(1, 1, 1), (1, 0, 0)],
    ),
    "two guests": (
        [(None, 0, "Home", 0), (None, 1, "Help", 1), (None, 0, "Home", 90), (None, 1, "Help", 91)],
        [(1, 1, 1), (1, 1, 1)],
    ),
    "two guests at the same time": (
        [(None, 0, "Home", 0), (None, 0, "Home", 1), (None, 1, "Help", 2), (None, 1, "Help", 3)],
        [(2, 2, 2)],
    ),
    "a user logs out, in and out past midnight": (
        [
            *[(2, 0, "NextSong", 58), (2, 1, "Logout", 59), (None, 2, "Home", 61)],
            *[(None, 3, "Login", 62), (2, 4, "Home", 63), (2, 5, "NextSong", 64)],
            *[(2, 6, "Logout", 65), (None, 7, "Home", 66)],
        ],
        [(1, 0, 0)],
    ),
    "the data begin in the middle of a session, after its logout": (
        [(None, 7, "Home", 0), (None, 8, "Login", 1), (2, 9, "Home", 2), (2, 10, "NextSong", 3)],
        [(1, 0, 0)],
    ),
    "the log has no places": (
        [(2, None, "NextSong", 0), (2, None, "Logout", 3), (None, None, "Home", 4)],
        [(1, 0, 0)],
    ),
    "the log has no places, and nobody is known": (
        [(None, None, "Home", 0), (None, None, "Help", 4)],
        [(1, 1, 1)],
    ),
}


@pytest.mark.parametrize("case", SHARED_NUMBERS)
def test_a_number_may_be_that_of_several_sessions(conn, cur, tmp_path, case):
    events, expected = SHARED_NUMBERS[case]
    records = [
        view(user, page, at(0, 23, minutes=minute), itemInSession=place, sessionId=1)
        for user, place, page, minute in events
    ]
    load_data(cur, conn, write_data(tmp_path, [song()], records))
    cur.execute(analytics_queries["sessions without a play"])
    rows = cur.fetchall()
    assert [row[1:4] for row in rows] == expected
    assert rounded(rows) == rounded(sessions_without_play(read_data(tmp_path)))


@pytest.mark.parametrize("question", analytics_queries)
def test_a_wrong_year_makes_no_rows_for_the_years_between(conn, cur, tmp_path, question):
    events = [event(), event(ts=at(0), level="paid"), view(8, "Home", at(9))]
    late = round(datetime(9999, 12, 31, 12, tzinfo=UTC).timestamp() * 1000)
    events += [event(ts=late), view(None, "Home", late)]
    load_data(cur, conn, write_data(tmp_path, [song()], events))
    cur.execute(analytics_queries[question], {"user_id": 8, "limit": 10} | DEFAULTS)
    days = [row[0] for row in cur.fetchall() if isinstance(row[0], date)]
    assert len(days) < 200
