"""Restart sampling: up again by noise, and down again by an ODE method, a few times over one interval of noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.errors import explain
from solvers.exponential.edm_heun import EDMHeun
from solvers.exponential.place import Place, between, noised, place, place_of_ratio
from solvers.grid import check_count
from solvers.method import Method, Planned, check_fits, visited
from solvers.noise import Increment, normals

_METHOD = EDMHeun()
_NEAR = 1e-9


class Levels(NamedTuple):
    """Where a solve restarts: the two places, and the times of a way down between them."""

    low: Place
    high: Place
    down: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Restart(Planned):
    r"""A deterministic method that, on reaching ``low``, goes up to ``high`` by noise and down again, several times.

    .. math:: x_{\mathrm{high}} = \frac{\alpha_h}{\alpha_l}x_{\mathrm{low}}
              + \sqrt{\sigma_h^2 - (\alpha_h/\alpha_l)^2\sigma_l^2}\;\xi

    and ``steps`` steps of the method, of equal length in the log-SNR, lead down to low again. Both levels are values of
    :math:`r = \sigma/\alpha`, as in the paper. The grid need not have a time at ``low``: the step that passes it is
    split there.

    Noise leads from the exact marginal at low to that at high, so the law at a time has the error of the method alone,
    contracted anew by each restart: the order is the method's, for expectations and, with the same normals, for paths,
    if the steps of the way down become finer with the grid, as they do by default. With a number of ``steps`` their
    error stays, and the order is 0. The method brings its own noise and refuses a problem with a w.

    Args:
        method: a deterministic method for :class:`Denoising` problems.
        low: r at which it restarts.
        high: r to which the noise leads, above low.
        steps: steps of each way down; None for as many as the grid has between the two levels.
        repeats: how often, at least 1.

    Raises:
        TypeError, ValueError: another method; levels that are none; at the start of a solve a grid that does not pass
            ``low``, and a schedule that does not reach ``high``.

    References: Xu, Deng, Cheng, Tian, Liu & Jaakkola (2023), Restart sampling for improving generative processes,
    arXiv 2306.14878, §3.1 and algorithm 1 of its appendix.
    """

    method: Method = _METHOD
    low: float = 0.3
    high: float = 1.0
    steps: int | None = None
    repeats: int = 2
    stochastic: ClassVar[bool] = True
    reads_clock: ClassVar[bool] = False
    solves: ClassVar[type[Denoising]] = Denoising

    def __post_init__(self) -> None:
        if getattr(self.method, "solves", None) is not Denoising or self.method.stochastic:
            remedy = "pass EDMHeun(), DPMSolverPP() or another of their kind"
            received = type(self.method).__name__
            raise TypeError(explain("method: a deterministic one for denoising problems", received, remedy))
        if hasattr(self.method, "on"):
            wanted, received = "method: one whose steps do not depend on their place in the grid", repr(self.method)
            raise TypeError(explain(wanted, received, "pass EDMHeun(), DPMSolverPP() or another of their kind"))
        levels = self.low, self.high
        if not all(isinstance(level, (int, float)) for level in levels) or not 0.0 < self.low < self.high < math.inf:
            remedy = "give values of sigma/alpha, such as low=0.3 and high=1.0"
            raise ValueError(explain("levels 0 < low < high", f"low={self.low!r} and high={self.high!r}", remedy))
        if self.steps is not None:
            check_count("steps: a number of steps", self.steps)
        check_count("repeats: a number of restarts", self.repeats)

    @property
    def order(self) -> int:
        """The order of the method inside; 0 where the steps of a way down do not follow the grid."""
        return self.method.order if self.steps is None else 0

    @property
    def weak_order(self) -> int:
        """The same."""
        return self.order

    @property
    def strong_order(self) -> float:
        """The same: with the same normals, one for each restart."""
        return float(self.order)

    @property
    def evaluations(self) -> int:
        """Those of the method inside, in a step that does not pass ``low``."""
        return self.method.evaluations

    @property
    def nodes(self) -> tuple[float, ...]:
        """Those of the method inside."""
        return self.method.nodes

    def fits(self, problem: Denoising, times: list[float]) -> None:
        """Refuse a grid that does not pass ``low``, and a schedule that does not reach ``high``."""
        first, last = (problem.sigma(time) - self.low * problem.alpha(time) for time in (times[0], times[-1]))
        if not first > 0.0 >= last:
            wanted = f"a grid that falls through sigma/alpha = low = {self.low!r}"
            received = f"one from {times[0]!r} to {times[-1]!r}"
            raise ValueError(explain(wanted, received, "choose a level that the grid passes"))
        highest = problem.domain[1]
        if math.isfinite(highest) and problem.sigma(highest) < self.high * problem.alpha(highest):
            wanted = f"a schedule with sigma/alpha = high = {self.high!r}"
            received = f"sigma = {problem.sigma(highest)!r}, alpha = {problem.alpha(highest)!r} at the end"
            raise ValueError(explain(wanted, received, "choose a lower level"))
        for part in self._ways(problem, times):
            check_fits(self.method, problem, part)

    def on(self, times: Sequence[float]) -> Restart:
        """Return the method that takes the steps of a grid."""
        return _Restarting(self.method, self.low, self.high, self.steps, self.repeats, tuple(times))

    def levels(self, problem: Denoising, times: Sequence[float]) -> Levels:
        """Return where a solve over a grid restarts, and its ways down."""
        low, high = place_of_ratio(problem, self.low), place_of_ratio(problem, self.high)
        nearest = min(times, key=lambda time: abs(time - low.time))
        if abs(nearest - low.time) <= _NEAR * low.time:  # the same time to rounding: no step between them
            low = place(problem, nearest)
        count = self.steps or 1 + sum(low.time < time < high.time for time in times)
        inner = [between(problem, high, low, k / count).time for k in range(1, count)]
        return Levels(low, high, (high.time, *inner, low.time))

    def init(self, problem: Denoising, t0: float, x0: Array) -> tuple[Levels, Any]:
        """Carry the levels and what the method inside carries."""
        return self.levels(problem, (t0,)), self.method.init(problem, t0, x0)

    def step(
        self, problem: Denoising, t0: float, t1: float, x: Array, state: tuple[Levels, Any], noise: Increment
    ) -> tuple[Array, tuple[Levels, Any]]:
        """Go from ``x`` at t0 to t1; at ``low`` restart."""
        (low, high, down), inner = state
        method = self.method
        if not t1 <= low.time < t0:
            x, inner = method.step(problem, t0, t1, x, inner, None)
            return x, (state[0], inner)
        x, _ = method.step(problem, t0, low.time, x, inner, None)
        keep, fresh = noised(low, high)
        for normal in normals(noise, t0, t1, self.repeats):
            x = keep * x + fresh * normal
            inner = method.init(problem, high.time, x)
            for start, end in pairwise(down):
                x, inner = method.step(problem, start, end, x, inner, None)
        inner = method.init(problem, low.time, x)
        if t1 < low.time:
            x, inner = method.step(problem, low.time, t1, x, inner, None)
        return x, (state[0], inner)

    def _ways(self, problem: Denoising, ts: Sequence[float]) -> tuple[list[float], list[float], list[float]]:
        """Return the times on the way to ``low``, of a way down after a restart, and from ``low`` on."""
        low, _, down = self.levels(problem, ts)
        k = next(k for k, time in enumerate(ts) if time <= low.time)
        after = ts[k:] if ts[k] == low.time else [low.time, *ts[k:]]
        return [*ts[:k], low.time], list(down), list(after)

    def visits(self, problem: Denoising, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        to_low, down, from_low = self._ways(problem, ts)
        before, after = visited(self.method, to_low, problem), visited(self.method, from_low, problem)
        passing = after.pop(0) if from_low[0] not in ts else []
        again = [time for visits in visited(self.method, down, problem) for time in visits]
        return [*before[:-1], [*before[-1], *again * self.repeats, *passing], *after]


@dataclass(frozen=True, slots=True)
class _Restarting(Restart):
    """The method on a grid."""

    times: tuple[float, ...] = ()

    def on(self, times: Sequence[float]) -> Restart:
        """Return itself: the ways down are those of the whole grid on a part of it too."""
        return self

    def init(self, problem: Denoising, t0: float, x0: Array) -> tuple[Levels, Any]:
        """Carry the levels and what the method inside carries."""
        return self.levels(problem, self.times), self.method.init(problem, t0, x0)
