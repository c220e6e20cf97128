"""How scripts name themselves and periods, count, and quote errors: each in one line."""

import os
import sys
from pathlib import Path

from sparkify import interrupts


def script_name():
    """Return the name of the script that runs, to begin its messages with."""
    path = Path(sys.argv[0])
    return (path.parent if path.name == "__main__.py" else path).name or "sparkify"


def say(text="", stream=None):
    """Print a line for people on stdout, or on another stream, above the progress if there is any.

    A stream of another program's may be None, or lack a flush; most lack some characters.
    """
    from tqdm import tqdm  # which a cluster's workers may lack

    stream = stream or sys.stdout
    if stream is not None:
        encoding = getattr(stream, "encoding", None) or "utf-8"
        tqdm.write(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)
        getattr(stream, "flush", bool)()


def complain(text, script=None):
    """Print a line on stderr that begins with the name of the script."""
    if sys.stderr is not None:
        say(f"{script or script_name()}: {text}", sys.stderr)


def is_terminal(stream):
    return getattr(stream, "isatty", bool)()


def drop_output():
    """Let stdout lead nowhere: it can't be written, and Python would try again as it ends."""
    if interrupts.owns_process():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def set_stdout(**settings):
    """Set how stdout writes, unless it is another program's."""
    if interrupts.owns_process():
        sys.stdout.reconfigure(**settings)


def one_line(error):
    """Return what an error says in one line: of Postgres's, the message and its detail."""
    diagnostics = getattr(error, "diag", None)
    if diagnostics is not None and diagnostics.message_primary:
        said = filter(None, (diagnostics.message_primary, diagnostics.message_detail))
        return "; ".join(" ".join(text.split()) for text in said)
    return " ".join(str(error).split())


def hint_of(error):
    """Return what Postgres advises on an error, to be added to what it says; mostly nothing."""
    hint = error.diag.message_hint
    return f"; {' '.join(hint.split())}" if hint else ""


def count(number, one, many=None):
    """Return a number with the word for what is counted, such as "1 file" or "2,000 files"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def suggest_one(asked, known, cutoff=0.6):
    """Return the end of a message on an unknown name: the known one most like it, if any is."""
    import difflib  # for who has mistyped something

    by_name = {name.lower(): name for name in known}
    nearest = difflib.get_close_matches(asked.partition("=")[0].lower(), by_name, 1, cutoff)
    return f'; did you mean "{by_name[nearest[0]]}"?' if nearest else ""


def name_period(first, last):
    """Return the period between two days in words, such as 1 to 30 November 2018."""
    end = f"{last.day} {last:%B %Y}"
    if first == last:
        return end
    if first.year != last.year:
        return f"{first.day} {first:%B %Y} to {end}"
    return (
        f"{first.day} to {end}" if first.month == last.month else f"{first.day} {first:%B} to {end}"
    )
