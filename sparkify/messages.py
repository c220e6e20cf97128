"""What scripts say when they fail, and how they count: each in one line."""

import sys
from pathlib import Path


class ServerError(Exception):
    """What keeps a script from the database: one line that names the server and the remedy."""


class LoadError(Exception):
    """What ends a run, in one line that names the file."""


class TablesEmpty(ServerError):
    """The tables are there, what is asked about isn't yet."""


class WrongArguments(Exception):
    """What is wrong with a script's or command's arguments, such as DATA, in one line."""


def script_name():
    """Return the name of the script that runs, to begin its messages with."""
    path = Path(sys.argv[0])
    return (path.parent if path.name == "__main__.py" else path).name or "sparkify"


def one_line(error):
    """Return what an error says in one line: of Postgres's, the message and its detail."""
    diagnostics = getattr(error, "diag", None)
    if diagnostics is not None and diagnostics.message_primary:
        said = filter(None, (diagnostics.message_primary, diagnostics.message_detail))
        return "; ".join(" ".join(text.split()) for text in said)
    return " ".join(str(error).split())


def count(number, one, many):
    """Return a number with the word for what is counted, such as "1 file" or "2,000 files"."""
    return f"{number:,} {one if number == 1 else many}"
