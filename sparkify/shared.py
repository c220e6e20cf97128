"""Shared storage, such as S3: folders and files by URIs, as pyarrow's filesystems take them."""

import io

from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from sparkify.files import LocalStorage, is_json
from sparkify.messages import WrongArguments

URL_REMEDY = (
    "DATA can't be read as a URL: it must look like s3://bucket/prefix?region=us-east-1, with the "
    "likes of blanks and @ written as %20 and %40"
)


class SharedStorage:
    """The folders and files that one of pyarrow's filesystems reaches, by their URIs."""

    def __init__(self, filesystem):
        self.filesystem = filesystem

    def is_folder(self, uri):
        """Tell whether a folder is there. Raises OSError where the server can't be asked."""
        [info] = self.filesystem.get_file_info([path_of(uri)])
        return info.type == FileType.Directory

    def list_json(self, folder, on_error):
        """Yield URI, bytes and time of modification of the *.json below a folder."""
        scheme = folder.partition("://")[0]
        try:
            found = self.filesystem.get_file_info(FileSelector(path_of(folder), recursive=True))
        except OSError as error:
            on_error(OSError(error.errno, error.strerror or str(error), folder))
            return
        for info in found:
            if info.type == FileType.File and is_json(info.path):
                yield f"{scheme}://{info.path}", info.size, info.mtime_ns // 1000

    def open(self, uri):
        """Open a file to read bytes."""
        return io.BufferedReader(self.filesystem.open_input_file(path_of(uri)))


def path_of(uri):
    """Return what a filesystem calls a file: its URI without the scheme."""
    return uri.partition("://")[2]


def open_url(url):
    """Return the storage that a URL names, and its root there. Raises WrongArguments."""
    try:
        filesystem, path = FileSystem.from_uri(url)
    except (ValueError, OSError):  # what it says may quote a password
        raise WrongArguments(URL_REMEDY) from None
    if isinstance(filesystem, LocalFileSystem):
        return LocalStorage(), path
    return SharedStorage(filesystem), f"{url.partition('://')[0]}://{path}"
