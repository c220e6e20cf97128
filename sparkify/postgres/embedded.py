"""The embedded PostgreSQL: it starts when it is first needed, and stops when nobody uses it.

Each process that uses it shares a claim on a folder in its data folder. The last one stops it; a
watcher does so where processes were killed.
"""

import atexit
import contextlib
import hashlib
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from sparkify.errors import ServerError
from sparkify.interpreter import PROJECT
from sparkify.messages import one_line
from sparkify.postgres import claims
from sparkify.postgres.programs import (
    VERSION,
    ProgramError,
    admit_os_user,
    detached,
    execute,
    find_cause,
    is_root,
    os_user_ids,
    own_user_ids,
)
from sparkify.waiting import say_once

DATA = Path(PROJECT, ".postgres")
RECOVERY_SECONDS = 600  # for a server to start, or for others to start or stop it
TELL_SECONDS = 15  # before a start that takes so long is told
STOPS = {"fast": 20, "immediate": 10}  # seconds for each of pg_ctl's ways to stop a server
KILL_SECONDS = 5  # for processes to be gone that were killed
LONGEST_FOLDER = 80  # characters of a socket's folder: its name has room for about 100 bytes
WATCH_SECONDS = 1
NOBODY = b"2147483647"  # a number that no process has
# Texts are compared byte by byte, on each machine. The order of a language changes with the C
# library, and indexes are wrong then: https://wiki.postgresql.org/wiki/Locale_data_changes
LOCALE = ["--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
# What to do, by what keeps the server from starting; {data} is its data folder.
REMEDIES = {
    "was made by PostgreSQL": "set SPARKIFY_PGDATA to a new folder and load the files there, or "
    "dump it with the old version: docs/operations.md says how under Upgrading",
    "has invalid permissions": "run chmod 700 {data}",
    "look up effective user ID": "give this user id a name, by a line in /etc/passwd",
    "could not resize shared memory": "give /dev/shm 64 MB or more (docker run --shm-size=64m)",
    "anonymous shared memory": "let this process have more memory (ulimit -v)",
    "file descriptors|Too many open files": "let this process open more files (ulimit -n 1024)",
    "No space left on device": "make room there, or set SPARKIFY_PGDATA to a folder elsewhere",
    "": "set SPARKIFY_PGDATA to another folder",
}

users: dict[Path, int | None] = {}  # this process's claim on each data folder that it uses


def data_folder() -> Path:
    """Return the server's data folder: SPARKIFY_PGDATA, or `.postgres/` in the project."""
    folder = os.environ.get("SPARKIFY_PGDATA") or DATA
    return Path(os.path.expanduser(folder)).resolve()


def start_server(data: Path) -> dict[str, Any]:
    """Start the embedded server on a data folder unless it runs, and return how to connect to it.

    This process uses it from then on, until it ends. Raises ServerError where it can't start.
    """
    try:
        check_data_folder(data)
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with telling_of_a_wait(f"waiting for the embedded server in {data}"), turn(data) as claim:
            make_data_folder(data, claim)
            if data not in users:
                atexit.register(end_use, data)
                users[data] = claims.try_claim(data / "base", shared=True)
            lines = run_server(data, claim)
    except (ImportError, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        why = one_line(error)
        remedy = next(text for cause, text in REMEDIES.items() if re.search(cause, why))
        raise ServerError(
            f"the embedded server can't start in {data}: {why}; {remedy.format(data=data)}, or use "
            "a server of your own by DATABASE_URL or PGHOST"
        ) from None
    return {"host": lines[4] or lines[5], "port": int(lines[3]), "user": "postgres"}


@contextlib.contextmanager
def turn(data, seconds=RECOVERY_SECONDS):
    """Yield a claim on the data folder, having waited for it: starts and stops take turns.

    Raises TimeoutError where others take too long.
    """
    deadline = time.monotonic() + seconds
    while (claim := claims.try_claim(data)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"another process was at work there for {seconds} seconds")
        time.sleep(0.02)
    try:
        yield claim
    finally:
        os.close(claim)


@contextlib.contextmanager
def telling_of_a_wait(text):
    """Say what is waited for, if the block takes so long that a user would wonder."""
    timer = threading.Timer(TELL_SECONDS, say_once, [text])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# The data folder


def check_data_folder(data):
    """Raise OSError if the data folder is no folder, is somebody else's or another version's.

    Root may open any folder, but would hand it over to the user that its own server runs as.
    """
    if os.name != "nt" and re.search(r'["$`\\\n]', str(data)):
        raise OSError('pg_ctl takes no " $ ` or \\ in a path')
    if not data.exists():
        return
    if not data.is_dir():
        raise NotADirectoryError("it is a file")
    if os.name != "nt" and data.stat().st_uid not in own_user_ids():
        raise PermissionError("it belongs to another user")
    with contextlib.suppress(FileNotFoundError):
        version = (data / "PG_VERSION").read_text().strip()
        if version != str(VERSION):
            raise OSError(f"it was made by PostgreSQL {version}, and the server is {VERSION}")


def make_data_folder(data, claim):
    """Have initdb fill the data folder if it is empty. Raises OSError if it holds other things."""
    is_new = not (data / "PG_VERSION").exists()
    if is_new and any(data.iterdir()):
        raise FileExistsError("it is neither empty nor a Postgres data folder")
    if is_root():
        admit_os_user(data)
    if is_new:
        arguments = ["-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8"]
        execute("initdb", *arguments, *LOCALE, claim=claim)


def socket_folder(data):
    """Return the folder for the server's socket: its data folder, where that path will do.

    One with a comma means two hosts to libpq, and none may be longer than a socket's name can be.
    """
    if re.fullmatch(r"[\w/.+-]+", str(data), re.ASCII) and len(str(data)) <= LONGEST_FOLDER:
        return data
    name = hashlib.sha256(str(data).encode()).hexdigest()[:10]
    folders = [
        Path(place).resolve() / f"sparkify-{name}-{os.geteuid()}"
        for place in (tempfile.gettempdir(), "/tmp")
    ]
    return make_private(min(folders, key=lambda folder: len(str(folder)) > LONGEST_FOLDER))


def make_private(folder):
    """Make a folder that only the server's user can open, and return it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid not in own_user_ids():
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)
    if is_root():
        os.chown(folder, *os_user_ids())
    return folder


# The server


def run_server(data, claim):
    """Return the lines of postmaster.pid of a server that is ready, having started it if need be.

    One that runs may still recover from a crash, or hang as it stops.
    """
    deadline = time.monotonic() + RECOVERY_SECONDS
    while (lines := find_postmaster(data))[7:] != ["ready"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"it was not ready after {RECOVERY_SECONDS} seconds")
        if lines[7:] == ["stopping"]:
            end_server(data, claim)
        elif lines or not try_launch(data):
            time.sleep(0.05)
    return lines


def find_postmaster(data):
    """Return the lines of postmaster.pid, none where the server that wrote them is gone.

    They are its number, folder and time, port, socket's folder, address, shared memory and state.
    """
    try:
        text = (data / "postmaster.pid").read_text(errors="replace")
    except FileNotFoundError:
        return []
    runs = data.as_posix() in read_command(text)
    return [line.strip() for line in text.splitlines()] if runs else []


def read_command(text):
    """Return the command line of the Postgres whose number begins a text, [] if none runs."""
    import psutil

    with contextlib.suppress(psutil.Error, ValueError, IndexError):
        process = psutil.Process(int(text.split()[0]))
        if "postgres" in process.name() and process.status() != psutil.STATUS_ZOMBIE:
            return process.cmdline()
    return []


def try_launch(data):
    """Start the server and wait until it is ready; tell whether that was possible now.

    It wasn't if another process was quicker, or if one of a killed server is still at work. Raises
    ProgramError, with the server's own words, if it won't be possible later, either.
    """
    disown_stale_locks(data)
    watch(data)
    log = data / "log"
    before = log.stat().st_size if log.exists() else 0
    wait = ["-w", "-t", str(RECOVERY_SECONDS)]
    try:
        execute("pg_ctl", "start", "-D", data, "-l", log, "-o", options(data), *wait)
    except ProgramError as error:
        said = log.read_bytes()[before:].decode(errors="replace") if log.exists() else ""
        if find_postmaster(data) or "still in use" in said:
            return False
        ended = f"it ended while it was starting, its log is {log}" if said else error
        raise ProgramError(find_cause(said) or ended) from None
    return True


def options(data):
    """Return the server's options: it listens at its socket or, on Windows, at a local port."""
    if os.name != "nt":
        return f"-c listen_addresses= -p 5432 -k {shlex.quote(str(socket_folder(data)))}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"-c listen_addresses=127.0.0.1 -p {server.getsockname()[1]}"


def disown_stale_locks(data):
    """Put NOBODY in place of a number in stale lock files, if another program has that number now.

    Postgres would take that program for a server. It removes a file of NOBODY's by itself, if no
    process of the server that wrote it is left.
    """
    sockets = [] if os.name == "nt" else socket_folder(data).glob(".s.PGSQL.*.lock")
    for file in filter(Path.exists, (data / "postmaster.pid", *sockets)):
        text = file.read_bytes()
        if not re.match(rb"\d", text):
            file.unlink()
        elif not read_command(text):
            file.write_bytes(re.sub(rb"\d+", NOBODY, text, count=1))


# Its end


def end_use(data):
    """End this process's use of the server, and stop that if nobody else uses it.

    Where that takes too long, or is cut short, the watcher does it.
    """
    claim = users.pop(data, None)
    with contextlib.suppress(OSError, ProgramError, KeyboardInterrupt):
        if claim is not None:
            os.close(claim)
            with turn(data, sum(STOPS.values())) as mine:
                stop_unless_used(data, mine)


def stop_unless_used(data, mine):
    """Stop the server unless it is used; tell whether it is unused. The caller has the turn."""
    claim = claims.try_claim(data / "base")
    if claim is None:
        return False
    os.close(claim)
    if find_postmaster(data):
        end_server(data, mine)
    return True


def end_server(data, claim):
    """End the server: in order or, where that takes too long, in ways that it recovers from.

    A postmaster may hang as it stops, for good, as after a full disk.
    """
    for way, seconds in STOPS.items():
        with contextlib.suppress(ProgramError):
            execute("pg_ctl", "stop", "-D", data, "-m", way, "-t", str(seconds), claim=claim)
            return
    kill_server(data)


def kill_server(data):
    """Kill all of the server's processes: those of a frozen one don't end when the first does."""
    import psutil

    for line in find_postmaster(data)[:1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(int(line))
            processes = [postmaster, *postmaster.children()]
            for process in processes:
                process.kill()
            psutil.wait_procs(processes, KILL_SECONDS)


def watch(data):
    """Start a process that stops the server when nobody uses it, and ends then."""
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    command = [sys.executable, "-m", "sparkify.postgres.embedded", data]
    watchers.append(subprocess.Popen(command, cwd=PROJECT, **streams, **detached()))


watchers: list[subprocess.Popen] = []  # Python warns of children that it is to forget


def main(data):
    """Watch until nobody has used the server twice in a row: it may just be starting."""
    unused = 0
    while unused < 2:
        time.sleep(WATCH_SECONDS)
        with contextlib.suppress(TimeoutError), turn(data) as mine:
            unused = unused + 1 if stop_unless_used(data, mine) else 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
