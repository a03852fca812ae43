"""Steps of a grid with noise: groups of blocks, whose normals depend on row, step and entry alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from solvers.compiled.fixed import LANES, load, store
from solvers.compiled.jit import compiled, frozen, inlined, whole_blocks
from solvers.compiled.normals import fill_normals

GROUP = 16
"""How many blocks go through a step together: for them what depends on time alone is computed once."""


def _slopes(drift: Any) -> Callable[..., None]:
    """Compile the drift of a block."""
    full = whole_blocks()

    def evaluate(time, y, slope, given, count):  # type: ignore[no-untyped-def]
        for lane in range(LANES if full else count):
            drift(time, frozen(y[:, lane]), slope[:, lane], given)

    return inlined(evaluate)


@lru_cache(maxsize=128)
def stochastic_kernel(drift: Any, prepare: Any, heun: bool, d: int, dtype: np.dtype[Any]) -> Callable[..., int]:
    """Compile the solve of samples ``begin`` to ``end``, the first row of x being ``row`` to the noise.

    ``kicks`` is the standard deviation of each step's noise. A step is that of Euler–Maruyama or of stochastic Heun; it
    returns the number of evaluations of each sample.
    """
    number, size = dtype.type, d * LANES
    slopes, fill = _slopes(drift), fill_normals(d, LANES)

    def march(x, ts, kicks, parameters, xs, seed, row, begin, end):  # type: ignore[no-untyped-def]
        y, predicted = np.empty((GROUP, d, LANES), number), np.zeros((d, LANES), number)
        # An entry of the slope that the drift forgets to write shows as NaN.
        k1, k2 = np.full((d, LANES), np.nan, number), np.full((d, LANES), np.nan, number)
        z, words = np.empty((d, LANES)), np.empty((2, LANES), np.uint64)
        p_flat, k1_flat, k2_flat, z_flat = predicted.reshape(size), k1.reshape(size), k2.reshape(size), z.reshape(size)
        for start in range(begin, end, GROUP * LANES):
            stop = min(start + GROUP * LANES, end)
            for base in range(start, stop, LANES):
                load(y[(base - start) // LANES], x, base, min(LANES, stop - base))
            for n in range(ts.size - 1):
                t0, t1, kick = ts[n], ts[n + 1], kicks[n]
                h = number(t1 - t0)
                given = prepare(t0, parameters)
                if heun:
                    then = prepare(t1, parameters)
                for base in range(start, stop, LANES):
                    block, count = y[(base - start) // LANES], min(LANES, stop - base)
                    y_flat = block.reshape(size)
                    fill(z, words, row + np.uint64(base), np.uint64(n), seed)
                    slopes(t0, block, k1, given, count)
                    if heun:
                        for q in range(size):
                            p_flat[q] = y_flat[q] + h * k1_flat[q] + number(kick * z_flat[q])
                        slopes(t1, predicted, k2, then, count)
                        for q in range(size):
                            k1_flat[q] = number(0.5) * (k1_flat[q] + k2_flat[q])
                    for q in range(size):
                        y_flat[q] = y_flat[q] + h * k1_flat[q] + number(kick * z_flat[q])
                    if xs.shape[0] > 0:
                        store(xs[n + 1], block, base, count)
            for base in range(start, stop, LANES):
                store(x, y[(base - start) // LANES], base, min(LANES, stop - base))
        return (2 if heun else 1) * (ts.size - 1)

    return compiled(march)
