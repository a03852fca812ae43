"""A method and a grid that evaluate no pole: what every refusal proposes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers import EulerMaruyama, Heun, Midpoint, StochasticHeun, uniform
from solvers.errors import explain

__all__ = ["Suggestion", "safe"]

MARGIN = 1e-3
"""The part of the domain that is left out next to a pole which the first evaluation would meet."""

Choice = EulerMaruyama | Heun | Midpoint | StochasticHeun


@dataclass(frozen=True)
class Suggestion:
    """``solve(problem, x, suggestion.ts, suggestion.method)`` is not refused.

    Attributes:
        method: a method of the problem's kind.
        ts: times from noise to data.
        reason: why this one.
    """

    method: Choice
    ts: NDArray[np.float64]
    reason: str

    def __str__(self) -> str:
        n, start, stop = len(self.ts) - 1, float(self.ts[0]), float(self.ts[-1])
        ends = "" if (start, stop) == (1.0, 0.0) else f", start={start:g}, stop={stop:g}"
        return f"{type(self.method).__name__}() on uniform({n}{ends})"


def safe(poles: Collection[float], domain: tuple[float, float], *, stochastic: bool, nfe: int = 50) -> Suggestion:
    """Return a method and a grid from noise to data for a problem that is infinite at ``poles``, ends of its domain.

    Without poles the methods of second order that evaluate both ends; otherwise :class:`Midpoint` or
    :class:`EulerMaruyama`, which do not evaluate the last time, from just inside a pole at the first.

    Args:
        poles: the ends of the domain at which the drift or the noise is infinite.
        domain: the first and the last time, data first.
        stochastic: whether the problem is an SDE.
        nfe: the number of model evaluations to spend, at least 2.
    """
    if isinstance(nfe, bool) or not isinstance(nfe, int) or nfe < 2:
        raise ValueError(explain("nfe: a whole number of evaluations, at least 2", repr(nfe), "pass nfe=50"))
    lo, hi = domain
    if not poles:
        method: Choice = StochasticHeun() if stochastic else Heun()
        return Suggestion(method, uniform(nfe // 2, hi, lo), "finite on the whole domain: second order, ends included")
    where = " and ".join(f"t = {time:g}" for time in sorted(poles))
    start = hi - MARGIN * (hi - lo) if hi in poles else hi
    inside = f": starts {MARGIN:g} of the domain below {hi:g}" if hi in poles else ", which is not evaluated"
    method, n = (EulerMaruyama(), nfe) if stochastic else (Midpoint(), nfe // 2)
    return Suggestion(method, uniform(n, start, lo), f"infinite at {where}{inside}")
