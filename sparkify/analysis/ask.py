"""Which of the analysts' questions is meant, with which parameters, and what the tables answer.

What it may be asked is read from the questions themselves: another one, or another parameter, is
there as soon as analytics_queries has it.
"""

import argparse
import re

from sparkify.analysis import answers
from sparkify.analysis.questions import DEFAULTS, SETTINGS, analytics_queries
from sparkify.analysis.time_zones import join_offset, require_time_zone
from sparkify.errors import TablesEmpty, WrongArguments
from sparkify.interpreter import command
from sparkify.messages import suggest_one
from sparkify.postgres import connection, rights, watchdog

WHOLE_NUMBERS = ("user_id", "limit")  # of the parameters
PARAMETER = r"%\((\w+)\)s"
LIST = command("-m sparkify ask")

period_select = """
-- One row: the first and the last event, or NULL
SELECT least((SELECT min(start_time) FROM songplays), (SELECT min(start_time) FROM page_views)),
       greatest((SELECT max(start_time) FROM songplays), (SELECT max(start_time) FROM page_views))
"""


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message):
        raise WrongArguments(message)


def ask(arguments):
    """Do what the command's arguments say. Raises WrongArguments, ServerError."""
    options = parse_arguments(arguments)
    asked = " ".join(options.words).strip()
    if not asked:
        print("\n".join(map(describe_question, analytics_queries)))
        return
    question = find_question(asked)
    given = {name: vars(options)[option_of(name)] for name in parameters()}
    given = {name: value for name, value in given.items() if value is not None}
    values = take_values(question, given)
    if options.sql:
        print(fill_in(analytics_queries[question], values))
        return
    names, rows = fetch_answer(question, values)
    if options.write:
        options.write(names, rows)
    else:
        answers.write_table(names, rows, question)


def parse_arguments(arguments):
    """Return what is asked; for each parameter that any question takes there is an option."""
    parser = Parser(
        LIST,
        usage="%(prog)s [QUESTION] [--PARAMETER VALUE ...] [--csv | --json | --sql]",
        description="Answer one of the analysts' questions; list them all if none is asked.",
    )
    parser.add_argument(
        "words",
        metavar="QUESTION",
        nargs="*",
        help="its number, or words of it, in any order: enough of them to tell it from the others",
    )
    output = parser.add_mutually_exclusive_group()
    for name, (write, what) in answers.WRITERS.items():
        output.add_argument(f"--{name}", dest="write", action="store_const", const=write, help=what)
    output.add_argument("--sql", action="store_true", help="print the query, ready for psql")
    for name, titles in parameters().items():
        takers = ", ".join(f'"{title}"' for title in titles).replace("%", "%%")
        parser.add_argument(
            option_of(name), dest=option_of(name), metavar="VALUE", help=f"for {takers}"
        )
    options, unknown = parser.parse_known_intermixed_args(join_offset(arguments))
    if unknown:
        known = map(option_of, parameters())
        raise WrongArguments(f"there is no {unknown[0]}{suggest_one(unknown[0], known)}")
    return options


def parameters():
    """Return by the name of each parameter the titles of the questions that take it."""
    found = {}
    for title in analytics_queries:
        for name in parameters_of(title):
            found.setdefault(name, []).append(title)
    return found


def parameters_of(title):
    """Return the names of a question's parameters, in the order in which its query has them."""
    return list(dict.fromkeys(re.findall(PARAMETER, analytics_queries[title])))


def option_of(name):
    return f"--{name.replace('_', '-')}"


def describe_question(title):
    """Return a question's line in the list: its number, its title and its options.

    An option that need not be given is shown with the value that it has then.
    """
    number = list(analytics_queries).index(title) + 1
    shown = (f"{option_of(name)} {DEFAULTS.get(name, '')}" for name in parameters_of(title))
    options = ", ".join(map(str.rstrip, shown))
    return f"{number:>3}  {title}{f' ({options})' if options else ''}"


def find_question(asked):
    """Return the title of the question that is meant. Raises WrongArguments."""
    titles = list(analytics_queries)
    if asked.isdecimal() and 0 < int(asked) <= len(titles):
        return titles[int(asked) - 1]
    words = words_of(asked)
    fitting = [title for title in titles if words_of(title) == words]
    fitting = fitting or [title for title in titles if has_words(title, words)]
    if not fitting:
        meant = suggest_one(asked, titles, 0.4) or ";"
        raise WrongArguments(f'there is no question "{asked}"{meant} {LIST} lists them all')
    if len(fitting) > 1:
        lines = "\n".join(map(describe_question, fitting))
        raise WrongArguments(f'"{asked}" may be any of these questions:\n{lines}')
    return fitting[0]


def words_of(text):
    return re.findall(r"\w+", text.lower())


def has_words(title, words):
    """Tell whether each of the words begins a word of a title."""
    begun = [any(word.startswith(asked) for word in words_of(title)) for asked in words]
    return bool(begun) and all(begun)


def take_values(question, given, spell=None):
    """Return the values of a question's parameters by name. Raises WrongArguments.

    They are text, as in quotes in SQL: Postgres knows what type it needs. `spell` returns a
    parameter's name as it is written where it is given, an option if nothing else is said.
    """
    needed, spell = parameters_of(question), spell or option_of
    if other := [name for name in given if name not in needed]:
        near = suggest_one(spell(other[0]), map(spell, needed))
        raise WrongArguments(f'"{question}" takes no {" and no ".join(map(spell, other))}{near}')
    values = {name: DEFAULTS[name] for name in needed if name in DEFAULTS} | given
    if missing := [spell(name) for name in needed if name not in values]:
        raise WrongArguments(f'"{question}" needs {" and ".join(missing)}')
    for name, value in values.items():
        if name in WHOLE_NUMBERS and not re.fullmatch(r"[-+]?[0-9]+", str(value)):
            raise WrongArguments(f'{spell(name)} must be a whole number, not "{value}"')
    if "time_zone" in values:
        require_time_zone(values["time_zone"])
    return {name: str(value) for name, value in values.items()}


def fetch_answer(question, values):
    """Return the names of an answer's columns, and its rows.

    Raises TablesEmpty, WrongArguments for a time zone that the server doesn't know.
    """
    with rights.session() as cur, watchdog.watching(cur.connection, reading=True):
        fetch_period(cur)
        if "time_zone" in values:
            require_time_zone(values["time_zone"], cur)
        cur.execute(SETTINGS)
        cur.execute(analytics_queries[question], values or None)
        return [column.name for column in cur.description], cur.fetchall()


def fetch_period(cur):
    """Return the times of the first and the last event. Raises TablesEmpty."""
    cur.execute(period_select)
    first, last = cur.fetchone()
    if first is None:
        target = connection.name_database(cur.connection)
        raise TablesEmpty(f"there are no events yet in {target}; run {command('etl.py')}")
    return first, last


def fill_in(sql, values):
    """Return a query as one pastes it into psql, with its parameters filled in."""
    if values:  # otherwise a % is a %
        sql %= {name: quote(value) for name, value in values.items()}
    return f"{sql.strip()};"


def quote(value):
    """Return a text as an SQL literal, as Postgres's quote_literal does."""
    literal = value.replace("'", "''").replace("\\", "\\\\")
    return f"E'{literal}'" if "\\" in value else f"'{literal}'"
