"""Fixtures for runs on shared storage or a cluster: data, a server of S3's protocol, the runs."""

import contextlib
import gzip
import json
import logging
import os
import socket
import time
from itertools import count
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.parse import quote

import pytest
from pyarrow.fs import LocalFileSystem, S3FileSystem, copy_files
from records import event, read_tables, song, without_times, write_data, write_lines
from scripts import PASSWORD, PASSWORD_PARTS, call

import create_tables
from sparkify.read.blocks import BLOCK_BYTES

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
def mixed_data(tmp_path):
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
    path = write_lines(folder / "log_data" / "large.json", [*large, "bad", event(ts=9)])
    zipped = folder / "log_data" / "large.json.gz"  # of the same plays
    zipped.write_bytes(gzip.compress(Path(path).read_bytes(), 1))
    (more / "small.JSONL.gz").write_bytes(gzip.compress(json.dumps(event(ts=8)).encode()))
    return folder


ROWS = {
    "songplays": 1205,
    "users": 1,
    "songs": 3,
    "artists": 1,
    "time": 1205,
    "unmatched_songplays": 1,
    "page_views": 1,
}
BAD_LINES = [
    ("log_data/2018/11 é/b&c=d.json", 2),
    ("log_data/2018/11 é/bad.json", 1),
    ("log_data/2018/11 é/bad.json", 3),
    ("log_data/2018/11 é/bad.json", 4),
    ("log_data/large.json", 1201),
    ("log_data/large.json.gz", 1201),
    ("song_data/002.json", 1),
]


class Outcome(NamedTuple):
    """What a run of etl.py left behind."""

    status: int
    errors: list
    tables: dict
    rejects: list


def assert_is_loaded(outcome, folder):
    """Check that a run loaded what `mixed_data` holds, read from this folder."""
    assert (outcome.status, outcome.errors) == (3, [])
    assert {name: len(rows) for name, rows in outcome.tables.items()} == ROWS
    entries = map(json.loads, outcome.rejects)
    lines = [(entry["file"].removeprefix(f"{folder}/"), entry["line"]) for entry in entries]
    assert sorted(lines) == BAD_LINES


@pytest.fixture
def take_outcome(conn, cur, tmp_path):
    """Returns the Outcome of a run of etl.py that has ended; no run may show a secret."""

    def take(status, output, errors):
        file = tmp_path / "rejected.jsonl"
        rejects = file.read_text() if file.exists() else ""
        file.unlink(missing_ok=True)
        assert "Traceback" not in errors
        for secret in (KEY, *PASSWORD_PARTS):
            assert secret not in output + errors + rejects
        tables = read_tables(cur)
        conn.commit()
        return Outcome(status, errors.splitlines(), tables, without_times(rejects))

    return take


@pytest.fixture
def finish(take_outcome):
    """Waits for a run of etl.py, and returns its Outcome."""

    def finish_etl(process):
        output, errors = process.communicate(timeout=2 * PATIENCE_SECONDS)
        return take_outcome(process.returncode, output, errors)

    return finish_etl


@pytest.fixture
def load(conn, cur, start, finish, take_outcome, tmp_path):
    """Runs etl.py on empty tables and returns its Outcome.

    It is started only if it is to have variables that are read by the first import of a library.
    """

    def load_data(*arguments, **variables):
        create_tables.reset_tables(cur, conn)
        if any(name.startswith(("PYTHON", "DASK")) for name in variables):
            return finish(start("etl.py", *arguments, **variables))
        variables = {"SPARKIFY_PGDATA": os.environ["SPARKIFY_PGDATA"]} | variables
        result = call("etl.py", *arguments, cwd=tmp_path, **variables)
        return take_outcome(result.returncode, result.stdout, result.stderr)

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
    from moto.server import ThreadedMotoServer  # here, for it takes a second

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
        request_timeout=60,  # on a machine that does much else
    )
    yield Storage(address, files)
    server.stop()


@pytest.fixture
def refusing(storage):
    """Starts another way to the storage, which answers some requests with a status of its own.

    Which ones, it is told by a function of their method and path that returns the status.
    """
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    moto = DomainDispatcherApplication(create_backend_app)
    with contextlib.ExitStack() as servers:

        def start(refuse):
            def answer(environ, respond):
                status = refuse(environ["REQUEST_METHOD"], environ["PATH_INFO"])
                if not status:
                    return moto(environ, respond)
                respond(status, [("Content-Type", "application/xml")])
                code = status.partition(" ")[2].replace(" ", "")
                return [f"<Error><Code>{code}</Code><Message>No</Message></Error>".encode()]

            server = make_server(
                "127.0.0.1", 0, answer, threaded=True, request_handler=MotoRequestHandler
            )
            Thread(target=server.serve_forever, daemon=True).start()
            servers.callback(server.shutdown)
            return Storage("{}:{}".format(*server.server_address))

        yield start


class Proxy:
    """A way to a server, which can be cut ("gone"), or silenced ("mute")."""

    def __init__(self, address):
        self.server = address.split(":")
        self.state = "open"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{1}".format(*self.listener.getsockname())
        self.ends = []
        Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):  # that it was closed
            while True:
                client, _ = self.listener.accept()
                self.ends.append(client)
                if self.state != "mute":
                    server = socket.create_connection(self.server)
                    self.ends.append(server)
                    Thread(target=self.forward, args=(client, server), daemon=True).start()
                    Thread(target=self.forward, args=(server, client), daemon=True).start()

    def forward(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self.state != "mute":
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def change(self, state):
        self.state = state
        if state == "gone":
            for end in (self.listener, *self.ends):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
                end.close()


@pytest.fixture
def proxy(storage):
    proxy = Proxy(storage.address)
    yield proxy
    proxy.change("gone")


bucket_numbers = count(1)


@pytest.fixture
def bucket(storage):
    """The name of a new bucket."""
    name = f"bucket-{next(bucket_numbers)}"
    storage.files.create_dir(name)
    return name
