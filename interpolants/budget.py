"""A time budget for work that may never end, such as asking sympy for a proof.

The work runs in the caller's own thread, whichever that is. One other thread, shared by all budgets, sleeps until a
budget is spent and then raises an exception inside the worker (``PyThreadState_SetAsyncExc``), again and again until
the block has been left, for code that swallows it. Nothing is raised once :func:`within` has returned.

A budget is of processor time, where the system counts that of a thread, so that a busy machine finds what an idle one
does.

The collector of garbage rests meanwhile: it would call finalizers and callbacks of anybody's objects, in which the
exception would be printed and lost, and their work left half done.

Only single calls into compiled code are made where an outer budget may interrupt the bookkeeping of an inner one: they
either happen or do not.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from solvers.errors import explain

__all__ = ["within"]

Result = TypeVar("Result")

AGAIN = 0.05
"""Seconds until an exception that was swallowed is raised again."""

SOON = 0.001
"""Seconds until a thread that was cleaning up is looked at again."""

PATIENCE = 8
"""Where the worker gets little processor time: how many times its budget it may take on the clock of the wall."""


class _Stop(BaseException):
    """Raised inside the work; not an Exception, so that ``except Exception`` does not stop it."""


class _Budget:
    """The deadline of one block, in one thread."""

    def __init__(self, seconds: float):
        self.expired = self.left = False
        self.collecting = gc.isenabled()
        self.worker = ctypes.c_ulong(threading.get_ident())
        self.spent = _processor_time(self.worker.value)
        self.end = self.spent() + seconds
        self.deadline = time.monotonic() + seconds
        self.last = self.deadline + (PATIENCE - 1) * seconds

    def left_to_spend(self, now: float) -> float:
        """Return the seconds of processor time that the work still has; none when its time on the wall is over."""
        with suppress(OSError):  # a clock of the parent process
            return 0.0 if now >= self.last else self.end - self.spent()
        return 0.0

    def settle(self) -> None:
        """Close the budget, wait until nothing more can be raised for it, withdraw what has not been delivered."""
        _open.discard(self)
        while _raising.locked():
            time.sleep(1e-5)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(self.worker, None)
        if self.collecting:
            gc.enable()

    def outer_expired(self) -> bool:
        """Whether a block around this one is out of time as well."""
        mine = self.worker.value
        return any(other.expired and not other.left and other.worker.value == mine for other in tuple(_open))


_open: set[_Budget] = set()
_watchman: threading.Thread | None = None
_hiring = threading.Lock()
_bell = threading.Lock()
"""Released to wake the watchman."""
_raising = threading.Lock()
"""Held by the watchman while it decides and raises."""


def _processor_time(worker: int) -> Callable[[], float]:
    """Return a clock of the processor time of a thread, and where there is none that of the wall."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic
    return partial(time.clock_gettime, time.pthread_getcpuclockid(worker))


def _after_fork() -> None:
    """In the child only the forking thread lives on, and a lock that another one held stays locked for ever."""
    global _watchman, _hiring, _bell, _raising
    _watchman, _hiring, _bell, _raising = None, threading.Lock(), threading.Lock(), threading.Lock()
    mine = threading.get_ident()
    _open.intersection_update([budget for budget in _open if budget.worker.value == mine])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _watch() -> None:
    while True:
        pause = min((budget.deadline for budget in tuple(_open)), default=math.inf) - time.monotonic()
        _bell.acquire(timeout=min(max(pause, 0.0), threading.TIMEOUT_MAX))
        with _raising:
            now = time.monotonic()
            for budget in tuple(_open):
                if now >= budget.deadline and not budget.left:
                    rest = 0.0 if budget.expired else budget.left_to_spend(now)
                    if rest > 0 or _in_clean_up(budget.worker.value):
                        budget.deadline = now + max(rest, SOON)
                        continue
                    budget.expired, budget.deadline = True, now + AGAIN
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(budget.worker, ctypes.py_object(_Stop))


def _in_clean_up(worker: int) -> bool:
    """Whether a thread runs a finalizer or a callback of the garbage collector, where Python only prints exceptions."""
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    frame = sys._current_frames().get(worker)
    while frame is not None:
        code = frame.f_code
        if code in callbacks or code.co_name == "__del__" or code.co_filename == weakref.__file__:
            return True
        frame = frame.f_back
    return False


def _call_the_watchman() -> None:
    """Start the thread at first use; within an outer budget it is there already."""
    global _watchman
    if _watchman is None:
        with _hiring:
            if _watchman is None:
                hired = threading.Thread(target=_watch, name="interpolants.budget", daemon=True)
                hired.start()
                _watchman = hired


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """Return ``work()``, or give up after ``seconds``.

    It works in any thread, and budgets nest: the inner one may be shorter or longer than the outer. Only Python code
    can be interrupted; a single call into compiled code runs to its end first.

    Args:
        seconds: the budget, > 0 and finite: processor time of the calling thread, where the system counts it.
        work: a function without arguments that starts no threads and is safe to abandon at any point.

    Raises:
        TimeoutError: the budget was spent.
        ValueError: ``seconds`` is not a positive finite number.
    """
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(explain("a budget in seconds, > 0 and finite", str(seconds), "pass for example 5.0"))
    _call_the_watchman()
    budget = _Budget(seconds)
    try:
        try:
            gc.disable()
            _open.add(budget)
            _ring()
            return work()
        finally:
            budget.left = True  # the first thing done: from here on at most one exception can still arrive
            budget.settle()
    except _Stop:
        budget.settle()
        if not budget.expired or budget.outer_expired():
            raise  # it is for an outer block
    raise TimeoutError(explain(f"an answer within {seconds:g} s", "none", "allow more time, or measure instead"))


def _ring() -> None:
    with suppress(RuntimeError):  # it is ringing already
        _bell.release()
