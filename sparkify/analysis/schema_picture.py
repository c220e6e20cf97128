"""The picture of the schema, drawn from what the database says of its tables."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from sqlalchemy.engine.reflection import ObjectKind, ObjectScope

WIDTH, ROW, GAP = 3.4, 0.27, 0.8  # of a table, of its rows and between tables, in inches
TITLE = "The tables, and which of their columns refer to which"
MARKS = {"PK": "primary key", "UK": "natural key", "FK": "foreign key"}


def read_each(read, names):
    """Return by name what a method of an inspector reads of tables and views, all at once."""
    found = read(filter_names=names, kind=ObjectKind.ANY, scope=ObjectScope.ANY)
    return {name: found[None, name] for name in names}


def read_keys(inspector):
    """Return the columns (table, name) of all keys by their marks, PK, UK and FK."""
    keys, tables = {mark: set() for mark in MARKS}, inspector.get_table_names()
    for table, primary in read_each(inspector.get_multi_pk_constraint, tables).items():
        keys["PK"].update((table, name) for name in primary["constrained_columns"])
    for table, uniques in read_each(inspector.get_multi_unique_constraints, tables).items():
        keys["UK"].update((table, name) for each in uniques for name in each["column_names"])
    keys["FK"].update(read_references(inspector))
    return keys


def read_references(inspector):
    """Return by each column of a foreign key the one that it refers to, as (table, name)."""
    found = read_each(inspector.get_multi_foreign_keys, sorted(inspector.get_table_names()))
    return {
        (table, name): (key["referred_table"], other)
        for table, keys in found.items()
        for key in keys
        for name, other in zip(key["constrained_columns"], key["referred_columns"], strict=True)
    }


def draw_schema(inspector):
    """Return a Figure of all tables."""
    columns = read_each(inspector.get_multi_columns, inspector.get_table_names())
    keys, references = read_keys(inspector), read_references(inspector)
    fig = Figure()
    ax = fig.add_axes((0, 0, 1, 1))
    places, lowest = {}, 0
    for number, stack in enumerate(stack_tables(columns, references)):
        top = 0
        for table in stack:
            at = number * (WIDTH + GAP), top
            places |= draw_table(ax, table, columns[table], keys, inspector.dialect, at)
            bottom = top - ROW * (len(columns[table]) + 1)
            lowest, top = min(lowest, bottom), bottom - GAP / 3
    required = {
        (table, c["name"]) for table in columns for c in columns[table] if not c["nullable"]
    }
    for start, end in references.items():
        many = "0..1" if start in keys["PK"] else "n"
        draw_reference(ax, places[start], places[end], many, "1" if start in required else "0..1")
    set_size(fig, ax, 3 * WIDTH + 2.6 * GAP, -lowest)
    return fig


def stack_tables(columns, references):
    """Return the tables on the left, in the middle and on the right, each from top to bottom.

    That with the most foreign keys is in the middle, those with ties to it are at its sides, in the
    order of its columns that they are tied to; the others are where there is room.
    """
    fact = max(sorted(columns), key=[table for table, _ in references].count)
    ties = [*references.items(), *((end, start) for start, end in references.items())]
    tied = [
        other
        for column in columns[fact]
        for start, (other, _) in ties
        if start == (fact, column["name"])
    ]
    around = [table for table in dict.fromkeys(tied) if table != fact]
    half = (len(around) + 1) // 2
    stacks = [around[:half], [fact], around[half:]]
    others = sorted({*columns} - {fact, *around})
    for table in sorted(others, key=lambda table: -len(columns[table])):
        min(stacks, key=lambda stack: sum(len(columns[each]) + 2 for each in stack)).append(table)
    return stacks


def draw_table(ax, table, columns, keys, dialect, at):
    """Draw a table from its upper left corner, and return where each of its columns is."""
    x, y = at
    height, places = ROW * (len(columns) + 1), {}
    ax.add_patch(Rectangle((x, y - height), WIDTH, height, fc="white", ec="black"))
    ax.add_patch(Rectangle((x, y - ROW), WIDTH, ROW, fc="gainsboro", ec="black"))
    ax.text(x + WIDTH / 2, y - ROW / 2, table, weight="bold", ha="center", va="center")
    for row, column in enumerate(columns, start=1):
        name, middle = column["name"], y - ROW * (row + 0.5)
        marks = " ".join(mark for mark in keys if (table, name) in keys[mark])
        kind = column["type"].compile(dialect).lower()
        weight = "normal" if column["nullable"] else "bold"
        ax.text(x + 0.08, middle, marks, va="center", size=8, color="dimgray")
        ax.text(x + 0.7, middle, name, va="center", size=9, weight=weight)
        ax.text(x + WIDTH - 0.08, middle, kind, va="center", ha="right", size=9)
        places[table, name] = x, middle
    return places


def draw_reference(ax, start, end, many, one):
    """Draw a curve between the sides of two columns that face each other, or both right sides.

    `many` and `one` say how many rows meet at its start and its end.
    """
    (x1, y1), (x2, y2) = start, end
    side1, side2 = (1 if x1 <= x2 else -1), (1 if x2 <= x1 else -1)
    x1, x2 = x1 + WIDTH * (side1 > 0), x2 + WIDTH * (side2 > 0)
    points = [(x1, y1), (x1 + side1 * GAP / 2, y1), (x2 + side2 * GAP / 2, y2), (x2, y2)]
    ax.add_patch(PathPatch(Path(points, [Path.MOVETO, *[Path.CURVE4] * 3]), fill=False))
    for x, y, side, label in ((x1, y1 + 0.05, side1, many), (x2, y2 + 0.05, side2, one)):
        below = y1 > y2 + ROW and label == one  # out of the way of a curve from above
        where = {"ha": "left" if side > 0 else "right", "va": "top" if below else "bottom"}
        ax.text(x + side * 0.06, y - 0.1 * below, label, size=8, **where)


def set_size(fig, ax, width, height):
    """Have an inch of the drawing be an inch of the picture, with the title above."""
    size = width, height + 0.6
    fig.set_size_inches(size)
    ax.set(xlim=(-0.1, width - 0.1), ylim=(-height - 0.1, 0.5))
    ax.axis("off")
    fig.suptitle(
        TITLE, x=0.1 / width, y=1 - 0.1 / size[1], ha="left", va="top", weight="bold", size=10
    )


def read_comments(inspector):
    """Return a row for each table and view, and for each of their columns, with its comment."""
    names = sorted(inspector.get_table_names()) + inspector.get_view_names()
    comments = read_each(inspector.get_multi_table_comment, names)
    columns = read_each(inspector.get_multi_columns, names)
    rows = [
        (name, column["name"], column["comment"])
        for name in names
        for column in [{"name": "", "comment": comments[name]["text"]}, *columns[name]]
    ]
    return pd.DataFrame(rows, columns=["table or view", "column", "comment"])
