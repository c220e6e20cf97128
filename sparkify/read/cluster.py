"""A Dask cluster, whose workers read, extract and transform: it needs not have the project."""

import contextlib
import copy
import functools
import logging
import os
import platform
import re
import socket
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from hashlib import sha256
from pathlib import Path

from sparkify.errors import LoadError
from sparkify.messages import one_line
from sparkify.read.files import File
from sparkify.read.storage import Storage
from sparkify.read.versions import find_difference, find_versions
from sparkify.waiting import SAY_SECONDS, at_most, await_answer, say_once

SCHEDULER_SECONDS = 60  # to wait for an answer of the scheduler, or of all the workers
# To wait for a first worker, or for a sign of life of any, before they are taken for gone
WORKERS_VARIABLE, WORKERS_SECONDS = "SPARKIFY_WORKERS_SECONDS", "60"
BLOCK_SECONDS = 1800  # to wait for a block, whatever the workers are at
WATCH_SECONDS = 5  # to look at them, and between the looks
LEAST_AHEAD = 8  # Blocks that are asked for at least, so that a cluster has a reason to grow
NO_CERTIFICATES = (
    "tls:// needs certificates, which Dask's settings name: DASK_DISTRIBUTED__COMM__TLS__CA_FILE, "
    "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"
)
REACH_SECONDS = 2  # to connect to one of them, before its blocks come by way of the scheduler
# What workers need: it knows no database.
PACKAGE = Path(__file__).parent.parent
SENT = ["__init__.py", "errors.py", "interrupts.py", "messages.py", "waiting.py", "read/*.py"]


class Cluster:
    """A Dask cluster as an executor. Its own one waits for ever when the scheduler is gone."""

    def __init__(self, client, address: str, terms: tuple):
        self.client, self.address, self.terms = client, address, terms

    @property
    def ahead(self) -> int:
        """How many Blocks are read ahead of their loading: two for each of the workers' threads."""
        with cluster_errors(self.address):
            threads = await_answer(self.client.nthreads, check=self.require).values()
        return max(LEAST_AHEAD, 2 * sum(threads))

    def submit(self, function: Callable, *arguments) -> "Answer":
        with cluster_errors(self.address):
            self.require()
            work = (run_alike, *self.terms, function, *arguments)
            return Answer(self, self.client.submit(*work, pure=False))

    def require(self, waited=0):
        """Raise ConnectionError where the scheduler is gone, TimeoutError if it is slow to tell."""
        if self.client.status != "running":
            raise ConnectionError("its scheduler is gone")
        at_most(SCHEDULER_SECONDS, self.address)(waited)

    def share(self, value):
        """Return what stands for a value in arguments of submit, so that it is sent but once.

        It is a task: should the worker that holds the value die, another one gets it.
        """
        return value if value is None else self.client.submit(copy.copy, value, pure=False)


class Answer:
    """What a cluster will give, waited for as long as workers of it are alive."""

    def __init__(self, cluster, future):
        self.cluster, self.future = cluster, future

    def result(self):
        with cluster_errors(self.cluster.address):
            return await_answer(self.future.result, check=watch_workers(self.cluster.client))

    def cancel(self):
        """Cancel the work, unless that has happened with the end of the client."""
        if self.cluster.client.status == "running":
            self.future.cancel()


# What is asked of a worker: to have this machine's versions, and to see the same files


def run_alike(versions: dict, storage: Storage, samples: tuple, function: Callable, *arguments):
    """Return what a function gives on a worker that will do. Raises LoadError on another one.

    Those that the run began with are known to do, others may have come late.
    """
    if samples not in seen:
        fault = find_difference(find_versions(), versions)
        fault = fault or find_unseen(storage, samples, may_have_grown=True)
        if fault:
            raise LoadError(f"can't use the cluster: its worker on {platform.node()} {fault}")
    return function(*arguments)


seen: set[tuple] = set()  # samples, by this worker


def find_unseen(storage: Storage, samples: tuple, may_have_grown: bool = False) -> str | None:
    """Return which of some files this machine doesn't see with their bytes, None if it sees all."""
    for file in samples:
        size = measure(file, storage)
        if isinstance(size, OSError):
            return f"can't read {file.uri}: {one_line(size.strerror or size)}"
        if size < file.size or (size > file.size and not may_have_grown):
            return f"sees another {file.uri}, of {size:,} bytes, not {file.size:,}"
    seen.add(samples)
    return None


def measure(file, storage):
    """Return a file's bytes, or the OSError."""

    def seek_end(file, storage):
        with storage.open(file.uri) as stream:
            return stream.seek(0, os.SEEK_END)

    [size] = storage.read([file], seek_end)
    return size


# Signs of life


def watch_workers(client):
    """Return a check that raises ConnectionError where no worker has been alive for a while.

    It raises TimeoutError where they are, but to no effect.
    """
    patience, signs, alive, looked = find_patience(), {}, 0.0, 0.0

    def check(waited):
        nonlocal signs, alive, looked
        if waited < looked + WATCH_SECONDS:
            return
        looked = waited
        seen, fault = see_workers(client)
        if seen and seen != signs:
            signs, alive = seen, waited
        if waited - alive > patience:
            raise ConnectionError(f"{fault}, for {patience} s by now ({WORKERS_VARIABLE}: longer)")
        if waited - alive > SAY_SECONDS:
            say_once(f"waiting for the cluster: {fault}")
        if waited > BLOCK_SECONDS:
            raise TimeoutError(f"its workers are alive but gave nothing within {BLOCK_SECONDS} s")

    return check


