"""Extract and transform on a Dask cluster: what one process gives, whoever dies."""

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import Client, KilledWorker
from records import event, write_lines
from remote import AWS, CREDENTIALS, PATIENCE_SECONDS, assert_is_loaded, wait_for
from scripts import PROJECT, environment_of, thorough

import create_tables
from sparkify.errors import LoadError
from sparkify.read import cluster as cluster_module
from sparkify.read.cluster import can_reach, cluster_errors, connect, run_alike, watch_workers
from sparkify.read.files import File
from sparkify.read.storage import LocalStorage
from sparkify.read.versions import LIBRARIES, find_difference, find_versions
from sparkify.waiting import say_new


class Cluster:
    """A Dask scheduler and workers, each a process of its own that knows nothing of the project."""

    def __init__(self, folder, processes):
        self.folder, self.processes, self.workers = folder, processes, {}
        file = folder / "scheduler.json"
        self.scheduler = self.start("scheduler", "--port", "0", "--scheduler-file", file)
        self.address = json.loads(wait_for(lambda: file.exists() and file.read_text()))["address"]

    def start(self, *arguments, **variables):
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard"],
            cwd=self.folder,
            env=environment_of(DASK_TEMPORARY_DIRECTORY=self.folder, **AWS, **variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.enter_context(process)
        self.processes.callback(process.kill)
        return process

    def start_workers(self, number, **variables):
        """Start workers that nobody restarts, and return them once they are ready."""
        options = ("--no-nanny", "--nthreads", "1", "--memory-limit", "0")
        workers = [self.start("worker", self.address, *options, **variables) for _ in range(number)]
        pids = {worker.pid: worker for worker in workers}
        with self.connect() as client:
            wait_for(lambda: pids.keys() <= set(client.run(os.getpid).values()))
        self.workers |= pids
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


@pytest.mark.parametrize("way", [thorough("rows"), "copy"])
def test_a_cluster_gives_what_one_process_gives(load, mixed_data, cluster, way):
    alone = load(mixed_data.name, "--load", way)
    assert_is_loaded(alone, mixed_data)
    assert load(mixed_data.name, "--load", way, "--scheduler", cluster.address) == alone


@pytest.mark.thorough
def test_a_cluster_reads_shared_storage(load, mixed_data, cluster, storage, bucket):
    path = f"{bucket}/tägliche Daten"
    storage.upload(mixed_data, path)
    url = storage.url(path, CREDENTIALS)
    assert_is_loaded(load(url, "--scheduler", cluster.address, **AWS), f"s3://{path}")


@pytest.fixture(scope="module")
def large_data(tmp_path_factory):
    """A data folder that keeps a cluster at work for a while."""
    folder = tmp_path_factory.mktemp("large")
    command = [sys.executable, PROJECT / "data" / "generate.py", folder, "--events", "100000"]
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


def hold_one_at_work(workers, client):
    """Stop a worker that has work, so that it can't be done before it is killed, and return it."""
    processing = client.processing()
    for address, worker in workers.items():
        if processing[address]:
            worker.send_signal(signal.SIGSTOP)
            if client.processing()[address]:
                return worker
            worker.send_signal(signal.SIGCONT)
    return None


@pytest.mark.thorough
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system can't hold a process")
def test_a_worker_that_is_killed_costs_only_time(
    load, start, finish, conn, cur, large_data, cluster
):
    alone = load(large_data, "--load", "copy")
    assert (alone.status, alone.errors, alone.rejects) == (0, [], [])
    create_tables.reset_tables(cur, conn)
    with cluster.connect() as client:
        pids = client.run(os.getpid)
        workers = {address: cluster.workers[pid] for address, pid in pids.items()}
        process = start("etl.py", large_data, "--load", "copy", "--scheduler", cluster.address)
        wait_for(lambda: hold_one_at_work(workers, client)).kill()
        assert process.poll() is None
    assert finish(process) == alone


@pytest.mark.thorough
def test_a_scheduler_that_is_killed_ends_the_run(start, finish, large_data, start_cluster):
    cluster = start_cluster()  # of its own
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
    patience = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"}
    outcome = load(small_data, "--scheduler", address, **patience)
    assert (outcome.status, len(outcome.errors)) == (1, 1)
    assert outcome.errors[0].startswith("etl.py: ")
    assert address in outcome.errors[0]


def test_workers_in_a_network_of_their_own_are_not_asked_directly(closed_port):
    assert not can_reach(f"tcp://127.0.0.1:{closed_port}")
    assert not can_reach("inproc://127.0.0.1/1/1")


# What a cluster lacks, and whether it is alive


@pytest.fixture
def other_numpy(tmp_path):
    """A folder that, on Python's path, makes numpy's version 0."""
    folder = tmp_path / "numpy-0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0\n")
    return tmp_path


