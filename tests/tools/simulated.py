"""The benchmark's files: simulated songs and events of any number, some of unknown songs."""

import contextlib
import datetime
import random
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "data"))

import generate

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


def generate_kind(kept, start, days, events, songs, missing):
    """Simulate the files of one kind of data, in a folder that says so, and return the folder.

    `missing` is the share of the plays that are renamed, and to how many unknown songs.
    """
    share, unknown = missing
    plain = kept / f"{start}-{events}-events-{songs}-songs"
    generate_files(plain, start, days, events, songs)
    if not share:
        return plain
    folder = plain.with_name(f"{plain.name}-{share:g}-missing-{unknown}")
    if not (folder / "log_data").exists():
        say(f"renaming {share:.0%} of the plays to {unknown:,} songs that the catalogue lacks")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(plain / "log_data", folder / "part")
        rename_songs(folder / "part", share, unknown)
        (folder / "song_data").symlink_to(plain / "song_data", target_is_directory=True)
        (folder / "part").rename(folder / "log_data")
    return folder


def part_of(data, name, folder):
    """Make a folder with the songs, or the logs, of a data folder, nothing else; return it."""
    for other in ("song_data", "log_data"):
        (folder / other).mkdir(parents=True, exist_ok=True)
    (folder / name).rmdir()
    (folder / name).symlink_to(data / name, target_is_directory=True)
    return folder


PLAYED = re.compile(r'"artist":".*?","auth"(.*?)"length":.*?,"level"(.*?)"song":".*?","status"')
SONGS_OF_ARTIST = 100


def rename_songs(folder, share, unknown):
    """Have this share of the logged plays be of songs that no catalogue has, drawn at random."""
    draw = random.Random(1)

    def rename(play):
        if draw.random() >= share:
            return play[0]
        song = draw.randrange(unknown)
        artist, (before, after) = song // SONGS_OF_ARTIST, play.groups()
        return (
            f'"artist":"Unknown {artist}","auth"{before}"length":180.5,"level"{after}'
            f'"song":"Unknown {song}","status"'
        )

    for path in sorted(folder.rglob("*.json")):
        text = path.read_text(encoding="utf-8")
        path.write_text(PLAYED.sub(rename, text), encoding="utf-8")


def simulate_nights(folder, **options):
    """Write the songs of a Service; then write one day's log at a time, and yield its path.

    The files are those of a whole run of data/generate.py with these options.
    """
    service = generate.Service(**options)
    list(generate.write_songs(folder / "song_data", service))
    yield from generate.write_logs(folder / "log_data", service, service.simulate())


def generate_first_files(kept, events, songs, missing):
    """Simulate what a first load finds."""
    return generate_kind(kept, FIRST_DAY, DAYS, events, songs, missing)


def generate_later_files(kept, events, songs, missing):
    """Simulate what the same users do on the days that follow; new songs are to be left out."""
    start = FIRST_DAY + datetime.timedelta(DAYS)
    return generate_kind(kept, start, LATER_DAYS, events, songs, missing)
