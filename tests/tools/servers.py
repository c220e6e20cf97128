"""Servers for tests: embedded ones in folders of their own, and one over TCP with passwords."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import quote

import psycopg2
import pytest
from scripts import PASSWORD, PROJECT, environment_of, run

from sparkify.postgres import programs

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
QUOTED = quote(PASSWORD, safe="")
needs_sigkill = pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on this system")


def psql(query, **variables):
    """Return what `python -m sparkify psql` prints of a query's result."""
    result = run("sparkify", "psql", "-XAtc", query, **variables)
    assert (result.stderr, result.returncode) == ("", 0)
    return result.stdout.strip()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as connection:
        return connection.getsockname()[1]


@contextlib.contextmanager
def running_server(
    folder, port, version=16, initdb=("-E", "UTF8", "--locale=C"), standby=False, **variables
):
    """Run a PostgreSQL that wants a password, or once more; its superuser is `admin`."""
    (folder / "password").write_text(PASSWORD)
    user = {"user": "nobody", "extra_groups": []} if IS_ROOT else {}
    if IS_ROOT:  # as whom Postgres doesn't run
        for path in (folder, folder / "password"):
            os.chown(path, 65534, -1)
    bundled = programs.program_folders()[version]
    environment = os.environ | variables
    if not (folder / "data").exists():
        subprocess.run(
            [bundled / "initdb", "-D", folder / "data", "-U", "admin", "-A", "scram-sha-256"]
            + ["--pwfile", folder / "password", "--no-sync", *initdb],
            check=True,
            capture_output=True,
            env=environment,
            **user,
        )
    if standby:  # of nobody
        (folder / "data" / "standby.signal").touch()
    settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
    options = [word for setting in settings for word in ("-c", setting)]
    command = [bundled / "postgres", "-D", folder / "data", "-p", str(port), *options]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, **user)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def connect_until_ready(url):
    deadline = time.monotonic() + 30
    while True:
        try:
            return psycopg2.connect(url)
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def using(data):
    """Run a process that uses the embedded server until the block ends."""
    code = "from sparkify.postgres.connection import server_parameters as start; start(); "
    code += "print(flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=environment_of(SPARKIFY_PGDATA=data),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "\n"
    try:
        yield process
    finally:
        process.communicate("\n")


def server_pid(data):
    """Return the number of the server's process, None where there is none."""
    with contextlib.suppress(FileNotFoundError):
        return int((data / "postmaster.pid").read_text().split()[0])