def test_a_worker_that_will_not_do_and_one_that_dies(start_cluster, other_numpy, monkeypatch):
    monkeypatch.setattr(logging, "disable", lambda _: None)
    monkeypatch.setattr(cluster_module, "WATCH_SECONDS", 2)
    monkeypatch.setenv("SPARKIFY_WORKERS_SECONDS", "2")
    started = start_cluster()
    [worker] = started.start_workers(1, PYTHONPATH=other_numpy)
    fault = r"its worker tcp://127.* has numpy 0: install numpy [1-9].* there, as here"
    with pytest.raises(LoadError, match=fault), connect(started.address, LocalStorage(), []):
        pass
    worker.kill()
    with started.connect() as client:
        wait_for(lambda: not client.nthreads())
    [worker] = started.start_workers(1)
    with connect(started.address, LocalStorage(), []) as cluster:
        assert cluster.client.direct_to_workers
        answer = cluster.submit(time.sleep, 60)
        worker.kill()
        with pytest.raises(LoadError, match="it has no workers, for 2 s"):
            answer.result()
    answer.cancel()  # as a generator may that ends with the run


WANTED = dict.fromkeys(["Python", *LIBRARIES], "2")


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({}, None),
        (
            {"numpy": None, "pyarrow": None},
            "lacks numpy, pyarrow: install numpy 2, pyarrow 2 there",
        ),
        ({"numpy": None, "pandas": "1"}, "lacks numpy: install numpy 2, pandas 2 there"),
        ({"Python": "1"}, "has Python 1: install Python 2 there, as here"),
    ],
)
def test_what_a_machine_lacks(changes, difference):
    assert find_difference(WANTED | changes, WANTED) == difference


def test_a_worker_that_came_late_does_nothing_where_it_will_not_do(tmp_path):
    def run(versions, size):
        file = File("log", write_lines(tmp_path / "log.json", ["12345"]), size)
        return run_alike(versions, LocalStorage(), (file,), len, "abc")

    assert run(find_versions(), 4) == run(find_versions(), 5) == 3
    with pytest.raises(LoadError, match=r"its worker on .* sees another .*, of 5 bytes, not 6$"):
        run(find_versions(), 6)
    with pytest.raises(LoadError, match=r"its worker on .* lacks no_such: install no_such 1 there"):
        run(find_versions() | {"no_such": "1"}, 7)


# What the workers see

own_folder = Path("/proc/self/cwd")  # where each process sees its own working folder
if_seen = pytest.mark.skipif(not own_folder.exists(), reason="a worker here sees the same folders")


@if_seen
def test_a_file_that_a_worker_sees_shorter_is_left_out(load, small_data, cluster):
    for name in ("0.json", "5.json"):
        write_lines(small_data / "log_data" / name, [event(ts=1), event(ts=2)])
    seen = own_folder / "seen"
    shutil.copytree(small_data, cluster.folder / "seen")
    write_lines(cluster.folder / "seen" / "log_data" / "5.json", [event(ts=1)])
    small_data.rename(small_data.with_name("seen"))
    outcome = load(seen, "--scheduler", cluster.address)
    file = seen / "log_data" / "5.json"
    said = f"etl.py: can't read {file}: it is shorter than listed, "
    assert outcome.status == 3, outcome.errors
    [error] = outcome.errors
    assert error.startswith(said)
    assert len(outcome.tables["songplays"]) == 3
    shutil.rmtree(cluster.folder / "seen")
    outcome = load(seen, "--scheduler", cluster.address)
    assert outcome.status == 1, outcome.errors
    [error] = outcome.errors
    fault = r"worker tcp://\S+ can't read /proc/\S+/000.json: No such file or directory; nothing "
    assert re.search(fault, error)
    assert outcome.tables["songs"] == []


@if_seen
@pytest.mark.parametrize("number", [0, 2], ids=["first", "last"])
@pytest.mark.parametrize("size", [4, 6])
def test_a_worker_must_see_the_first_and_the_last_file(
    cluster, tmp_path, monkeypatch, number, size
):
    monkeypatch.setattr(logging, "disable", lambda _: None)
    monkeypatch.chdir(tmp_path)
    names = [f"{size}-{number}-{n}.json" for n in range(3)]
    for n, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes(5))
        (cluster.folder / name).write_bytes(bytes(size if n == number else 5))
    files = [File("log", str(own_folder / name), 5) for name in names]
    fault = (
        rf"its worker tcp://\S+ sees another \S+/{names[number]}, of {size} bytes, not 5; nothing"
    )
    with (
        pytest.raises(LoadError, match=fault),
        connect(cluster.address, LocalStorage(), files),
    ):
        pass


