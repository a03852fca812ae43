r"""Standard normals for the rows of a batch, each row with a stream of its own and each draw found by its number.

In numpy and torch the words of :mod:`solvers.noise.philox` make two uniforms of 53 bits, and these two normals,

.. math:: z_1 = \sqrt{-2\log u_1}\cos 2\pi u_2, \quad z_2 = \sqrt{-2\log u_1}\sin 2\pi u_2, \qquad u_1 \in (0, 1],

in double precision whatever the dtype of the state. jax has a counter-based generator itself.

References: Box & Muller, A note on the generation of random normal deviates, Ann. Math. Stat. 29 (1958).
"""

from __future__ import annotations

import math
import operator
import sys
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from solvers.arrays import Array, concat, describe, is_numpy, is_torch, stack
from solvers.errors import explain
from solvers.noise.philox import WORD, Philox

# The last word of a counter tells uses of one seed apart, so that their numbers have nothing in common.
SAMPLE, PATH, TRAINING = 0, 1, 2
# Bits of the number of a draw.
WIDTH = 32


class Streams(Protocol):
    """Draws for states of one shape."""

    def single(self, number: int) -> Array:
        """Return the draw of a number, shaped like the state."""

    def branch(self, last: int, count: int) -> tuple[Array, Array]:
        """Return two draws for each of ``count`` numbers along a first axis: ``last`` without k bits, to k = 0."""


def streams(seed: int, use: int, first: int, ids: Any, x: Array) -> Streams:
    """Return the streams of the rows of ``x``; a state without axes is one row.

    Args:
        seed: 0 to 2**64 − 1.
        use: ``SAMPLE``, ``PATH`` or ``TRAINING``.
        first: the id of the first row, from which the others count up.
        ids: one id for each row instead, or None.
        x: the state.

    Raises:
        ValueError: ids of another number than the rows, or beyond 32 bits.
    """
    rows = row_ids(first, ids, x)
    if is_numpy(x) or is_torch(x):
        return Counted(seed, use, rows, x)
    return _Folded(seed, use, rows, x)


def row_ids(first: int, ids: Any, x: Array) -> NDArray[np.int64]:
    """Return the ids of the rows of ``x``."""
    count = x.shape[0] if x.ndim else 1
    if ids is not None:
        if len(ids) != count:
            wanted = f"ids: {count} of them, one for each row of x"
            raise ValueError(explain(wanted, f"{len(ids)} for a {describe(x)}", "pass the ids of the rows at hand"))
        return np.asarray(ids)
    if first + count - 1 > WORD:
        remedy = "number the samples from 0, and tell sets of them apart by the seed"
        raise ValueError(explain("ids below 2**32", f"first = {first} and {count} rows", remedy))
    return np.arange(first, first + count)


def check_seed(seed: object) -> int:
    """Return a seed as an int."""
    return _whole("seed", seed, 2**64)


def check_ids(first: object, ids: object) -> tuple[int, NDArray[np.int64] | None]:
    """Return ``first`` and ``ids`` as they are needed, for one of them."""
    start = _whole("first", first, 2**32)
    if ids is None:
        return start, None
    if start:
        raise ValueError(explain("first or ids", f"both: first={first!r} too", "leave first out; ids say it all"))
    found = np.asarray(ids)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise TypeError(explain("ids: whole numbers in one dimension", describe(ids), "pass a list of ints"))
    if found.size and not 0 <= int(found.min()) <= int(found.max()) <= WORD:
        received = f"{found.min()} to {found.max()}"
        raise ValueError(explain("ids from 0 to 2**32 - 1", received, "number the samples from 0"))
    return start, found.astype(np.int64)


def _whole(name: str, value: object, end: int) -> int:
    wanted = f"{name}: a whole number from 0 to 2**{end.bit_length() - 1} - 1"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(explain(wanted, describe(value), "pass an int"))
    number = operator.index(value)
    if not 0 <= number < end:
        raise ValueError(explain(wanted, repr(value), "pass another int"))
    return number


