"""A Dask cluster, whose workers read, extract and transform: it needs not have the project."""

import contextlib
import copy
import logging
import re
import tempfile
import warnings
import zipfile
from concurrent.futures import CancelledError
from hashlib import sha256
from pathlib import Path

from sparkify.interpreter import command
from sparkify.messages import LoadError, one_line

CONNECT_SECONDS = 10  # to wait for a cluster
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
)


class Cluster:
    """A Dask cluster as an executor. Its own one waits for ever when the scheduler is gone."""

    def __init__(self, client, address):
        self.client, self.address = client, address

    def submit(self, function, *arguments):
        if self.client.status != "running":
            raise ConnectionError("its scheduler is gone")
        return self.client.submit(function, *arguments, pure=False)

    def share(self, value):
        """Return what stands for a value in arguments of submit, so that it is sent but once.

        It is a task: should the worker that holds the value die, another one gets it.
        """
        return value if value is None else self.client.submit(copy.copy, value, pure=False)


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
            options = {"timeout": CONNECT_SECONDS, "set_as_default": False}
            client = stack.enter_context(distributed.Client(address, **options))
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            send_rooms(client)
        yield Cluster(client, address)


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
    try:
        yield
    except (OSError, ValueError, TypeError, RuntimeError, CancelledError) as error:
        why = one_line(error) or "its scheduler is gone"
        raise LoadError(f"can't use the cluster at {address}: {why}") from None


def read(cluster, read_blocks, files, target=None, catalogue=None):
    """Yield the Blocks of files, read by a cluster, two of them ahead for each of its threads."""
    with cluster_errors(cluster.address):
        ahead = 2 * sum(cluster.client.nthreads().values())
        yield from read_blocks(files, target, cluster.share(catalogue), cluster, ahead)
