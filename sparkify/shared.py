"""Shared storage, such as S3: folders and files by URIs, as pyarrow's filesystems take them."""

import re
import time
from concurrent.futures import CancelledError
from contextlib import closing
from datetime import timedelta
from urllib.parse import unquote

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from sparkify.files import LocalStorage, at_once, is_json
from sparkify.messages import LoadError, WrongArguments, one_line
from sparkify.patience import at_most, await_answer, say_once

ANSWER_SECONDS = 60  # to wait for an answer,
SLOWEST_BYTES = 50_000  # and more where it is large: so many bytes a second,
LISTING_SECONDS = 3600  # or a list of millions of files
GONE_SECONDS = 30  # to ask for a folder after a file failed, before the storage is taken for gone
LOST_SECONDS = 3  # a failure that takes longer is no refusal:
LOST_FILES = 5  # after so many in a row the storage is taken for gone, too
# What S3, Google's storage and Azure's say to credentials, S3 mostly without a word on why.
DENIAL = re.compile(
    r"AWS Error (\w*(DENIED|SIGNATURE|KEY_ID|TOKEN|EXPIRED)|UNKNOWN \(HTTP status 40[013]\))"
    r"|Status\((PERMISSION_DENIED|UNAUTHENTICATED)|Azure Error: \[\w*Auth|AuthenticationException"
)
DENIED = "(have the credentials expired, or do they lack the right to read it?)"
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

    block_files = 500  # each takes long: many blocks give a cluster's threads something to do

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
        return self.filesystem.open_input_file(path_of(uri))

    def read(self, files, read_lines):
        """Yield what read_lines reads of each of some Files, or the OSError that it meets.

        Raises LoadError where the storage, not a file, is to blame.
        """
        with closing(at_once(lambda file: self.try_to_read(file, read_lines), files)) as answers:
            for file, (answer, lost) in zip(files, answers, strict=True):
                if lost:
                    self.lost_files += 1
                elif not isinstance(answer, OSError):
                    self.lost_files = 0
                if self.lost_files >= LOST_FILES:
                    raise gone(file.uri, answer)
                yield answer

    def try_to_read(self, file, read_lines):
        """Return what read_lines reads of a File, or the OSError, which may be the storage's fault.

        Whether it may, is returned, too: a storage that denies all, or doesn't answer.
        """
        began = time.monotonic()
        try:
            return self.try_twice(file, read_lines), False
        except FileNotFoundError as error:
            return error, False
        except OSError as error:
            slow = time.monotonic() - began > LOST_SECONDS
            return error, slow or isinstance(error, PermissionError)

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
                if time.monotonic() > deadline or isinstance(error, PermissionError):
                    raise gone(uri, error) from None
                say_once(f"can't reach {name_of(uri)}: trying again for {GONE_SECONDS} s")
            time.sleep(1)

    def ask(self, seconds, uri, work, *arguments):
        """Return what work gives within some seconds. Raises OSError."""
        check_time = at_most(seconds, name_of(uri))

        def check(waited):
            if self.closed:
                raise CancelledError
            check_time(waited)

        check(0)
        try:
            return await_answer(work, *arguments, check=check)
        except (OSError, ArrowException) as error:  # the latter such as Azure's
            raise sort_error(error) from None


def sort_error(error):
    """Return an error as an OSError, a PermissionError where the storage denies something."""
    if DENIAL.search(str(error)):
        return PermissionError(f"{one_line(error)} {DENIED}")
    return error if isinstance(error, OSError) else OSError(one_line(error))


def gone(uri, error):
    return LoadError(f"can't read {uri} any more: {reason_of(error)}; run it again later")


def reason_of(error):
    return one_line(error)[:REASON_LENGTH]


def name_of(uri):
    """Return the storage's part of a URI."""
    return "/".join(uri.split("/", 3)[:3])


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
