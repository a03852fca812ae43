"""Plain time grids: n steps are n intervals are n + 1 float64 times on the host."""

from __future__ import annotations

import math
import operator
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from solvers.arrays import is_torch
from solvers.errors import explain

Grid: TypeAlias = NDArray[np.float64]

_WANTED = "times: at least two finite numbers in one dimension, strictly rising or strictly falling"


def uniform(n: int, start: float = 1.0, stop: float = 0.0) -> Grid:
    r"""Return n equal steps, :math:`t_k = \frac{(n - k)\,\mathrm{start} + k\,\mathrm{stop}}{n}`.

    Args:
        n: number of steps, at least 1.
        start: first time; noise by default.
        stop: last time; data by default.

    Returns:
        n + 1 times; the two ends are the arguments themselves, and the grid backwards is the grid of the ends swapped.
    """
    n = check_count("n: the number of steps", n)
    start, stop = host_times((start, stop))
    k = np.arange(n + 1, dtype=np.float64)
    # start + k·h would cancel near a stop of 0, with an error of an ulp of 1 rather than of t.
    ts = ((n - k) * start + k * stop) / n
    ts[0], ts[-1] = start, stop
    return check_grid(ts)


def power(n: int, exponent: float = 2.0, start: float = 1.0, stop: float = 0.0) -> Grid:
    r"""Return n steps that are equal in :math:`t^{1/p}`.

    .. math:: t_k = \Bigl(\frac{(n - k)\,\mathrm{start}^{1/p} + k\,\mathrm{stop}^{1/p}}{n}\Bigr)^p

    p = 1 is :func:`uniform`; p = 2, the default, is the quadratic grid of DDIM, with its short steps near 0.

    >>> from solvers import power
    >>> power(4).tolist()
    [1.0, 0.5625, 0.25, 0.0625, 0.0]

    Args:
        n: number of steps, at least 1.
        exponent: p > 0.
        start: first time, at least 0; noise by default.
        stop: last time, at least 0; data by default.

    Returns:
        n + 1 times; the two ends are the arguments themselves.

    References: Song, Meng & Ermon (2021), arXiv 2010.02502, appendix D.2.
    """
    n = check_count("n: the number of steps", n)
    start, stop = host_times((start, stop))
    if not 0.0 < exponent < math.inf:
        raise ValueError(explain("exponent: a positive number", repr(exponent), "pass 2 for the quadratic grid"))
    if min(start, stop) < 0.0:
        wanted = "times that are not negative, for they are raised to a power"
        raise ValueError(explain(wanted, f"{start!r} and {stop!r}", "shift the grid, or take uniform(n)"))
    ts = uniform(n, start ** (1.0 / exponent), stop ** (1.0 / exponent)) ** exponent
    ts[0], ts[-1] = start, stop
    return check_grid(ts)


def equidistributed(n: int, ts: Any, errors: Any, order: int) -> Grid:
    r"""Return n steps on which a method of the given order makes equal local errors, from errors on another grid.

    A step of length h errs by :math:`c(t)\,h^{p+1}`. From the error :math:`e_k` of step k of ``ts`` the rate is
    :math:`c^{1/(p+1)} = e_k^{1/(p+1)}/h_k`, and its integral over every new step is the same.

    Args:
        n: number of steps, at least 1.
        ts: the grid on which errors are known, m + 1 times.
        errors: the local error of each of its m steps, not negative and not all zero: measured by
            :func:`local_errors`, or predicted by something that was trained.
        order: p, the order of the method.

    Returns:
        n + 1 times with the ends of ``ts``.

    References: de Boor (1973), Good approximation by splines with variable knots; Ascher, Mattheij & Russell (1995),
    Numerical Solution of Boundary Value Problems for ODEs, §9.1.
    """
    n, order, known = check_count("n: the number of steps", n), check_count("order", order), check_grid(ts)
    values = np.asarray(errors, dtype=np.float64)
    if values.shape != (len(known) - 1,) or not np.isfinite(values).all() or (values < 0).any() or not values.any():
        wanted = f"errors: {len(known) - 1} numbers, finite, not negative and not all zero"
        raise ValueError(explain(wanted, f"{values!r:.80}", "pass one error per step: local_errors(problem, …)"))
    rates = (values / values.max()) ** (1.0 / (order + 1))
    reached = np.concatenate([[0.0], np.cumsum(rates)])
    grid = np.interp(np.linspace(0.0, reached[-1], n + 1), reached, known)
    grid[0], grid[-1] = known[0], known[-1]
    return check_grid(grid)


def check_count(name: str, n: object) -> int:
    """Return a count of at least one as an int."""
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(explain(f"{name}, a whole number", f"{type(n).__name__} {n!r}", "pass an int"))
    count = operator.index(n)
    if count < 1:
        raise ValueError(explain(f"{name}, at least 1", repr(n), "pass a positive int"))
    return count


def check_grid(ts: Any) -> Grid:
    """Return a grid as a float64 array of its own, or say what is wrong with it.

    Args:
        ts: a list, a numpy array or a torch tensor on the host.
    """
    array = _array_times(ts)
    rising = bool(array[0] < array[-1])
    _check_order(array, rising, bool((array[:-1] < array[1:] if rising else array[:-1] > array[1:]).all()))
    return array


def host_times(ts: Any) -> list[float]:
    """Return a grid as the Python floats that a solve runs on, or say what is wrong with it.

    A list is read without numpy, so that ``torch.compile`` can follow; an array would be a tensor to it.
    """
    if not (isinstance(ts, (list, tuple)) and all(type(time) is float for time in ts)):
        times: list[float] = check_grid(ts).tolist()
        return times
    if len(ts) < 2:
        raise ValueError(explain(_WANTED, f"{len(ts)} of them", "n steps need n + 1 times: uniform(n)"))
    rising = ts[0] < ts[-1]
    _check_order(ts, rising, all(a < b if rising else a > b for a, b in pairwise(ts)))
    return list(ts)


def _check_order(times: Any, rising: bool, ordered: bool) -> None:
    """Refuse times that are not in order, which settles finiteness inside: NaN is in none, infinity at the ends."""
    if not (ordered and math.isfinite(times[0]) and math.isfinite(times[-1])):
        remedy = "remove or reorder the times; merge steps too short for float64"
        raise ValueError(explain(_WANTED, _first_fault([float(time) for time in times], rising), remedy))


def _array_times(ts: Any) -> Grid:
    if is_torch(ts):
        if ts.device.type != "cpu":
            raise TypeError(explain("times on the host", f"a tensor on {ts.device}", "pass ts.cpu()"))
        ts = ts.detach().double().numpy()
    try:
        array = np.asarray(ts)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if array.dtype.kind not in "fiu":
        raise TypeError(explain(_WANTED, f"{type(ts).__name__} {ts!r:.80}", "pass uniform(n) or a list of floats"))
    if array.ndim != 1 or array.size < 2:
        received = f"{array.size} of them" if array.ndim == 1 else f"shape {array.shape}"
        raise ValueError(explain(_WANTED, received, "n steps need n + 1 times: uniform(n)"))
    return array.astype(np.float64)


def _first_fault(times: list[float], rising: bool) -> str:
    """Name the first time that is not finite or does not go on in the direction of the ends."""
    for k, time in enumerate(times):
        if not math.isfinite(time):
            return f"{time!r} at index {k}"
    for k, (before, time) in enumerate(pairwise(times), start=1):
        if before == time or (before < time) != rising:
            return f"{before!r} followed by {time!r} at index {k}"
    return "no fault"