class Counted:
    """Streams in numpy and torch. The counter is (place in the row, id of the row, number of the draw, use)."""

    def __init__(self, seed: int, use: int, rows: NDArray[np.int64], x: Array) -> None:
        self.shape = tuple(x.shape)
        self.rows, self.entries = len(rows), math.prod(self.shape[1:])
        self.library: Any = np if is_numpy(x) else sys.modules["torch"]
        self.dtype = np.uint64 if is_numpy(x) else self.library.int64
        self.broadcast: Any = np.broadcast_arrays if is_numpy(x) else self.library.broadcast_tensors
        self.place = {} if is_numpy(x) else {"device": x.device}
        self.philox = Philox(seed, self._integers)
        self.ids, self.use = rows, use
        self.known: dict[int, tuple[Array, Array]] = {}

    @cached_property
    def down(self) -> Array:
        """The bits by which the numbers of a branch are shifted."""
        return self._integers(np.arange(WIDTH)[::-1].copy()).reshape(-1, 1)

    def _integers(self, values: Any) -> Array:
        return self.library.asarray(values, dtype=self.dtype, **self.place)

    def _columns(self, width: int) -> tuple[Array, Array]:
        """Return c0, and c1 with c3, for so many counters in each row, made once: a device is not made to wait."""
        if width not in self.known:
            shape = self.rows, width
            parts = self._integers(np.arange(width)), self._integers(self.ids)[:, None], self._constant(self.use)
            column, ids, use = (self.library.broadcast_to(part, shape).reshape(1, -1) for part in parts)
            self.known[width] = column, self.library.stack([ids, use])
        return self.known[width]

    def single(self, number: int) -> Array:
        """Return the draw of a number, shaped like the state."""
        # A counter gives two normals, so half as many do: the cosines come first and then the sines.
        half = (self.entries + 1) // 2
        both = [part.reshape(self.rows, half) for part in self._normals(self._constant(number), half)]
        return concat(both, axis=1)[:, : self.entries].reshape(self.shape)

    def uniform(self, number: int) -> Array:
        """Return the middle of one of 2**52 cells of (0, 1) for each row."""
        bits = self._bits(self._constant(number), 1)[0].reshape(self.rows)
        return (bits // 2 + 0.5) * 2.0**-52

    def branch(self, last: int, count: int) -> tuple[Array, Array]:
        """Return two draws for each of some numbers, along a first axis."""
        first, second = self._normals(self._constant(last) >> self.down[WIDTH - count :], self.entries)
        shape = (count, *self.shape)
        return first.reshape(shape), second.reshape(shape)

    def _constant(self, number: int) -> Array:
        return self.library.full((1, 1), number, dtype=self.dtype, **self.place)

    def _normals(self, numbers: Array, width: int) -> tuple[Array, Array]:
        bits = self._bits(numbers, width)
        radius = self.library.sqrt(-2.0 * self.library.log((bits[0] + 1.0) * 2.0**-53))
        angle = bits[1] * (2.0 * math.pi * 2.0**-53)
        return radius * self.library.cos(angle), radius * self.library.sin(angle)

    def _bits(self, numbers: Array, width: int) -> Array:
        """Return two whole numbers of 53 bits for each counter, as float64 along a first axis."""
        column, odd = self._columns(width)
        even = self.library.stack(self.broadcast(column, numbers))
        high, low = self.philox(even, odd)
        # 53 bits of two words: c0 and c1 for one uniform, c2 and c3 for the other.
        high >>= 5
        high <<= 26
        low >>= 6
        high += low
        return high.astype(np.float64) if self.library is np else high.double()


class _Folded:
    """Streams in jax, whose keys take in the same numbers one after another."""

    def __init__(self, seed: int, use: int, rows: NDArray[np.int64], x: Array) -> None:
        self.shape = tuple(x.shape)
        self.keys, self.draw = _jax_functions()
        self.rows = self.keys(np.uint32(seed & WORD), np.uint32(seed >> 32), np.uint32(use), rows.astype(np.uint32))

    def single(self, number: int) -> Array:
        """Return the draw of a number, shaped like the state."""
        return self.draw(self.rows, np.uint32(number), self.shape[1:]).reshape(self.shape)

    def branch(self, last: int, count: int) -> tuple[Array, Array]:
        """Return two draws for each of some numbers, along a first axis."""
        # One after another, for each count would be compiled anew.
        numbers = [np.uint32(last >> k) for k in reversed(range(count))]
        found = stack([self.draw(self.rows, number, (2, *self.shape[1:])) for number in numbers])
        shape = (count, *self.shape)
        return found[:, :, 0].reshape(shape), found[:, :, 1].reshape(shape)


@cache
def _jax_functions() -> tuple[Any, Any]:
    """Return what makes the keys of rows, and what draws with them, compiled once for each shape."""
    jax = sys.modules["jax"]
    fold, normal, each = jax.random.fold_in, jax.random.normal, jax.vmap

    def keys(low: Any, high: Any, use: Any, rows: Array) -> Array:
        return each(fold, (None, 0))(fold(fold(jax.random.key(low), high), use), rows)

    def draw(rows: Array, number: Any, shape: tuple[int, ...]) -> Array:
        return each(lambda key: normal(fold(key, number), shape))(rows)

    return jax.jit(keys), jax.jit(draw, static_argnums=2)
