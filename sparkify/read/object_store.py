"""Shared storage, such as S3: folders and files by URIs, as pyarrow's filesystems take them."""

import re
import time
from concurrent.futures import CancelledError
from contextlib import closing
from datetime import timedelta
from urllib.parse import unquote

from pyarrow import ArrowException, fs
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from sparkify.errors import LoadError, WrongArguments
from sparkify.messages import one_line
from sparkify.read.files import is_hidden
from sparkify.read.storage import LocalStorage, Storage, read_at_once
from sparkify.waiting import at_most, await_answer, say_once

REQUEST_SECONDS = 60  # to wait for the answer to a request,
SLOWEST_BYTES = 50_000  # and more where it is large: so many bytes a second,
LISTING_SECONDS = 3600  # or a list of millions of files
RETURN_SECONDS = 30  # to ask for a folder after a file failed, before the storage is taken for gone
REFUSAL_SECONDS = 3  # a failure that takes longer is no refusal of a file:
ATTEMPTS = 5  # to read a file, as long as each is refused soon
LOST_FILES = 5  # after so many in a row the storage is taken for gone, too
# What S3, Google's storage and Azure's say to credentials, S3 mostly without a word on why.
DENIAL = re.compile(
    r"AWS Error (\w*(DENIED|SIGNATURE|KEY_ID|TOKEN|EXPIRED)|UNKNOWN \(HTTP status 40[013]\))"
    r"|Status\((PERMISSION_DENIED|UNAUTHENTICATED)|Azure Error: \[\w*Auth|AuthenticationException"
)
DENIED = "(have the credentials expired, or do they lack the right to read it?)"
# pyarrow's own limits, lest it tries again for many minutes, of which it can't be interrupted.
# Its standard retry strategy for S3 ends all retries after some hundred, which throttling takes.
LIMITS = {
    "s3": {"connect_timeout": 5.0, "request_timeout": 5.0},
    "gcs": {"retry_time_limit": timedelta(seconds=15)},
}
S3_ATTEMPTS = 3
REASON_LENGTH = 400  # some fill screens
REGION_REMEDY = "; a URL such as s3://bucket/prefix?region=us-east-1 spares the look for a region"
URL_REMEDY = (
    "DATA can't be read as a URL: it must look like s3://bucket/prefix?region=us-east-1, with the "
    "likes of blanks and @ written as %20 and %40"
)


class SharedStorage:
    """The folders and files that one of pyarrow's filesystems reaches, by their URIs."""

    block_files = 500  # each takes long: many blocks give a cluster's threads something to do

    def __init__(self, filesystem: FileSystem):
        self.filesystem = limit(filesystem)
        self.lost_files = 0  # in a row
        self.closed = False

    def __reduce__(self):
        return type(self), (self.filesystem,)  # whose copies have no limits until they are set

    def close(self):
        self.closed = True

    def is_folder(self, uri):
        """Tell whether a folder is there. Raises OSError where the server can't be asked."""
        path = path_of(uri)
        try:
            [info] = self.ask(REQUEST_SECONDS, uri, self.filesystem.get_file_info, [path])
            return info.type == FileType.Directory
        except PermissionError:  # who may list what is in it need not be allowed to ask for itself
            below = FileSelector(path, allow_not_found=True)
            return bool(self.ask(REQUEST_SECONDS, uri, self.filesystem.get_file_info, below))

    def list(self, folder, is_wanted, on_error):
        scheme, _, path = folder.partition("://")
        below = FileSelector(path, recursive=True)
        try:
            found = self.ask(LISTING_SECONDS, folder, self.filesystem.get_file_info, below)
        except OSError as error:
            raise LoadError(f"can't read {folder}: {reason_of(error)}") from None
        for info in found:
            uri, names = f"{scheme}://{info.path}", info.path[len(path) :].split("/")
            if info.type == FileType.File and not any(map(is_hidden, names)) and is_wanted(uri):
                yield uri, info.size, info.mtime_ns // 1000

    def open(self, uri):
        """Open a file to read bytes."""
        return self.filesystem.open_input_file(path_of(uri))

    def read_bytes(self, uri):
        with self.open(uri) as stream:
            return stream.read()

    def read(self, files, read_one):
        with closing(read_at_once(lambda f: self.try_to_read(f, read_one), files)) as answers:
            for file, (answer, lost) in zip(files, answers, strict=True):
                if lost:
                    self.lost_files += 1
                elif not isinstance(answer, OSError):
                    self.lost_files = 0
                if self.lost_files >= LOST_FILES:
                    raise gone(file.uri, answer)
                yield answer

    def try_to_read(self, file, read_one):
        """Return what read_one reads of a File, or the OSError, which may be the storage's fault.

        Whether it may, is returned, too: a storage that denies all, or doesn't answer.
        """
        began = time.monotonic()
        try:
            return self.try_again(file, read_one), False
        except FileNotFoundError as error:
            return error, False
        except OSError as error:
            slow = time.monotonic() - began > REFUSAL_SECONDS
            return error, slow or isinstance(error, PermissionError)

    def try_again(self, file, read_one):
        """Return what read_one reads of a File, which may fail in bad moments.

        pyarrow itself doesn't try again where a refusal is longer than the file, as of most songs.
        """
        began, size = time.monotonic(), (file.end or file.size) - file.start
        for attempt in range(1, ATTEMPTS + 1):
            try:
                seconds = REQUEST_SECONDS + size / SLOWEST_BYTES
                return self.ask(seconds, file.uri, read_one, file, self)
            except FileNotFoundError:
                raise
            except OSError:
                slow = time.monotonic() - began > REFUSAL_SECONDS
                if attempt == ATTEMPTS or (attempt > 1 and slow):
                    raise
            self.wait_for_folder(file.uri.rpartition("/")[0])

    def wait_for_folder(self, uri):
        """Return once the storage answers. Raises LoadError if that takes too long."""
        deadline = time.monotonic() + RETURN_SECONDS
        while True:
            try:
                self.is_folder(uri)
                return
            except OSError as error:
                if time.monotonic() > deadline or isinstance(error, PermissionError):
                    raise gone(uri, error) from None
                say_once(f"can't reach {name_of(uri)}: trying again for {RETURN_SECONDS} s")
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
    """Return a filesystem that soon gives up, but retries each time: a copy with our own limits.

    It is left as it is where a copy would lack a setting, such as tls_verify_certificates.
    """
    limits = LIMITS.get(filesystem.type_name)
    if not limits:
        return filesystem
    make, (options,) = filesystem.__reduce__()
    if not make(options).equals(filesystem):
        return filesystem
    options |= {name: value for name, value in limits.items() if options[name] in (None, -1)}
    if filesystem.type_name == "s3":
        return fs.S3FileSystem(
            **options, retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=S3_ATTEMPTS)
        )
    return make(options)


def open_url(url: str) -> tuple[Storage, str]:
    """Return the storage that a URL names, and its root there.

    Raises WrongArguments for what is no such URL, LoadError where the storage can't be reached.
    """
    try:
        check = at_most(REQUEST_SECONDS, "the storage")
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
    return SharedStorage(filesystem), f"{url.partition('://')[0]}://{path}"
