"""Lines: one at a time, by Python's json module, where the fast parser takes none of a chunk.

That one knows a number from a text, a whole number from another, and a field from no other by name
alone. Here a number is what JSON has of it: one kind, and a text where a text is expected.
"""

import decimal
import functools
import json
import math
import re
from decimal import Decimal

import pyarrow as pa

from sparkify.read.fields import LINE_SCHEMAS, is_loaded

NO_OBJECT = ("not UTF-8", "broken JSON", "no JSON object")  # how reasons begin
HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")  # of surrogates, mostly one of two


class Number(str):
    """A number of JSON, as it is written."""


JSON_TYPES = {str: "string", Number: "number", float: "number", bool: "boolean", tuple: "object"}
CONSTANTS = {
    "NaN": None,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
}  # by which Python extends it
DECODER = json.JSONDecoder(
    object_pairs_hook=tuple,
    parse_int=Number,
    parse_float=Number,
    parse_constant=CONSTANTS.__getitem__,
)


def read_line(line: bytes, kind: str) -> list:
    """Return the values of a line, in the order of its kind's fields; None for what it lacks.

    Raises ValueError with the reason where it is no object, or a field that is loaded is given
    twice or has the wrong type.
    """
    members = decode_object(line)
    given = dict(members)
    values = list(map(given.get, NAMES[kind]))
    fields, twice = choose_fields(kind, tuple(map(type, values))), ()
    if len(given) < len(members) or b"\\u" in line and HALF_PAIR.search(line):
        fields, twice = choose_fields(kind), find_repeated(members)
    for place, name, convert in fields:
        try:
            if name in twice:
                raise ValueError(f"{name} is given twice")
            value = values[place]
            values[place] = value if value is None else convert(name, value)
        except ValueError:
            if kind == "song" or is_loaded(name, given):
                raise
            values[place] = None
    return values


@functools.lru_cache(1000)
def choose_fields(kind, types=None):
    """Return the place, name and reader of all fields, or of those that need it by their types.

    Mostly few do, and the lines of the same types are many.
    """
    fields = [(place, name, READERS[kind][name]) for place, name in enumerate(NAMES[kind])]
    if types is None:
        return fields
    final = {read_text: str, read_user: str}
    return [field for field in fields if types[field[0]] not in (type(None), final.get(field[2]))]


def find_repeated(members):
    """Return the names that some pairs of name and value share."""
    names = [name for name, _ in members]
    return {name for name in names if names.count(name) > 1}


def decode_object(line):
    """Return the members of the object that a line holds, as pairs. Raises ValueError."""
    try:
        text = line.decode()
        members, end = DECODER.raw_decode(text)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as fault:
        raise ValueError(f"broken JSON in column {fault.colno}: {fault.msg}") from None
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    if not isinstance(members, tuple):
        raise ValueError("no JSON object")
    if end < len(text):
        raise ValueError(f"broken JSON in column {end + 1}: the object has ended")
    return members


def read_text(name, value):
    """Return a text, or a number as it is written."""
    if type(value) is Number:
        return str(value)
    if type(value) is not str:
        raise ValueError(f"{name}: string expected, {name_type(value)} found")
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds half a surrogate pair, which is no character") from None
    return value


def read_user(name, value):
    """Return a user's id as text; a number of some logs, such as 8.0, as whole if it is whole."""
    try:
        return str(read_whole(name, value))
    except ValueError:
        return read_text(name, value)


def read_float(name, value):
    if type(value) not in (Number, float):
        raise ValueError(f"{name}: number expected, {name_type(value)} found")
    return float(value)


def read_whole(name, value):
    """Return a whole number, however it is written: 139, 139.0 or 1.39e2."""
    if type(value) is not Number:
        raise ValueError(f"{name}: number expected, {name_type(value)} found")
    try:
        whole = int(value.removesuffix(".0"))
    except ValueError:
        whole = read_decimal(name, value)
    if not -(2**63) <= whole < 2**63:
        raise ValueError(f"{name} is out of range")
    return whole


def read_decimal(name, value):
    try:
        number = Decimal(value)
    except decimal.InvalidOperation:  # an exponent of more than 18 digits
        raise ValueError(f"{name} is out of range") from None
    if not number:
        return 0
    whole = int(number) if number.adjusted() < 19 else 2**63
    if whole != number and whole < 2**63:
        raise ValueError(f"{name}: whole number expected, {value:.30} found")
    return whole


def name_type(value):
    return JSON_TYPES.get(type(value), "array")


READ = {pa.string(): read_text, pa.int64(): read_whole, pa.float64(): read_float}
NAMES = {kind: schema.names for kind, schema in LINE_SCHEMAS.items()}
READERS = {
    kind: {field.name: READ[field.type] for field in schema}
    for kind, schema in LINE_SCHEMAS.items()
}
READERS["log"]["userId"] = read_user