def find_patience():
    """Return the seconds to wait for workers. Raises ValueError."""
    seconds = os.environ.get(WORKERS_VARIABLE) or WORKERS_SECONDS
    if not seconds.isdecimal():
        raise ValueError(f"{WORKERS_VARIABLE} must be a number of seconds, not {seconds!r}")
    return int(seconds)


def see_workers(client):
    """Return when workers that take work were last heard of, and what is wrong if they weren't."""
    try:
        identity = client.sync(client.scheduler.identity, callback_timeout=WATCH_SECONDS)
    except OSError:
        return {}, "its scheduler does not answer"
    workers = identity["workers"].items()
    seen = {address: w["last_seen"] for address, w in workers if w["status"] == "running"}
    if any(worker["status"] == "paused" for _, worker in workers):
        return seen, "its workers are paused, for they lack memory"
    return seen, "its workers do not answer" if workers else "it has no workers"


# The way to a cluster


@contextlib.contextmanager
def connect(address: str, storage: Storage, files: Sequence[File]) -> Iterator[Cluster]:
    """Yield the Cluster at an address, whose workers read the files. Raises LoadError."""
    try:
        import distributed
    except ImportError:
        from sparkify.interpreter import command  # which workers need not have

        install = command("-m pip install distributed")
        raise LoadError(f"--scheduler needs Dask: run {install}") from None

    logging.disable(logging.CRITICAL)  # Dask logs tracebacks of what is reported in one line here
    warnings.filterwarnings("ignore", module="distributed")
    with contextlib.ExitStack() as stack:
        with cluster_errors(address):
            if not re.fullmatch(r"(tcp|tls)://.+:\d+", address):
                raise ValueError("an address looks like tcp://host:8786")
            if address.startswith("tls:") and not find_certificates():
                raise ValueError(NO_CERTIFICATES)  # a Client would end after a minute
            join = functools.partial(distributed.Client, address, set_as_default=False)
            check = at_most(SCHEDULER_SECONDS, address)
            client = stack.enter_context(await_answer(join, check=check))
            # A cluster that adapts to its work may start its first worker for this.
            first = client.submit(int, pure=False)
            await_answer(first.result, check=watch_workers(client))
            samples = choose_samples(files, storage)
            check = at_most(SCHEDULER_SECONDS, "all its workers")
            await_answer(prepare, client, storage, samples, check=check)
        yield Cluster(client, address, (find_versions(), storage, samples))


def find_certificates():
    """Return the context of TLS that Dask's settings give to a client, None where they don't."""
    from distributed import Security

    return Security().get_connection_args("client").get("ssl_context")


def choose_samples(files, storage):
    """Return the first and the last of some files, with the bytes that they have here by now.

    Without those that are gone since they were listed.
    """
    samples = [(file, measure(file, storage)) for file in dict.fromkeys([*files[:1], *files[-1:]])]
    return tuple(file._replace(size=size) for file, size in samples if isinstance(size, int))


def prepare(client, storage, samples):
    """Give a cluster what its workers need. Raises ValueError where one won't do."""
    send_modules(client)
    versions = client.run(find_versions)
    machines = {f"its worker {address}": found for address, found in versions.items()}
    machines["its scheduler"] = client.run_on_scheduler(find_versions)
    require_none({name: find_difference(machines[name], find_versions()) for name in machines})
    unseen = client.run(find_unseen, storage, samples)
    require_none({f"its worker {address}": fault for address, fault in unseen.items()})
    # Dask itself would try to reach each for each of its blocks, up to 30 s.
    client.direct_to_workers = bool(versions) and all(map(can_reach, versions))


def require_none(faults):
    """Raise ValueError for the first of the faults of machines, by the names of these."""
    for machine, fault in faults.items():
        if fault:
            raise ValueError(f"{machine} {fault}; nothing was loaded")


def can_reach(address):
    """Tell whether a worker is in a network to which this machine can connect."""
    from distributed.comm import get_address_host_port

    try:
        socket.create_connection(get_address_host_port(address), REACH_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def send_modules(client):
    """Give a cluster the modules that its workers need, in place of any it was given before."""

    def forget_modules():
        import sys

        for name in [name for name in sys.modules if name.partition(".")[0] == "sparkify"]:
            del sys.modules[name]

    paths = sorted(path for pattern in SENT for path in PACKAGE.glob(pattern))
    code = {str(path.relative_to(PACKAGE.parent)): path.read_bytes() for path in paths}
    digest = sha256(b"".join(code.values())).hexdigest()[:10]
    client.run(forget_modules)
    client.run_on_scheduler(forget_modules)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, f"sparkify-{digest}.zip")
        with zipfile.ZipFile(archive, "w") as file:
            for name, text in code.items():
                file.writestr(name, text)
        client.upload_file(str(archive))


@contextlib.contextmanager
def cluster_errors(address):
    """Raise LoadError for what Dask raises where a cluster can't be reached or goes away."""
    from distributed import KilledWorker

    dasks = (OSError, ValueError, TypeError, RuntimeError, ImportError, CancelledError)
    try:
        yield
    except (*dasks, KilledWorker) as error:
        why = one_line(error) or "its scheduler is gone"
        raise LoadError(f"can't use the cluster at {address}: {why}") from None
