"""What a step does to one sample besides evaluating its drift: sums of slopes, norms, dense output."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from solvers.compiled.jit import inlined


class Arithmetic(NamedTuple):
    """Functions compiled for one dimension and dtype."""

    combine: Callable[..., None]
    size: Callable[..., float]
    error: Callable[..., float]
    dense: Callable[..., None]


@lru_cache(maxsize=32)
def arithmetic(d: int, dtype: np.dtype[Any]) -> Arithmetic:
    """Return the functions of a dimension and dtype."""
    combine, norm = _combine(d, dtype), _norm(d, dtype)

    def size(values, x, limit):  # type: ignore[no-untyped-def]
        """Return the root mean square of ``values`` in units of the tolerance at ``x``."""
        total = 0.0
        for r in range(d):
            scaled = float(values[r]) / (limit.atol + limit.rtol * abs(float(x[r])))
            total += scaled * scaled
        return np.sqrt(total / d)

    def error(x0, x1, slopes, estimates, h, limit):  # type: ignore[no-untyped-def]
        """Return the estimate of the error in units of the tolerance; of two estimates Hairer's combination."""
        count = slopes.shape[0]
        fine = norm(x0, x1, slopes, estimates[0], count, h, limit)
        if estimates.shape[0] == 1 or fine == 0.0:
            return fine
        coarse = norm(x0, x1, slopes, estimates[1], count, h, limit)
        return fine * fine / np.sqrt(fine * fine + 0.01 * coarse * coarse)

    return Arithmetic(combine, inlined(size), inlined(error), _dense(d, dtype))


def _combine(d: int, dtype: np.dtype[Any]) -> Callable[..., None]:
    number = dtype.type

    def combine(z, x, slopes, row, count, h):  # type: ignore[no-untyped-def]
        """Write x + h·(row · slopes) into z."""
        for r in range(d):
            z[r] = 0.0
        for j in range(count):
            if row[j] != 0.0:
                weight = number(h * row[j])
                for r in range(d):
                    z[r] += weight * slopes[j, r]
        for r in range(d):
            z[r] += x[r]

    return inlined(combine)


def _norm(d: int, dtype: np.dtype[Any]) -> Callable[..., float]:
    number = dtype.type

    def norm(x0, x1, slopes, row, count, h, limit):  # type: ignore[no-untyped-def]
        """Return the root mean square of h·(row · slopes) in units of the tolerance."""
        total = 0.0
        for r in range(d):
            difference = number(0.0)
            for j in range(count):
                difference += number(h * row[j]) * slopes[j, r]
            largest = max(abs(float(x0[r])), abs(float(x1[r])))
            scaled = float(difference) / (limit.atol + limit.rtol * largest)
            total += scaled * scaled
        return np.sqrt(total / d)

    return inlined(norm)


def _dense(d: int, dtype: np.dtype[Any]) -> Callable[..., None]:
    number = dtype.type

    def dense(z, x, slopes, nested, h, fraction):  # type: ignore[no-untyped-def]
        """Write the state at a fraction of the step from x into z."""
        for r in range(d):
            z[r] = 0.0
        for j in range(nested.shape[0]):
            total, shape = 0.0, fraction
            for power in range(nested.shape[1]):
                total += shape * nested[j, power]
                shape *= fraction if power % 2 else 1.0 - fraction
            weight = number(h * total)
            if weight != 0.0:
                for r in range(d):
                    z[r] += weight * slopes[j, r]
        for r in range(d):
            z[r] += x[r]

    return inlined(dense)
