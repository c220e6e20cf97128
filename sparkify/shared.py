"""Shared storage, such as S3: folders and files by URIs, as pyarrow's filesystems take them."""

import io
import time
from concurrent.futures import CancelledError
from datetime import timedelta
from urllib.parse import unquote

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from sparkify.files import LocalStorage, is_json
from sparkify.messages import LoadError, WrongArguments, one_line
from sparkify.patience import at_most, await_answer, say_once

ANSWER_SECONDS = 60  # to wait for an answer,
SLOWEST_BYTES = 50_000  # and more where it is large: so many bytes a second,
LISTING_SECONDS = 3600  # or a list of millions of files
GONE_SECONDS = 30  # to ask for a folder after a file failed, before the storage is taken for gone
LOST_SECONDS = 3  # a failure that takes longer is no refusal:
LOST_FILES = 5  # after so many in a row the storage is taken for gone, too
# pyarrow's own limits, lest it tries again for many minutes, of which it can't be interrupted
LIMITS = {
    "s3": {"connect_timeout": 5.0, "request_timeout": 5.0},
    "gcs": {"retry_time_limit": timedelta(seconds=15)},
}
REASON_LENGTH = 400  # some fill screens
REGION_REMEDY = "; a URL such as s3://bucket/prefix?region=us-east-1 spares the look for a region"
URL_REMEDY = (
    "DATA can't be read as a URL: it must look like s3://bucket/prefix?region=us-east-1, with the "
    "likes of blanks and @ written as %20 and %40"
)


class SharedStorage:
    """The folders and files that one of pyarrow's filesystems reaches, by their URIs."""

    def __init__(self, filesystem):
        self.filesystem = filesystem
        self.lost_files = 0  # in a row
        self.closed = False

    def close(self):
        """Have readers in other threads stop."""
        self.closed = True

    def is_folder(self, uri):
        """Tell whether a folder is there. Raises OSError where the server can't be asked."""
        paths = [path_of(uri)]
        [info] = self.ask(ANSWER_SECONDS, uri, self.filesystem.get_file_info, paths)
        return info.type == FileType.Directory

    def list_json(self, folder, on_error):
        """Yield URI, bytes and time of modification of the *.json below a folder.

        Raises LoadError where it can't be listed: there are no parts of it that could be.
        """
        scheme = folder.partition("://")[0]
        below = FileSelector(path_of(folder), recursive=True)
        try:
            found = self.ask(LISTING_SECONDS, folder, self.filesystem.get_file_info, below)
        except OSError as error:
            raise LoadError(f"can't read {folder}: {reason_of(error)}") from None
        for info in found:
            if info.type == FileType.File and is_json(info.path):
                yield f"{scheme}://{info.path}", info.size, info.mtime_ns // 1000

    def open(self, uri):
        """Open a file to read bytes."""
        return io.BufferedReader(self.filesystem.open_input_file(path_of(uri)))

    def read(self, file, read_lines):
        """Return what read_lines reads of a File.

        Raises OSError where the file is to blame, LoadError where it is the storage.
        """
        began = time.monotonic()
        try:
            text = self.try_twice(file, read_lines)
        except FileNotFoundError:
            raise
        except OSError as error:
            if time.monotonic() - began > LOST_SECONDS:
                self.lost_files += 1
            if self.lost_files == LOST_FILES:
                raise gone(file.uri, error) from None
            raise
        self.lost_files = 0
        return text

    def try_twice(self, file, read_lines):
        """Return what read_lines reads of a File, which may have failed in a bad moment."""
        size = (file.end or file.size) - file.start
        question = (ANSWER_SECONDS + size / SLOWEST_BYTES, file.uri, read_lines, file, self)
        try:
            return self.ask(*question)
        except FileNotFoundError:
            raise
        except OSError:
            self.wait_for_folder(file.uri.rpartition("/")[0])
            return self.ask(*question)

    def wait_for_folder(self, uri):
        """Return once the storage answers. Raises LoadError if that takes too long."""
        deadline = time.monotonic() + GONE_SECONDS
        while True:
            try:
                self.is_folder(uri)
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise gone(uri, error) from None
                say_once(f"can't reach {uri}: trying again for {GONE_SECONDS} s")
            time.sleep(1)

    def ask(self, seconds, uri, work, *arguments):
        """Return what work gives within some seconds. Raises OSError."""
        check_time = at_most(seconds, "/".join(uri.split("/", 3)[:3]))

        def check(waited):
            if self.closed:
                raise CancelledError
            check_time(waited)

        check(0)
        try:
            return await_answer(work, *arguments, check=check)
        except ArrowException as error:  # such as Azure's
            raise OSError(one_line(error)) from None


def gone(uri, error):
    return LoadError(f"can't read {uri} any more: {reason_of(error)}; run it again later")


def reason_of(error):
    return one_line(error)[:REASON_LENGTH]


def path_of(uri):
    """Return what a filesystem calls a file: its URI without the scheme."""
    return uri.partition("://")[2]


def hide_credentials(text, url):
    """Return a text without the credentials that a URL may hold."""
    credentials = url.partition("://")[2].rpartition("@")[0]
    for secret in filter(None, credentials.split(":")):
        text = text.replace(secret, "…").replace(unquote(secret), "…")
    return text


def limit(filesystem):
    """Return a filesystem that soon gives up: a copy such as pickle's, with limits of its own.

    It is left as it is where a copy would lack a setting, such as tls_verify_certificates.
    """
    limits = LIMITS.get(filesystem.type_name, {})
    make, (options,) = filesystem.__reduce__()
    unset = {name: value for name, value in limits.items() if options[name] in (None, -1)}
    return make(options | unset) if unset and make(options).equals(filesystem) else filesystem


def open_url(url):
    """Return the storage that a URL names, and its root there.

    Raises WrongArguments for what is no such URL, LoadError where the storage can't be reached.
    """
    try:
        check = at_most(ANSWER_SECONDS, "the storage")
        filesystem, path = await_answer(FileSystem.from_uri, url, check=check)
    except OSError as error:  # such as the look for a bucket's region
        reason = hide_credentials(reason_of(error), url)
        raise LoadError(f"can't use DATA: {reason}{REGION_REMEDY}") from None
    except (ValueError, ArrowException):  # what it says may quote a password
        raise WrongArguments(URL_REMEDY) from None
    if isinstance(filesystem, LocalFileSystem):
        return LocalStorage(), path
    if not path:
        raise WrongArguments(URL_REMEDY)
    return SharedStorage(limit(filesystem)), f"{url.partition('://')[0]}://{path}"
