"""Files that are replaced as a whole or not at all."""

import contextlib
import os
import secrets
import shutil
import stat
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Write a text to a file in place of what it holds; its mode and owner stay. Raises OSError.

    Lone surrogates, as in text that was read so, are written as the bytes that they stand for.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666

    def create(name, flags):
        return os.open(name, flags, mode)  # readable to nobody who may not read the old one

    try:
        with open(
            new, "x", encoding="utf-8", errors="surrogateescape", newline="\n", opener=create
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            if os.name != "nt":
                with contextlib.suppress(PermissionError):  # root may give files to others
                    os.chown(new, path.stat().st_uid, path.stat().st_gid)
            shutil.copymode(path, new)
        new.replace(path)
    finally:
        with contextlib.suppress(OSError):
            new.unlink()
