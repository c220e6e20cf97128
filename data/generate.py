"""Simulate Sparkify: a song catalogue and the daily logs of its listeners' activity.

    .venv/bin/python data/generate.py OUT                                  the sample in data/
    .venv/bin/python data/generate.py OUT --songs 20000 --events 1000000   a larger service

writes OUT/song_data/A/B/C/TRABC....json, one song a file in the format of the Million Song
Dataset, and OUT/log_data/YYYY/MM/YYYY-MM-DD-events.json, one event a line in the format of an
event simulator. Titles, artists and users are invented. The same options give the same bytes.
"""

import argparse
import csv
import datetime
import json
import re
import shutil
import sys
import time
from dataclasses import fields
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import oddities
from service import DAY, EPOCH, HOUR, Service
from tqdm import tqdm

EVENT_BYTES, SONG_BYTES = 475, 4500  # on the disk, roughly: a small file takes as much as 4 KB do


def write_songs(folder, service):
    """Write one file for each song of the catalogue, and yield the path."""
    for number in range(service.songs):
        track_id, song = service.make_song(number)
        path = folder.joinpath(*track_id[2:5], f"{track_id}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        if service.odd:
            oddities.write_song(path, number, song)
        else:
            path.write_text(json.dumps(song), encoding="ascii", newline="\n")
        yield path


def write_logs(folder, service, events):
    """Write one file for each day with events, and yield the path when the file is whole.

    As in the original data set, no line feed ends the file.
    """
    for day, day_events in groupby(events, key=lambda event: event[0] // DAY):
        date = EPOCH + datetime.timedelta(days=day)
        path = folder / f"{date:%Y/%m}" / f"{date}-events.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (line for _, _, line in day_events)
        if service.odd:
            oddities.write_log(path, day, lines)
        else:
            with path.open("w", encoding="ascii", newline="\n") as file:
                file.write(next(lines))
                file.writelines("\n" + line for line in lines)
        yield path


def note_truth(service, events, path):
    """Yield the events, and write as CSV which song of the catalogue each play is of, if any."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["user_id", "ts", "session_id", "item_in_session", "song_id"])
        for second, song, line in events:
            if song is not None:
                keys = itemgetter("userId", "ts", "sessionId", "itemInSession")(json.loads(line))
                song_id = service.make_song(song)[1]["song_id"] if song < service.songs else ""
                table.writerow([*keys, song_id])
            yield second, song, line


def publish(part, out):
    """Put the finished files in place of the old ones; files of other kinds stay."""
    for name in "song_data", "log_data":
        for path in list((out / name).rglob("*")):
            if re.search(r"\.jsonl?(\.gz)?$", path.name, re.IGNORECASE):
                path.unlink()
        (out / name).mkdir(exist_ok=True)
    for source in [path for path in part.rglob("*") if path.is_file()]:
        target = out / source.relative_to(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    shutil.rmtree(part)


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def whole_number(least, most):
    """Return a converter of arguments to whole numbers in this range."""

    def convert(text):
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text} is not from {least:,} to {most:,}")
        return number

    return convert


def date(text):
    """Return a date of the years in which a log may begin."""
    found = datetime.date.fromisoformat(text)
    if not 2000 <= found.year <= 2200:
        raise ValueError
    return found


def outage(text):
    """Return the second and the seconds of an outage like 2018-11-16T21/3, of whole hours."""
    if text == "none":
        return 0, 0
    start, _, hours = text.partition("/")
    begin = datetime.datetime.fromisoformat(start + "+00:00").timestamp()
    if begin % HOUR or int(hours) < 1:
        raise ValueError
    return int(begin), int(hours) * HOUR


def make_parser():
    """Return the command line; the defaults are the sample in data/."""
    parser = OneLineParser(
        description="Simulate Sparkify: write OUT/song_data, a catalogue of invented songs, and "
        "OUT/log_data, the daily logs of invented listeners.",
        epilog="The same arguments give the same bytes everywhere. Without --growth and --cancel, "
        "users come and go, and the service is equally busy all the time. Without --outage, it is "
        "down for three hours from 21:00 on, on the day in the middle. For example, a year of "
        "5,000 users: %(prog)s year --start 2018-01-01 --days 365 --users 5000 --songs 20000 "
        "--events 1000000",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    for name, kind, metavar, text in (
        ("songs", whole_number(1, 10**8), "N", "songs in the catalogue"),
        ("events", whole_number(0, 10**12), "N", "events in the logs, altogether"),
        ("days", whole_number(1, 36525), "N", "days of logs"),
        ("users", whole_number(1, 10**8), "N", "registered users; some of them may stay away"),
        ("seed", whole_number(0, 2**63), "N", "another seed gives another service"),
        ("start", date, "DATE", "the first day, in the years 2000 to 2200"),
        ("growth", whole_number(1, 1000), "N", "the users become N times as many; none leaves"),
        ("cancel", whole_number(0, 100), "PERCENT", "so many users cancel; the others stay"),
        ("outage", outage, "START/HOURS", "no events, in UTC, like 2018-11-16T21/3; or none"),
    ):
        default = getattr(Service, name)
        text += "" if default is None else " (default: %(default)s)"
        parser.add_argument(f"--{name}", type=kind, default=default, metavar=metavar, help=text)
    text = "write some of each oddity that real data have; data/README.md lists them"
    parser.add_argument("--odd", action="store_true", help=text)
    text = "write to this file which song of the catalogue each play is of, as CSV"
    parser.add_argument("--truth", type=Path, metavar="FILE", help=text)
    text = "replace the songs and logs below OUT/song_data and OUT/log_data"
    parser.add_argument("--force", action="store_true", help=text)
    return parser


def parse_arguments(argv):
    """Return the arguments and the service that they ask for.

    There must be room, an hour without outage and, without --force, nothing to overwrite.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    for folder in args.out / "song_data", args.out / "log_data":
        if not args.force and any(path.is_file() for path in folder.rglob("*")):
            parser.error(f"{folder} already holds files: choose another folder or add --force")
    there = next(path for path in (args.out, *args.out.absolute().parents) if path.exists())
    needed = args.events * EVENT_BYTES + args.songs * SONG_BYTES
    if needed > (free := shutil.disk_usage(there).free):
        parser.error(
            f"that takes about {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free in "
            f"{there}: choose fewer --events or --songs, or another folder"
        )
    service = Service(**{field.name: getattr(args, field.name) for field in fields(Service)})
    down, seconds = service.outage
    if down <= service.begin and service.end <= down + seconds:
        parser.error(f"the outage takes all of --days {args.days}: choose a shorter one")
    return args, service


def main(argv=None):
    """Write the catalogue and the logs that the command line asks for."""
    began = time.perf_counter()
    args, service = parse_arguments(argv)
    part = args.out / ".part"  # until all is there
    shutil.rmtree(part, ignore_errors=True)  # of a run that was interrupted
    part.mkdir(parents=True)
    songs = write_songs(part / "song_data", service)
    for _ in tqdm(songs, total=service.songs, unit=" songs", disable=None):  # but on a terminal
        pass
    events = tqdm(service.simulate(), total=service.events, unit=" events", disable=None)
    if args.truth:
        events = note_truth(service, events, args.truth)
    for _ in write_logs(part / "log_data", service, events):
        pass
    publish(part, args.out)
    what, seconds = f"{args.songs:,} songs and {args.events:,} events", time.perf_counter() - began
    print(f"Wrote {what} to {args.out} in {seconds:.1f} s")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:  # no space, no permission, OUT is a file ...
        sys.exit(f"generate.py: can't write {error.filename or 'the files'}: {error.strerror}")
    except KeyboardInterrupt:
        print("generate.py: interrupted; run it again to write the files anew", file=sys.stderr)
        sys.exit(130)
