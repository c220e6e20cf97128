"""The pictures can be read whatever they show: from one play on a day to ten million in 400."""

import functools
import inspect
import io
import itertools
import random
from collections import namedtuple
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image
from scripts import thorough

from sparkify.analysis import charts, notebook, pictures, schema_picture
from sparkify.analysis.questions import DEFAULTS, analytics_queries
from sparkify.postgres import connection

GAP = 2  # pixels from one text to the next
WIDEST = 1000  # pixels, so that a page shows it in its own size
CONTRAST = 4.5  # to one: what WCAG 2 asks of small letters

# By the name under which pictures take it, the question that is answered, and the answer's columns.
ANSWERS = {
    "songs": ("most played songs", "title artist plays listeners in_catalogue"),
    "artists": (
        "most played artists",
        "artist plays songs_played listeners in_catalogue",
    ),
    "hours": ("activity by hour", "hour plays users"),
    "weekdays": ("activity by weekday", "weekday days plays plays_per_day users"),
    "week": ("activity by weekday and hour", "weekday hour hours plays plays_per_hour"),
    "days": ("plays, users and sessions by day", "day plays users sessions"),
    "active": (
        "daily and monthly active users",
        "day daily_users monthly_users stickiness whole_month",
    ),
    "areas": (
        "plays and users by metropolitan area",
        "metropolitan_area states plays users plays_per_user",
    ),
    "states": ("plays and users by week and state", "week state plays users whole_week"),
    "rows": ("plays and users by day and gender", "day gender plays users"),
    "per_user": (
        "plays per user by gender and by level",
        "grouped_by value users share_of_users plays share_of_plays share_without_top_user "
        "plays_per_user median_plays share_of_top_tenth",
    ),
    "changes": ("changes of level by week", "week to_paid to_free whole_week"),
    "users": ("sessions per user", "user_id first_name last_name level sessions plays"),
    "begun": (
        "sessions without a play",
        "day sessions_begun without_play of_them_never_logged_in share_without_play",
    ),
    "returning": (
        "returning users by week of first play",
        "first_week new_users weeks_later users share whole_week",
    ),
    "weeks": (
        "users who stopped coming",
        "week users stopped of_them_back_later share_stopped whole_week",
    ),
    "pages": (
        "page views by page and level",
        "page level views logged_out_views users views_per_100_plays",
    ),
    "ways": (
        "the ways to paid, back to free and away",
        "page submitting_page users submitting_users share median_days_from_first_play",
    ),
    "platforms": (
        "plays and users by browser and operating system",
        "browser operating_system plays users",
    ),
    "requests": ("requests and errors by day", "day requests errors share_of_errors"),
    "silences": (
        "hours in which the service may have been down",
        "start_time end_time hours usual_requests once_in_periods",
    ),
}
OTHERS = {"time_zone": "America/Argentina/ComodRivadavia"}
PICTURES = [
    name
    for name, function in inspect.getmembers(pictures, inspect.isfunction)
    if not {*inspect.signature(function).parameters} - {*ANSWERS, *OTHERS, "what"}
]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
SYSTEMS = ["Windows", "macOS", "Linux", "ChromeOS", "Android", "iOS", "other", "unknown"]
LONG = ("W" * 200, "A song\nof $two$ lines and $more", "日本の歌" * 30, "word " * 50, "")


Size = namedtuple("Size", "first_day days number users names")


SIZES = {
    "a play": Size(date(2018, 12, 31), 1, 1, 1, ("Home",)),
    "a week and a day, names unknown": Size(date(2018, 12, 28), 8, 999, 2, (None,)),
    "150 days": Size(date(2018, 11, 1), 150, 1_263, 100, ("Ada", "The Ferrymen", None)),
    "400 days": Size(date(2018, 11, 30), 400, 10_000_000, 10_000, LONG),
}


