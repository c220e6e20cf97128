"""How test.ipynb shows things in Jupyter: answers with their SQL, tables for people, pictures."""

import io
import re

import pandas as pd
from IPython import get_ipython
from IPython.display import Markdown, display
from matplotlib.figure import Figure
from PIL import Image

from sparkify import charts
from sparkify.questions import DEFAULTS, analytics_queries

MOST_ROWS = 12  # that a table shows; of a longer one, it shows
FEW_ROWS = 6


def set_up():
    """Have Jupyter show figures as pictures that also say in words what holds."""
    charts.set_style()
    formatters = get_ipython().display_formatter.formatters
    formatters["image/png"].for_type(Figure, to_png)
    formatters["text/plain"].for_type(Figure, lambda fig, p, _: p.text(charts.title_of(fig)))


def to_png(fig):
    """Return a figure as a PNG of 256 colours, half of the bytes, and its alternative text."""
    drawn, small = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn)
    Image.open(drawn).convert("RGB").quantize(256).save(small, "png", optimize=True)
    return small.getvalue(), {"alt": charts.title_of(fig)}


def ask(engine, question, **parameters):
    """Show the SQL that answers a question and its rows, and return them."""
    sql = analytics_queries[question]
    rows = pd.read_sql(sql, engine, params=DEFAULTS | parameters)
    display(Markdown(f"<details><summary>SQL</summary>\n\n```sql{sql}```\n\n</details>"))
    show(rows)
    return rows


def show(rows):
    """Show rows as people read them: thousands apart, shares in hundredths, no numbers of rows."""
    texts = rows.convert_dtypes().apply(to_texts)
    shown = len(texts) if len(texts) <= MOST_ROWS else FEW_ROWS
    with pd.option_context("display.max_colwidth", 120):
        size = {"max_rows": shown, "index": False, "show_dimensions": shown < len(texts)}
        html, plain = texts.to_html(**size), texts.to_string(**size)
    display({"text/html": html, "text/plain": plain}, raw=True)


def show_folded(summary, rows):
    """Show all rows, once somebody clicks on the summary."""
    with pd.option_context("display.max_colwidth", None):
        html, plain = rows.to_html(index=False), rows.to_string(index=False)
    html = f"<details><summary>{summary}</summary>\n{html}\n</details>"
    display({"text/html": html, "text/plain": plain}, raw=True)


def to_texts(column):
    """Return the values of a column as texts; ids and years are names, not numbers."""
    return column.map(find_form(column), na_action="ignore").astype(object).fillna("<NA>")


def find_form(column):
    """Return the function that writes the values of a column."""
    if re.match("share|stickiness", column.name):
        return charts.percent
    if re.search("(_id|^year|^hour)$", column.name) or not pd.api.types.is_numeric_dtype(column):
        return str
    if pd.api.types.is_bool_dtype(column):
        return str
    return "{:,.10g}".format
