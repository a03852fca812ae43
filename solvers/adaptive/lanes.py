"""One time for the whole state, or one for each of its rows: the only place that knows which.

A lane is what has a time and a step of its own. Times, lengths and errors of all lanes are float64 arrays of shape (L,)
on the host; states are arrays of the caller's library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from solvers.arrays import Array, host, like, namespace, stack

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]


class Lanes(Protocol):
    """How numbers per lane meet states."""

    def count(self, x: Array) -> int:
        """Return the number of lanes of a state."""

    def time(self, t: Numbers, x: Array) -> Any:
        """Return the times as the problem is to see them."""

    def factor(self, h: Numbers, x: Array) -> Any:
        """Return numbers by which the lanes of ``x`` can be multiplied."""

    def norms(self, scaled: Sequence[Array]) -> Numbers:
        """Return the root mean square of each array over each lane, shape (len(scaled), L). Waits for the device."""

    def choose(self, mask: Mask, a: Array, b: Array) -> Array:
        """Return the lanes of ``a`` where the mask is true, those of ``b`` elsewhere."""

    def take(self, x: Array, lanes: Indices) -> Array:
        """Return some lanes of a state."""

    def rows(self, x: Array) -> Array:
        """Return the lanes along a first axis."""

    def answers(self, value: Any, x: Array) -> Numbers:
        """Return the numbers that an event's function gave."""


class Shared:
    """One lane: the whole state has one time, a Python float."""

    def count(self, x: Array) -> int:
        """Return the number of lanes of a state."""
        return 1

    def time(self, t: Numbers, x: Array) -> float:
        """Return the times as the problem is to see them."""
        return float(t[0])

    def factor(self, h: Numbers, x: Array) -> float:
        """Return numbers by which the lanes of ``x`` can be multiplied."""
        return float(h[0])

    def norms(self, scaled: Sequence[Array]) -> Numbers:
        """Return the root mean square of each array over each lane."""
        squares: Numbers = host(stack([(part * part).mean() for part in scaled]))
        return np.sqrt(squares).reshape(-1, 1)

    def choose(self, mask: Mask, a: Array, b: Array) -> Array:
        """Return the lanes of ``a`` where the mask is true, those of ``b`` elsewhere."""
        return a if mask[0] else b

    def take(self, x: Array, lanes: Indices) -> Array:
        """Return some lanes of a state."""
        return x

    def rows(self, x: Array) -> Array:
        """Return the lanes along a first axis."""
        return x[None]

    def answers(self, value: Any, x: Array) -> Numbers:
        """Return the numbers that an event's function gave."""
        return host(value).reshape(-1)


class PerSample:
    """A lane for each row: times are arrays of shape (B,)."""

    def count(self, x: Array) -> int:
        """Return the number of lanes of a state."""
        return int(x.shape[0])

    def time(self, t: Numbers, x: Array) -> Array:
        """Return the times as the problem is to see them."""
        return like(t, x, at_least_single=True)

    def factor(self, h: Numbers, x: Array) -> Array:
        """Return numbers by which the lanes of ``x`` can be multiplied."""
        return like(h, x).reshape((-1,) + (1,) * (x.ndim - 1))

    def norms(self, scaled: Sequence[Array]) -> Numbers:
        """Return the root mean square of each array over each lane."""
        squares: Numbers = host(stack([(part * part).reshape(part.shape[0], -1).mean(1) for part in scaled]))
        return np.sqrt(squares)

    def choose(self, mask: Mask, a: Array, b: Array) -> Array:
        """Return the lanes of ``a`` where the mask is true, those of ``b`` elsewhere."""
        if mask.all():
            return a
        if not mask.any():
            return b
        # Rows are gathered from both, one after the other: no mask has to travel in the dtype of another library.
        places = np.arange(mask.size)
        return self.take(namespace(a).concat([a, b]), np.where(mask, places, places + mask.size))

    def take(self, x: Array, lanes: Indices) -> Array:
        """Return some lanes of a state."""
        return x[lanes]

    def rows(self, x: Array) -> Array:
        """Return the lanes along a first axis."""
        return x

    def answers(self, value: Any, x: Array) -> Numbers:
        """Return the numbers that an event's function gave."""
        return host(value)