@functools.cache
def make_answers(size):
    """Return an answer of each question for a service of a size."""
    days = [size.first_day + timedelta(days=n) for n in range(size.days)]
    is_whole = {day - timedelta(days=day.weekday()): False for day in days}
    is_whole |= {day: day + timedelta(days=6) <= days[-1] for day in days if day.weekday() == 0}
    weeks, of = list(is_whole.items()), size.number
    some = itertools.cycle(
        [of, of // 2, max(of // 999, 1), of * 2 // 3, of, 0]
    )  # of very unlike sizes
    names = [name and f"{name} {n}" for n, name in zip(range(20), itertools.cycle(size.names))]
    known = [name or f"no. {n}" for n, name in enumerate(names)]
    counts = [of, *(n % 9 + 1 if of < 10_000 else n * n for n in range(size.users))]
    starts = [datetime.combine(size.first_day, datetime.min.time())] * 12
    rows = {
        "songs": [(name, name, of, size.users, n % 2 == 0) for n, name in enumerate(known[:10])],
        "artists": [(name, of, of, size.users, False) for name in known[:10]],
        "hours": [(hour, next(some), of) for hour in range(24)],
        "weekdays": [(day, 1 + size.days // 7, of, 0.5, of) for day in WEEKDAYS],
        "week": [(day, hour, 4.5, of, next(some)) for day in WEEKDAYS for hour in range(24)],
        "days": [(day, next(some), next(some), of) for day in days],
        "active": [(day, next(some), of, 0.123, n > 28) for n, day in enumerate(days)],
        "areas": [(name, "CA", of, size.users, 1) for name in names],
        "states": [(week, name, next(some), 1, w) for week, w in weeks for name in names],
        "rows": [(day, name, next(some), 1) for day in days for name in names[:4]],
        "per_user": [
            ("gender", name, size.users, 0.5, of, 0.5, 0.4, 1, 1, 0.3) for name in names[:4]
        ],
        "changes": [(week, next(some), next(some), whole) for week, whole in weeks],
        "users": [(n, "", "", "free", counts[n], of) for n in range(size.users)],
        "begun": [(day, of, next(some), 0, 0.1) for day in days],
        "returning": [
            (week, of, n, next(some), 0.5, n < len(weeks) - at)
            for at, (week, _) in enumerate(weeks)
            for n in range(len(weeks) - at)
        ],
        "weeks": [
            (week, of, of // 3 if n < len(weeks) - 3 else None, 0, 0.3, whole)
            for n, (week, whole) in enumerate(weeks)
        ],
        "pages": [
            (name, level, of, 0, 1, next(some) / 7)
            for name in known
            for level in ("free", "paid", None)
        ],
        "ways": [("Downgrade", "Submit Downgrade", of, of // 2, 0.5, of / 9)] * 3,
        "platforms": [
            (browser, system, next(some), 1)
            for browser in ("Internet Explorer", "Chrome", "Safari", "Edge", "Opera")
            for system in SYSTEMS
        ],
        "requests": [(day, next(some), next(some), 0.1234) for day in days],
        "silences": [(start, start, of % 999, 1.5, min(of / 9, 1e6)) for start in starts],
    }
    answers = {
        name: pd.DataFrame(rows[name], columns=columns.split())
        for name, (_, columns) in ANSWERS.items()
    }
    return answers | OTHERS


def draw(picture, answers):
    """Return a picture of answers; the recorded ones stand for what the database says."""
    function = getattr(pictures, picture)
    wanted = [name for name in inspect.signature(function).parameters if name != "what"]
    return function(*(answers[name] for name in wanted))


# What can be read


@pytest.fixture
def drawn(monkeypatch):
    """A function that draws a Figure and returns the texts that are on it, with their boxes."""
    seen = {}
    draw_text = Text.draw

    def record(text, renderer):
        draw_text(text, renderer)
        if text.get_visible() and text.get_text().strip():
            seen[text] = text.get_window_extent(renderer)

    def draw(fig):
        FigureCanvasAgg(fig)
        seen.clear()
        monkeypatch.setattr(Text, "draw", record)
        fig.draw_without_rendering()
        monkeypatch.setattr(Text, "draw", draw_text)
        return dict(seen)

    charts.set_style()
    return draw


def overlap(box, other, gap=0):
    return (
        min(box.x1, other.x1) - max(box.x0, other.x0) > -gap
        and min(box.y1, other.y1) - max(box.y0, other.y0) > 0
    )


def contrast(color, background):
    """Return the contrast of two colours by the formula of WCAG 2."""
    light = [
        sum(
            share * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
            for share, c in zip((0.2126, 0.7152, 0.0722), to_rgb(each), strict=True)
        )
        for each in (color, background)
    ]
    return (max(light) + 0.05) / (min(light) + 0.05)


def background_of(text):
    """Return the colour that a text stands on: that of a map's cell, or white."""
    images = text.axes.images if text.axes else []
    if not images or text not in text.axes.texts:
        return "white"
    column, row = text.get_position()
    value = images[0].get_array()[row, column]
    return images[0].to_rgba(value) if np.isfinite(value) else "white"


def assert_readable(fig, texts):
    assert fig.bbox.width <= WIDEST
    for text, box in texts.items():
        assert box.x0 >= 0 and box.y0 >= 0, (text, "is cut")
        assert box.x1 <= fig.bbox.x1 and box.y1 <= fig.bbox.y1, (text, "is cut")
        assert contrast(text.get_color(), background_of(text)) >= CONTRAST, text
        assert text.get_fontsize() >= 8
    for (text, box), (other, other_box) in itertools.combinations(texts.items(), 2):
        assert not overlap(box, other_box, GAP), (text, other)
    for ax in fig.axes:
        plot = ax.get_window_extent()
        assert plot.width > 200 and plot.height > 20, "there is no room left to draw in"
        if legend := ax.get_legend():
            assert not any(overlap(legend.get_window_extent(), each.bbox) for each in fig.axes)
        for text in ax.texts if ax.images else []:
            if text in texts:
                column, row = text.get_position()
                (x0, y0), (x1, y1) = ax.transData.transform(
                    [(column - 0.5, row + 0.5), (column + 0.5, row - 0.5)]
                )
                box = texts[text]
                assert x0 < box.x0 and box.x1 < x1 and y0 < box.y0 and box.y1 < y1, text


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize(
    "name", ["a play", *map(thorough, ["a week and a day, names unknown", "150 days"]), "400 days"]
)
def test_a_picture_can_be_read_whatever_the_size(drawn, picture, name):
    fig = draw(picture, make_answers(SIZES[name]))
    if (picture, name) == ("returning_users", "a play"):  # nobody could return yet
        assert fig is None
    else:
        assert_readable(fig, drawn(fig))


def test_pictures_of_sizes_in_between_can_be_read(drawn, pytestconfig):
    """With --times, of so many sizes."""
    rng = random.Random(14)
    for _ in range(pytestconfig.getoption("times") - 1):
        days, users = rng.randint(1, 4000), int(10 ** rng.uniform(0, 4))
        first_day = date(2018, 1, 1) + timedelta(days=rng.randrange(365))
        number = int(10 ** rng.uniform(0, 9))
        answers = make_answers(Size(first_day, days, number, users, (*rng.sample(LONG, 3),)))
        for picture in PICTURES:
            if (fig := draw(picture, answers)) is not None:
                assert_readable(fig, drawn(fig))


@pytest.mark.parametrize("picture", PICTURES)
def test_where_nothing_is_known_nothing_is_drawn(picture):
    nothing = {
        name: pd.DataFrame(columns=columns.split()) for name, (_, columns) in ANSWERS.items()
    }
    assert draw(picture, nothing | OTHERS) is None


def test_the_schema_can_be_read(conn, drawn):
    engine = connection.engine()
    fig = schema_picture.draw_schema(sa.inspect(engine))
    engine.dispose()
    texts = drawn(fig)
    assert_readable(fig, texts)
    assert {"songplays", "page_views", "unmatched_songplays"} <= {t.get_text() for t in texts}


def test_tables_with_as_many_columns_stand_in_the_order_of_their_names():
    columns = {name: [{"name": "at"}] for name in ("facts", *"hgfedcba")}
    stacks = schema_picture.stack_tables(columns, {("facts", "at"): ("h", "at")})
    assert stacks == [["h", "b", "e"], ["facts", "c", "f"], ["a", "d", "g"]]


def test_a_notebook_shows_a_picture_as_savefig_writes_it():
    one, other = (charts.columns(["a", "b"], [1, 1200], "Title", "letter", "plays") for _ in "12")
    saved = io.BytesIO()
    one.savefig(saved)
    shown, alternative = notebook.to_png(other)
    expected = Image.open(saved).convert("RGB").quantize(256).convert("RGB")
    found = Image.open(io.BytesIO(shown)).convert("RGB")
    assert (found.size, found.tobytes()) == (expected.size, expected.tobytes())
    assert alternative == {"alt": "Title"}


def test_the_answers_have_the_columns_of_the_questions(cur):
    for question, columns in ANSWERS.values():
        cur.execute(analytics_queries[question], DEFAULTS)
        assert [column.name for column in cur.description] == columns.split(), question


def test_what_is_the_only_one_has_all_the_plays():
    columns = ["browser", "operating_system", "users", "plays"]
    rows = [["Firefox", "Linux", 1, 3], ["Safari", "Mac OS", 1, 1]]
    titles = []
    for number in (1, 2):
        fig = pictures.plays_by_browser_and_system(pd.DataFrame(rows[:number], columns=columns))
        titles.append(" ".join(fig.get_suptitle().split()))
    assert titles == [
        "Firefox on Linux has all the plays, 100% of them",
        "Firefox on Linux has the most plays, 75% of them",
    ]


def test_the_only_song_is_not_called_the_most_played():
    songs = pd.DataFrame({"title": ["{A}", "B"], "artist": "C", "listeners": [1, 1]})
    songs["plays"] = [3, 1]
    titles = [charts.title_of(pictures.most_played_songs(songs[:number])) for number in (1, 2)]
    assert titles == ['Only "{A}" is played, by 1 listener', '"{A}" is played most, by 1 listener']
