"""The benchmark's files: simulated songs and events of any number, some of unknown songs."""

import contextlib
import datetime
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "data"))

import generate  # noqa: E402

FIRST_DAY, DAYS, LATER_DAYS, USERS = datetime.date(2018, 11, 1), 30, 3, 1000


def say(text):
    """Tell on stderr what is going on."""
    print(f"benchmark.py: {text}", file=sys.stderr, flush=True)


def generate_files(folder, start, days, events, songs):
    """Simulate songs and events in a folder unless they are there: log_data comes last, whole."""
    if (folder / "log_data").exists():
        say(f"using the files in {folder}")
        return
    say(f"generating {events:,} events and {songs:,} songs")
    options = {"start": start, "days": days, "events": events, "songs": songs, "users": USERS}
    with contextlib.redirect_stdout(sys.stderr):
        generate.main([str(folder), "--force", *(f"--{k}={v}" for k, v in options.items())])


def generate_kind(kept, arguments, missing):
    """Simulate the files of one kind of data, in a folder that says so, and return the folder."""
    events, songs, unknown = arguments.events, arguments.songs, arguments.missing_songs
    folder = kept / f"{events}-events-{songs}-songs-{missing:g}-missing-{unknown}"
    is_there = (folder / "log_data").exists()
    generate_files(folder, FIRST_DAY, DAYS, events, songs)
    if missing and not is_there:
        say(f"renaming {missing:.0%} of the plays to {unknown:,} songs that the catalogue lacks")
        rename_songs(folder / "log_data", missing, unknown)
    return folder


def rename_songs(folder, share, unknown):
    """Have this share of the logged plays name a song that no catalogue has, drawn at random."""
    draw = random.Random(1)

    def rename(song):
        if draw.random() >= share:
            return song[0]
        return f'"song":"Unknown {draw.randrange(unknown)}","status"'

    for path in sorted(folder.rglob("*.json")):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r'"song":".*?","status"', rename, text), encoding="utf-8")


def generate_later_files(folder, events, songs):
    """Simulate what the same users do on the days that follow; there are no new songs."""
    generate_files(folder, FIRST_DAY + datetime.timedelta(DAYS), LATER_DAYS, events, songs)
    generate.remove_json(folder / "song_data")
    (folder / "song_data").mkdir(exist_ok=True)
