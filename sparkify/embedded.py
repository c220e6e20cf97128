"""The embedded PostgreSQL: it starts when it is first needed, and stops when nobody uses it.

Who uses it shares a claim on a folder in its data folder. Who finds that nobody does stops it: a
process that ends, or the watcher, which is there for those that are killed.
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

from sparkify import claims
from sparkify.messages import ServerError, script_name
from sparkify.programs import (
    ProgramError,
    admit_os_user,
    detached,
    execute,
    find_cause,
    is_root,
    os_user_ids,
    own_user_ids,
)

DATA = Path(__file__).parent.with_name(".postgres")
RECOVERY_SECONDS = 600
PATIENCE_SECONDS = 15  # before saying what is waited for
WATCH_SECONDS = 1
NOBODY = b"2147483647"  # a number that no process has

users = {}  # this process's claim on each data folder that it uses


def data_folder():
    """Return the server's data folder: SPARKIFY_PGDATA, or `.postgres/` in the project."""
    folder = os.environ.get("SPARKIFY_PGDATA") or DATA
    return Path(os.path.expanduser(folder)).resolve()


def start_server(data):
    """Start the embedded server on a data folder unless it runs, and return how to connect to it.

    This process uses it from then on, until it ends. Raises ServerError where it can't start.
    """
    try:
        check_data_folder(data)
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with telling_of_a_wait(f"waiting for the embedded server in {data}"), turn(data) as claim:
            make_data_folder(data, claim)
            if data not in users:
                atexit.register(end_quietly, data)
                users[data] = claims.try_claim(data / "base", shared=True)
            lines = run_server(data)
    except (ImportError, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        raise ServerError(
            f"the embedded server can't start in {data}: {error}; set "
            "SPARKIFY_PGDATA to another folder, or DATABASE_URL or PGHOST to a server of your own"
        ) from None
    return {"host": lines[4] or lines[5], "port": int(lines[3]), "user": "postgres"}


@contextlib.contextmanager
def turn(data):
    """Yield a claim on the data folder, having waited for it: starts and stops take turns."""
    while (claim := claims.try_claim(data)) is None:
        time.sleep(0.02)
    try:
        yield claim
    finally:
        os.close(claim)


@contextlib.contextmanager
def telling_of_a_wait(text):
    """Say what is waited for, if the block takes so long that a user would wonder."""
    message = f"{script_name()}: {text}"
    said = {"file": sys.stderr, "flush": True}
    timer = threading.Timer(PATIENCE_SECONDS, print, [message], said)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# The data folder


def check_data_folder(data):
    """Raise OSError where the data folder is none, or belongs to somebody else.

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


def make_data_folder(data, claim):
    """Have initdb fill the data folder if it is empty. Raises OSError if it holds other things."""
    is_new = not (data / "PG_VERSION").exists()
    if is_new and any(data.iterdir()):
        raise FileExistsError("it is neither empty nor a Postgres data folder")
    if is_root():
        admit_os_user(data)
    if is_new:
        arguments = ["-D", data, "-U", "postgres", "--encoding=UTF8", "--auth=trust"]
        try:
            execute("initdb", *arguments, claim=claim)
        except ProgramError:
            # It refuses a locale that isn't installed, and one whose encoding isn't UTF-8.
            execute("initdb", *arguments, claim=claim, env=os.environ | {"LC_ALL": "C"})


def socket_folder(data):
    """Return the folder for the server's socket: its data folder, where that path will do.

    One with a comma means two hosts to libpq, and none may be longer than a socket's name can be.
    """
    if re.fullmatch(r"[\w/.+-]{1,80}", str(data), re.ASCII):
        return data
    name = hashlib.sha256(str(data).encode()).hexdigest()[:10]
    return private_folder(f"sparkify-{name}")


def private_folder(name):
    """Return a folder for temporary files that only the server's user can open."""
    folder = Path(tempfile.gettempdir()).resolve() / f"{name}-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid not in own_user_ids():
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)
    if is_root():
        os.chown(folder, *os_user_ids())
    return folder


# The server


def run_server(data):
    """Return the lines of postmaster.pid of a server that is ready, having started it if need be.

    One that runs may still recover from a crash, or be about to stop.
    """
    deadline = time.monotonic() + RECOVERY_SECONDS
    while (lines := find_postmaster(data))[7:] != ["ready"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"it was not ready after {RECOVERY_SECONDS} seconds")
        if lines or not try_launch(data):
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
    """Return the command line of the Postgres whose number a text begins with, none without one."""
    import psutil

    with contextlib.suppress(psutil.Error, ValueError, IndexError):
        process = psutil.Process(int(text.split()[0]))
        if "postgres" in process.name() and process.status() != psutil.STATUS_ZOMBIE:
            return process.cmdline()
    return []


def try_launch(data):
    """Start the server and wait until it is ready; tell whether that was possible now.

    It isn't where another process was quicker, or one of a server that was killed is still at work.
    Raises ProgramError, with the server's own words, where it won't be either.
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
    """Return the options of a server that is reached by its socket or, on Windows, from there."""
    if os.name != "nt":
        return f"-c listen_addresses= -p 5432 -k {shlex.quote(str(socket_folder(data)))}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"-c listen_addresses=127.0.0.1 -p {server.getsockname()[1]}"


def disown_stale_locks(data):
    """Have no lock file of the server bear the number of another program, which has it now.

    Postgres would take that for a server. A file with a number that nobody has it removes itself,
    if no process of the server that wrote it is left.
    """
    sockets = [] if os.name == "nt" else socket_folder(data).glob(".s.PGSQL.*.lock")
    for file in filter(Path.exists, (data / "postmaster.pid", *sockets)):
        text = file.read_bytes()
        if not re.match(rb"\d", text):
            file.unlink()
        elif not read_command(text):
            file.write_bytes(re.sub(rb"\d+", NOBODY, text, count=1))


# Its end


def end_quietly(data):
    """End this process's use of the server as it ends. What is cut short, the watcher does."""
    with contextlib.suppress(OSError, ProgramError, KeyboardInterrupt):
        end_use(data)


def end_use(data):
    """End this process's use of the server, and stop that if nobody else uses it."""
    claim = users.pop(data, None)
    if claim is not None:
        with turn(data) as mine:
            os.close(claim)
            stop_unless_used(data, mine)


def stop_unless_used(data, mine):
    """Stop the server unless it is used, and tell whether it isn't. For who has the turn."""
    claim = claims.try_claim(data / "base")
    if claim is None:
        return False
    os.close(claim)
    if find_postmaster(data):
        execute("pg_ctl", "stop", "-D", data, claim=mine)
    return True


def watch(data):
    """Start a process that stops the server when nobody uses it, and ends then."""
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    command = [sys.executable, "-m", "sparkify.embedded", data]
    watchers.append(subprocess.Popen(command, cwd=DATA.parent, **streams, **detached()))


watchers = []  # Python warns of children that it is to forget


def main(data):
    """Watch until nobody has used the server twice in a row: it may just be starting."""
    unused = 0
    while unused < 2:
        time.sleep(WATCH_SECONDS)
        with turn(data) as mine:
            unused = unused + 1 if stop_unless_used(data, mine) else 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
