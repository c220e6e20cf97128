"""Claims on a folder, which the system itself drops when a process ends, however it ends.

A folder is claimed by one process alone, or by any number that share it. Children that were forked
share their parent's claim, other programs that are started don't.
"""

import contextlib
import os
from pathlib import Path

if os.name == "nt":
    import msvcrt
else:
    import fcntl

MOST_SHARERS = 1000  # on Windows


def try_claim(folder: Path, shared: bool = False) -> int | None:
    """Claim a folder and return the claim, which os.close ends; None where others are in the way.

    Raises OSError where the folder can't be opened.
    """
    claim = open_folder(folder)
    if lock(claim, shared):
        return claim
    os.close(claim)
    return None


def open_folder(folder):
    """Open what is locked for a folder: itself or, on Windows, which locks files, one beside it."""
    if os.name == "nt":
        return os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT)
    return os.open(folder, os.O_RDONLY)


def lock(claim, shared):
    """Tell whether an open file could be locked at once.

    Windows knows no shared locks of this kind: there, a sharer locks one byte, others lock all.
    """
    if os.name != "nt":
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(claim, fcntl.LOCK_NB | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
            return True
        return False
    for first in range(MOST_SHARERS if shared else 1):
        os.lseek(claim, first, os.SEEK_SET)
        with contextlib.suppress(OSError):
            msvcrt.locking(claim, msvcrt.LK_NBLCK, 1 if shared else MOST_SHARERS)
            return True
    return False
