"""Time how fast etl.py loads, and how fast Postgres takes the same rows when they are ready-made.

    .venv/bin/python tests/tools/benchmark.py --events 20000 --songs 500 a quick look
    .venv/bin/python tests/tools/benchmark.py --repeat 3 --nightly       medians, and later days too

Everything is its own: simulated files, a temporary embedded server, and new tables for each run.
"""

import argparse
import contextlib
import datetime
import itertools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import quote

import psutil
import psycopg2

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "data")]

import generate
from simulated import generate_first_files, generate_later_files, part_of, say

import create_tables
from sparkify import errors, interrupts, messages
from sparkify.analysis import ask
from sparkify.analysis.questions import DEFAULTS, analytics_queries
from sparkify.load import by_rows, constraints
from sparkify.postgres import connection, embedded
from sql_queries import table_names

TASKS = {
    "auto": "etl.py",
    "rows": "etl.py --load rows",
    "copy": "etl.py --load copy",
    "nightly": "etl.py --load copy, later days",  # into the tables that `copy` has just filled
    "songs": "etl.py --load copy, songs alone",
    "l1": "COPY, then keys and indexes (L1)",
    "in-place": "COPY, keys and indexes in place",
    "duckdb": "DuckDB, then as L1",
    "dlt": "dlt, the logs' lines as they are",
}
CHOICES = [name for name in TASKS if name != "nightly"]
OF_ETL = ("auto", "rows", "copy", "nightly", "songs")  # what another build is timed at, too
PEERS, OF_PEERS = "tests/tools/peers.py", ("duckdb", "dlt")
DEFAULT = [name for name in CHOICES if name not in ("songs", *OF_PEERS)]
WHOLE = ("auto", "rows", "copy", "l1", "in-place", "duckdb")  # what fills the same tables
BEFORE = "before "  # begins the name of such a task
REFERRING = ["songs", "songplays", "unmatched_songplays"]  # each after the tables it refers to
SAMPLE_SECONDS = 0.1  # between two looks at the memory: listing processes takes a while
BUFFER_BYTES = 1 << 18
UNKNOWN = 1_000_000  # songs that the plays of songs that the catalogue lacks are of


class BenchmarkError(Exception):
    """What ends the benchmark: a script that failed, with what it said, or wrong results."""


class Run(NamedTuple):
    """What a task took; there is no memory to tell of where the server does the work."""

    seconds: float
    processor: float  # seconds of it, and of the server's
    megabytes: float | None = None


# Tables to work on


@contextlib.contextmanager
def own_server(folder):
    """Run an embedded server with its data in this folder; forget any the environment names."""
    for name in [name for name in os.environ if name.startswith("PG") or name == "DATABASE_URL"]:
        del os.environ[name]
    os.environ["SPARKIFY_PGDATA"] = str(folder)
    say("starting a server")
    connection.server_parameters()
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


def run_script(project, script, *arguments):
    """Run a script of a build; the other one's has a database of its own on the same server."""
    environment = dict(os.environ)
    if project != PROJECT:
        server = connection.server_parameters()
        place = f"host={quote(server['host'], safe='')}&port={server['port']}"
        environment["DATABASE_URL"] = f"postgresql://postgres@/before?{place}"
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, project / script, *arguments]
    return subprocess.Popen(
        command, cwd=project, env=environment, **pipes, encoding="utf-8", errors="replace"
    )


def describe_tables():
    """Return the number of rows by table, and a sum of which play is of which song."""
    with connected() as (cur, _):
        counts = by_rows.count_table_rows(cur)
        cur.execute(songs_of_plays_select)
        return counts | {"songs of plays": cur.fetchone()[0]}


songs_of_plays_select = """
SELECT sum(hashtextextended(
    concat_ws(' ', user_id, session_id, extract(epoch FROM start_time), song_id, artist_id), 0
))
FROM songplays
"""


def spent_seconds():
    """Return the seconds of processor time that the server and ended programs of ours took."""
    server = int(embedded.find_postmaster(embedded.data_folder())[0])
    own = psutil.Process().cpu_times()
    spent = own.children_user + own.children_system
    for process in list_family(server):
        with contextlib.suppress(psutil.NoSuchProcess):
            spent += sum(process.cpu_times()[:4])  # its own, and those of its ended children
    return spent


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
        started, spent = time.perf_counter(), spent_seconds()
        copy_tables(cur, folder, "FROM STDIN", "rb")
        for query in creations:
            cur.execute(query)
        conn.commit()
        return Run(time.perf_counter() - started, spent_seconds() - spent)


def time_etl(folder, how, project=PROJECT):
    """Load a folder with etl.py and return the Run."""
    return time_script(project, "etl.py", folder, "--load", how, "--rejects", os.devnull)


