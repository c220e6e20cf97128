"""A Dask cluster, whose workers read, extract and transform: it needs not have the project."""

import contextlib
import copy
import functools
import logging
import re
import socket
import tempfile
import warnings
import zipfile
from concurrent.futures import CancelledError
from hashlib import sha256
from pathlib import Path

from sparkify.interpreter import command
from sparkify.messages import LoadError, one_line
from sparkify.patience import SAY_SECONDS, at_most, await_answer, say_once
from sparkify.versions import find_difference, find_versions, run_alike

ANSWER_SECONDS = 60  # to wait for an answer of the scheduler, or of all the workers
GONE_SECONDS = 60  # without a sign of life of any worker, before they are taken for gone
BLOCK_SECONDS = 1800  # to wait for a block, whatever the workers are at
LOOK_SECONDS = 5  # to look at them, and between the looks
REACH_SECONDS = 2  # to connect to one of them, before its blocks come by way of the scheduler
# The rooms that workers need: they know no database.
ROOMS = (
    "__init__",
    "blocks",
    "encode",
    "extract",
    "files",
    "messages",
    "patience",
    "shared",
    "transform",
    "versions",
)


class Cluster:
    """A Dask cluster as an executor. Its own one waits for ever when the scheduler is gone."""

    def __init__(self, client, address):
        self.client, self.address = client, address
        self.versions = find_versions()

    def submit(self, function, *arguments):
        self.require()
        work = (run_alike, self.versions, function, *arguments)
        return Answer(self.client, self.client.submit(*work, pure=False))

    def require(self, waited=0):
        """Raise ConnectionError where the scheduler is gone, TimeoutError if it is slow to tell."""
        if self.client.status != "running":
            raise ConnectionError("its scheduler is gone")
        at_most(ANSWER_SECONDS, self.address)(waited)

    def share(self, value):
        """Return what stands for a value in arguments of submit, so that it is sent but once.

        It is a task: should the worker that holds the value die, another one gets it.
        """
        return value if value is None else self.client.submit(copy.copy, value, pure=False)


class Answer:
    """What a cluster will give, waited for as long as workers of it are alive."""

    def __init__(self, client, future):
        self.client, self.future = client, future

    def result(self):
        return await_answer(self.future.result, check=watch_workers(self.client))

    def cancel(self):
        """Cancel the work, unless that has happened with the end of the client."""
        if self.client.status == "running":
            self.future.cancel()


# Workers


def watch_workers(client):
    """Return a check that raises ConnectionError where no worker has been alive for a while.

    It raises TimeoutError where they are, but to no effect.
    """
    signs, alive, looked = {}, 0.0, 0.0

    def check(waited):
        nonlocal signs, alive, looked
        if waited < looked + LOOK_SECONDS:
            return
        looked = waited
        seen, fault = see_workers(client)
        if seen and seen != signs:
            signs, alive = seen, waited
        if waited - alive > GONE_SECONDS:
            raise ConnectionError(f"{fault}, for {GONE_SECONDS} s by now")
        if waited - alive > SAY_SECONDS:
            say_once(f"waiting for the cluster: {fault}")
        if waited > BLOCK_SECONDS:
            raise TimeoutError(f"its workers are alive but gave nothing within {BLOCK_SECONDS} s")

    return check


def see_workers(client):
    """Return when workers that take work were last heard of, and what is wrong if they weren't."""
    try:
        identity = client.sync(client.scheduler.identity, callback_timeout=LOOK_SECONDS)
    except OSError:
        return {}, "its scheduler does not answer"
    workers = identity["workers"].items()
    seen = {address: w["last_seen"] for address, w in workers if w["status"] == "running"}
    if any(worker["status"] == "paused" for _, worker in workers):
        return seen, "its workers are paused, for they lack memory"
    return seen, "its workers do not answer" if workers else "it has no workers"


# The way to a cluster


@contextlib.contextmanager
def connect(address):
    """Yield the Cluster at an address. Raises LoadError."""
    try:
        import distributed
    except ImportError:
        install = command("-m pip install distributed")
        raise LoadError(f"--scheduler needs Dask: run {install}") from None

    logging.disable(logging.CRITICAL)  # Dask logs tracebacks of what is reported in one line here
    warnings.filterwarnings("ignore", module="distributed")
    with contextlib.ExitStack() as stack:
        with cluster_errors(address):
            if not re.fullmatch(r"(tcp|tls)://.+:\d+", address):
                raise ValueError("an address looks like tcp://host:8786")
            join = functools.partial(distributed.Client, address, set_as_default=False)
            client = stack.enter_context(await_answer(join, check=at_most(ANSWER_SECONDS, address)))
            await_answer(client.wait_for_workers, 1, check=watch_workers(client))
            await_answer(prepare, client, check=at_most(ANSWER_SECONDS, "all its workers"))
        yield Cluster(client, address)


def prepare(client):
    """Give a cluster what its workers need. Raises ValueError where one won't do."""
    send_rooms(client)
    workers = client.run(find_versions)
    machines = {f"its worker {address}": versions for address, versions in workers.items()}
    machines["its scheduler"] = client.run_on_scheduler(find_versions)
    for machine, versions in machines.items():
        difference = find_difference(versions, find_versions())
        if difference:
            raise ValueError(f"{machine} {difference}")
    # Dask itself would try to reach each for each of its blocks, up to 30 s.
    client.direct_to_workers = all(map(can_reach, workers))


def can_reach(address):
    """Tell whether a worker is in a network to which this machine can connect."""
    from distributed.comm import get_address_host_port

    try:
        socket.create_connection(get_address_host_port(address), REACH_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def send_rooms(client):
    """Give a cluster the rooms that its workers need, in place of any that it was given before."""

    def forget_rooms():
        import sys

        for name in [name for name in sys.modules if name.partition(".")[0] == "sparkify"]:
            del sys.modules[name]

    sources = {f"sparkify/{room}.py": Path(__file__).with_name(f"{room}.py") for room in ROOMS}
    code = {name: path.read_bytes() for name, path in sources.items()}
    digest = sha256(b"".join(code.values())).hexdigest()[:10]
    client.run(forget_rooms)
    client.run_on_scheduler(forget_rooms)
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


def read(cluster, read_blocks, files, target=None, catalogue=None):
    """Yield the Blocks of files, read by a cluster, two of them ahead for each of its threads."""
    with cluster_errors(cluster.address):
        ahead = 2 * sum(await_answer(cluster.client.nthreads, check=cluster.require).values())
        yield from read_blocks(files, target, cluster.share(catalogue), cluster, ahead)
