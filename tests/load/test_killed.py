"""Killed at any moment: after another run, everything is as if nothing had happened.

    pytest tests/load/test_killed.py --times 12

tries 48 moments instead of a few. Each is chosen by its number, so it can be tried again by its
name. What the disk loses when a machine loses its power can't be tried in this way.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

import psutil
import psycopg2
import pytest
from records import copy_database, read_tables, song, without_times
from scripts import PROJECT, environment_of, run
from servers import needs_sigkill, server_pid, using
from simulated import rename_songs

from sparkify.postgres import embedded

pytestmark = needs_sigkill

LOADERS = ["rows", "copy"]
STARTS = ["empty", "filled"]  # the tables: as created, or with half of the files loaded
# Both ways of loading take most of a second for these.
EVENTS = {"rows": "1500", "copy": "5000"}
# What libpq itself prints where a session ends in the moment in which it is set up: before that,
# nobody can ask it to do otherwise.
BY_LIBPQ = (
    "FATAL:  terminating connection due to unexpected postmaster exit",
    "WARNING:  terminating connection because of crash of another server process",
    "DETAIL:  The postmaster has commanded this server process to roll back the current",
    "HINT:  In a moment you should be able to reconnect to the database and repeat your command",
)
ATTEMPTS = 5  # to load, while the server starts again


# Victims


def kill_script(process, server, random):
    process.kill()


def kill_server(process, server, random):
    os.kill(server_pid(server), signal.SIGKILL)


def kill_backend(process, server, random):
    """Kill the server's process that serves etl.py, or any other while there is none."""
    processes = psutil.Process(server_pid(server)).children()
    serving = [backend for backend in processes if "sparkifydb" in read_title(backend)]
    kill_all([random.choice(serving or processes)])


def kill_everything(process, server, random):
    """Kill them all, as when the machine stops."""
    postmaster = psutil.Process(server_pid(server))
    kill_all([postmaster, process, *postmaster.children()])


