"""Extract and transform on a Dask cluster: what one process gives, whoever dies."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from distributed import Client
from remote import AWS, CREDENTIALS, PATIENCE_SECONDS, assert_is_loaded, wait_for
from scripts import PROJECT, environment_of

import create_tables


class Cluster:
    """A Dask scheduler and workers, each a process of its own that knows nothing of the project."""

    def __init__(self, folder, processes):
        self.folder, self.processes = folder, processes
        file = folder / "scheduler.json"
        self.scheduler = self.start("scheduler", "--port", "0", "--scheduler-file", file)
        self.address = json.loads(wait_for(lambda: file.exists() and file.read_text()))["address"]

    def start(self, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard"],
            cwd=self.folder,
            env=environment_of(DASK_TEMPORARY_DIRECTORY=self.folder, **AWS),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.enter_context(process)
        self.processes.callback(process.kill)
        return process

    def start_workers(self, number):
        """Start workers that nobody restarts, and return them once they are ready."""
        options = ("--no-nanny", "--nthreads", "1", "--memory-limit", "0")
        workers = [self.start("worker", self.address, *options) for _ in range(number)]
        pids = {worker.pid for worker in workers}
        with self.connect() as client:
            wait_for(lambda: pids <= set(client.run(os.getpid).values()))
        return workers

    def connect(self):
        return Client(self.address, timeout=PATIENCE_SECONDS, set_as_default=False)


@pytest.fixture(scope="module")
def start_cluster(tmp_path_factory):
    """Starts Clusters, which are killed at the end."""
    with contextlib.ExitStack() as processes:
        yield lambda: Cluster(tmp_path_factory.mktemp("cluster"), processes)


@pytest.fixture(scope="module")
def cluster(start_cluster):
    """A cluster of two workers."""
    cluster = start_cluster()
    cluster.start_workers(2)
    return cluster


@pytest.mark.parametrize("way", ["rows", "copy"])
def test_a_cluster_gives_what_one_process_gives(load, mixed_data, cluster, way):
    alone = load(mixed_data.name, "--load", way)
    assert_is_loaded(alone, mixed_data)
    assert load(mixed_data.name, "--load", way, "--scheduler", cluster.address) == alone


def test_a_cluster_reads_shared_storage(load, mixed_data, cluster, storage, bucket):
    path = f"{bucket}/tägliche Daten"
    storage.upload(mixed_data, path)
    url = storage.url(path, CREDENTIALS)
    assert_is_loaded(load(url, "--scheduler", cluster.address, **AWS), f"s3://{path}")


@pytest.fixture(scope="module")
def large_data(tmp_path_factory):
    """A data folder that keeps a cluster at work for a while."""
    folder = tmp_path_factory.mktemp("large")
    command = [sys.executable, PROJECT / "data" / "generate.py", folder, "--events", "200000"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def wait_for_progress(client):
    """Return as soon as a worker of the cluster has done something."""
    seen = set()

    def is_something_done():
        now = {key for keys in client.processing().values() for key in keys}
        seen.update(now)
        return seen - now

    wait_for(is_something_done)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system can't hold a process")
def test_a_worker_that_is_killed_costs_only_time(
    load, start, finish, conn, cur, large_data, cluster
):
    alone = load(large_data, "--load", "copy")
    assert (alone.status, alone.errors, alone.rejects) == (0, [], [])
    [worker] = cluster.start_workers(1)
    create_tables.reset_tables(cur, conn)
    with cluster.connect() as client:
        addresses = {pid: address for address, pid in client.run(os.getpid).items()}
        process = start("etl.py", large_data, "--load", "copy", "--scheduler", cluster.address)
        wait_for_progress(client)
        worker.send_signal(signal.SIGSTOP)  # so that it can't be done before it is killed
        address = addresses[worker.pid]  # work or answers are lost with it
        wait_for(lambda: client.processing()[address] or client.has_what()[address])
        worker.kill()
        assert process.poll() is None
    assert finish(process) == alone


def test_a_scheduler_that_is_killed_ends_the_run(start, finish, large_data, start_cluster):
    cluster = start_cluster()
    cluster.start_workers(1)
    process = start("etl.py", large_data, "--load", "copy", "--scheduler", cluster.address)
    with cluster.connect() as client:
        wait_for_progress(client)
        cluster.scheduler.kill()
        assert process.poll() is None
    outcome = finish(process)
    assert (outcome.status, len(outcome.errors)) == (1, 1)
    assert outcome.errors[0].startswith("etl.py: ")
    assert cluster.address in outcome.errors[0]


def test_a_scheduler_that_cannot_be_reached(load, small_data, closed_port):
    address = f"tcp://127.0.0.1:{closed_port}"
    began = time.monotonic()
    outcome = load(small_data, "--scheduler", address)
    assert time.monotonic() - began < PATIENCE_SECONDS
    assert (outcome.status, len(outcome.errors)) == (1, 1)
    assert outcome.errors[0].startswith("etl.py: ")
    assert address in outcome.errors[0]


@pytest.mark.parametrize("address", ["nonsense", "no://127.0.0.1:8786", "tcp://127.0.0.1"])
def test_an_address_that_means_nothing(load, small_data, address):
    outcome = load(small_data, "--scheduler", address)
    assert outcome.status in (1, 2)
    assert outcome.errors[-1].startswith("etl.py: ")
    assert address in outcome.errors[-1]


@pytest.fixture
def without_distributed(tmp_path):
    """The environment of a Python in which distributed is not installed."""
    folder = tmp_path / "modules"
    folder.mkdir()
    error = "ModuleNotFoundError(\"No module named 'distributed'\", name='distributed')"
    (folder / "distributed.py").write_text(f"raise {error}\n")
    return {"PYTHONPATH": folder}


def test_only_a_cluster_needs_distributed(load, small_data, without_distributed):
    outcome = load(small_data, **without_distributed)
    assert (outcome.status, outcome.errors) == (0, [])
    outcome = load(small_data, "--scheduler", "tcp://127.0.0.1:1", **without_distributed)
    assert outcome.status in (1, 2)
    assert "pip install distributed" in outcome.errors[-1]
    assert outcome.tables["songs"] == []
