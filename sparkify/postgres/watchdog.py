"""A connection in use: who keeps it waiting is named, a server that is silent is given up.

While a statement lasts, a thread asks the server now and then, on a connection of its own, what it
is doing. A slow server answers that. TCP itself finds out if there is none any more (see
connection.KEEPALIVES), but not behind a proxy, which confirms whatever it is sent.
"""

import contextlib
import re
import select
import socket
import threading
import time
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, TRANSACTION_STATUS_ACTIVE
from psycopg2.extensions import connection as Connection

from sparkify import interrupts
from sparkify.errors import LoadError, ServerError
from sparkify.messages import complain, one_line
from sparkify.postgres import connection
from sparkify.postgres.locks import name_sessions, remedy_for, session_columns
from sparkify.postgres.transactions import ON_PRIMARY, CommitLost, fetch_value

LOOK_SECONDS = 1  # between two looks at whether a statement is running
ANSWER_SECONDS = 10  # for the server to answer
QUIET_SECONDS = 60  # without a sign of life, after which it is given up
TRIES = 5  # to see that a pool lends a session to others, too

pid_select = "SELECT pg_backend_pid()"
read_only_select = f"SELECT current_setting('transaction_read_only')::bool {ON_PRIMARY}"
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
blockers_select = f"""
{session_columns}
FROM unnest(pg_blocking_pids(%s)) AS blocker (pid)
JOIN pg_stat_activity USING (pid)
ORDER BY pg_stat_activity.pid
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
def watching(conn: Connection, naming: bool = True, reading: bool = False) -> Iterator[None]:
    """Raise the loss of a connection as a ServerError: which server, what happened, the remedy.

    Meanwhile, if `naming`, say which sessions keep a statement waiting. Raises ServerError where
    the connection has no session of its own, or one that can't change the tables, unless it is
    only for `reading`.
    """
    place, watch = connection.name_database(conn), Watch(conn, naming, reading)
    try:
        with watch.at_work():
            yield
    except (psycopg2.Error, LoadError, CommitLost) as error:
        if not watch.verdict and (reading or not conn.closed):  # whose caller says of what limits
            raise
        raise ServerError(describe_loss(error, place, watch.verdict, reading)) from None


def describe_loss(error, place, verdict, reading=False):
    """Return one line on a connection that was lost; the error is what told of it."""
    why = verdict or connection.leave_out_hints(error.__cause__ or error)
    if isinstance(error, CommitLost):
        outcome = "whether it took place can't be known; run it again: that settles it, and does "
        return f"lost the connection to {place} during a commit: {why}; {outcome}nothing twice"
    remedy = "run it again" if reading else "what was committed stays, run it again for the rest"
    log = "if it ends so again, the log of the server, or of its pool, says why"
    return f"lost the connection to {place}: {why}; {remedy}; {log}"


class Watch:
    """A thread that watches a connection: over TCP, it hangs up if there is no sign of life."""

    def __init__(self, conn, naming=True, reading=False):
        self.conn, self.naming, self.reading, self.named = conn, naming, reading, set()
        self.parameters, self.is_remote = second_parameters(conn)
        self.lock = threading.Lock()  # whoever holds it may use the connection
        self.over = threading.Event()
        self.pid = self.observer = self.seen = self.verdict = None

    @contextlib.contextmanager
    def at_work(self):
        self.take_over()
        thread = threading.Thread(target=self.watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self.lock:
                self.over.set()
            thread.join(LOOK_SECONDS)

    def take_over(self):
        """Prepare the session to load: see LOAD_SETTINGS. Have the server probe its end, too.

        Our own time limit is lifted unless the user set it: a server that reads nothing for a
        while, in mid-COPY, would exceed it, and isn't dead. To read, the session of one
        transaction will do, and is left as it is: a pool may lend it.
        """
        if self.reading:
            with self.conn.cursor() as cur:
                self.pid = fetch_value(cur, pid_select)
            return
        self.conn.autocommit = True
        with self.conn.cursor() as cur:
            self.pid = fetch_value(cur, pid_select)
            if self.pid != self.conn.info.backend_pid:  # which a pool makes up
                self.require_session(cur)
            self.require_writable(cur)
            if self.is_remote:
                cur.execute(keepalives_set)
        self.conn.autocommit = False
        is_ours = "tcp_user_timeout" not in connection.named_parameters()
        if self.is_remote and is_ours and hasattr(socket, "TCP_USER_TIMEOUT"):
            with interrupts.socket_of(self.conn) as end:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)

    def require_session(self, cur):
        """Raise ServerError where a pool lends its sessions for no longer than a transaction.

        There, a lock or setting that outlasts a transaction would stay behind in the pool. Between
        transactions, others get our session, or we get another one.
        """
        ours, others = set(), set()
        try:
            for _ in range(TRIES):
                ours |= {fetch_value(cur, pid_select), fetch_value(cur, pid_select)}
                others.update(self.ask(pid_select)[0])
            is_lent = len(ours) > 1 or ours & others
        except TimeoutError:
            is_lent = True
        if is_lent:
            raise ServerError(
                f"{connection.name_database(self.conn)} is behind a pool of connections that has "
                "no two sessions for us alone; connect to the server itself, or by a pool in "
                "session mode"
            )

    def require_writable(self, cur):
        """Raise ServerError where this session can't change the tables as a load must."""
        if fetch_value(cur, read_only_select):
            raise ServerError(connection.describe_read_only(self.conn))
        try:
            connection.set_settings(cur, connection.LOAD_SETTINGS)
        except psycopg2.errors.InsufficientPrivilege as error:
            wanted = [item for item in connection.LOAD_SETTINGS.items() if item[0] in str(error)]
            if not wanted:
                raise
            remedy = connection.setting_remedy(self.conn, *wanted[0])
            name = connection.name_database(self.conn)
            raise ServerError(f"{one_line(error)} ({name}); {remedy}") from None

    def watch(self):
        quiet = 0  # seconds
        while not self.over.wait(LOOK_SECONDS) and quiet < QUIET_SECONDS:
            started = time.monotonic()
            if not self.is_busy() or self.is_alive():
                quiet = 0
            elif self.is_remote:
                asking = min(time.monotonic() - started, ANSWER_SECONDS)  # unless we were stopped
                quiet += LOOK_SECONDS + asking
        self.hang_up()
        self.close_observer()

    def is_busy(self):
        """Tell whether a statement has been sent whose answer is not there yet."""
        with self.lock:
            status = None if self.over.is_set() else self.conn.info.transaction_status
            return status == TRANSACTION_STATUS_ACTIVE

    def is_alive(self):
        """Ask for a sign of life, and tell whether there is one: any answer of the server.

        But not that the session still waits for us: we wait for it.
        """
        try:
            session = self.ask(session_select, self.pid)
            if self.naming:
                self.name_blockers()
        except TimeoutError:
            return False
        except psycopg2.Error as error:
            return re.search(SILENT, str(error)) is None
        before, self.seen = self.seen, session
        return session != before or not session or not session[0][0]

    def name_blockers(self):
        """Name each session that keeps the connection waiting, once."""
        new = [who for who in self.ask(blockers_select, self.pid) if who[0] not in self.named]
        self.named.update(pid for pid, *_ in new)
        if new:
            complain(f"waiting for {name_sessions(new)}; {remedy_for(new)}")

    def ask(self, query, *values):
        """Return what a query selects on a connection of our own. Raises TimeoutError."""
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            if self.observer is None:
                self.observer = psycopg2.connect(**self.parameters, async_=True)
                wait(self.observer, deadline)
            with self.observer.cursor() as cur:
                cur.execute(query, values)
                wait(self.observer, deadline)
                return cur.fetchall()
        except (TimeoutError, psycopg2.Error):
            self.close_observer()
            raise

    def close_observer(self):
        if self.observer is not None:
            self.observer.close()
        self.observer = None

    def hang_up(self):
        """End the connection, so that whoever waits for an answer is told that it's lost."""
        with self.lock:
            if not self.over.is_set():
                self.verdict = f"the server has not answered for {QUIET_SECONDS} s"
                interrupts.hang_up(self.conn)


def second_parameters(conn):
    """Return parameters for another connection to the same address, and whether that is TCP's.

    With the address, no name must be looked up, which may take long where there's no network.
    """
    with interrupts.socket_of(conn) as end:
        address = end.getpeername()
    is_remote = isinstance(address, tuple)
    info = conn.info
    named = {"host": info.host, "port": info.port, "password": info.password}
    named |= {"hostaddr": address[0]} if is_remote else {}
    return info.dsn_parameters | named, is_remote


def wait(conn, deadline):
    """Wait until an asynchronous connection has done what it was asked. Raises TimeoutError."""
    while (state := conn.poll()) != POLL_OK:
        ends = ([conn], []) if state == POLL_READ else ([], [conn])
        if not any(select.select(*ends, [], max(0, deadline - time.monotonic()))):
            raise TimeoutError
