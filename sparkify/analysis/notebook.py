"""How test.ipynb shows things in Jupyter: answers with their SQL, tables for people, pictures."""

import gc
import html
import io
import re

import numpy as np
import pandas as pd
import psycopg2
from IPython import get_ipython
from IPython.display import Markdown, display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from sparkify.analysis import charts
from sparkify.analysis.answers import explain_columns, say_none, spell
from sparkify.analysis.ask import describe_question, fetch_answer, find_question, take_values
from sparkify.analysis.questions import analytics_queries
from sparkify.errors import ServerError, WrongArguments
from sparkify.messages import one_line

MOST_ROWS = 24  # that a table shows; of a longer one, it shows
FEW_ROWS = 6


class Refused(Exception):
    """Why there is no answer: Jupyter shows that line alone, and no traceback."""

    def _render_traceback_(self):
        return [str(self)]


class Answer(pd.DataFrame):
    """The rows of an answer, which the cell that asked has shown: it shows them no second time."""

    _metadata = ["cell"]

    def _ipython_display_(self):
        if self.cell != get_ipython().execution_count:
            show(self)


def set_up():
    """Have Jupyter show figures as pictures that also say in words what holds."""
    gc.freeze()  # what is imported stays: not to be searched for garbage over and over
    charts.set_style()
    formatters = get_ipython().display_formatter.formatters
    formatters["image/png"].for_type(Figure, to_png)
    formatters["text/plain"].for_type(Figure, lambda fig, p, _: p.text(charts.title_of(fig)))


def to_png(fig):
    """Return a figure as a PNG of 256 colours, half of the bytes, and its alternative text."""
    canvas, small = FigureCanvasAgg(fig), io.BytesIO()
    canvas.draw()  # once: savefig draws twice, and writes a PNG that would be read again
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    drawn.quantize(256).save(small, "png")
    return small.getvalue(), {"alt": charts.title_of(fig)}


def ask(question="", **parameters):
    """Show the SQL that answers a question and its rows, and return them; or list all questions.

    It is named as on the command line: by its number, its title or words of it. Raises Refused.
    """
    if not question:
        print("\n".join(map(describe_question, analytics_queries)))
        return None
    try:
        title = find_question(str(question))
        names, rows = fetch_answer(title, take_values(title, parameters, str))
    except WrongArguments as error:
        raise Refused(error) from None
    except (ServerError, psycopg2.Error) as error:
        raise Refused(one_line(error)) from None
    sql = analytics_queries[title]
    display(Markdown(f"<details><summary>SQL</summary>\n\n```sql{sql}```\n\n</details>"))
    answer = Answer.from_records(rows, columns=names, coerce_float=True)
    answer.cell = get_ipython().execution_count
    show(answer, title)
    return answer


def show(rows, title="rows"):
    """Show rows as people read them: thousands apart, shares in hundredths, no numbers of rows.

    A single row stands a column a line; below the others is what their columns mean.
    """
    if rows.empty:
        text = say_none(title)
        display({"text/html": f"<p>{html.escape(text)}</p>", "text/plain": text}, raw=True)
        return
    texts = pd.DataFrame(rows).convert_dtypes().apply(to_texts)
    shown = len(texts) if len(texts) <= MOST_ROWS else FEW_ROWS
    size = {"max_rows": shown, "index": False, "show_dimensions": shown < len(texts)}
    if len(texts) == 1:
        texts, size = texts.T, {"header": False}
    with pd.option_context("display.max_colwidth", 120):
        table, plain = texts.to_html(**size), texts.to_string(**size)
    if legend := explain_columns(rows):
        plain = "\n".join([plain, *legend])
        table += f"\n<p><small>{'<br>'.join(map(html.escape, legend[1:]))}</small></p>"
    display({"text/html": table, "text/plain": plain}, raw=True)


def show_sentences(sentences):
    """Show plain sentences as a list."""
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    display({"text/html": f"<ul>{items}</ul>", "text/plain": "\n".join(sentences)}, raw=True)


def show_folded(summary, rows):
    """Show all rows, once somebody clicks on the summary."""
    with pd.option_context("display.max_colwidth", None):
        table, plain = rows.to_html(index=False), rows.to_string(index=False)
    table = f"<details><summary>{summary}</summary>\n{table}\n</details>"
    display({"text/html": table, "text/plain": plain}, raw=True)


def to_texts(column):
    """Return the values of a column as texts; ids and years are names, not numbers."""
    return column.map(find_form(column), na_action="ignore").astype(object).fillna("–")


def find_form(column):
    """Return the function that writes the values of a column."""
    if re.match("share|stickiness", column.name):
        return charts.percent
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return str if re.search("(_id|^year|^hour)$", column.name) else "{:,.10g}".format
    if pd.api.types.is_datetime64_any_dtype(column):
        return "{:%Y-%m-%d %H:%M:%S}".format
    return lambda value: spell(str(value))