def read_title(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def kill_all(processes):
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


VICTIMS = [kill_script, kill_server, kill_backend, kill_everything]


class Kill(NamedTuple):
    """What is tried under a number: any four in a row kill each victim, any 16 in each way."""

    number: int

    @property
    def victim(self):
        return VICTIMS[self.number % 4]

    @property
    def loader(self):
        return LOADERS[(self.number + self.number // 4) % 2]

    @property
    def start(self):
        return STARTS[(self.number // 2 + self.number // 8) % 2]

    def __str__(self):
        return f"{self.number}-{self.victim.__name__}-{self.loader}-{self.start}"


def pytest_generate_tests(metafunc):
    if "kill" in metafunc.fixturenames:
        wanted = len(VICTIMS) * metafunc.config.getoption("times")
        kills = [Kill(number) for number in range(wanted)]
        metafunc.parametrize("kill", kills, ids=str)


# The server, the data, and what a load that nobody disturbs makes of them


@pytest.fixture(scope="module")
def own_server():
    """The data folder of a server of these tests' own, which is to be killed."""
    with tempfile.TemporaryDirectory(prefix="sparkify-kill-") as folder:
        data = Path(folder) / "pg"
        with using(data):
            yield data
        assert server_pid(data) is None


def connect(server, name="sparkifydb"):
    """Connect as soon as the server is ready: it may be starting again."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return psycopg2.connect(
                host=str(embedded.socket_folder(server)), user="postgres", dbname=name
            )
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def read_database(server):
    """Return all rows of all tables, what is recorded of files, and what guards the tables."""
    with contextlib.closing(connect(server)) as conn, conn.cursor() as cur:
        found = read_tables(cur)
        cur.execute(
            """
            SELECT uri, kind, size, modified, rows_loaded, lines_set_aside
            FROM loaded_files ORDER BY uri COLLATE "C"
            """
        )
        found["loaded_files"] = cur.fetchall()
        cur.execute(
            """
            SELECT conrelid::regclass::text, pg_get_constraintdef(oid), convalidated
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace
            UNION ALL
            SELECT tablename, indexdef, true FROM pg_indexes WHERE schemaname = 'public'
            UNION ALL
            SELECT attrelid::regclass::text, concat(attname, ' ', attidentity), attnotnull
            FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            WHERE relnamespace = 'public'::regnamespace AND attnum > 0
            UNION ALL
            SELECT viewname, definition, true FROM pg_views WHERE schemaname = 'public'
            ORDER BY 1, 2, 3
            """
        )
        found["definitions"] = cur.fetchall()
    return found


def read_rejects(folder):
    return sorted(without_times((folder / "rejected.jsonl").read_text()))


class World:
    """Data for one way of loading, with both starts as databases to copy."""

    def __init__(self, own_server, folder, loader):
        self.server = own_server
        self.folder, self.loader = folder, loader
        self.data, self.all_files = folder / "data", folder / "all"
        generate(self.all_files, EVENTS[loader])
        spoil(self.all_files)
        self.data.mkdir()
        assert run("create_tables.py", SPARKIFY_PGDATA=self.server).returncode == 0
        self.definitions = self.read()["definitions"]
        self.save("empty")
        copy_half(self.all_files, self.data)
        self.load(folder)
        self.save("filled")
        shutil.copytree(self.all_files, self.data, dirs_exist_ok=True)
        self.undisturbed, self.seconds = {}, {}

    def save(self, start):
        copy_database(connect(self.server, "postgres"), "sparkifydb", f"{self.loader}_{start}")

    def restore(self, start, folder):
        """Make database and folder what they were at the start."""
        copy_database(connect(self.server, "postgres"), f"{self.loader}_{start}", "sparkifydb")
        (folder / "rejected.jsonl").unlink(missing_ok=True)
        if start == "filled":
            shutil.copy(self.folder / "rejected.jsonl", folder)

    def read(self):
        return read_database(self.server)

    def load(self, folder):
        result = run(*self.command(self.loader), cwd=folder, SPARKIFY_PGDATA=self.server)
        assert (result.returncode, result.stderr) == (3, "")

    def command(self, loader):
        return ["etl.py", self.data, "--load", loader]

    def load_undisturbed(self, start):
        """Return what a load leaves that nobody disturbs, and keep the seconds that it takes."""
        if start not in self.undisturbed:
            folder = self.folder / start
            folder.mkdir()
            self.restore(start, folder)
            started = time.monotonic()
            self.load(folder)
            self.seconds[start] = time.monotonic() - started
            self.undisturbed[start] = self.read(), read_rejects(folder)
        return self.undisturbed[start]


def generate(folder, events):
    """Simulate events, half of the plays of songs that the catalogue lacks, all of them different.

    Of the other half, one in six is of one of a few songs that it lacks.
    """
    command = [sys.executable, PROJECT / "data" / "generate.py", folder, "--events", events]
    subprocess.run(command, check=True, capture_output=True)
    rename_songs(folder / "log_data", 0.5, 10**9)


def spoil(folder):
    """Put bad lines into a few files."""
    logs = sorted(folder.glob("log_data/**/*.json"))
    for number, path in enumerate(logs[::3]):
        lines = path.read_bytes().splitlines()
        place = number % len(lines)
        lines[place : place + 1] = [b'{"cut', lines[place], b'{"page": "\xff"}', b"[]"]
        path.write_bytes(b"\n".join(lines))
    bad = sorted(folder.glob("song_data/**/*.json"))[5]
    bad.write_text(json.dumps(song(title=None)))


def copy_half(source, target):
    """Copy every second file, and a log file as it was before it grew."""
    files = sorted(source.rglob("*.json"))
    for path in files[::2]:
        copied = target / path.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copied)
    growing = min(target.glob("log_data/**/*.json"))
    lines = growing.read_bytes().splitlines(keepends=True)
    growing.write_bytes(b"".join(lines[: len(lines) // 2]))


@pytest.fixture(scope="module")
def find_world(own_server, tmp_path_factory):
    """Makes the World of a way of loading when it is first wanted."""
    worlds = {}

    def find(loader):
        if loader not in worlds:
            worlds[loader] = World(own_server, tmp_path_factory.mktemp(loader), loader)
        return worlds[loader]

    return find


# Kills


def test_killed_and_run_again(kill, find_world, tmp_path):
    random = Random(kill.number)
    world = find_world(kill.loader)
    expected, rejects = world.load_undisturbed(kill.start)
    share = random.random()
    again = random.choice(LOADERS) if kill.loader == "rows" else "copy"
    print(f"{kill}: {share:.0%} of a load; then --load {again}")
    for _ in range(ATTEMPTS):
        world.restore(kill.start, tmp_path)
        if killed := run_and_kill(world, kill, share, random, tmp_path):
            break
    run_until_loaded(world.command(again), world.server, tmp_path)
    if killed:  # said only now that the server is there again for the others
        assert_tidy(*killed, [0, 1, 3, -signal.SIGKILL])
    found = world.read()
    assert expected["definitions"] == world.definitions
    assert [name for name in expected if found[name] != expected[name]] == []
    assert read_rejects(tmp_path) == rejects


def run_and_kill(world, kill, share, random, folder):
    """Run etl.py, kill the victim after this share of the seconds a load takes.

    Returns its status and what it said, None where it had ended by then, having been faster.
    """
    script, *arguments = world.command(kill.loader)
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, PROJECT / script, *arguments],
        cwd=folder,
        env=environment_of(SPARKIFY_PGDATA=world.server),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=share * world.seconds[kill.start])
            world.seconds[kill.start] = time.monotonic() - started
            return None
        seconds = time.monotonic() - started
        kill.victim(process, world.server, random)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    print(f"killed after {seconds:.3f} s:", (process.returncode, errors))
    return process.returncode, errors


def run_until_loaded(command, server, folder):
    for attempt in range(ATTEMPTS):
        result = run(*command, cwd=folder, SPARKIFY_PGDATA=server)
        print(f"run {attempt + 1}:", (result.returncode, result.stderr))
        assert_tidy(result.returncode, result.stderr, [0, 1, 3])
        assert "waiting for the embedded server" not in result.stderr
        if result.returncode != 1:
            return
    pytest.fail(f"not loaded by {ATTEMPTS} attempts")


def assert_tidy(status, errors, statuses):
    """Check that a run ended as it may, and that all it said are lines of its own, or libpq's."""
    assert status in statuses, errors
    lines = [line for line in errors.splitlines() if not line.startswith(BY_LIBPQ)]
    assert all(line.startswith("etl.py: ") for line in lines), errors
    assert status != 1 or errors
