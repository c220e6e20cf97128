"""A connection that is lost or falls silent: one line tells, and the next run loads the rest."""

import contextlib
import json
import socket

import psycopg2
import pytest
from nights import correct
from records import event, song
from scripts import thorough
from test_locks import Forwarder, needs_sockets

import create_tables
from sparkify import interrupts
from sparkify.postgres import connection, watchdog

pytestmark = needs_sockets

AT_COMMIT = (b"INSERT INTO loaded_files", b"COMMIT")
IN_COPY = (b"COPY ", b"")  # the rows come next


class Proxy(Forwarder):
    """A port that fails, in one of the ways of pass_on, when a client has sent certain bytes."""

    def __init__(self):
        super().__init__()
        self.way, self.awaited, self.mute = None, [], set()

    def fail(self, way, *awaited):
        self.way, self.awaited = way, list(awaited)

    def carry(self, source, target, client):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self.awaited and source is client and self.awaited[0] in data:
                    self.awaited.pop(0)
                    if not self.awaited:
                        self.mute.add(client)
                if client in self.mute or (self.mute and self.way == "mute"):
                    self.pass_on(data, target, client)
                else:
                    target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def pass_on(self, data, target, client):
        """Keep everything (mute), or what is of this connection (forget), or cut it (else)."""
        if self.way == "cut after the server's answer" and target is not client:
            target.sendall(data)
        elif self.way.startswith("cut"):
            self.cut()


@pytest.fixture
def proxy(conn, monkeypatch):
    proxy = Proxy()
    proxy.open()
    monkeypatch.setenv("DATABASE_URL", proxy.url)
    yield proxy
    proxy.cut()


@pytest.fixture
def hasty(proxy, monkeypatch):
    """Have the server be asked all the time and given up soon, once the proxy has failed."""
    ask = watchdog.Watch.ask
    monkeypatch.setattr(watchdog.Watch, "ask", lambda *args: ask(*args) if proxy.mute else [])
    for name, value in (("LOOK", 0.01), ("ANSWER", 0.2), ("QUIET", 0.5)):
        monkeypatch.setattr(watchdog, f"{name}_SECONDS", value)


# Silence


@pytest.mark.parametrize("way", ["mute", thorough("forget")])
@pytest.mark.parametrize(
    ("loader", "moment"), [("copy", IN_COPY), ("copy", AT_COMMIT), ("rows", AT_COMMIT)]
)
def test_a_server_that_falls_silent_is_given_up(
    night, data, proxy, hasty, monkeypatch, tables, expect, loader, moment, way
):
    expected = expect(data)
    proxy.fail(way, *moment)
    status, _, [error] = night(data, "--load", loader)
    assert status == 1
    place = f"sparkifydb on 127.0.0.1:{proxy.port} (from DATABASE_URL)"
    when = " during a commit" if moment == AT_COMMIT else ""
    assert error.startswith(f"etl.py: lost the connection to {place}{when}: the server has not")
    assert "run it again" in error
    assert tables() == dict.fromkeys(expected, [])
    proxy.cut()  # and the server's side of it
    monkeypatch.delenv("DATABASE_URL")
    assert night(data, "--load", loader)[0] == 0
    assert tables() == expected


def test_a_server_that_is_silent_from_the_start_is_given_up(night, data, proxy, monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1)
    proxy.fail("mute", b"")
    status, _, [error] = night(data, "--no-wait")
    assert status == 1
    assert error.startswith(f"etl.py: can't connect to sparkifydb on 127.0.0.1:{proxy.port}")
    assert "timeout" in error


def test_a_server_that_is_slow_is_not_given_up(night, data, proxy, conn, cur, tables, monkeypatch):
    ask, signs = watchdog.Watch.ask, []

    def ask_until_the_lock_is_free(self, query, *values):
        rows = ask(self, query, *values)
        if query == watchdog.session_select and rows and rows[0][0]:
            return []
        if rows and query == watchdog.blockers_select:
            signs.append(rows)
            if len(signs) == 5:
                conn.rollback()
        return rows

    monkeypatch.setattr(watchdog.Watch, "ask", ask_until_the_lock_is_free)
    for name, value in (("LOOK", 0.01), ("QUIET", 1e-9)):
        monkeypatch.setattr(watchdog, f"{name}_SECONDS", value)
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=60s")  # should nobody ask
    cur.execute("LOCK TABLE users IN SHARE MODE")
    status, _, [said] = night(data)
    assert status == 0
    assert said.startswith(f"etl.py: waiting for session {conn.info.backend_pid} ")
    assert len(tables()["songplays"]) == 4
    assert len(signs) >= 5


