"""From rates, or a schedule, to the tables that a chain is computed from: float64, on the host."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf
from numpy.typing import NDArray
from sympy import Expr, lambdify

from interpolants.coefficient import pad
from interpolants.schedules.betas import DIGITS, read
from interpolants.schedules.discrete import Discrete
from interpolants.symbols import t
from solvers.arrays import Array, is_numpy, like
from solvers.errors import explain

Floats = NDArray[np.float64]


def rates(betas: Any) -> Floats:
    """Return the rates of an array: each between 0 and 1, the last up to 1, which leaves no signal."""
    array = np.asarray(betas)
    if array.ndim == 1 and len(array) > 1 and array.dtype.kind == "f" and array[-1] == 1.0:
        return np.append(read(array[:-1])[0], 1.0)
    return np.array(read(betas)[0])


def rates_of(schedule: Discrete) -> Floats:
    """Return the rates of a schedule, each to the last digit: from the expression of α, not from its values."""
    return np.array(_exact(schedule.expressions["alpha"], schedule.num_train_timesteps))


@lru_cache(maxsize=16)
def _exact(alpha: Expr, count: int) -> tuple[float, ...]:
    """Return the rates of an expression; a fifth of a second for 1000, so they are kept."""
    function = lambdify(t, alpha, "mpmath")
    with mpmath.workdps(DIGITS):
        signal = [mpf(function(mpf(n) / count)) ** 2 for n in range(count + 1)]
        return tuple(float(1 - after / before) for before, after in pairwise(signal))


def merged(logarithms: Floats, kept: NDArray[np.int64]) -> Floats:
    r"""Return :math:`\beta'_j = 1 - \bar\alpha_{k_j}/\bar\alpha_{k_{j-1}}` from all :math:`\log(1 - \beta)`."""
    ends = [0, *(int(k) + 1 for k in kept)]
    sums = [float(np.sum(logarithms[start:stop])) for start, stop in pairwise(ends)]
    return -np.expm1(sums)


def running_sums(logarithms: Floats) -> Floats:
    """Return 0 and the sums of the first n numbers, each rounded once; −∞ from an infinite one on."""
    finite = logarithms[np.isfinite(logarithms)].tolist()
    sums = np.full(len(logarithms) + 1, -np.inf)
    sums[: len(finite) + 1] = [float(s) for s in accumulate(map(Fraction, finite), initial=Fraction(0))]
    return sums


def entry(table: Floats, index: Any, x: Array) -> Any:
    """Return the entry of a table for ``x``: a float for one index, one value per sample for indices of shape (B,)."""
    if isinstance(index, (int, np.integer)):
        _expect_within(index, index, len(table))
        return float(table[index])
    if is_numpy(index):
        _expect_within(index.min(), index.max(), len(table))
    return pad(like(table, x, at_least_single=True)[index], x)


def _expect_within(lowest: Any, highest: Any, count: int) -> None:
    if not 0 <= lowest <= highest < count:
        received = f"{lowest}" if lowest == highest else f"indices from {lowest} to {highest}"
        remedy = "count the timesteps of this chain; those of the network are in its timesteps"
        raise ValueError(explain(f"an index from 0 to {count - 1}", received, remedy))
