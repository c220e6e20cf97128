"""DATABASE_URL and PGDATABASE: what they name, and what is in them that doesn't belong there."""

import re

import psycopg2
from psycopg2.extensions import parse_dsn

from sparkify.errors import ServerError

# The user's name and password end at the only @, and hold no / that isn't percent-encoded. After
# the + stands a driver, as SQLAlchemy's users have it.
URL = r"((?i:postgres(?:ql)?))(?:\+\w+)?(://(?:[^@/]*@)?)([^@?]*(?:\?.*)?)"
QUOTES = "'\"`\u2018\u2019\u201c\u201d"


def parse_url(url: str) -> dict[str, str]:
    """Return the parameters that a DATABASE_URL names. Never quotes it: it may hold a password.

    Raises ServerError also for what libpq would take for a part of a host, port or name.
    """
    shape = re.fullmatch(URL, url)
    scheme, user, rest = shape.groups() if shape else ("", "", "")
    other = re.match(r"([a-z]\w*)(\+\w+)?://", url, re.IGNORECASE)
    if other and not other[1].lower().startswith("postgres"):
        raise ServerError(
            f"DATABASE_URL is that of another kind of server, {other[1]}; it must begin with "
            "postgresql://, or unset it to use the embedded server"
        )
    refuse_strays(url, rest)
    parameters = parse(scheme.lower() + user + rest)
    if not shape or parameters is None or not re.fullmatch(r"[\d,]*", parameters.get("port", "")):
        raise ServerError(
            "DATABASE_URL can't be read: it must look like postgresql://user:password@host:5432/"
            "sparkifydb, with @ : / % in the user or password written as %40 %3A %2F %25"
        )
    return parameters


def refuse_strays(url, rest):
    """Raise ServerError if a URL has what libpq doesn't take; its `rest` begins with the host."""
    place, _, query = rest.partition("?")
    keys = [] if "password" in query else re.findall(r"(?:^|&)([^=&]+)", query)
    unknown = [key for key in keys if parse(f"postgresql:///?{key}=true") is None]
    faults = {
        "quotes around it": {url[:1], url[-1:]} & set(QUOTES),
        "jdbc: before it": url.startswith("jdbc:"),
        "a fragment, # and what follows": "#" in rest,
        "a / or ; after the name of the database": re.search("/.*[/;]", place),
        "an & with no ? before it": "/" in place and "&" in place,
        f"{' and '.join(unknown)} after the ?, which libpq doesn't know": unknown,
    }
    for fault in (fault for fault, found in faults.items() if found):
        raise ServerError(f"DATABASE_URL has {fault}; leave that out")


def parse(url):
    """Return the parameters that libpq reads in a URL, None where it can't."""
    try:
        return parse_dsn(url)
    except (psycopg2.Error, UnicodeError):
        return None


def refuse_stray_ends(name: str, source: str) -> None:
    """Raise ServerError if a database's name has characters that hardly belong to it."""
    strays = [character for character in name if not character.isprintable()]
    strays += [end for end in (name[0], name[-1]) if end in f" /;#,:&?\\{QUOTES}"]
    if strays:
        raise ServerError(
            f"{source} names a database {ascii(name)}, with {ascii(strays[0])} in its name; "
            "leave that out"
        )
