"""Steps of a grid: blocks of samples side by side, so that one instruction serves several of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from solvers.compiled.jit import compiled, frozen, inlined, whole_blocks

LANES = 64
"""How many samples a block has: many enough to hide the loop around them, few enough for the nearest cache."""


@inlined
def load(block: Any, x: Any, base: int, count: int) -> None:
    """Fill a block with samples; the last one stands in the lanes that are left over."""
    for lane in range(LANES):
        for r in range(x.shape[1]):
            block[r, lane] = x[base + min(lane, count - 1), r]


@inlined
def store(x: Any, block: Any, base: int, count: int) -> None:
    """Write the samples of a block back."""
    for lane in range(count):
        for r in range(x.shape[1]):
            x[base + lane, r] = block[r, lane]


@lru_cache(maxsize=16)
def _increment(size: int, dtype: np.dtype[Any]) -> Callable[..., None]:
    """Compile z = h·(weights · slopes), all of them flat."""
    number = dtype.type

    def increment(z, slopes, row, count, h):  # type: ignore[no-untyped-def]
        for q in range(size):
            z[q] = 0.0
        for j in range(count):
            weight = number(h * row[j])
            if weight != 0.0:
                for q in range(size):
                    z[q] += weight * slopes[j, q]

    return inlined(increment)


@lru_cache(maxsize=128)
def fixed_kernel(drift: Any, prepare: Any, d: int, dtype: np.dtype[Any]) -> Callable[..., int]:
    """Compile the solve of samples ``begin`` to ``end``; it returns the number of evaluations of each.

    A block lies in memory with the samples along the last axis. The dimension is a constant of the code, so loops over
    the entries of a sample unroll where they are short.
    """
    number, size, full = dtype.type, d * LANES, whole_blocks()
    increment = _increment(size, dtype)

    def march(x, ts, lower, nodes, last, parameters, xs, begin, end):  # type: ignore[no-untyped-def]
        y, z = np.empty((d, LANES), number), np.empty((d, LANES), number)
        # An entry of the slope that the drift forgets to write shows as NaN.
        slopes = np.full((last, d, LANES), np.nan, number)
        y_flat, z_flat, slopes_flat = y.reshape(size), z.reshape(size), slopes.reshape((last, size))
        evaluations = 0
        for base in range(begin, end, LANES):
            count, evaluations = min(LANES, end - base), 0
            lanes = LANES if full else count
            load(y, x, base, count)
            for n in range(ts.size - 1):
                t0, t1 = ts[n], ts[n + 1]
                h = t1 - t0
                given, slope = prepare(t0, parameters), slopes[0]
                for lane in range(lanes):
                    drift(t0, frozen(y[:, lane]), slope[:, lane], given)
                for i in range(1, last):
                    increment(z_flat, slopes_flat, lower[i], i, h)
                    for q in range(size):
                        z_flat[q] += y_flat[q]
                    time = t1 if nodes[i] == 1.0 else t0 + nodes[i] * h
                    given, slope = prepare(time, parameters), slopes[i]
                    for lane in range(lanes):
                        drift(time, frozen(z[:, lane]), slope[:, lane], given)
                if last == 1:  # Euler's step in one pass over memory: it is half the work of a simple drift
                    weight = number(h * lower[1, 0])
                    for q in range(size):
                        y_flat[q] += weight * slopes_flat[0, q]
                else:
                    increment(z_flat, slopes_flat, lower[last], last, h)
                    for q in range(size):
                        y_flat[q] += z_flat[q]
                evaluations += last
                if xs.shape[0] > 0:
                    store(xs[n + 1], y, base, count)
            store(x, y, base, count)
        return evaluations

    return compiled(march)
