"""What stands out is true of a service of any size, and of equals none is called the greatest."""

from datetime import date

import pandas as pd
import pytest

from sparkify.analysis.findings import list_findings
from sparkify.messages import name_period

FIGURES = {
    "first_day": date(2018, 11, 1),
    "last_day": date(2018, 11, 1),
    "plays": 0,
    "users": 0,
    "share_in_catalogue": None,
    "requests": 1,
    "errors": 0,
}
COLUMNS = {
    "songs": ["title", "artist", "plays", "listeners"],
    "users": ["plays"],
    "changes": ["to_paid", "to_free"],
}


def find(songs=(), per_user=(), hours=(), changes=(), **figures):
    """Return the findings; `hours` has the plays of those that have some."""
    rows = {"songs": songs, "users": per_user, "changes": changes}
    frames = {name: pd.DataFrame(rows[name], columns=COLUMNS[name]) for name in rows}
    by_hour = pd.DataFrame([(hour, dict(hours).get(hour, 0)) for hour in range(24)])
    frames["hours"] = by_hour.set_axis(["hour", "plays"], axis="columns")
    return list_findings(pd.DataFrame([FIGURES | figures]), time_zone="Asia/Tokyo", **frames)


def test_of_page_views_alone():
    assert find() == [
        "0 users played songs 0 times on 1 November 2018.",
        "No song was played.",
        "No user has played.",
        "No hour of the day has more plays than all others.",
        "0 of 1 requests were errors; no user changed the level.",
    ]


def test_of_one_user():
    found = find(
        [("Slow\x85River", "\ufffd", 5, 1)],
        [(5,)],
        {21: 5},
        plays=5,
        users=1,
        share_in_catalogue=1.0,
        requests=6,
        errors=1,
    )
    assert found == [
        "1 user played songs 5 times on 1 November 2018.",
        r'"Slow\x85River" by \ufffd is the only song played, 5 times by 1 user; the catalogue has '
        "the songs of 100% of the plays.",
        "All plays are by one user.",
        "The hour of the day with the most plays begins at 21:00 Asia/Tokyo: it has 100% of them.",
        "1 of 6 requests were errors; no user changed the level.",
    ]


def test_of_equals():
    found = find(
        [("A", "B", 2, 2), ("C", "D", 2, 1)],
        [(2,), (2,)],
        {1: 2, 23: 2},
        [(1, 0), (0, 2)],
        plays=4,
        users=2,
        share_in_catalogue=0.5,
        last_day=date(2018, 11, 20),
    )
    assert found == [
        "2 users played songs 4 times in the 20 days from 1 to 20 November 2018: 0.2 plays a day.",
        "No song is played more than all others; the catalogue has the songs of 50% of the plays.",
        "No user plays more than all others.",
        "No hour of the day has more plays than all others.",
        "0 of 1 requests were errors; users changed to the level paid 1 time, back to free 2 "
        "times.",
    ]


@pytest.mark.parametrize(
    ("plays", "said"),
    [
        ([1, 3], "The most active of the 2 users makes 75% of the plays; half of the users have 2"),
        ([1] * 18 + [9, 9], "The most active tenth of the users, 2 of 20, make 50% of the plays"),
    ],
)
def test_of_the_most_active(plays, said):
    assert find(per_user=[(each,) for each in plays], plays=sum(plays))[2].startswith(said)


@pytest.mark.parametrize(
    ("first", "last", "name"),
    [
        ((2018, 11, 1), (2018, 11, 1), "1 November 2018"),
        ((2018, 11, 1), (2018, 11, 30), "1 to 30 November 2018"),
        ((2018, 11, 1), (2018, 12, 2), "1 November to 2 December 2018"),
        ((2018, 11, 1), (2019, 11, 2), "1 November 2018 to 2 November 2019"),
    ],
)
def test_a_period_is_named(first, last, name):
    assert name_period(date(*first), date(*last)) == name
