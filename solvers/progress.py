"""A progress bar for a loop of known length: tqdm's where it is installed, one line on stderr otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def shown(items: Iterable[T], total: int) -> Iterator[T]:
    """Yield the items and show on stderr how many of ``total`` have passed."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield from _plain(items, total)
    else:
        yield from tqdm(items, total=total, unit="step")


def _plain(items: Iterable[T], total: int) -> Iterator[T]:
    for count, item in enumerate(items, start=1):
        yield item
        # At most a hundred writes, however long the solve.
        if count == total or count % max(1, total // 100) == 0:
            sys.stderr.write(f"\rstep {count} of {total}" + ("\n" if count == total else ""))
            sys.stderr.flush()
