"""A time budget for work that may never end, such as asking sympy for a proof.

The work runs in the caller's own thread, whichever that is. A second thread sleeps until the budget is spent and then
raises an exception inside the first (``PyThreadState_SetAsyncExc``), again and again until the block has been left, for
code that swallows it. Nothing is raised once :func:`within` has returned.
"""

from __future__ import annotations

import ctypes
import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from solvers.errors import explain

__all__ = ["within"]

Result = TypeVar("Result")

AGAIN = 0.05
"""Seconds until an exception that was swallowed is raised again."""


class _Stop(BaseException):
    """Raised inside the work; not an Exception, so that ``except Exception`` does not stop it."""


class _Watch:
    """The sleeping thread of one budget."""

    def __init__(self, seconds: float):
        self.left = self.expired = self.finished = False
        self._seconds = seconds
        self._worker = ctypes.c_ulong(threading.get_ident())
        self._bell = threading.Lock()
        self._bell.acquire()
        threading.Thread(target=self._sleep, daemon=True).start()

    def _sleep(self) -> None:
        pause = self._seconds
        while not self._bell.acquire(timeout=pause):
            self.expired, pause = True, AGAIN
            if not self.left:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(self._worker, ctypes.py_object(_Stop))
        self.finished = True

    def settle(self) -> None:
        """Wake the thread, wait until it can raise nothing more, and withdraw what has not been delivered."""
        if self._bell.locked():
            self._bell.release()
        while not self.finished:
            time.sleep(1e-5)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(self._worker, None)


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """Return ``work()``, or give up after ``seconds``.

    It works in any thread, and budgets nest: the inner one may be shorter or longer than the outer. Only Python code
    can be interrupted; a single call into compiled code runs to its end first.

    Args:
        seconds: the budget, > 0 and finite.
        work: a function without arguments, safe to abandon at any point.

    Raises:
        TimeoutError: the budget was spent.
        ValueError: ``seconds`` is not a positive finite number.
    """
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(explain("a budget in seconds, > 0 and finite", str(seconds), "pass for example 5.0"))
    watch = _Watch(seconds)
    try:
        try:
            return work()
        finally:
            watch.left = True  # the first thing done: from here on at most one exception can still arrive
            watch.settle()
    except _Stop:
        watch.settle()
        if not watch.expired:
            raise  # the budget of an outer block
    raise TimeoutError(explain(f"an answer within {seconds:g} s", "none", "allow more time, or measure instead"))
