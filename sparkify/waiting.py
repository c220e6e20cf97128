"""Patience: waiting for other machines, never in silence, never for ever, open to Ctrl-C."""

import contextlib
import functools
import time
from concurrent.futures import Future, wait
from threading import Lock, Thread

from sparkify.messages import complain

LOOK_SECONDS = 1  # between looks at what is waited for
SAY_SECONDS = 10  # to wait before that is said
saying = Lock()


def await_answer(work, *arguments, check=None):
    """Return what work gives, or raise what it raises; meanwhile call check, which may raise.

    Check is handed the seconds waited; without it, work must end by itself. Work runs in a thread
    of its own: one that hangs in a library can't be ended, but it can be left behind.
    """
    answer = begin(work, *arguments)
    began = time.monotonic()
    while not wait([answer], LOOK_SECONDS).done:
        if check:
            check(time.monotonic() - began)
    return answer.result()


def begin(work, *arguments):
    """Begin work in a thread of its own, which nobody waits for, and return the Future of it."""
    answer = Future()
    Thread(target=give_answer, args=(answer, work, arguments), daemon=True).start()
    return answer


def give_answer(answer, work, arguments):
    try:
        answer.set_result(work(*arguments))
    except BaseException as error:
        answer.set_exception(error)


def at_most(seconds, name):
    """Return a check that says who is waited for and, after some seconds, raises TimeoutError."""

    def check(waited):
        if waited > seconds:
            raise TimeoutError(f"no answer of {name} within {seconds:.0f} s")
        if waited > SAY_SECONDS:
            say_once(f"waiting for an answer of {name}")

    return check


def say_once(text):
    """Say on stderr what is waited for, which several threads may do at the same time."""
    with saying:
        say_new(text)


@functools.cache
def say_new(text):
    with contextlib.suppress(ImportError):  # as on a cluster's workers, where nobody reads it
        complain(text)