# Clusters that start workers when there is work


GROWING = """
import distributed, sys
if __name__ == "__main__":
    with distributed.LocalCluster(
        n_workers=0, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    ) as cluster:
        cluster.adapt(minimum=0, maximum=1)
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


def test_a_cluster_that_has_no_worker_yet_starts_one(tmp_path, monkeypatch):
    monkeypatch.setattr(logging, "disable", lambda _: None)
    file = File("log", write_lines(tmp_path / "log.json", ["1"]), 1)
    (tmp_path / "growing.py").write_text(GROWING)
    with subprocess.Popen(
        [sys.executable, "growing.py"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as growing:
        address = growing.stdout.readline().strip()
        with connect(address, LocalStorage(), [file]) as cluster:
            assert cluster.submit(len, "abc").result() == 3
        growing.stdin.close()


def test_what_a_user_waits_for_workers_is_a_number(monkeypatch):
    monkeypatch.setenv("SPARKIFY_WORKERS_SECONDS", "300")
    check = watch_workers(FakeClient(*[[]] * 99))
    for seconds in range(5, 300, 5):
        check(seconds)
    with pytest.raises(ConnectionError, match=r"it has no workers, for 300 s by now"):
        check(305)
    monkeypatch.setenv("SPARKIFY_WORKERS_SECONDS", "5 min")
    with pytest.raises(ValueError, match="SPARKIFY_WORKERS_SECONDS must be .*, not '5 min'"):
        watch_workers(FakeClient())


def test_tls_without_certificates_fails_at_once(monkeypatch, closed_port):
    monkeypatch.setattr(logging, "disable", lambda _: None)
    address = f"tls://127.0.0.1:{closed_port}"
    fault = f"can't use the cluster at {address}: tls:// needs certificates, .*TLS__CA_FILE"
    with pytest.raises(LoadError, match=fault), connect(address, LocalStorage(), []):
        pass


class FakeClient:
    """A client of a scheduler that says this of its workers, one after another, then nothing."""

    def __init__(self, *said):
        self.said = list(said)
        self.scheduler = SimpleNamespace(identity=None)

    def sync(self, _function, callback_timeout):
        if not self.said:
            raise TimeoutError
        workers = [{"status": status, "last_seen": at} for status, at in self.said.pop(0)]
        return {"workers": dict(enumerate(workers))}


ALIVE, PAUSED = [("running", 1)], [("paused", 1), ("paused", 9)]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ([ALIVE] * 99, "its workers do not answer"),
        ([ALIVE, *[[]] * 99], "it has no workers"),
        ([ALIVE], "its scheduler does not answer"),
        ([ALIVE, *[PAUSED] * 99], "its workers are paused, for they lack memory"),
    ],
)
def test_workers_that_are_gone_for_a_minute_end_the_run(said, fault, capsys):
    say_new.cache_clear()
    check = watch_workers(FakeClient(*said))
    for seconds in range(5, 66):
        check(seconds)
    assert capsys.readouterr().err.endswith(f": waiting for the cluster: {fault}\n")
    with pytest.raises(ConnectionError, match=f"^{fault}, for 60 s by now "):
        check(70)


def test_workers_that_are_alive_are_waited_for_but_not_for_ever(capsys):
    check = watch_workers(FakeClient(*([("running", at), ("closing", 1)] for at in range(999))))
    for seconds in range(5, 1800, 5):
        check(seconds)
    assert capsys.readouterr().err == ""
    with pytest.raises(TimeoutError):
        check(1805)


LOST = KilledWorker("task", SimpleNamespace(address="tcp://x:2"), 3)


@pytest.mark.parametrize("error", [LOST, ImportError("no numpy")])
def test_what_dask_raises_is_said_in_one_line(error):
    said = re.escape(f"can't use the cluster at tcp://x:1: {error}")
    with pytest.raises(LoadError, match=said), cluster_errors("tcp://x:1"):
        raise error


def test_a_scheduler_that_never_answers(monkeypatch):
    monkeypatch.setattr(logging, "disable", lambda _: None)
    monkeypatch.setattr(cluster_module, "SCHEDULER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = "tcp://127.0.0.1:{1}".format(*mute.getsockname())
        with (
            pytest.raises(LoadError, match=f"no answer of {address} within 1 s"),
            connect(address, LocalStorage(), []),
        ):
            pass


@pytest.mark.parametrize(
    "address", [thorough("nonsense"), thorough("no://127.0.0.1:8786"), "tcp://127.0.0.1"]
)
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
