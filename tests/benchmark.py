"""Time how fast etl.py loads, and how fast Postgres takes the same rows when they are ready-made.

    .venv/bin/python tests/benchmark.py --events 20000 --songs 500   a quick look
    .venv/bin/python tests/benchmark.py --repeat 3 --nightly         medians, and later days too

Everything is its own: simulated files, a temporary embedded server, and new tables for each run.
"""

import argparse
import contextlib
import datetime
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
import psycopg2

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "data")]

import generate  # noqa: E402
from simulated import generate_kind, generate_later_files, say  # noqa: E402

import create_tables  # noqa: E402
from sparkify import (  # noqa: E402
    ask,
    constraints,
    embedded,
    interrupts,
    messages,
    report,
    server,
)
from sparkify.questions import DEFAULTS, analytics_queries  # noqa: E402
from sql_queries import table_names  # noqa: E402

TASKS = {
    "rows": "etl.py --load rows",
    "copy": "etl.py --load copy",
    "nightly": "etl.py --load copy, later days",  # into the tables that `copy` has just filled
    "l1": "COPY, then keys and indexes (L1)",
    "in-place": "COPY, keys and indexes in place",
}
CHOICES = [name for name in TASKS if name != "nightly"]
REFERRING = ["songs", "songplays", "unmatched_songplays"]  # each after the tables it refers to
SAMPLE_SECONDS = 0.1  # between two looks at the memory: listing processes takes a while
BUFFER_BYTES = 1 << 18


class BenchmarkError(Exception):
    """What ends the benchmark: a script that failed, with what it said, or wrong results."""


class Run(NamedTuple):
    """What a task took; there is no memory to tell of where the server does the work."""

    seconds: float
    megabytes: float | None = None


# Tables to work on


@contextlib.contextmanager
def own_server(folder):
    """Run an embedded server with its data in this folder; forget any the environment names."""
    for name in [name for name in os.environ if name.startswith("PG") or name == "DATABASE_URL"]:
        del os.environ[name]
    os.environ["SPARKIFY_PGDATA"] = str(folder)
    say("starting a server")
    server.server_parameters()
    try:
        yield
    finally:
        embedded.end_use(embedded.data_folder())


@contextlib.contextmanager
def connected():
    """Yield a cursor and its connection, to be closed at the end."""
    cur, conn = create_tables.create_database()
    with contextlib.closing(conn):
        yield cur, conn


def reset_tables():
    """Create the tables anew, and let the server write out now what is left of the run before."""
    with connected() as (cur, conn):
        create_tables.reset_tables(cur, conn)
        cur.execute("CHECKPOINT")


def count_table_rows():
    """Return the number of rows by table."""
    with connected() as (cur, _):
        return report.count_table_rows(cur)


def copy_tables(cur, folder, direction, mode):
    """Copy all tables TO STDOUT, or FROM STDIN, where a file for each is in the folder."""
    for name in [name for name in table_names if name not in REFERRING] + REFERRING:
        with open(folder / name, mode) as file:
            cur.copy_expert(f"COPY {name} {direction} (FORMAT BINARY)", file, BUFFER_BYTES)


# The tasks


def time_copy(folder, keys_last):
    """Copy the rows in a folder into the tables and return the Run, from first COPY to commit.

    With keys_last, keys and indexes are created after the rows, in the same transaction.
    """
    with connected() as (cur, conn):
        creations = constraints.drop_keys(cur, table_names, table_names) if keys_last else []
        conn.commit()
        started = time.perf_counter()
        copy_tables(cur, folder, "FROM STDIN", "rb")
        for query in creations:
            cur.execute(query)
        conn.commit()
        return Run(time.perf_counter() - started)


def time_etl(folder, how):
    """Load a folder with etl.py and return the Run, from the start of the process to its end."""
    command = [sys.executable, PROJECT / "etl.py", folder, "--load", how, "--rejects", os.devnull]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    samples, started = [], time.perf_counter()
    with subprocess.Popen(command, **pipes, encoding="utf-8", errors="replace") as process:
        threading.Thread(target=sample_memory, args=(process.pid, samples), daemon=True).start()
        try:
            output, errors = process.communicate()
        except BaseException:  # such as Ctrl-C
            kill_family(process.pid)
            process.wait()
            raise
    seconds = time.perf_counter() - started
    if process.returncode:
        said = (errors or output).strip()
        raise BenchmarkError(f"etl.py ended with exit status {process.returncode}: {said}")
    return Run(seconds, max(samples, default=0) / 1e6)


