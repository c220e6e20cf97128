"""Ctrl-C, SIGTERM and SIGHUP end a script at once, in one line, whatever it waits for."""

import os
import signal
import socket
import subprocess
import sys
import time

import psycopg2
import pytest
from records import write_data
from scripts import PROJECT, environment_of, run, script_of, thorough
from servers import server_pid, using

from sparkify.postgres import embedded

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no such signals on this system")

ROWS = "what was committed so far stays, run it again for the rest"
NOTHING = "nothing was loaded, run it again"


def end(process, number):
    """Send a signal, and once more, and return the exit status and the lines said since."""
    for _ in range(2):
        process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors.splitlines()


# While it imports


STUB = """
import os, time
os.kill(os.getpid(), {number})
os.kill(os.getpid(), {number})
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("script", "number", "said"),
    [
        ("etl.py", signal.SIGINT, "interrupted"),
        ("create_tables.py", signal.SIGTERM, "interrupted by SIGTERM"),
        ("sparkify", signal.SIGHUP, "interrupted by SIGHUP"),
    ],
)
def test_a_signal_during_imports(tmp_path, script, number, said):
    (tmp_path / "psycopg2.py").write_text(STUB.format(number=int(number)))
    result = run(script, PYTHONPATH=tmp_path)
    assert (result.returncode, result.stderr) == (128 + number, f"{script}: {said}\n")


# While it waits for a server, or a lock


def test_a_signal_while_a_server_is_silent(start):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/?connect_timeout=0"
        process = start("create_tables.py", DATABASE_URL=url)
        with silent.accept()[0]:
            said = ["create_tables.py: interrupted by SIGTERM"]
            assert end(process, signal.SIGTERM) == (128 + signal.SIGTERM, said)


@pytest.fixture
def waiting(conn, cur, data, start):
    """Starts etl.py, which waits for a notebook's transaction; returns it and what it says."""
    cur.execute("SET application_name = 'ipykernel_launcher.py'")
    conn.commit()

    def start_load(loader):
        cur.execute("LOCK TABLE users IN SHARE MODE")
        process = start("etl.py", data, "--load", loader)
        return process, process.stderr.readline()

    return start_load


def wait_until_gone(cur):
    deadline = time.monotonic() + 30
    running = "SELECT FROM pg_stat_activity WHERE application_name = 'etl.py'"
    while cur.execute(running) or cur.rowcount:
        assert time.monotonic() < deadline
        cur.execute("SELECT pg_stat_clear_snapshot()")
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("loader", "number", "stays"),
    [
        ("rows", signal.SIGINT, ROWS),
        ("copy", signal.SIGTERM, NOTHING),
        thorough("rows", signal.SIGHUP, ROWS),
    ],
)
def test_a_signal_while_it_waits(waiting, conn, cur, loader, number, stays):
    process, said = waiting(loader)
    holder = f"session {conn.info.backend_pid} (user postgres, a notebook, idle in transaction)"
    assert said.startswith(f"etl.py: waiting for {holder}; let it commit or close it, or end it ")
    by_whom = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    assert end(process, number) == (128 + number, [f"etl.py: interrupted{by_whom}; {stays}"])
    wait_until_gone(cur)


def test_killed_it_leaves_no_session_that_waits(waiting, cur):
    process, _ = waiting("rows")
    process.kill()
    process.communicate()
    wait_until_gone(cur)


def test_the_last_user_of_the_embedded_server_stops_it(tmp_path, start):
    server, folder = tmp_path / "pg", write_data(tmp_path / "data", [], [])
    with using(server):
        assert run("create_tables.py", SPARKIFY_PGDATA=server).returncode == 0
        host = str(embedded.socket_folder(server))
        conn = psycopg2.connect(host=host, user="postgres", dbname="sparkifydb")
        conn.cursor().execute("LOCK TABLE loaded_files")
        process = start("etl.py", folder, SPARKIFY_PGDATA=server)
        process.stderr.readline()
    assert server_pid(server) is not None
    said = [f"etl.py: interrupted by SIGTERM; {NOTHING}"]
    assert end(process, signal.SIGTERM) == (128 + signal.SIGTERM, said)
    assert server_pid(server) is None


LONG_QUERIES = [
    ("ask", "1"),
    ("check",),
    ("psql", "-c", "SELECT count(*) FROM songplays"),
    ("report", "{}/report.html"),
]


