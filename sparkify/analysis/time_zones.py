"""The names of time zones that questions take: those of places, as the server knows them, and UTC.

To Postgres, as to POSIX, whatever it doesn't know by name is an offset west of Greenwich: UTC+2 is
two hours behind UTC. Nobody who writes that means it.
"""

import re

from sparkify.errors import WrongArguments
from sparkify.messages import suggest_one

OFFSET = r"(?:UTC|GMT)?([+-])0?(\d{1,2})(?::?(\d\d))?"
ABBREVIATED = 4  # characters: CEST
PLACE = "a place, such as Europe/Berlin"

names_select = "SELECT name FROM pg_timezone_names"


def require_time_zone(name, cur=None):
    """Raise WrongArguments for what is no name of a time zone; without a cursor, for offsets."""
    if offset := re.fullmatch(OFFSET, name.strip(), re.IGNORECASE):
        raise WrongArguments(explain_offset(name, *offset.groups()))
    if cur is None or name.upper() == "UTC":
        return
    cur.execute(names_select)
    names = [known for (known,) in cur]
    if name.lower() not in map(str.lower, names):
        # What is like an abbreviation is another zone: MST like IST.
        meant = suggest_one(name.replace(" ", "_"), names if len(name) > ABBREVIATED else ())
        meant = meant or f"; name {PLACE}"
        raise WrongArguments(f'there is no time zone "{name}"{meant}')


def join_offset(arguments):
    """Return arguments with an offset joined to its option: argparse takes -05:00 for another."""
    joined = re.sub(r"(--time-zone)\0(-\d)", r"\1=\2", "\0".join(arguments))
    return joined.split("\0") if joined else []


def explain_offset(name, sign, hours, minutes):
    """Return why an offset is refused, and how Postgres spells it, if it does."""
    hours, reverse = int(hours), {"+": "-", "-": "+"}[sign]
    if not hours and not int(minutes or 0):
        return f'"{name}" is no name of a time zone; write UTC'
    if int(minutes or 0) or hours > (14 if sign == "+" else 12):
        return f'"{name}" is no name of a time zone; name {PLACE}'
    return (
        f'"{name}" would count on the other side of Greenwich: Etc/GMT{reverse}{hours} is '
        f"UTC{sign}{hours}; better {PLACE}"
    )