def list_family(pid):
    """Return a process and its descendants. The server is none of them: it runs already."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def kill_family(pid):
    """End a process and its descendants, as far as there are any left."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in list_family(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def sample_memory(pid, samples):
    """Append the memory of a process and its descendants, over and over until it ends."""
    with contextlib.suppress(psutil.NoSuchProcess):
        while True:
            samples.append(sum(map(measure_memory, list_family(pid))))
            time.sleep(SAMPLE_SECONDS)


def measure_memory(process):
    """Return the memory of one process in bytes, 0 if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.memory_info().rss
    return 0


def make_tasks(data, later, rows):
    """Return each task as a function that returns its Run."""
    return {
        "rows": lambda: time_etl(data, "rows"),
        "copy": lambda: time_etl(data, "copy"),
        "nightly": lambda: time_etl(later, "copy"),
        "l1": lambda: time_copy(rows, keys_last=True),
        "in-place": lambda: time_copy(rows, keys_last=False),
    }


def prepare_rows(tasks, rows):
    """Load once, untimed, keep the rows for COPY and return their counts. It warms the caches."""
    say(f"warming up: {TASKS['copy']}")
    reset_tables()
    tasks["copy"]()
    rows.mkdir()
    with connected() as (cur, _):
        copy_tables(cur, rows, "TO STDOUT", "wb")
    return count_table_rows()


def run_tasks(names, tasks, repeat, expected):
    """Return the Runs by task. The tasks take turns, so that noise meets them all alike."""
    runs = defaultdict(list)
    for number, name in [(number, name) for number in range(repeat) for name in names]:
        if name != "nightly":
            reset_tables()
        runs[name].append(tasks[name]())
        say(f"run {number + 1} of {repeat}: {TASKS[name]}: {runs[name][-1].seconds:.2f} s")
        if name != "nightly" and (found := count_table_rows()) != expected:
            raise BenchmarkError(f"{TASKS[name]} left {found}, not {expected} as before")
    return runs


# The analysts' questions


def time_questions():
    """Return the first and the second time, in seconds, that each question's answer takes."""
    with connected() as (cur, _):
        cur.execute(listener_select)
        parameters = DEFAULTS | {"user_id": str(cur.fetchone()[0]), "limit": "10"}
    asked = {}
    for title, query in analytics_queries.items():
        values = {name: parameters[name] for name in ask.parameters_of(title)}
        asked[title] = [time_question(query, values) for _ in range(2)]
        say(f"{title}: {asked[title][1]:.2f} s")
    return asked


# The user with most plays.
listener_select = """
SELECT user_id
FROM songplays
GROUP BY user_id
ORDER BY count(*) DESC, user_id
LIMIT 1
"""


def time_question(query, values):
    started = time.perf_counter()
    ask.fetch_answer(query, values)
    return time.perf_counter() - started


def format_questions(asked):
    """Return the table of the questions, and what its numbers are."""
    yield f"{'':<52}{'first':>9}{'again':>9}"
    for title, (first, again) in asked.items():
        yield f"{title:<52}{first:>9.2f}{again:>9.2f}"
    first, again = map(sum, zip(*asked.values(), strict=True))
    yield f"{'together':<52}{first:>9.2f}{again:>9.2f}"
    yield "\nseconds, from asking until the answer is there: first after the load, and once more"


# The results


def format_heading(arguments, counts):
    """Return a line on what was measured, where and when."""
    with connected() as (_, conn):
        postgres = conn.info.parameter_status("server_version")
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, Postgres {postgres}, "
        f"{datetime.date.today()}: {arguments.events:,} events, {arguments.songs:,} songs, "
        f"{counts['songplays']:,} plays, {counts['unmatched_songplays']:,} of them of unknown songs"
    )


def format_results(runs, events, later_events):
    """Return the table of the results, and what its numbers are."""
    seconds = {name: median(run.seconds for run in runs[name]) for name in runs}
    yield f"{'':<32}{'seconds':>9}{'events/s':>11}{'x L1':>8}{'peak MB':>9}"
    for name, taken in seconds.items():
        speed = (later_events if name == "nightly" else events) / taken
        ratio = f"{taken / seconds['l1']:.2f}" if "l1" in seconds and name != "nightly" else "-"
        sizes = [run.megabytes for run in runs[name] if run.megabytes is not None]
        size = f"{median(sizes):,.0f}" if sizes else "-"
        yield f"{TASKS[name]:<32}{taken:>9.2f}{speed:>11,.0f}{ratio:>8}{size:>9}"
    times = len(next(iter(runs.values())))
    yield "\nseconds: " + (f"medians of {times} runs" if times > 1 else "of one run each")
    yield "peak MB: resident memory (RSS) of etl.py's processes together, as sampled"
    if "nightly" in seconds:
        ratio = seconds["nightly"] / (later_events / events * seconds["copy"])
        yield f"later days: {later_events:,} events, {ratio:.2f} x their share of the first load"


