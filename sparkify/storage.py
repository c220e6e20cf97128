"""Where DATA is: in a folder of this machine, or on shared storage."""

import os
from pathlib import Path

from sparkify import interrupts
from sparkify.files import LocalStorage
from sparkify.messages import LoadError, WrongArguments, one_line

DATA = Path(__file__).parent.with_name("data")
FOLDERS = {"song": "song_data", "log": "log_data"}  # by the kind of their files


def find_storage(data):
    """Return the storage and the path or URI that DATA names.

    Raises WrongArguments where it lacks one of its folders or is a URL of none, LoadError where
    that can't be found out.
    """
    if "://" in data:
        from pyarrow import fs  # for shared storage alone

        from sparkify.shared import open_url

        # Not every pyarrow can do S3.
        interrupts.waiting_at_exit.add(getattr(fs, "ensure_s3_finalized", None))
        storage, root = open_url(data)
    else:
        storage, root = LocalStorage(), os.path.abspath(data)  # so that a line can be found again
    for folder in (folder_of(root, kind) for kind in FOLDERS):
        try:
            found = storage.is_folder(folder)
        except OSError as error:
            raise LoadError(f"can't read {folder}: {one_line(error)}") from None
        if not found:
            missing = folder if storage.is_folder(root) else root
            raise WrongArguments(
                f"there is no folder {missing}; DATA must hold song_data/ and log_data/"
            )
    return storage, root


def folder_of(root, kind):
    """Return the path or URI of the folder that holds the files of a kind."""
    return f"{root.rstrip('/')}/{FOLDERS[kind]}"
