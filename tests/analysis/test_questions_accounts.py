"""The questions on who registered, when and in which test group, against plain Python."""

import random
import re
import statistics
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
import test_questions
from records import event, load_data, song, write_data
from test_questions import (
    DAY,
    WEEK,
    Answers,
    group,
    half_up,
    is_whole,
    load_kind,
    rounded,
    with_gaps,
)

from sparkify.analysis.answers import say_none
from sparkify.analysis.questions import analytics_queries

NEVER, GROUPS = "registered users who have never played", "groups of the A/B test"
NEWCOMERS, TENURE = "new users by week of registration", "plays by weeks since registration"
START = 1_541_106_106_000  # 2018-11-01 21:01:46 UTC, a Thursday
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def make_odd_data(folder):
    """Write what users do who registered long ago, lately, after they came, or nobody knows when.

    Some never play, some are seen at nothing but plays, some are in several groups.
    """
    rng = random.Random(24)
    events = [event(page="Home", userId="", firstName=None, lastName=None, gender=None, ts=START)]
    for user in range(40):
        days = rng.choice([-200, -3, 0, 0.5, 5, 12.25, 40])
        now = START + round(max(days, 0) * DAY_MS)
        who = {
            "userId": str(user),
            "firstName": rng.choice(["Ada", None]),
            "gender": rng.choice([None, "F", "M"]),
            "registration": rng.choice([None, *[START + days * DAY_MS] * 7]),
        }
        tags = [None, *rng.choice([[], ["test"], ["test"], ["test", "Ö"]])]
        pages = rng.choice([["NextSong"], ["Home", "Help"], *[["NextSong", "Home", "About"]] * 3])
        for number in range(rng.randrange(1, 40)):
            now += rng.choice([0, HOUR_MS, DAY_MS, 7 * DAY_MS]) * (number > 0)
            change = {"tag": rng.choice(tags), "level": rng.choice(["free", "paid"])}
            session = {"sessionId": 100 * user + number, "itemInSession": number}
            events.append(event(page=rng.choice(pages), ts=now, **who, **change, **session))
        early = [record for record in events if record["userId"] == str(user)]
        if user % 3 == 0 and who["registration"]:  # the time that was drawn, not that of submitting
            for record in early[:: 1 + user % 2]:
                record["registration"] = early[-1]["ts"] + HOUR_MS
    return write_data(folder, [song()], events)


@pytest.fixture(scope="module", params=["sample", "odd"])
def loaded(request, server, tmp_path_factory):
    with load_kind(request.param, make_odd_data, tmp_path_factory) as loaded:
        yield loaded


data, ask = test_questions.data, test_questions.ask  # of what is loaded here

ANSWERS = answers = Answers()


def by_user(events):
    return group((one for one in events if one.user is not None), lambda one: one.user)


def to_moment(ms):
    return ms and datetime.fromtimestamp(0, UTC).replace(tzinfo=None) + timedelta(milliseconds=ms)


def find_registrations(data):
    """Return the first registration by user, of those of whom a page view says it."""
    known = {user: {v.registration for v in views} for user, views in by_user(data.views).items()}
    return {user: to_moment(min(those - {None})) for user, those in known.items() if any(those)}


@answers(NEVER)
def never_played(data):
    playing = by_user(data.plays)
    latest = [
        max(views, key=lambda view: (view.at, view.itemInSession))
        for user, views in by_user(data.views).items()
        if user not in playing
    ]
    return [
        (v.user, v.firstName, v.lastName, v.gender, to_moment(v.registration), v.at)
        for v in sorted(latest, key=lambda view: view.at, reverse=True)
    ]


@answers(NEWCOMERS)
def new_users(data):
    registered = find_registrations(data)
    new = {user: at for user, at in registered.items() if at >= min(data.first_at, data.last_at)}
    by_week = group(new, lambda user: new[user].date() - new[user].weekday() * DAY)
    playing, rows = by_user(data.plays), []
    for week in with_gaps(by_week, WEEK):
        who = by_week.get(week, [])
        waits = [playing[user][0].at - new[user] for user in who if user in playing]
        days = [max(Fraction(wait // timedelta(milliseconds=1), DAY_MS), 0) for wait in waits]
        before = sum(wait < timedelta() for wait in waits)
        share = half_up(Fraction(len(waits), len(who)), 3) if who else None
        median = half_up(Fraction(statistics.median(days)), 1) if days else None
        rows.append((week, len(who), len(waits), before, share, median, is_whole(data, week)))
    return rows


@answers(TENURE)
def plays_by_tenure(data):
    registered = find_registrations(data)

    def week_of(play):
        at = registered.get(play.user)
        return at and max((play.at - at) // WEEK, -1)

    rows = []
    for week, plays in group(data.plays, week_of).items():
        counts = [len(those) for those in by_user(plays).values()]
        mean = half_up(Fraction(len(plays), len(counts)), 1)
        paid = half_up(Fraction(sum(play.level == "paid" for play in plays), len(plays)), 3)
        rows.append((week, len(counts), len(plays), mean, statistics.median(counts), paid))
    return rows


@answers(GROUPS)
def groups(data):
    tags = {
        user: {getattr(view, "tag", None) for view in views}
        for user, views in by_user(data.views).items()
    }
    members = [(tag, user) for user, those in tags.items() for tag in those - {None} or {None}]
    playing, rows = by_user(data.plays), []
    by_tag = group(members, lambda member: member[0])
    for tag, those in by_tag.items() if any(by_tag) else ():
        plays = [playing.get(user, []) for _, user in those]
        counts, paid = list(map(len, plays)), sum(is_paid(each) for each in plays)
        active = len(counts) - counts.count(0)
        shares = [half_up(Fraction(part, len(those)), 3) for part in (active, paid)]
        mean, median = half_up(Fraction(sum(counts), len(those)), 1), statistics.median(counts)
        rows.append(
            (tag, len(those), active, shares[0], sum(counts), mean, median, paid, shares[1])
        )
    return rows


def is_paid(plays):
    """Tell whether a user's latest play was on the level paid; of several, the greatest counts."""
    return max(((play.at, play.level) for play in plays), default=(None, None))[1] == "paid"


@pytest.mark.parametrize("question", ANSWERS)
def test_an_answer_is_what_the_raw_files_say(ask, data, question):
    answer = ask(question)
    is_sample = not any(hasattr(view, "tag") for view in data.views)
    assert bool(answer) == (not is_sample or question not in (NEVER, GROUPS))
    assert rounded(answer) == rounded(ANSWERS[question](data))


@pytest.mark.parametrize("question", [NEWCOMERS, TENURE, GROUPS])
def test_a_log_without_registrations_and_groups_has_no_answer(conn, cur, tmp_path, question):
    events = [event(), event(page="Home", registration=None), event(page="Help", tag=None)]
    del events[2]["registration"]
    load_data(cur, conn, write_data(tmp_path, [song()], events))
    cur.execute(analytics_queries[question])
    assert cur.fetchall() == []
    assert re.search(r": no page view (says|names)", say_none(question))