# Command line


def task_names(text):
    """Return the tasks in a list like "rows,copy"."""
    names = [name.strip() for name in text.lower().split(",")]
    for name in names:
        if name not in CHOICES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {','.join(CHOICES)}")
    return names


def shares(text):
    """Return the shares in a list like "0,0.5"."""
    try:
        found = [float(share) for share in text.split(",")]
    except ValueError:
        found = [-1]
    if not all(0 <= share <= 1 for share in found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers from 0 to 1")
    return found


def parse_arguments():
    """Return the arguments; --nightly is a task that follows the copy load that it needs."""
    parser = generate.OneLineParser(
        description="Time whole runs of etl.py on simulated files, and compare them with L1: the "
        "time Postgres needs to COPY the same rows, ready-made, into bare tables and then to "
        "create their keys and indexes.",
        epilog="The tasks: rows and copy are the two ways of etl.py --load; in-place is COPY into "
        "tables that have their keys and indexes. The server is the benchmark's own, in a "
        "temporary folder; a million events need about 2 GB there.",
    )
    for name, default, text in (
        ("--events", 1_000_000, "events in the logs"),
        ("--songs", 20_000, "songs in the catalogue"),
        ("--repeat", 1, "runs of each task, in turns; their medians are shown"),
        ("--nightly-events", 100_000, "events of later days, for --nightly"),
        ("--missing-songs", 1_000_000, "distinct songs that --missing draws from"),
    ):
        kind, text = generate.whole_number(1, 10**9), f"{text} (default: %(default)s)"
        parser.add_argument(name, type=kind, default=default, metavar="N", help=text)
    text = f"what to time, out of {','.join(CHOICES)} (default: all)"
    parser.add_argument("--only", type=task_names, default=CHOICES, metavar="TASKS", help=text)
    text = (
        "also with these shares of the plays renamed to songs that the catalogue lacks, like 0,0.5"
    )
    parser.add_argument("--missing", type=shares, default=[0], metavar="SHARES", help=text)
    text = "keep the simulated files in this folder, or use them where it has them already"
    parser.add_argument("--folder", type=Path, metavar="DIR", help=text)
    text = "after each copy load, also load events of later days into the filled tables"
    parser.add_argument("--nightly", action="store_true", help=text)
    text = "time each of the analysts' questions instead, after one copy load"
    parser.add_argument("--ask", action="store_true", help=text)
    arguments = parser.parse_args()
    wanted = {*arguments.only, *(("copy", "nightly") if arguments.nightly else ())}
    arguments.tasks = [name for name in TASKS if name in wanted]
    return arguments


def measure_loads(tasks, rows, arguments):
    """Return the number of rows by table, and the lines on what the tasks took."""
    counts = prepare_rows(tasks, rows)
    runs = run_tasks(arguments.tasks, tasks, arguments.repeat, counts)
    shutil.rmtree(rows)
    return counts, format_results(runs, arguments.events, arguments.nightly_events)


def measure_answers(tasks, rows, arguments):
    """Return the number of rows by table, and the lines on what the questions took."""
    reset_tables()
    tasks["copy"]()
    return count_table_rows(), format_questions(time_questions())


def run(arguments, temporary):
    """Generate the files, run the tasks and print the results."""
    songs, later_events = arguments.songs, arguments.nightly_events
    kept = (arguments.folder or temporary).resolve()
    later = kept / f"{later_events}-later-events-{songs}-songs"
    if arguments.nightly:
        generate_later_files(later, later_events, songs)
    for number, missing in enumerate(arguments.missing):
        data, rows = generate_kind(kept, arguments, missing), temporary / f"rows-{number}"
        with own_server(temporary / f"pg-{number}"):
            measure = measure_answers if arguments.ask else measure_loads
            counts, results = measure(make_tasks(data, later, rows), rows, arguments)
            heading = format_heading(arguments, counts)
        print(heading, "", *results, "", sep="\n", flush=True)


def main():
    """Run the benchmark and return the exit status, or one line on why it could not be done."""
    arguments = parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="sparkify-") as temporary:
            run(arguments, Path(temporary).resolve())
    except (BenchmarkError, messages.ServerError) as error:
        return f"benchmark.py: {error}"
    except (OSError, psycopg2.Error) as error:
        return f"benchmark.py: {messages.one_line(error)}"
    return 0


if __name__ == "__main__":
    interrupts.catch("benchmark.py")
    sys.exit(interrupts.run(main))
