"""A connection in use: one that is lost is told of, and one that never answers again is given up.

TCP finds out by itself that nobody is there any more (see server.KEEPALIVES), but not behind a
proxy, which confirms whatever it is sent. So while a statement lasts, a thread asks the server now
and then, on a connection of its own, what it is doing. A server that is slow says so.
"""

import contextlib
import itertools
import re
import select
import socket
import threading
import time

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, TRANSACTION_STATUS_ACTIVE

from sparkify import interrupts, server
from sparkify.load import CommitLost
from sparkify.messages import LoadError, ServerError

LOOK_SECONDS = 1  # between two looks at whether a statement is running
LOOKS = 10  # between two questions to the server
ANSWER_SECONDS = 10  # for it to answer
QUIET_SECONDS = 60  # without a sign of life, after which it is given up

# What the server does for a session. Where it waits for its client, only the rest can change.
session_select = """
SELECT pg_stat_activity.wait_event = 'ClientRead',
       pg_stat_activity.query_start,
       pg_stat_activity.state_change,
       pg_stat_progress_copy.bytes_processed
FROM pg_stat_activity
LEFT JOIN pg_stat_progress_copy USING (pid)
WHERE pg_stat_activity.pid = %s
"""
# The server's own end is to find out as well, and let go of the lock: the next run waits for it.
keepalives_set = """
SET tcp_keepalives_idle = 20;
SET tcp_keepalives_interval = 10;
SET tcp_keepalives_count = 4;
SET tcp_user_timeout = '60s'
"""
# What libpq says of a server that doesn't answer. One that refuses is there.
SILENT = "timeout|timed out|unreachable|No route"


@contextlib.contextmanager
def watching(conn):
    """Raise the loss of a connection as a ServerError: which server, what happened, the remedy."""
    place, watch = server.target(conn), Watch(conn)
    try:
        with watch.at_work():
            yield
    except (psycopg2.Error, LoadError, CommitLost) as error:
        if not (conn.closed or watch.verdict):
            raise
        raise ServerError(describe_loss(error, place, watch.verdict)) from None


def describe_loss(error, place, verdict):
    """Return one line on a connection that was lost, by the error that tells."""
    why = verdict or server.leave_out_hints(error.__cause__ or error)
    if isinstance(error, CommitLost):
        outcome = "whether it took place can't be known; run it again: that settles it, and does "
        return f"lost the connection to {place} during a commit: {why}; {outcome}nothing twice"
    remedy = "what was committed stays, run it again for the rest"
    return f"lost the connection to {place}: {why}; {remedy}"


class Watch:
    """A thread that watches a connection, and hangs up if the server gives no sign of life."""

    def __init__(self, conn):
        self.conn, self.pid = conn, conn.info.backend_pid
        self.parameters = second_parameters(conn)
        self.lock = threading.Lock()  # whoever holds it may use the connection
        self.over = threading.Event()
        self.seen = self.verdict = None

    @contextlib.contextmanager
    def at_work(self):
        """Watch during a block; not where the server is on this machine, behind a Unix socket."""
        if self.parameters:
            self.take_over()
            threading.Thread(target=self.watch, daemon=True).start()
        try:
            yield
        finally:
            with self.lock:
                self.over.set()

    def take_over(self):
        """Have the server probe its end, too, and lift our own time limit unless the user set it.

        A server that reads nothing for a while, in mid-COPY, would exceed it, and isn't dead.
        """
        with self.conn.cursor() as cur:
            cur.execute(keepalives_set)
        self.conn.commit()
        is_ours = "tcp_user_timeout" not in server.named_parameters()
        if is_ours and hasattr(socket, "TCP_USER_TIMEOUT"):
            with socket_of(self.conn) as end:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)

    def watch(self):
        quiet = 0  # seconds
        for look in itertools.count(1):
            if self.over.wait(LOOK_SECONDS):
                return
            if not self.is_busy():
                quiet = 0
            elif look % LOOKS == 0:
                started = time.monotonic()
                alive = self.is_alive()
                asking = min(time.monotonic() - started, ANSWER_SECONDS)  # unless we were stopped
                quiet = 0 if alive else quiet + LOOKS * LOOK_SECONDS + asking
            if quiet >= QUIET_SECONDS:
                return self.hang_up()

    def is_busy(self):
        """Tell whether a statement has been sent whose answer is not there yet."""
        with self.lock:
            status = None if self.over.is_set() else self.conn.info.transaction_status
            return status == TRANSACTION_STATUS_ACTIVE

    def is_alive(self):
        """Ask for a sign of life. Where the server can't tell about this session, it counts too.

        None are silence, and a session that waits for us, who wait for it, where nothing changes.
        """
        try:
            session = ask(self.parameters, session_select, [self.pid])
        except TimeoutError:
            return False
        except psycopg2.Error as error:
            return re.search(SILENT, str(error)) is None
        before, self.seen = self.seen, session
        return not session or not session[0] or session != before

    def hang_up(self):
        """End the connection, so that whoever waits for an answer is told that it's lost."""
        with self.lock:
            if not self.over.is_set():
                self.verdict = f"the server has not answered for {QUIET_SECONDS} s"
                interrupts.hang_up(self.conn)


@contextlib.contextmanager
def socket_of(conn):
    """Lend a connection's socket."""
    lent = socket.socket(fileno=conn.fileno())
    try:
        yield lent
    finally:
        lent.detach()


def second_parameters(conn):
    """Return parameters for another connection to the same address; None for a Unix socket.

    With the address, no name must be looked up, which may take long where there's no network.
    """
    with socket_of(conn) as end:
        address = end.getpeername()
    if not isinstance(address, tuple):
        return None
    info = conn.info
    named = {"host": info.host, "hostaddr": address[0], "port": info.port}
    return info.dsn_parameters | named | ({"password": info.password} if info.password else {})


def ask(parameters, query, values):
    """Return the row that a query selects, on a connection of its own. Raises TimeoutError."""
    deadline = time.monotonic() + ANSWER_SECONDS
    with contextlib.closing(psycopg2.connect(**parameters, async_=True)) as conn:
        wait(conn, deadline)
        with conn.cursor() as cur:
            cur.execute(query, values)
            wait(conn, deadline)
            return cur.fetchone()


def wait(conn, deadline):
    """Wait until an asynchronous connection has done what it was asked. Raises TimeoutError."""
    while (state := conn.poll()) != POLL_OK:
        ends = ([conn], []) if state == POLL_READ else ([], [conn])
        if not any(select.select(*ends, [], max(0, deadline - time.monotonic()))):
            raise TimeoutError
