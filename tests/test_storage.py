"""DATA in shared storage, read by S3's protocol; extract and transform on a Dask cluster."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import count
from typing import NamedTuple
from urllib.parse import quote

import pytest
from distributed import Client
from moto.server import ThreadedMotoServer
from pyarrow.fs import LocalFileSystem, S3FileSystem, copy_files
from records import event, read_tables, song, write_data, write_lines
from scripts import PASSWORD, PASSWORD_PARTS, PROJECT, environment_of

import create_tables
from sparkify.blocks import BLOCK_BYTES

KEY = "AKIDOFTESTS"
CREDENTIALS = f"{KEY}:{quote(PASSWORD, safe='')}@"  # in a URL
AWS = {"AWS_EC2_METADATA_DISABLED": "true"}
AWS_SIGNED = AWS | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": PASSWORD}
PATIENCE_SECONDS = 60


# Runs of etl.py, and what they load


@pytest.fixture
def small_data(tmp_path):
    return write_data(tmp_path / "data", [song()], [event()])


@pytest.fixture
def data(tmp_path):
    """A data folder with good and bad lines, in files and a path that need care."""
    songs = [song(), song(song_id="SO2", title="Other"), song(title=None)]
    events = [event(), event(ts=1, song="Unheard of"), event(page="Home", userId="")]
    folder = write_data(tmp_path / "my data, 100%", songs, events)
    write_lines(folder / "song_data" / "A" / "Ä%20 #1+2.json", [song(song_id="SO3", year=0)])
    more = folder / "log_data" / "2018" / "11 é"
    write_lines(more / "b&c=d.json", [b"\xef\xbb\xbf" + json.dumps(event(ts=5)).encode(), '{"cut'])
    write_lines(more / "bad.json", [b'{"\xff"}', "", "[]", event(ts=6, level=None)])
    write_lines(more / "empty.json", [])
    write_lines(more / "other.txt", [event(ts=7)])
    large = [event(ts=1000 + n, more="x" * (BLOCK_BYTES // 1000)) for n in range(1200)]
    write_lines(folder / "log_data" / "large.json", [*large, "bad", event(ts=9)])
    return folder


ROWS = {
    "songplays": 1204,
    "users": 1,
    "songs": 3,
    "artists": 1,
    "time": 1204,
    "unmatched_songplays": 1,
    "page_views": 1,
}
BAD_LINES = [
    ("log_data/2018/11 é/b&c=d.json", 2),
    ("log_data/2018/11 é/bad.json", 1),
    ("log_data/2018/11 é/bad.json", 3),
    ("log_data/2018/11 é/bad.json", 4),
    ("log_data/large.json", 1201),
    ("song_data/002.json", 1),
]


class Outcome(NamedTuple):
    """What a run of etl.py left behind."""

    status: int
    errors: list
    tables: dict
    rejects: list


def assert_is_loaded(outcome, folder):
    """Check that a run loaded what `data` holds, read from this folder."""
    assert (outcome.status, outcome.errors) == (3, [])
    assert {name: len(rows) for name, rows in outcome.tables.items()} == ROWS
    entries = map(json.loads, outcome.rejects)
    lines = [(entry["file"].removeprefix(f"{folder}/"), entry["line"]) for entry in entries]
    assert sorted(lines) == BAD_LINES


@pytest.fixture
def start(tmp_path):
    """Starts etl.py in a temporary folder; what still runs at the end is killed."""
    with contextlib.ExitStack() as processes:

        def start_etl(*arguments, **variables):
            process = subprocess.Popen(
                [sys.executable, PROJECT / "etl.py", *arguments],
                cwd=tmp_path,
                env=environment_of(SPARKIFY_PGDATA=os.environ["SPARKIFY_PGDATA"], **variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
            processes.enter_context(process)
            processes.callback(process.kill)
            return process

        yield start_etl


@pytest.fixture
def finish(conn, cur, tmp_path):
    """Waits for a run of etl.py and returns its Outcome; no run may show a secret."""

    def finish_etl(process):
        output, errors = process.communicate(timeout=2 * PATIENCE_SECONDS)
        file = tmp_path / "rejected.jsonl"
        rejects = file.read_text() if file.exists() else ""
        file.unlink(missing_ok=True)
        assert "Traceback" not in errors
        for secret in (KEY, *PASSWORD_PARTS):
            assert secret not in output + errors + rejects
        tables = read_tables(cur)
        conn.commit()
        return Outcome(process.returncode, errors.splitlines(), tables, rejects.splitlines())

    return finish_etl


@pytest.fixture
def load(conn, cur, start, finish):
    """Runs etl.py on empty tables and returns its Outcome."""

    def load_data(*arguments, **variables):
        create_tables.reset_tables(cur, conn)
        return finish(start(*arguments, **variables))

    return load_data


def wait_for(condition):
    """Return what the condition returns, as soon as that is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (result := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


@pytest.fixture
def closed_port():
    """A port of this machine where nobody listens, nor can begin to."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


# Shared storage


class Storage(NamedTuple):
    """A server that speaks S3's protocol, and a way to write to it."""

    address: str
    files: S3FileSystem | None = None

    def url(self, path, credentials=""):
        """Return the URL of a path, the first part of which is the bucket."""
        query = f"endpoint_override={self.address}&scheme=http&region=us-east-1"
        return f"s3://{credentials}{quote(path)}?{query}"

    def upload(self, folder, path):
        local = LocalFileSystem()
        copy_files(str(folder), path, source_filesystem=local, destination_filesystem=self.files)


@pytest.fixture(scope="module")
def storage():
    """A server on this machine that keeps what it is given in memory."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    address = ":".join(map(str, server.get_host_and_port()))
    files = S3FileSystem(
        access_key=KEY,
        secret_key=PASSWORD,
        region="us-east-1",
        endpoint_override=f"http://{address}",
        allow_bucket_creation=True,
    )
    yield Storage(address, files)
    server.stop()


bucket_numbers = count(1)


@pytest.fixture
def bucket(storage):
    """The name of a new bucket."""
    name = f"bucket-{next(bucket_numbers)}"
    storage.files.create_dir(name)
    return name


def moved(outcome, old, new):
    """Return an Outcome as it is where the files are not in the folder `old` but in `new`."""
    entries = map(json.loads, outcome.rejects)
    moved_entries = [entry | {"file": entry["file"].replace(old, new, 1)} for entry in entries]
    return outcome._replace(rejects=[json.dumps(entry) for entry in moved_entries])


@pytest.mark.parametrize("way", ["rows", "copy"])
def test_shared_storage_gives_what_a_local_folder_gives(load, data, storage, bucket, way):
    path = f"{bucket}/tägliche Daten/50%"
    storage.upload(data, path)
    local = load(data, "--load", way)
    assert_is_loaded(local, data)
    remote = load(storage.url(path), "--load", way, **AWS_SIGNED)
    assert remote == moved(local, str(data), f"s3://{path}")


def test_the_environment_can_name_the_server(load, small_data, storage, bucket):
    storage.upload(small_data, bucket)
    variables = {"AWS_ENDPOINT_URL": f"http://{storage.address}", "AWS_DEFAULT_REGION": "us-east-1"}
    outcome = load(f"s3://{bucket}", **variables, **AWS_SIGNED)
    assert (outcome.status, outcome.errors, len(outcome.tables["songplays"])) == (0, [], 1)


def test_a_url_may_hold_credentials_and_end_with_a_slash(load, small_data, storage, bucket):
    write_lines(small_data / "log_data" / "bad.json", ["bad"])
    storage.upload(small_data, f"{bucket}/a")
    outcome = load(storage.url(f"{bucket}/a/", CREDENTIALS), **AWS)
    assert (outcome.status, outcome.errors, len(outcome.tables["songplays"])) == (3, [], 1)
    [reject] = outcome.rejects
    assert json.loads(reject)["file"] == f"s3://{bucket}/a/log_data/bad.json"


@pytest.mark.parametrize("missing", ["song_data", "log_data"])
def test_shared_storage_must_hold_both_folders(load, small_data, storage, bucket, missing):
    storage.upload(small_data, f"{bucket}/a")
    storage.files.delete_dir(f"{bucket}/a/{missing}")
    outcome = load(storage.url(f"{bucket}/a", CREDENTIALS), **AWS)
    assert outcome.status == 2
    assert outcome.errors == [
        f"etl.py: there is no folder s3://{bucket}/a/{missing}; "
        "DATA must hold song_data/ and log_data/"
    ]


def test_a_bucket_that_is_missing(load, storage):
    outcome = load(storage.url("no-such-bucket/a", CREDENTIALS), **AWS)
    assert outcome.status == 2
    assert outcome.errors == [
        "etl.py: there is no folder s3://no-such-bucket/a/song_data; "
        "DATA must hold song_data/ and log_data/"
    ]


def test_shared_storage_that_cannot_be_reached(load, closed_port):
    storage = Storage(f"127.0.0.1:{closed_port}")
    outcome = load(storage.url("some-bucket/a", CREDENTIALS), **AWS)
    assert outcome.status == 1
    [error] = outcome.errors
    assert error.startswith("etl.py: can't read s3://some-bucket/a/song_data: ")


@pytest.mark.parametrize(
    "url",
    [
        f"s3://{CREDENTIALS}bucket/a b",
        f"s3://{CREDENTIALS}bucket/a?region=us-east-1&no_such=1",
        f"no://{CREDENTIALS}bucket/a",
    ],
)
def test_a_url_that_means_nothing(load, url):
    outcome = load(url, **AWS)
    assert outcome.status == 2
    [error] = outcome.errors
    assert error.startswith("etl.py: DATA can't be read as a URL")


# A Dask cluster


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
def test_a_cluster_gives_what_one_process_gives(load, data, cluster, way):
    alone = load(data.name, "--load", way)
    assert_is_loaded(alone, data)
    assert load(data.name, "--load", way, "--scheduler", cluster.address) == alone


def test_a_cluster_reads_shared_storage(load, data, cluster, storage, bucket):
    path = f"{bucket}/tägliche Daten"
    storage.upload(data, path)
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
        process = start(large_data, "--load", "copy", "--scheduler", cluster.address)
        wait_for_progress(client)
        worker.send_signal(signal.SIGSTOP)  # so that it can't be done before it is killed
        wait_for(lambda: client.processing()[addresses[worker.pid]])
        worker.kill()
        assert process.poll() is None
    assert finish(process) == alone


def test_a_scheduler_that_is_killed_ends_the_run(start, finish, large_data, start_cluster):
    cluster = start_cluster()
    cluster.start_workers(1)
    process = start(large_data, "--load", "copy", "--scheduler", cluster.address)
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