def test_a_server_that_refuses_to_tell_is_not_given_up(proxy, monkeypatch):
    with contextlib.closing(connection.connect()) as conn:
        watched = watchdog.Watch(conn)
        watched.take_over()
        for refusal in ({"dbname": "none"}, {"port": 1}):
            watched.parameters = watchdog.second_parameters(conn)[0] | refusal
            assert watched.is_alive()
        watched.parameters = watchdog.second_parameters(conn)[0]
        assert watched.is_alive()  # it waits for us, as it has since then
        assert not watched.is_alive()


# A commit whose answer is lost


@pytest.mark.parametrize("has_committed", [False, True])
@pytest.mark.parametrize("loader", ["rows", "copy"])
def test_a_commit_whose_answer_is_lost_is_settled_by_the_next_run(
    night, data, proxy, monkeypatch, tables, recorded, expect, loader, has_committed
):
    expected = expect(data)
    cut_off(proxy, has_committed, *AT_COMMIT)
    status, _, [error] = night(data, "--load", loader)
    assert_unknown(status, error, "etl.py", proxy)
    assert bool(recorded()) == has_committed
    monkeypatch.delenv("DATABASE_URL")
    status, output, _ = night(data, "--load", loader)
    assert status == 0
    assert ("Nothing new" in output) == (has_committed and loader == "copy")
    assert tables() == expected


@pytest.mark.parametrize("has_committed", [False, True])
def test_a_retry_whose_commit_is_lost_may_be_repeated(
    night, rejects, proxy, monkeypatch, tables, has_committed
):
    correct(rejects, _0=song(song_id="SO3"), _2=event(ts=50))
    before, songplays = rejects.read_bytes(), len(tables()["songplays"])
    cut_off(proxy, has_committed, b"INSERT INTO songplays", b"COMMIT")
    status, _, [error] = night("--retry", rejects)
    assert_unknown(status, error, "etl.py", proxy)
    assert rejects.read_bytes() == before
    monkeypatch.delenv("DATABASE_URL")
    assert night("--retry", rejects)[0] == 3
    assert len(tables()["songplays"]) == songplays + 1
    assert len([json.loads(line) for line in rejects.read_text().splitlines()]) == 3


def test_a_reset_whose_commit_is_lost(proxy, capsys):
    cut_off(proxy, False, b"CREATE VIEW", b"COMMIT")
    status = create_tables.main()
    [error] = capsys.readouterr().err.splitlines()
    assert_unknown(status, error, "create_tables.py", proxy)


def cut_off(proxy, has_committed, *moment):
    answer = "after the server's answer" if has_committed else "before the server hears of it"
    proxy.fail(f"cut {answer}", *moment)


def assert_unknown(status, error, script, proxy):
    assert status == 1
    place = f"sparkifydb on 127.0.0.1:{proxy.port} (from DATABASE_URL)"
    assert error.startswith(f"{script}: lost the connection to {place} during a commit: ")
    assert "can't be known; run it again: that settles it" in error
    assert "\n" not in error


# What TCP itself is to find out


@pytest.mark.parametrize("named", [{}, {"keepalives_idle": "600", "tcp_user_timeout": "90000"}])
def test_keepalives_unless_the_settings_name_them(proxy, monkeypatch, named):
    query = "&".join(f"{name}={value}" for name, value in named.items())
    monkeypatch.setenv("DATABASE_URL", f"{proxy.url}?{query}")
    expected = {name: str(value) for name, value in connection.KEEPALIVES.items()} | named
    with contextlib.closing(connection.connect()) as conn:
        found = conn.info.dsn_parameters
        assert {name: found[name] for name in expected} == expected
        with watchdog.watching(conn), interrupts.socket_of(conn) as end:
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # who is asked may be slow to confirm
                timeout = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                assert timeout == int(named.get("tcp_user_timeout", 0))


def test_a_service_names_them_itself(proxy, monkeypatch, tmp_path):
    lines = ["[s]", "host=127.0.0.1", f"port={proxy.port}", "user=postgres", "keepalives_count=2"]
    (tmp_path / "services").write_text("\n".join(lines))
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("PGSERVICE", "s")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    with contextlib.closing(connection.connect()) as conn:
        found = conn.info.dsn_parameters
    assert found["keepalives_count"] == "2"
    assert "keepalives_idle" not in found


def test_behind_a_unix_socket_a_server_is_not_given_up(conn, cur, monkeypatch):
    looks = []

    def fall_silent(*args):
        looks.append(args)
        raise TimeoutError

    monkeypatch.setattr(watchdog.Watch, "ask", fall_silent)
    for name, value in (("LOOK", 0.01), ("QUIET", 0.01)):
        monkeypatch.setattr(watchdog, f"{name}_SECONDS", value)
    with watchdog.watching(conn):
        while len(looks) < 5:
            cur.execute("SELECT pg_sleep(0.1)")


def test_other_errors_are_not_taken_for_a_loss(conn, cur):
    with pytest.raises(psycopg2.errors.DivisionByZero), watchdog.watching(conn):
        cur.execute("SELECT 1 / 0")
