"""A signal to stop, noted and left for the loop to act on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stop", "stop_signals"]


class Stop:
    """Whether somebody asked the training to stop."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def stop_signals(*, active: bool = True) -> Iterator[Stop]:
    """Turn SIGTERM and SIGUSR1, which batch systems send before the end, into a flag, for as long as the block lasts.

    Args:
        active: False, or a thread other than the first, leaves the signals as they are.
    """
    stop = Stop()

    def note(number: int, frame: FrameType | None) -> None:
        stop.asked = True

    if not active or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {name: signal.signal(name, note) for name in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