def time_script(project, script, *arguments):
    """Run a script and return the Run, from the start of the process to its end."""
    samples, started, spent = [], time.perf_counter(), spent_seconds()
    with run_script(project, script, *arguments) as process:
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
        raise BenchmarkError(f"{script} ended with exit status {process.returncode}: {said}")
    return Run(seconds, spent_seconds() - spent, max(samples, default=0) / 1e6)


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


def make_tasks(data, folders, rows, other=None):
    """Return each task as a function that returns its Run; `folders` are those of parts of data."""

    def load(name, project):
        how = "copy" if name in folders else name
        return lambda: time_etl(folders.get(name, data), how, project)

    return {
        **{name: load(name, PROJECT) for name in OF_ETL},
        **{BEFORE + name: load(name, other) for name in OF_ETL if other},
        **{name: partial(time_script, PROJECT, PEERS, name, data) for name in OF_PEERS},
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
    return describe_tables()


def title(name):
    """Return what a task does, for people."""
    if name.startswith(BEFORE):
        return f"{TASKS[name.removeprefix(BEFORE)]}, before"
    return TASKS[name]


def run_tasks(names, tasks, repeat, expected, other=None):
    """Return the Runs by task. The tasks take turns, so that noise meets them all alike."""
    runs = defaultdict(list)
    for number, name in [(number, name) for number in range(repeat) for name in names]:
        if name.endswith("nightly"):
            pass  # comes after the copy load that it needs
        elif name.startswith(BEFORE):
            run_script(other, "create_tables.py").wait()
        else:
            reset_tables()
        runs[name].append(tasks[name]())
        say(f"run {number + 1} of {repeat}: {title(name)}: {runs[name][-1].seconds:.2f} s")
        if name in WHOLE and (found := describe_tables()) != expected:
            raise BenchmarkError(f"{title(name)} left {found}, not {expected} as before")
    return runs


# The analysts' questions


def time_questions():
    """Return the first and the second time, in seconds, that each question's answer takes."""
    with connected() as (cur, _):
        cur.execute(listener_select)
        parameters = DEFAULTS | {"user_id": str(cur.fetchone()[0]), "limit": "10"}
    asked = {}
    for title in analytics_queries:
        values = {name: parameters[name] for name in ask.parameters_of(title)}
        asked[title] = [time_question(title, values) for _ in range(2)]
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


def time_question(title, values):
    started = time.perf_counter()
    ask.fetch_answer(title, values)
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


def format_results(runs, arguments):
    """Return the table of the results, and what its numbers are."""
    seconds = {name: median(run.seconds for run in runs[name]) for name in runs}
    of_other = {"nightly": arguments.nightly_events, "songs": arguments.songs}
    yield f"{'':<44}{'seconds':>9}{'CPU':>8}{'a second':>11}{'x L1':>8}{'peak MB':>9}"
    for name, taken in seconds.items():
        number = of_other.get(name.removeprefix(BEFORE))
        speed = (number or arguments.events) / taken
        ratio = f"{taken / seconds['l1']:.2f}" if "l1" in seconds and not number else "-"
        sizes = [run.megabytes for run in runs[name] if run.megabytes is not None]
        size = f"{median(sizes):,.0f}" if sizes else "-"
        processor = median(run.processor for run in runs[name])
        row = f"{taken:>9.2f}{processor:>8.2f}{speed:>11,.0f}{ratio:>8}{size:>9}"
        yield f"{title(name):<44}{row}"
    times = len(next(iter(runs.values())))
    yield "\nseconds: " + (f"medians of {times} runs" if times > 1 else "of one run each")
    yield "CPU: seconds of processor time of the program and of the server"
    yield "a second: events, or songs where they are alone"
    yield "peak MB: resident memory (RSS) of the program's processes together, as sampled"
    for name in (name for name in runs if BEFORE + name in runs):
        taken, spent = (
            median(
                now[place] / then[place]
                for now, then in zip(runs[name], runs[BEFORE + name], strict=True)
            )
            for place in (0, 1)
        )
        yield f"{title(name)}: {taken:.2f} x before, {spent:.2f} x its CPU; medians of pairs"
    if "nightly" in seconds:
        events = arguments.nightly_events
        ratio = seconds["nightly"] / (events / arguments.events * seconds["copy"])
        yield f"later days: {events:,} events, {ratio:.2f} x their share of the first load"


# Command line


def task_names(text):
    """Return the tasks in a list like "rows,copy"."""
    names = [name.strip() for name in text.lower().split(",")]
    for name in names:
        if name not in CHOICES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {','.join(CHOICES)}")
    return names


def mixes(text):
    """Return the shares, and numbers of songs, in a list like "0,0.5,0.5:1"."""
    found = []
    for share, _, songs in (mix.partition(":") for mix in text.split(",")):
        try:
            found.append((float(share), int(songs or UNKNOWN)))
        except ValueError:
            found.append((-1, 0))
    if not all(0 <= share <= 1 and songs > 0 for share, songs in found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list like 0,0.5,0.5:1")
    return found


def parse_arguments():
    """Return the arguments; --nightly is a task that follows the copy load that it needs."""
    parser = generate.OneLineParser(
        description="Time whole runs of etl.py on simulated files, and compare them with L1: the "
        "time Postgres needs to COPY the same rows, ready-made, into bare tables and then to "
        "create their keys and indexes.",
        epilog="The tasks: rows and copy are the two ways of etl.py --load; in-place is COPY into "
        "tables that have their keys and indexes; songs is copy without the logs. duckdb and dlt "
        'are peers, which .venv/bin/pip install duckdb "dlt[filesystem,postgres]" installs. The '
        "server is the benchmark's own, in a temporary folder; a million events need about 2 GB "
        "there.",
    )
    for name, default, text in (
        ("--events", 1_000_000, "events in the logs"),
        ("--songs", 20_000, "songs in the catalogue"),
        ("--repeat", 1, "runs of each task, in turns; their medians are shown"),
        ("--nightly-events", 100_000, "events of later days, for --nightly"),
    ):
        kind, text = generate.whole_number(1, 10**9), f"{text} (default: %(default)s)"
        parser.add_argument(name, type=kind, default=default, metavar="N", help=text)
    text = f"what to time, out of {','.join(CHOICES)} (default: {','.join(DEFAULT)})"
    parser.add_argument("--only", type=task_names, default=DEFAULT, metavar="TASKS", help=text)
    text = (
        "the shares of the plays to rename to songs that the catalogue lacks, each with the number "
        f"of such songs, which is {UNKNOWN:,} unless given, in turn: 0,0.5,0.5:1, say, the last of "
        "which is one hit (default: 0)"
    )
    parser.add_argument("--missing", type=mixes, default="0", metavar="MIXES", help=text)
    text = "keep the simulated files in this folder, or use them where it has them already"
    parser.add_argument("--folder", type=Path, metavar="DIR", help=text)
    text = "after each copy load, also load events of later days into the filled tables"
    parser.add_argument("--nightly", action="store_true", help=text)
    text = "also time what etl.py of the build in this folder takes, each time right after this one"
    parser.add_argument("--against", type=Path, metavar="DIR", help=text)
    text = "time each of the analysts' questions instead, after one copy load"
    parser.add_argument("--ask", action="store_true", help=text)
    arguments = parser.parse_args()
    wanted = {*arguments.only, *(("copy", "nightly") if arguments.nightly else ())}
    arguments.tasks = [name for name in TASKS if name in wanted]
    if arguments.against:
        arguments.against = arguments.against.resolve()
        pairs = ([name, BEFORE + name][: 1 + (name in OF_ETL)] for name in arguments.tasks)
        arguments.tasks = list(itertools.chain.from_iterable(pairs))
    return arguments


def measure_loads(tasks, rows, arguments):
    """Return the number of rows by table, and the lines on what the tasks took."""
    counts = prepare_rows(tasks, rows)
    runs = run_tasks(arguments.tasks, tasks, arguments.repeat, counts, arguments.against)
    shutil.rmtree(rows)
    return counts, format_results(runs, arguments)


def measure_answers(tasks, rows, arguments):
    """Return the number of rows by table, and the lines on what the questions took."""
    reset_tables()
    tasks["copy"]()
    return describe_tables(), format_questions(time_questions())


def run(arguments, temporary):
    """Generate the files, run the tasks and print the results."""
    kept, songs = (arguments.folder or temporary).resolve(), arguments.songs
    for number, missing in enumerate(arguments.missing):
        own = temporary / str(number)
        data = generate_first_files(kept, arguments.events, songs, missing)
        folders = {"nightly": None, "songs": part_of(data, "song_data", own / "songs")}
        if arguments.nightly:
            later = generate_later_files(kept, arguments.nightly_events, songs, missing)
            folders["nightly"] = part_of(later, "log_data", own / "later")
        with own_server(own / "pg"):
            measure = measure_answers if arguments.ask else measure_loads
            tasks = make_tasks(data, folders, own / "rows", arguments.against)
            counts, results = measure(tasks, own / "rows", arguments)
            heading = format_heading(arguments, counts)
        print(heading, "", *results, "", sep="\n", flush=True)


def main():
    """Run the benchmark and return the exit status, or one line on why it could not be done."""
    arguments = parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="sparkify-") as temporary:
            run(arguments, Path(temporary).resolve())
    except (BenchmarkError, errors.ServerError) as error:
        return f"benchmark.py: {error}"
    except (OSError, psycopg2.Error) as error:
        return f"benchmark.py: {messages.one_line(error)}"
    return 0


if __name__ == "__main__":
    interrupts.catch("benchmark.py")
    sys.exit(interrupts.run(main))
