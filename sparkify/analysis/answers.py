"""How an answer is written: as a table for people, as CSV or JSON for programs.

The standard library writes CSV and JSON, not pandas: its JSON has floats to 15 digits and times to
milliseconds, and its import takes longer than most answers.
"""

import csv
import json
import re
import shutil
import sys
import textwrap
from datetime import UTC, date, datetime
from decimal import Decimal

from wcwidth import clip, ljust, rjust, wcswidth

from sparkify.analysis.questions import LEGENDS, NONE
from sparkify.messages import count, is_terminal, set_stdout

# Would break a line or speak to the terminal; isn't drawn, or as if the font lacked something.
UNDRAWABLE = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\uf8ff\ufffd]"
GAP = "  "
NARROW = 12  # characters: no column is cut below that
PLACES = 4  # the most decimals in a table
ROWS_SHOWN = 24  # on a terminal
FEW_ROWS = 5  # stand a column a line rather than be cut


def write_csv(names, rows):
    """Print the rows as CSV, in which NULL is empty."""
    set_stdout(encoding="utf-8")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(map(to_plain, row) for row in rows)


def write_json(names, rows):
    """Print the rows as a JSON array, an object a line."""
    set_stdout(encoding="utf-8")
    objects = (dict(zip(names, map(to_plain, row), strict=True)) for row in rows)
    lines = (json.dumps(each, ensure_ascii=False, default=str) for each in objects)
    print("[", ",\n ".join(lines), "]", sep="")


def to_plain(value):
    """Return a value as JSON has it: times in ISO's form, those with a time zone in UTC."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return in_utc(value).isoformat() if isinstance(value, date) else value


def in_utc(value):
    """Return a date or time as it is, or in UTC if it has a time zone."""
    return value.astimezone(UTC) if getattr(value, "tzinfo", None) else value


def write_table(names, rows, question=""):
    """Print an answer as a table, and what its columns hold.

    A terminal gets what it has room for, and is told what it doesn't get.
    """
    set_stdout(errors="backslashreplace")
    if not rows:
        print(say_none(question))
        return
    room = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    if room:
        print_on_terminal(names, rows, room)
    else:
        print_lines(names, rows)
    for line in explain_columns(names):
        print(textwrap.fill(line, room, subsequent_indent=GAP) if room else line)


def explain_columns(names):
    """Return lines on what columns hold, after an empty one; none where their names say it."""
    legend = [f"{name}: {LEGENDS[name]}" for name in names if name in LEGENDS]
    return ["", *legend] if legend else []


def say_none(question):
    """Return the sentence that stands in place of an answer without rows."""
    return f"{question[:1].upper()}{question[1:]}: {NONE.get(question, 'there are none')}"


def print_on_terminal(names, rows, room):
    """Print few rows whole; of many, some, with the columns for which a line has room."""
    if len(rows) <= FEW_ROWS and line_width(measure(lay_out(names, rows))) > room:
        print_vertically(names, rows)
        return
    shown = choose_rows(rows)
    said = [count(len(rows), "row"), *print_lines(names, shown, room)]
    if len(rows) > len(shown):
        said[0] = f"the {'first' if shown[0] is rows[0] else 'last'} {len(shown)} of {said[0]}"
    is_whole = len(said) == 1 and len(rows) == len(shown)
    print(f"({', '.join(said)}{'' if is_whole else '; --csv prints all'})")


def choose_rows(rows):
    """Return the first rows or, if they are by day or time, the last ones."""
    times = [row[0] for row in rows]
    is_by_time = all(isinstance(each, date) for each in times) and times == sorted(times)
    return rows[-ROWS_SHOWN:] if is_by_time else rows[:ROWS_SHOWN]


def print_vertically(names, rows):
    """Print rows with a column a line, nothing of it cut."""
    width = max(map(wcswidth, names))
    for number, texts in enumerate(zip(*map(to_texts, zip(*rows, strict=True)), strict=True)):
        if number:
            print()
        for name, text in zip(names, texts, strict=True):
            print(f"{ljust(name, width)}{GAP}{text}".rstrip())


def print_lines(names, rows, room=None):
    """Print a table, numbers to the right, no line wider than so many characters.

    Returns what there is no room for, in words: ends of texts, then the last columns.
    """
    columns, texts = list(zip(*rows, strict=True)), lay_out(names, rows)
    widths, missing = measure(texts), []
    if room:
        cuttable = [any(isinstance(value, str) for value in values) for values in columns]
        before, widths = widths, fit_columns(widths, cuttable, room)
        if widths != before[: len(widths)]:
            missing.append("texts cut")
        if left_out := names[len(widths) :]:
            missing.append(f"without {', '.join(left_out)}")
    cells = [
        pad(column, width, any(map(is_number, values)))
        for column, values, width in zip(texts, columns, widths, strict=False)
    ]
    for line in zip(*cells, strict=True):
        print(GAP.join(line).rstrip())
    return missing


def lay_out(names, rows):
    """Return the texts of each column of a table, its name first."""
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return [[name, *to_texts(values)] for name, values in columns]


def measure(texts):
    """Return the width of each column of texts."""
    return [max(map(wcswidth, column)) for column in texts]


def line_width(widths):
    return sum(widths) + len(GAP) * (len(widths) - 1)


def fit_columns(widths, cuttable, room):
    """Return the widths of as many columns as there is room for, the widest texts cut."""
    for kept in range(len(widths), 0, -1):
        narrowed = narrow(widths[:kept], cuttable, room)
        if line_width(narrowed) <= room:
            break
    return narrowed


def narrow(widths, cuttable, room):
    """Return widths that fill the room: the widest that can be cut give way, down to NARROW."""
    widths = list(widths)
    for _ in range(line_width(widths) - room):
        at = max(range(len(widths)), key=lambda at: cuttable[at] * widths[at])
        if not cuttable[at] or widths[at] <= NARROW:
            break
        widths[at] -= 1
    return widths


def pad(column, width, numeric):
    """Return a column's texts in its width, with a line below its name."""
    justify = rjust if numeric else ljust
    name, *texts = [justify(cut(text, width), width) for text in column]
    return [name, "-" * width, *texts]


def cut(text, width):
    """Return a text as it is or, if it is wider, with an ellipsis for its end."""
    return text if wcswidth(text) <= width else f"{clip(text, 0, width - 1)}…"


def is_number(value):
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def to_texts(values):
    """Return the values of a column as people read them, with as many decimals each."""
    places = max(map(count_places, values), default=0)
    return [to_text(value, places) for value in values]


def count_places(value):
    """Return how many decimals a number needs, at most PLACES."""
    if not isinstance(value, float | Decimal):
        return 0
    return len(f"{value:.{PLACES}f}".rstrip("0").partition(".")[2])


def to_text(value, places):
    if value is None:
        return ""
    if isinstance(value, float | Decimal):
        return f"{value:.{places}f}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return in_utc(value).isoformat(" ", "seconds")
    return spell(str(value))


def spell(text):
    """Return a text with codes such as \\x85 for what can't be drawn, lest it look like a fault."""
    return re.sub(UNDRAWABLE, lambda found: found[0].encode("unicode_escape").decode(), text)


# By the option that chooses it: how it writes an answer, and what that is.
WRITERS = {
    "csv": (write_csv, "print CSV: all rows, NULL empty, times in ISO's form"),
    "json": (write_json, "print a JSON array with an object for each row"),
}
