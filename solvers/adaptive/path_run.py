r"""Steps for SDEs: one is compared with two halves of it, on the same path.

The two halves are the step that is taken. A refused step leaves no trace in the noise, for the path is a function of
the time; the increments of the steps that are taken add up to those of the path. With additive noise every sequence of
steps, chosen with knowledge of the path or not, leads to the solution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from solvers.adaptive.lanes import Indices, Lanes, Numbers
from solvers.adaptive.run import Run
from solvers.adaptive.settings import Adaptive
from solvers.adaptive.trial import Drift, Evaluated, tolerance
from solvers.arrays import Array, detached
from solvers.check import check_path
from solvers.errors import explain
from solvers.guard import guarded
from solvers.method import Method
from solvers.noise import Increment, increments, interval_of
from solvers.problem import Problem

# The first step is this part of the interval; after it the errors are known.
_FIRST = 0.01


def expect_path(rng: Any, times: Sequence[float]) -> Any:
    """Return ``rng`` if it is a path over the grid."""
    if interval_of(rng) is None:
        wanted = "rng: a path that can be refined, for adaptive steps of an SDE"
        remedy = f"pass rng=BrownianPath(seed, start={times[0]!r}, stop={times[-1]!r}) of solvers.noise"
        raise ValueError(explain(wanted, "None" if rng is None else f"a {type(rng).__name__}", remedy))
    check_path(rng, times)
    return rng


class Begun:
    """A drift that evaluates at the start of a step once for the whole step, its first half, and after a refusal."""

    __slots__ = ("evaluate", "known", "x")

    def __init__(self, evaluate: Evaluated, x: Array) -> None:
        self.evaluate = evaluate
        self.start(x)

    def start(self, x: Array) -> None:
        """Begin steps at another state."""
        self.x = x
        self.known: dict[float, Array] = {}

    def __call__(self, time: float, x: Array) -> Array:
        """Evaluate the drift."""
        if x is not self.x:
            return self.evaluate(time, x)
        if time not in self.known:
            self.known[time] = self.evaluate(time, x)
        return self.known[time]


class Doubled:
    """A step from t0 to t1, whole and in halves."""

    def __init__(self, lanes: Lanes, t0: Numbers, t1: Numbers, x: Array) -> None:
        self.lanes = lanes
        self.t0 = t0
        self.t1 = t1
        self.h = t1 - t0
        self.x0 = x

    def run(self, method: Method, problem: Problem, carried: Any, noise: Increment) -> None:
        """Take the steps."""
        t0, t1 = float(self.t0[0]), float(self.t1[0])
        middle = 0.5 * (t0 + t1)
        self.whole, _ = method.step(problem, t0, t1, self.x0, carried, noise)
        x, carried = method.step(problem, t0, middle, self.x0, carried, noise)
        self.x1, self.carried = method.step(problem, middle, t1, x, carried, noise)

    def error(self, rtol: float, atol: float) -> Numbers:
        """Return the difference in units of the tolerance; NaN where a number is not finite."""
        x0, x1, whole = detached(self.x0), detached(self.x1), detached(self.whole)
        return self.lanes.norms([(whole - x1) / tolerance(x0, x1, rtol, atol)]).reshape(-1)

    def take(self, lanes: Indices) -> Doubled:
        """Return the same step: it has one lane."""
        return self

    def prepare(self, drift: Drift) -> None:
        """Evaluate nothing: steps end at the times at which states are kept."""

    def dense(self, fraction: Numbers) -> Array:
        """Return the state at the end, the only time that is asked for."""
        return self.x1


class PathRun(Run):
    """The whole state on its way along a path."""

    def __init__(self, problem: Problem, x: Array, times: Numbers, settings: Adaptive, save: bool, path: Any) -> None:
        super().__init__(problem, x, times, settings, save)
        self.times = times
        self.noise = increments(path, x)
        self.interval: tuple[float, float] = path.interval
        self.begun = Begun(self.drift, x)
        self.problem = guarded(problem, self.begun, x, self.drift)
        self.shortest = max(self.shortest, 2.0 * getattr(path, "resolution", 0.0))

    def begin(self) -> None:
        """Let the method begin, and set the first length."""
        self.carried = self.settings.method.init(self.problem, self.start, self.x)
        longest = min(abs(self.stop - self.start), self.settings.max_step)
        first = self.settings.first_step
        found = max(_FIRST * abs(self.stop - self.start), self.settings.min_step) if first is None else first
        self.length = np.array([min(found, longest)])

    def _power(self) -> float:
        """Return the power of the step in its error: the errors of steps add up like independent ones."""
        return float(self.settings.method.strong_order) + 0.5

    def _tried(self, t1: Numbers) -> Doubled:
        """Return a step to t1."""
        if self.x is not self.begun.x:
            self.begun.start(self.x)
        trial = Doubled(self.lanes, self.t, t1, self.x)
        trial.run(self.settings.method, self.problem, self.carried, self.noise)
        return trial

    def _ends(self) -> tuple[Numbers, Numbers]:
        """Return the lengths of the next step and its end, moved by an eighth at most to a place of few bits.

        A path is as rough as a root, so the last bit of an end would change its noise by 1e-8, and with it the next
        end: steps would differ from library to library. At such places they are the same, and a tree is not deep.
        """
        length, t1 = super()._ends()
        low, high = self.interval
        fraction = float(length[0]) / (high - low)
        part = math.ldexp(1.0, math.frexp(fraction)[1] - 4)
        down = math.floor if self.sign > 0.0 else math.ceil
        end = low + (high - low) * part * down((float(t1[0]) - low) / (high - low) / part)
        moved = abs(end - self.t)
        if t1[0] == self._next_stop() or not self.shortest <= moved[0] <= length[0]:
            return length, t1
        return moved, np.array([end])

    def _next_stop(self) -> float:
        """Return the next time of the grid."""
        return float(self.times[np.searchsorted(self.sign * self.times, self.sign * self.t[0], side="right")])
