"""Charts that stay readable whatever they show: bars, lines by day, maps of numbers.

Each is a matplotlib Figure that keeps its size: what does not fit is cut, wrapped, thinned out or
written shorter. A Figure's title is what holds, in words.
"""

import bisect
import functools
import itertools
import warnings
from datetime import timedelta

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator

from sparkify.analysis.answers import spell

BLUE, PALE = "#1f4e79", "#a9c9e8"  # dark and light in grey, too
GROUPS = (("-", BLUE), ("--", "#c55a11"), (":", "dimgray"), ("-.", "black"))
STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.dpi": 80,
    "font.size": 10,
    "text.parse_math": False,  # a $ in a title is a dollar
}
WIDTH = 9  # of a picture, in inches, as are all lengths here
LABEL = 3.6  # the widest label of a bar or of a row
SMALL = 8  # points: the smallest letters
MOST_DATES = 10  # on an axis
DAYS_WITH_DOTS = 60  # up to so many, each day has a dot


def set_style():
    """Have matplotlib draw in the style of these charts."""
    matplotlib.rcParams.update(STYLE)
    warnings.filterwarnings("ignore", "Glyph")  # names may have letters that the font lacks


# Numbers, dates and names in words


def brief(number):
    """Return a number in at most four signs, or five from a billion on: 0.25, 7.5, 126, 1.3k."""
    if number < 10:
        return f"{round(number, 2):.2g}"
    for unit in ("", "k", "M", "G"):
        digits = 1 if unit and round(number, 1) < 10 else 0
        text = f"{number:.{digits}f}"
        if float(text) < 1000:
            break
        number /= 1000
    return f"{text.removesuffix('.0')}{unit}"


def exact(number, _=None):
    """Return a number of an axis, thousands as k: 0.2, 1.25k, 10M."""
    unit = next((n for n in (3, 2, 1) if abs(number) >= 1000**n), 0)
    return f"{number / 1000**unit:.12g}{' kMG'[unit].strip()}"


def percent(share, _=None):
    """Return a share of 1 in hundredths, with as many digits as it needs: 12%, 0.25%."""
    return f"{100 * share:.3g}%"


def name_days(days):
    """Return the names of dates, with the year below the first and wherever it changes."""
    years = [None, *(day.year for day in days)]
    return [
        f"{day.day} {day:%b}" + (f"\n{day.year}" if day.year != before else "")
        for before, day in zip(years, days, strict=False)
    ]


def name_weeks(is_whole):
    """Return the names of the weeks of an index, with an asterisk where they are not whole."""
    names = (name.partition("\n") for name in name_days(is_whole.index))
    marks = ("" if whole else "*" for whole in is_whole)
    return [f"{day}{mark}{end}{year}" for (day, end, year), mark in zip(names, marks, strict=True)]


@functools.lru_cache(10_000)
def measure(text, size=10, weight="normal"):
    """Return how much room the lines of a text take from left to right."""
    font = FontProperties(size=size, weight=weight)
    lines = text.split("\n")
    widths = (text_to_path.get_text_width_height_descent(line, font, False)[0] for line in lines)
    return 1.05 * max(widths) / 72  # pixels are whole: on a screen letters stand a bit wider


def fit(name, room=LABEL, weight="normal"):
    """Return a name in one line, cut where it takes more room."""
    name = " ".join(spell(str(name)).split()) or "(no name)"
    if measure(name, weight=weight) <= room:
        return name
    ends = range(1, len(name))
    length = bisect.bisect(ends, room, key=lambda end: measure(f"{name[:end]}…", weight=weight))
    return f"{name[:length].rstrip()}…"


def short(name):
    """Return a name as it may stand in a title."""
    return fit(name, room=4, weight="bold")


def wrap(title, room):
    """Return a title in lines, none of which takes more room unless it is a single word."""
    lines = [""]
    for word in title.split():
        longer = f"{lines[-1]} {word}".strip()
        if measure(longer, weight="bold") > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(line for line in lines if line)


# Figures, axes and legends


def new_figure(title, height, width=WIDTH, panels=1):
    """Return a Figure with a title, and its axes, one above the other."""
    fig = Figure(figsize=(width, height), layout="constrained")
    text = wrap(title, width - 0.2)
    fig.suptitle(text, x=0.06 / width, ha="left", size=10, weight="bold")
    return fig, fig.subplots(panels, sharex=True)


def title_of(fig):
    """Return the title of a Figure in one line."""
    return " ".join(fig.get_suptitle().split())


def choose_numbers(most, integer=True):
    """Return a locator of few and round numbers on an axis."""
    return MaxNLocator(most, integer=integer, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1)


def count_from_zero(ax, integer=True, name=exact):
    """Have an axis of numbers begin at 0."""
    ax.set_ylim(0, ax.get_ylim()[1] if ax.dataLim.y1 > 0 else 1)
    ax.yaxis.set_major_locator(choose_numbers(4, integer))
    ax.yaxis.set_major_formatter(name)


