"""Ctrl-C, SIGTERM and SIGHUP: they end a script at once, in one line, whatever it waits for.

Python runs a signal's handler when its main thread is back from C, and in libpq that thread may
wait for ever: for a lock, or for a server that is silent. So a thread that the signal wakes cuts
the connections, and the waiting fails; the server rolls back what isn't committed.

It is imported first: signals come during imports, too. Where another program calls a script, as a
notebook does by %run, signals stay what that program has made of them.
"""

import os
import signal
import sys
from contextlib import contextmanager, suppress
from weakref import WeakSet

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last one isn't on Windows
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
PAUSE_SECONDS = 0.2  # for a statement to end by itself before its connection is cut
GRACE_SECONDS = 5  # for what must not be interrupted; after twice as many the process just ends


class Interrupted(KeyboardInterrupt):
    """The signal that ends the script, by its number."""

    @property
    def status(self):
        """The exit status that tells so."""
        return 128 + self.args[0]

    def __str__(self):
        [number] = self.args
        name = signal.Signals(number).name
        return "interrupted" if number == signal.SIGINT else f"interrupted by {name}"


class Ending:
    """How far the end of this process is."""

    script = ""  # whose name begins its last line
    number = None  # of the signal that ends it
    postponed = 0  # blocks under way that must not be interrupted
    lost = False  # whether the exception was raised where Python drops it
    is_over = None  # the event that main has ended
    wake_up = None  # the socket by which a signal wakes the thread


ending = Ending()
connections: WeakSet = WeakSet()  # to be cut
waiting_at_exit: set = set()  # functions that atexit would call, and that wait for others


# While a script imports


def catch(script):
    """Have signals end a script in one line from now on: it has nothing yet to put in order.

    Those that are ignored, as SIGHUP is under nohup, stay so. Nothing changes where the process is
    another program's: more than Python's own runpy is calling then.
    """
    with suppress(ValueError):
        sys._getframe(4)  # beyond this one, the script's and two of runpy's
        return
    ending.script = script
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end_at_once)


def end_at_once(number, _):
    """End the process; an exception would not do, as whatever imports may print its traceback."""
    with suppress(ValueError):  # in the other thread
        ignore_signals()
    say_interrupted(number)
    os._exit(Interrupted(number).status)


def ignore_signals():
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def say_interrupted(number):
    with suppress(OSError, AttributeError):  # nobody listens (any more)
        os.write(sys.stderr.fileno(), f"{ending.script}: {Interrupted(number)}\n".encode())


# While it runs


def owns_process():
    """Tell whether the process is a script's own, whose signals and streams it may change."""
    return bool(ending.script)


def run(main, *arguments):
    """Run a script's main and return its exit status, or end the process if a signal does so.

    Once main has ended, signals are ignored: what has been started is stopped then.
    """
    if not owns_process():
        return main(*arguments)
    listen()
    try:
        try:
            status = main(*arguments)
        finally:
            ignore_signals()
            ending.is_over.set()
    except BaseException:
        if ending.number is None:
            raise
        say_interrupted(ending.number)
        status = Interrupted(ending.number).status
    if ending.number is not None and isinstance(status, int):
        end(status)
    return status


def listen():
    """Have signals raise Interrupted in the main thread, and wake the one that frees it."""
    import socket
    import threading

    ending.is_over = threading.Event()
    receiver, ending.wake_up = socket.socketpair()
    ending.wake_up.setblocking(False)
    signal.set_wakeup_fd(ending.wake_up.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=free_main_thread, args=[receiver], daemon=True).start()
    for number in SIGNALS:
        if signal.getsignal(number) is end_at_once:
            signal.signal(number, interrupt)


def interrupt(number, _):
    """Raise Interrupted at the first signal, and again if that exception was lost."""
    if ending.number is None:
        ending.number = number
        sys.excepthook = sys.unraisablehook = note_lost
    elif not ending.lost:
        return
    ending.lost = False
    if not ending.postponed:
        raise Interrupted(ending.number)


def note_lost(error, *_):
    """Have the exception raised once more where it was dropped, as in a __del__, or by C."""
    if issubclass(getattr(error, "exc_type", error), Interrupted):
        ending.lost = True


def free_main_thread(receiver):
    """After a signal, cut the connections until main has ended, for it may be waiting in C."""
    import threading
    import time

    number = receiver.recv(1)[0]
    while signal.getsignal(number) is not interrupt:  # Ctrl-C may be psql's
        number = receiver.recv(1)[0]
    started = time.monotonic()
    while not ending.is_over.wait(PAUSE_SECONDS):
        waited = time.monotonic() - started
        if not ending.postponed or waited > GRACE_SECONDS:
            for conn in list(connections):
                hang_up(conn)
        if ending.lost and os.name != "nt":
            signal.pthread_kill(threading.main_thread().ident, number)
        if waited > 2 * GRACE_SECONDS:
            end_at_once(number, None)


def hang_up(conn):
    """Shut the socket below a connection: who waits for an answer in libpq gets an error."""
    import socket

    with suppress(Exception), socket_of(conn) as end:  # it may be closed by now
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def socket_of(conn):
    """Lend the socket below a connection."""
    import socket

    lent = socket.socket(fileno=conn.fileno())
    try:
        yield lent
    finally:
        lent.detach()  # it is libpq's to close


def end(status):
    """End the process, having stopped what was started, without waiting for threads that read."""
    import atexit

    for function in waiting_at_exit:
        atexit.unregister(function)
    atexit._run_exitfuncs()
    os._exit(status)


# For those who have something that a signal concerns


@contextmanager
def postponed():
    """Let a signal wait until the block ends, for as long as GRACE_SECONDS."""
    ending.postponed += 1
    try:
        yield
    finally:
        ending.postponed -= 1
        if ending.number is not None and not ending.postponed:
            raise Interrupted(ending.number)
