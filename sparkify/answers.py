"""How an answer is written: as a table for people, as CSV or JSON for programs.

The standard library writes CSV and JSON, not pandas: its JSON has floats to 15 digits and times to
milliseconds, and its import takes longer than most answers.
"""

import csv
import json
import re
import shutil
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

from wcwidth import clip, ljust, rjust, wcswidth

from sparkify.messages import count

CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"  # would break a line, or speak to the terminal
GAP = "  "
NARROW = 12  # characters: no column is cut below that
PLACES = 4  # the most decimals in a table
ROWS_SHOWN = 20  # on a terminal


def write_csv(names, rows):
    """Print the rows as CSV, in which NULL is empty."""
    sys.stdout.reconfigure(encoding="utf-8")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(map(to_plain, row) for row in rows)


def write_json(names, rows):
    """Print the rows as a JSON array, an object a line."""
    sys.stdout.reconfigure(encoding="utf-8")
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


def write_table(names, rows):
    """Print the rows as a table: all of them, or on a terminal what it has room for."""
    sys.stdout.reconfigure(errors="backslashreplace")
    if not sys.stdout.isatty():
        print_lines(names, rows)
        return
    print_lines(names, rows[:ROWS_SHOWN], shutil.get_terminal_size().columns)
    number = count(len(rows), "row", "rows")
    if len(rows) > ROWS_SHOWN:
        number = f"{ROWS_SHOWN} of {number}; pipe it, or --csv, for all"
    print(f"({number})")


def print_lines(names, rows, room=None):
    """Print a table, numbers to the right; with `room`, no wider than so many characters."""
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    texts = [[name, *to_texts(values)] for name, values in zip(names, columns, strict=True)]
    widths = [max(map(wcswidth, column)) for column in texts]
    numeric = [any(map(is_number, values)) for values in columns]
    if room:
        narrow(widths, [at for at, is_numeric in enumerate(numeric) if not is_numeric], room)
    for cells in zip(*map(pad, texts, widths, numeric), strict=True):
        line = GAP.join(cells).rstrip()
        print(cut(line, room) if room else line)


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
    return re.sub(CONTROL, lambda found: repr(found[0])[1:-1], str(value))


def narrow(widths, cuttable, room):
    """Take from the widest of the columns that can be cut until all of them have room."""
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - room
    for _ in range(excess):
        widest = max(cuttable, key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= NARROW:
            break
        widths[widest] -= 1


def pad(column, width, numeric):
    """Return a column's texts in its width, with a line below its name."""
    justify = rjust if numeric else ljust
    name, *texts = [justify(cut(text, width), width) for text in column]
    return [name, "-" * width, *texts]


def cut(text, width):
    """Return a text as it is or, if it is wider, with an ellipsis for its end."""
    return text if wcswidth(text) <= width else f"{clip(text, 0, width - 1)}…"


# By the option that chooses it: how it writes an answer, and what that is.
WRITERS = {
    "csv": (write_csv, "print CSV: all rows, NULL empty, times in ISO's form"),
    "json": (write_json, "print a JSON array with an object for each row"),
}