@pytest.mark.parametrize("words", [*LONG_QUERIES[:3], thorough(LONG_QUERIES[3])])
def test_ctrl_c_in_a_long_query_of_a_command(sample, words, tmp_path):
    with sample, sample.cursor() as cur:
        cur.execute("LOCK TABLE songplays")
        command = [
            sys.executable,
            *script_of("sparkify"),
            *(word.format(tmp_path) for word in words),
        ]
        environment = environment_of(SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"])
        process = subprocess.Popen(
            command, cwd=PROJECT, env=environment, stderr=subprocess.PIPE, start_new_session=True
        )
        wait_for_queries(cur, 1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        errors = process.communicate(timeout=30)[1].decode()  # mostly within 0.3 s
        by_psql = "Cancel request sent\nERROR:  canceling statement due to user request\n"
        assert errors == (by_psql if words[0] == "psql" else "sparkify: interrupted\n")
        wait_for_queries(cur, 0)


def wait_for_queries(cur, number):
    """Wait until so many queries wait for a table."""
    deadline = time.monotonic() + 30
    while cur.execute("SELECT FROM pg_locks WHERE NOT granted") or cur.rowcount != number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# Imported as Python starts: keeps a kernel there, where an interrupt would be told.
STARTING = """
import sys, time
if "ipykernel_launcher" in sys.orig_argv:
    open("{}", "w").close()
    time.sleep(60)
"""


def test_a_signal_while_the_reports_kernel_starts(sample, tmp_path):
    script = [*script_of("sparkify"), "report", tmp_path / "report.html"]
    (tmp_path / "sitecustomize.py").write_text(STARTING.format(tmp_path / "started"))
    environment = environment_of(SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"], PYTHONPATH=tmp_path)
    process = subprocess.Popen(
        [sys.executable, *script], cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    said = ["sparkify: interrupted by SIGTERM"]
    assert end(process, signal.SIGTERM) == (128 + signal.SIGTERM, said)


# Whatever it does


PROGRAM = """
import atexit, os, signal, sys, time
from sparkify import interrupts

def send_signal():
    os.kill(os.getpid(), signal.SIGINT)

{main}

interrupts.catch("x")
atexit.register(lambda: (send_signal(), print("stopped", flush=True)))
sys.exit(interrupts.run(main))
"""

ENDED = """
def main():
    return 0
"""

POSTPONED = """
def main():
    with interrupts.postponed():
        send_signal()
        print("committed", flush=True)
    time.sleep(60)
"""

LOST = """
class Lost:
    def __del__(self):
        send_signal()
        time.sleep(60)

def main():
    Lost()
    time.sleep(60)
"""

FAILED = """
def main():
    try:
        send_signal()
        time.sleep(60)
    finally:
        raise OSError
"""

TAKEN = """
def main():
    try:
        send_signal()
        time.sleep(60)
    except KeyboardInterrupt:
        return 0
"""

THREAD = """
from concurrent.futures import ThreadPoolExecutor

def main():
    ThreadPoolExecutor(1).submit(time.sleep, 60)
    send_signal()
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("main", "status", "output", "errors"),
    [
        (ENDED, 0, "stopped\n", ""),
        (POSTPONED, 130, "committed\nstopped\n", "x: interrupted\n"),
        (LOST, 130, "stopped\n", "x: interrupted\n"),
        (FAILED, 130, "stopped\n", "x: interrupted\n"),
        (TAKEN, 0, "stopped\n", ""),
        (THREAD, 130, "stopped\n", "x: interrupted\n"),
    ],
    ids=["ended", "postponed", "lost", "failed", "taken", "thread"],
)
def test_what_a_program_has_to_put_in_order(main, status, output, errors):
    program = [sys.executable, "-c", PROGRAM.format(main=main)]
    result = subprocess.run(
        program, cwd=PROJECT, env=environment_of(), capture_output=True, text=True, timeout=50
    )
    assert (result.returncode, result.stdout, result.stderr) == (status, output, errors)


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As SIGHUP under nohup."""
    stub = "import os, signal\nos.kill(os.getpid(), signal.SIGHUP)\nos._exit(7)"
    (tmp_path / "psycopg2.py").write_text(stub)
    result = subprocess.run(
        [sys.executable, *script_of("etl.py")],
        env=environment_of(PYTHONPATH=tmp_path),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert result.returncode == 7
