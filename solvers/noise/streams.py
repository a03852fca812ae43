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
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from solvers.arrays import Array, describe, is_numpy, is_torch
from solvers.errors import explain
from solvers.noise.philox import WORD, philox

# The last word of a counter tells uses of one seed apart, so that their numbers have nothing in common.
SAMPLE, PATH = 0, 1


class Streams(Protocol):
    """Draws for states of one shape."""

    def single(self, number: int) -> Array:
        """Return the draw of a number, shaped like the state."""

    def pairs(self, numbers: Sequence[int]) -> tuple[Array, Array]:
        """Return two draws for each number, along a first axis."""


def streams(seed: int, use: int, first: int, ids: Any, x: Array) -> Streams:
    """Return the streams of the rows of ``x``; a state without axes is one row.

    Args:
        seed: 0 to 2**64 − 1.
        use: ``SAMPLE`` or ``PATH``.
        first: the id of the first row, from which the others count up.
        ids: one id for each row instead, or None.
        x: the state.

    Raises:
        ValueError: ids of another number than the rows, or beyond 32 bits.
    """
    rows = row_ids(first, ids, x)
    if is_numpy(x) or is_torch(x):
        return _Counted(seed, use, rows, x)
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


class _Counted:
    """Streams in numpy and torch. The counter is (place in the row, id of the row, number of the draw, use)."""

    def __init__(self, seed: int, use: int, rows: NDArray[np.int64], x: Array) -> None:
        self.key = seed & WORD, seed >> 32
        self.use = use
        self.shape = tuple(x.shape)
        self.entries = math.prod(self.shape[1:])
        self.library: Any = np if is_numpy(x) else sys.modules["torch"]
        self.place = {} if is_numpy(x) else {"device": x.device}
        self.rows = self._integers(rows).reshape(-1, 1)
        self.columns = self._integers(np.arange(self.entries))

    def _integers(self, values: Any) -> Array:
        dtype = np.uint64 if self.library is np else self.library.int64
        return self.library.asarray(values, dtype=dtype, **self.place)

    def single(self, number: int) -> Array:
        """Return the draw of a number, shaped like the state."""
        # A counter gives two normals, so half as many do: the cosines come first and then the sines.
        half = self.columns[: (self.entries + 1) // 2]
        both = self._normals((half, self.rows, number & WORD, self.use))
        joined = np.concatenate(both, 1) if self.library is np else self.library.cat(both, 1)
        return joined[:, : self.entries].reshape(self.shape)

    def pairs(self, numbers: Sequence[int]) -> tuple[Array, Array]:
        """Return two draws for each number, along a first axis."""
        draws = self._integers(numbers).reshape(-1, 1, 1)
        first, second = self._normals((self.columns, self.rows, draws, self.use))
        shape = (len(numbers), *self.shape)
        return first.reshape(shape), second.reshape(shape)

    def _normals(self, counter: Sequence[Any]) -> tuple[Array, Array]:
        w0, w1, w2, w3 = philox(counter, self.key)
        radius = self.library.sqrt(-2.0 * self.library.log((self._bits(w0, w1) + 1.0) * 2.0**-53))
        angle = self._bits(w2, w3) * (2.0 * math.pi * 2.0**-53)
        return radius * self.library.cos(angle), radius * self.library.sin(angle)

    def _bits(self, high: Array, low: Array) -> Array:
        """Return 53 bits of two words as a double."""
        whole = ((high >> 5) << 26) + (low >> 6)
        return whole.astype(np.float64) if self.library is np else whole.double()


class _Folded:
    """Streams in jax, whose keys take in the same four numbers one after another."""

    def __init__(self, seed: int, use: int, rows: NDArray[np.int64], x: Array) -> None:
        self.random = sys.modules["jax"].random
        self.vmap = sys.modules["jax"].vmap
        self.shape = tuple(x.shape)
        fold = self.random.fold_in
        key = fold(fold(self.random.key(np.uint32(seed & WORD)), np.uint32(seed >> 32)), use)
        self.keys = self.vmap(fold, (None, 0))(key, rows.astype(np.uint32))

    def single(self, number: int) -> Array:
        """Return the draw of a number, shaped like the state."""
        return self._normals(np.uint32(number), self.shape[1:]).reshape(self.shape)

    def pairs(self, numbers: Sequence[int]) -> tuple[Array, Array]:
        """Return two draws for each number, along a first axis."""
        found = self.vmap(lambda number: self._normals(number, (2, *self.shape[1:])))(np.asarray(numbers, np.uint32))
        shape = (len(numbers), *self.shape)
        return found[:, :, 0].reshape(shape), found[:, :, 1].reshape(shape)

    def _normals(self, number: Any, shape: tuple[int, ...]) -> Array:
        return self.vmap(lambda key: self.random.normal(self.random.fold_in(key, number), shape))(self.keys)
