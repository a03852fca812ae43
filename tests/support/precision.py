"""How far a floating-point number is from an mpmath one, and what a function of time tends to at an end."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
from mpmath import mpf

DPS = 240
ZERO = mpf(10) ** -170
"""What a cancellation at 240 digits leaves of a zero; no coefficient is that small at 1e-30."""


def value(function: Callable[[mpf], mpf], time: float) -> mpf:
    """Return the exact value at a time of [0, 1]; at an end the one-sided limit, possibly ±inf."""
    if time not in (0.0, 1.0):
        with mpmath.workdps(DPS):
            result = function(mpf(time))
            return mpf(0) if abs(result) < ZERO else result
    with mpmath.workdps(500):
        far, near = (function(abs(mpf(time) - mpf(10) ** -power)) for power in (60, 90))
        if near == 0 or (near != 0 and abs(near) < abs(far) * 0.8) or abs(near) < mpf(10) ** -80:
            return mpf(0)
        return mpmath.sign(near) * mpmath.inf if abs(near) > abs(far) * 1.2 else near


def sensitivity(function: Callable[[mpf], mpf], time: float) -> mpf:
    """Return |t f'(t)|, what one relative unit of round-off in t does to f; 0 at the ends, where t is exact."""
    if time in (0.0, 1.0):
        return mpf(0)
    with mpmath.workdps(DPS + 60):
        s, h = mpf(time), mpf(10) ** -50
        return abs(function(s * (1 + h)) - function(s)) / h


def ulps(got: float, truth: mpf, dtype: type, scale: mpf | float = 0.0) -> float:
    """Return |got − truth| in units of the last place of max(|truth|, scale) in ``dtype``; NaN is infinitely far."""
    info = np.finfo(dtype)
    if np.isnan(got):
        return float("inf")
    largest = mpf(float(info.max))
    if abs(truth) >= largest * (1 - 64 * mpf(float(info.eps))):
        return 0.0 if np.isinf(got) and (got > 0) == (truth > 0) else float("inf") if mpmath.isinf(truth) else 1.0
    if np.isinf(got):
        return float("inf")
    size = max(abs(truth), mpf(scale), mpf(float(info.tiny)))
    exponent = int(mpmath.floor(mpmath.log(size, 2)))
    return float(abs(mpf(float(got)) - truth) * mpf(2) ** (info.nmant - exponent))


def worst(got: object, times: object, function: Callable[[mpf], mpf], dtype: type, floor: float = 0.0) -> tuple:
    """Return the largest error in ulp over times, and the time; ``floor`` makes it absolute below that size."""
    errors = []
    for g, time in zip(np.asarray(got).tolist(), np.asarray(times).tolist(), strict=True):
        truth, scale = value(function, time), max(mpf(floor), sensitivity(function, time))
        errors.append((ulps(g, truth, dtype, scale), time, g, mpmath.nstr(truth, 17)))
    return max(errors)
