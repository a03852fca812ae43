r"""Noise of which every row has its own stream, for compiled ensembles and for :func:`solvers.solve` alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.arrays import Array, describe, is_numpy
from solvers.compiled.fixed import LANES
from solvers.compiled.jit import compiled
from solvers.compiled.normals import fill_normals
from solvers.errors import explain
from solvers.noise import Increment

__all__ = ["RowNoise", "expect_noise"]


@dataclass(frozen=True)
class RowNoise:
    r"""Noise that is a function of the seed, the row, the step and the entry of the state.

    Row i of a state gets the same numbers in any batch and on any thread. As ``rng`` of :func:`solve_ensemble` and of
    :func:`solvers.solve` it gives both the same increments, which is how the two can be compared.

    >>> from solvers.compiled import RowNoise
    >>> noise = RowNoise(seed=7)
    >>> bool((noise.normals(3, rows=5, d=2)[4:] == RowNoise(7, first=4).normals(3, rows=1, d=2)).all())
    True

    Args:
        seed: of all streams, 0 to 2⁶⁴ − 1: the key of a counter-based generator (Philox4x32-10).
        first: which stream the first row of the state has, 0 to 2⁶² − 1: to solve a large ensemble in parts.

    Raises:
        TypeError, ValueError: something else than such integers.

    References: Salmon, Moraes, Dror & Shaw (2011), Parallel random numbers: as easy as 1, 2, 3, SC '11.
    """

    seed: int
    first: int = 0

    def __post_init__(self) -> None:
        _check("seed", self.seed, 2**64)
        _check("first", self.first, 2**62)

    def normals(self, step: int, rows: int, d: int) -> NDArray[np.float64]:
        """Return the standard normals of a step, counted from 0, for the first ``rows`` rows; shape (rows, d)."""
        _check("step", step, 2**32)
        z = np.empty((rows, d))
        _table(d)(z, np.uint64(self.first), np.uint64(step), np.uint64(self.seed))
        return z

    def increments(self, x: Array) -> Increment:
        """Return the source of increments for numpy states of shape (B, …): every call is a step."""
        if not is_numpy(x) or x.ndim < 1:
            remedy = "use a generator of the library of x"
            raise TypeError(explain("a numpy array of shape (B, ...) for RowNoise", describe(x), remedy))
        rows, d, drawn = x.shape[0], int(np.prod(x.shape[1:])), iter(range(2**32))

        def noise(t0: float, t1: float) -> Array:
            z = self.normals(next(drawn), rows, d).reshape(x.shape)
            return np.asarray(z * np.sqrt(abs(t1 - t0)), x.dtype)

        return noise


def expect_noise(rng: Any) -> RowNoise:
    """Return the noise of an ensemble: itself, or streams whose seed is drawn from a numpy Generator."""
    if isinstance(rng, RowNoise):
        return rng
    if isinstance(rng, np.random.Generator):
        return RowNoise(int(rng.integers(2**64, dtype=np.uint64)))
    remedy = "pass rng=RowNoise(seed), or rng=np.random.default_rng(seed), from which a seed is drawn"
    received = repr(rng) if rng is None or isinstance(rng, int) else type(rng).__name__
    raise TypeError(explain("rng: a RowNoise or a numpy.random.Generator", received, remedy))


def _check(name: str, value: object, limit: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(explain(f"{name}: an integer", repr(value), "pass an int"))
    if not 0 <= value < limit:
        wanted = f"{name} from 0 to 2**{limit.bit_length() - 1} - 1"
        raise ValueError(explain(wanted, repr(value), "take it modulo that power of two"))


@lru_cache(maxsize=32)
def _table(d: int) -> Callable[..., None]:
    """Compile the normals of all rows at a step."""
    fill = fill_normals(d, LANES)

    def table(out, row, step, seed):  # type: ignore[no-untyped-def]
        z, words = np.empty((d, LANES)), np.empty((2, LANES), np.uint64)
        for base in range(0, out.shape[0], LANES):
            fill(z, words, row + np.uint64(base), step, seed)
            for lane in range(min(LANES, out.shape[0] - base)):
                for r in range(d):
                    out[base + lane, r] = z[r, lane]

    return compiled(table)