def mark_days(ax, days):
    """Have an axis of days name as many of them as there is room for."""
    firsts = [day for day in days if day.day == 1]
    choices = itertools.chain(
        (days[::step] for step in (1, 2, 7, 14)),
        (
            [day for day in firsts if (12 * day.year + day.month - 1) % step == 0]
            for step in (1, 2, 3, 6, *range(12, 1200, 12))
        ),
    )
    named = next(choice for choice in choices if len(choice) <= MOST_DATES)
    ax.set_xticks(named, name_days(named))
    ax.set_xlim(days[0] - timedelta(days=1), days[-1] + timedelta(days=1))
    ax.set_xlabel("day (UTC)")


def add_legend(ax):
    """Say what is what above the axes, where nothing is drawn."""
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    ax.legend(**place, ncols=4, frameon=False)


# Charts


def bars(labels, values, title, unit, pale=False):
    """Draw a horizontal bar for each value, a pale one where `pale` is true."""
    fig, ax = new_figure(title, 0.8 + 0.26 * len(values))
    colors = np.where(np.broadcast_to(pale, len(values)), PALE, BLUE)
    drawn = ax.barh(range(len(values)), values, color=colors, edgecolor=BLUE)
    ax.bar_label(drawn, fmt="{:,.0f}", padding=3)
    ax.set_yticks(range(len(values)), map(fit, labels))
    ax.set(xlabel=unit, xlim=(0, max(*values, 1) * 1.15), ylim=(len(values) - 0.4, -0.6))
    ax.xaxis.set_major_locator(choose_numbers(5))
    ax.xaxis.set_major_formatter(exact)
    return fig


def columns(labels, values, title, about, unit):
    """Draw a vertical bar for each value, with names below."""
    fig, ax = new_figure(title, 2.7)
    ax.bar(range(len(values)), values, color=BLUE)
    ax.set_xticks(range(len(values)), labels)
    ax.set(xlabel=about, ylabel=unit)
    count_from_zero(ax)
    return fig


def lines_by_day(measures, title, shares=(), unsure=None):
    """Draw a panel with a line by day for each column; those named as shares are shares of 1.

    A line is dotted on the days that `unsure` has for its column.
    """
    fig, axes = new_figure(title, 0.7 + 1.2 * measures.shape[1], panels=measures.shape[1])
    dots = {"marker": "o", "ms": 3 if len(measures) <= DAYS_WITH_DOTS else 1}
    for ax, name in zip(np.atleast_1d(axes), measures, strict=True):
        values = measures[name].astype(float)
        dotted = unsure is not None and name in unsure
        ax.plot(values, ":", color=BLUE, **dots)
        ax.plot(values.mask(unsure[name]) if dotted else values, color=BLUE, **dots)
        ax.set_title(name.replace("_", " "), loc="left", size=10)
        count_from_zero(ax, name not in shares, percent if name in shares else exact)
    mark_days(fig.axes[-1], list(measures.index))
    return fig


def lines_of_groups(numbers, title, unit):
    """Draw a line by day for each of at most four columns, all in one panel."""
    fig, ax = new_figure(title, 2.8)
    dot = "o" if len(numbers) <= DAYS_WITH_DOTS else None
    for name, (style, color) in zip(numbers, GROUPS, strict=False):
        ax.plot(numbers[name], style, color=color, label=fit(name, 1.5), marker=dot, ms=3)
    ax.set_ylabel(unit)
    count_from_zero(ax)
    mark_days(ax, list(numbers.index))
    add_legend(ax)
    return fig


def heat_map(table, title, unit, name=brief, partial=None):
    """Draw a table of numbers, the darker the greater; what is missing stays white.

    Where `partial`, a table with at least the same rows and columns, is true, is an asterisk.
    """
    texts = table.map(lambda value: "" if np.isnan(value) else name(value))
    if partial is not None:
        texts += partial.reindex_like(table).eq(True).replace({True: "*", False: ""})
    labels = [fit(label, 1.2) if measure(str(label)) > 1.2 else str(label) for label in table]
    cell = max(measure(text, SMALL) for text in texts.to_numpy().ravel()) + 0.1
    cell = max(cell, *(measure(label) + 0.12 for label in labels), 0.36)
    rows = [fit(label, 2.4) for label in table.index]
    width = cell * len(labels) + max(map(measure, rows)) + 0.7
    height = max(0.3 * len(rows), measure(table.index.name or ""))
    fig, ax = new_figure(title, 1.25 + height, max(width, 6))
    fill_cells(ax, table, texts)
    ax.set_title(unit, loc="left", size=10)
    ax.set_xticks(range(len(labels)), labels)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlabel=table.columns.name, ylabel=table.index.name)
    return fig


def fill_cells(ax, table, texts):
    """Colour the cells of a table, and write its texts on them in black or in white."""
    greatest = np.nanmax(table.to_numpy(), initial=0) or 1
    image = ax.imshow(table, cmap="Blues", vmin=0, vmax=greatest, aspect="auto")
    for (row, column), text in np.ndenumerate(texts):
        color = contrast_color(image.cmap(image.norm(table.iat[row, column])))
        written = ax.text(column, row, text, ha="center", va="center", color=color, size=SMALL)
        written.set_in_layout(False)  # it is in its cell; to ask each of them takes long


def contrast_color(background):
    """Return black or white, whichever stands out more on a colour, by 4.5:1 or more.

    By WCAG 2: both contrasts are equal at a relative luminance of 0.179.
    """
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(background)
    ]
    return "white" if np.dot(linear, (0.2126, 0.7152, 0.0722)) < 0.179 else "black"
