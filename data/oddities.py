"""The oddities of real logs and catalogues: generate.py --odd writes some of each.

Which song or day has which oddity goes by its number, so that a hundred songs and a month have
them all.
"""

import gzip
import json
import math
import re
import struct
from random import Random

# An event is written as in the sample, by the simulator, by its older version, by a fork of it
# for courses, or by pandas. The simulator's fields come in this order.
DIALECTS = ("sample", "simulator", "older", "fork", "pandas")
FIELDS = (
    *("ts", "userId", "sessionId", "page", "auth", "method", "status", "level", "itemInSession"),
    *("location", "city", "state", "zip", "userAgent", "lastName", "firstName", "registration"),
    *("gender", "tag", "artist", "song", "length", "duration", "success"),
)
LOG_ENDINGS = (".json", ".JSON", ".jsonl", ".json.gz", ".json", ".json")
SONG_ENDINGS = {3: ".JSON", 5: ".json.gz", 7: ".jsonl"}
APPLE_DOUBLE = b"\0\5\x16\7\0\2\0\0Mac OS X        \0\2\0\0\0\x09\0\0\0\x32ATTR\n\xff{\0"


def write_song(path, number, song):
    """Write the file of the song of this number."""
    for field in "title", "artist_name", "artist_location":
        if re.fullmatch(r"(0|[1-9]\d*)(\.\d*[1-9])?", song[field]):
            song[field] = json.loads(song[field])
    if number % 5 == 0:
        song["year"] = float(song["year"])
        unknown = [field for field, value in song.items() if value is None]
        song |= dict.fromkeys(unknown, math.nan)
    text = json.dumps([song] if number % 10 == 9 else song, indent=4 if number % 10 == 1 else None)
    write_file(path.with_suffix(SONG_ENDINGS.get(number % 10, ".json")), text)
    if number % 50 == 2:
        write_litter(path, text.replace('"duration": ', '"duration": 1'))


def write_log(path, day, lines):
    """Write the file of the day of this number, counted from 1970 on."""
    rng, dialect = Random(f"day {day}"), DIALECTS[day % len(DIALECTS)]
    lines = [convert_event(rng, json.loads(line), dialect) for line in lines]
    if day % 30 == 11:
        lines.append(lines[-1][: len(lines[-1]) // 2])  # cut off while it was written once more
    text = "\n".join(lines) + "\n" * (dialect == "simulator")
    if day % len(LOG_ENDINGS) == 4:
        text = "[" + ",\n".join(lines) + "]"
    write_file(path.with_suffix(LOG_ENDINGS[day % len(LOG_ENDINGS)]), text)
    if day % 30 == 17:
        write_litter(path, text.replace('"NextSong"', '"Home"'))


def convert_event(rng, event, dialect):
    """Return the log line of an event as this dialect writes it."""
    user = event["userId"]
    event["tag"] = "test" if user and int(user) % 2 else None
    for field in "artist", "song":
        if event[field] and not event[field].isascii() and rng.random() < 0.2:
            for _ in range(1 if rng.random() < 0.7 else 2):
                event[field] = event[field].encode().decode("latin-1")
    if dialect == "sample":
        return json.dumps(event, separators=(",", ":")).replace("/", "\\/")
    if dialect == "pandas":
        whole = ("itemInSession", "sessionId", "status", "ts")
        return json.dumps(event | {field: float(event[field]) for field in whole})
    if event["registration"]:
        event["registration"] = int(event["registration"])
    if dialect != "simulator":
        event["userId"] = int(user) if user else "" if dialect == "older" else None
        event["duration"] = round_to_single(event.pop("length"))
    if dialect == "fork" and event["location"]:
        event["city"], _, event["state"] = event.pop("location").rpartition(", ")
        event |= {"zip": "00601", "success": True}
    event = {field: event[field] for field in FIELDS if event.get(field) is not None}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def round_to_single(number):
    """Return the shortest decimal number that stands for this one in single precision."""
    if number is None:
        return None
    packed = struct.pack("f", number)
    [number] = struct.unpack("f", packed)
    shorter = (float(f"{number:.{digits}g}") for digits in range(6, 10))
    return next(short for short in shorter if struct.pack("f", short) == packed)


def write_file(path, text):
    """Write a text as UTF-8, compressed if the file's name says so."""
    data = text.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def write_litter(path, text):
    """Write what macOS and Jupyter leave beside a file; the text is an older one."""
    path.with_name(f"._{path.name}").write_bytes(APPLE_DOUBLE)
    checkpoint = path.parent / ".ipynb_checkpoints" / f"{path.stem}-checkpoint.json"
    checkpoint.parent.mkdir(exist_ok=True)
    write_file(checkpoint, text)
