"""How test.ipynb shows answers: the query, a table, and pictures in one style."""

import io
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from PIL import Image

from sparkify.questions import analytics_queries

BLUE, PALE = "#1f4e79", "#a9c9e8"  # dark and light in grey, too
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
WEEK_BEGINS = "week that begins on (* is not whole)"
STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": "medium",
    "date.autoformatter.day": "%d %b",
    "figure.dpi": 80,
    "text.parse_math": False,  # a $ in a title is a dollar
}


def set_style():
    """Have a notebook draw in the style of these pictures."""
    plt.rcParams |= STYLE
    warnings.filterwarnings("ignore", "Glyph")  # titles may have letters that the font lacks
    plt.switch_backend("inline")  # now, for it would replace what comes next
    get_ipython().display_formatter.formatters["image/png"].for_type(Figure, to_png)


def to_png(fig):
    """Return a figure as a PNG of 256 colours: half of the bytes, and the notebook stays small."""
    drawn, small = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, bbox_inches="tight")
    Image.open(drawn).convert("RGB").quantize(256).save(small, "png", optimize=True)
    return small.getvalue()


def ask(engine, question, **parameters):
    """Show the SQL that answers a question and its rows, and return them."""
    sql = analytics_queries[question]
    rows = pd.read_sql(sql, engine, params=parameters or None)
    display(Markdown(f"<details><summary>SQL</summary>\n\n```sql{sql}```\n\n</details>"))
    with pd.option_context("display.max_colwidth", 120):
        display(rows.convert_dtypes())
    return rows


def short(label):
    """Return a label, cut where it is too long for a picture."""
    return label if len(label) <= 60 else f"{label[:59]}…"


def mark_weeks(is_whole):
    """Return the names of the weeks of an index, with an asterisk where they are not whole."""
    return [f"{week}" if whole else f"{week}*" for week, whole in is_whole.items()]


def bars(labels, values, title, unit, pale=False):
    """Draw a horizontal bar for each value, a pale one where `pale` is true."""
    fig, ax = plt.subplots(figsize=(7, 0.6 + 0.28 * len(values)))
    colors = np.where(np.broadcast_to(pale, len(values)), PALE, BLUE)
    drawn = ax.barh(range(len(values)), values, color=colors, edgecolor=BLUE)
    ax.bar_label(drawn, fmt="{:,.0f}", padding=3)
    ax.set_yticks(range(len(values)), map(short, labels))
    ax.invert_yaxis()
    ax.set_title(title)
    ax.set_xlabel(unit)
    plt.show()


def heat_map(table, title, unit, number="{:,.0f}", partial=None):
    """Draw a table of numbers, the darker the greater; what is missing stays white.

    Where `partial`, a table with at least the same rows and columns, is true, is an asterisk.
    """
    widest = max(len(str(name)) for name in table.columns)
    width = max(0.42 if partial is None else 0.54, 0.12 * widest) * len(table.columns)
    fig, ax = plt.subplots(figsize=(max(width, 5) + 1.5, 1 + 0.32 * len(table)))
    image = ax.imshow(table, cmap="Blues", vmin=0, aspect="auto")
    fig.colorbar(image, label=unit, format=lambda value, _: number.format(value), pad=0.02)
    for (row, column), value in np.ndenumerate(table):
        if not np.isnan(value):
            color = "white" if value > 0.6 * np.nanmax(table) else "black"
            text = number.format(value)
            if partial is not None and partial.loc[table.index[row], table.columns[column]]:
                text += "*"
            ax.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    ax.set_xticks(range(len(table.columns)), table.columns)
    ax.set_yticks(range(len(table)), table.index)
    ax.set(xlabel=table.columns.name, ylabel=table.index.name)
    ax.set_title(title)
    plt.show()
