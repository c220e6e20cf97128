"""A pool of connections before the server: one that lends sessions will do, others are refused."""

import contextlib
import re
import socket
import threading

import pytest
from test_locks import Forwarder, needs_sockets

import create_tables
from sparkify.postgres import watchdog

pytestmark = needs_sockets

MADE_UP = b"K\0\0\0\x0c\0\0\0\x01key!"  # the pid and the key to cancel by
READY = b"Z\0\0\0\x05"  # the server's last word, but for the state of the transaction


class Pool(Forwarder):
    """A pool whose clients get sessions of their own, or only the first, or all the same in turn.

    PgBouncer does so, by its pool_mode and pool_size.
    """

    def __init__(self, way):
        super().__init__()
        self.way, self.turn = way, threading.Lock()
        self.server = self.welcome = None

    @property
    def url(self):
        return f"{super().url}?sslmode=disable&gssencmode=disable"

    def accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.sockets.append(client)
                threading.Thread(target=self.serve, args=[client], daemon=True).start()

    def serve(self, client):
        alone = self.turn if self.way == "one session" else contextlib.nullcontext()
        with contextlib.suppress(OSError):
            startup = client.recv(1 << 16)
            with alone:  # the others wait
                self.connect(client, startup)

    def connect(self, client, startup):
        if self.way != "transactions" or not self.server:
            self.server = self.open_session(startup)
        client.sendall(self.welcome)
        if self.way == "transactions":
            self.lend(client)
            return
        server = self.server
        threading.Thread(target=self.carry, args=(server, client, client), daemon=True).start()
        self.carry(client, server, client)

    def open_session(self, startup):
        server = socket.socket(socket.AF_UNIX)
        self.sockets.append(server)
        server.connect(self.target)
        server.sendall(startup)
        self.welcome = re.sub(rb"K\0\0\0\x0c.{8}", MADE_UP, hear(server), flags=re.DOTALL)
        return server

    def lend(self, client):
        """Pass a client's queries on, and let the others wait until its transaction is over."""
        while (query := client.recv(1 << 16)) and not query.startswith(b"X"):
            with self.turn:
                while not self.ask(query, client).endswith(b"I"):
                    query = client.recv(1 << 16)

    def ask(self, query, client):
        self.server.sendall(query)
        answer = hear(self.server)
        client.sendall(answer)
        return answer


def hear(server):
    """Return all that a server says until it is ready for a query."""
    said = b""
    while said[-6:-1] != READY:
        if not (more := server.recv(1 << 16)):
            raise ConnectionResetError
        said += more
    return said


@pytest.fixture
def way():
    return "sessions"


@pytest.fixture
def pool(conn, way, monkeypatch):
    pool = Pool(way)
    pool.open()
    monkeypatch.setenv("DATABASE_URL", pool.url)
    yield pool
    pool.cut()


def test_a_pool_that_lends_sessions_will_do(night, data, pool, tables, expect):
    expected = expect(data)
    assert night(data)[::2] == (0, [])
    assert tables() == expected


@pytest.mark.parametrize("way", ["transactions", "one session"])
def test_other_pools_are_refused_and_keep_no_lock(
    night, data, pool, tables, expect, monkeypatch, capsys, way
):
    expected = expect(data)
    monkeypatch.setattr(watchdog, "ANSWER_SECONDS", 0.5)
    status, _, [error] = night(data)
    assert status == 1
    assert re.match("etl.py: sparkifydb on 127.0.0.1:.* is behind a pool of connections", error)
    assert error.endswith("; connect to the server itself, or by a pool in session mode")
    assert create_tables.main() == 1
    assert capsys.readouterr().err == f"{error.replace('etl.py', 'create_tables.py')}\n"
    monkeypatch.delenv("DATABASE_URL")
    assert night(data, "--no-wait")[0] == 0
    assert tables() == expected
