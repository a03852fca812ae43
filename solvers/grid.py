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
    return np.array(host_times(ts), dtype=np.float64)


def host_times(ts: Any) -> list[float]:
    """Return a grid as the Python floats that a solve runs on, or say what is wrong with it.

    A list is read without numpy, so that ``torch.compile`` can follow; an array would be a tensor to it.
    """
    if isinstance(ts, (list, tuple)) and all(type(time) is float for time in ts):
        times = list(ts)
        if len(times) < 2:
            raise ValueError(explain(_WANTED, f"{len(times)} of them", "n steps need n + 1 times: uniform(n)"))
    else:
        times = _array_times(ts)
    rising = times[0] < times[-1]
    # Order settles finiteness inside the grid: NaN is in no order, and infinity has room at the ends only.
    ordered = all(a < b if rising else a > b for a, b in pairwise(times))
    if not (ordered and math.isfinite(times[0]) and math.isfinite(times[-1])):
        remedy = "remove or reorder the times; merge steps too short for float64"
        raise ValueError(explain(_WANTED, _first_fault(times, rising), remedy))
    return times


def _array_times(ts: Any) -> list[float]:
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
        raise ValueError(explain(_WANTED, f"shape {array.shape}", "n steps need n + 1 times: uniform(n)"))
    times: list[float] = array.astype(np.float64).tolist()
    return times


def _first_fault(times: list[float], rising: bool) -> str:
    """Name the first time that is not finite or does not go on in the direction of the ends."""
    for k, time in enumerate(times):
        if not math.isfinite(time):
            return f"{time!r} at index {k}"
    for k, (before, time) in enumerate(pairwise(times), start=1):
        if before == time or (before < time) != rising:
            return f"{before!r} followed by {time!r} at index {k}"
    return "no fault"
