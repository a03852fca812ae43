"""One step that is tried: its slopes, its estimate of the error, the states inside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from solvers.adaptive.lanes import Indices, Lanes, Numbers
from solvers.arrays import Array, detached, namespace
from solvers.guard import Counted
from solvers.runge_kutta.explicit import combine
from solvers.runge_kutta.tableau import Stage, Tableau

Drift = Callable[[Any, Array], Array]


class Evaluated(Counted):
    """A drift that counts its calls and the rows it is given, and refuses an answer that is not like the state."""

    __slots__ = ("rows",)

    def __init__(self, field: Drift, name: str, x: Array) -> None:
        # A look at every answer: it costs nothing beside a step, and the rows of later states differ in number.
        super().__init__(field, name, x, np.iinfo(np.int64).max)
        self.rows = 0

    def __call__(self, time: Any, x: Array) -> Array:
        """Evaluate the drift."""
        self.shape = x.shape
        self.rows += x.shape[0] if x.ndim else 1
        return super().__call__(time, x)


def tolerance(x0: Array, x1: Array, rtol: float, atol: float) -> Array:
    """Return the error allowed in each entry of a step from x0 to x1."""
    return atol + rtol * namespace(x0).maximum(abs(x0), abs(x1))


class Trial:
    """A step from t0 to t1 in every lane, from ``x`` with the slope ``first`` there."""

    def __init__(self, lanes: Lanes, tableau: Tableau, t0: Numbers, t1: Numbers, x: Array, slopes: list[Array]) -> None:
        self.lanes = lanes
        self.tableau = tableau
        self.t0 = t0
        self.t1 = t1
        self.h = t1 - t0
        self.x0 = x
        self.slopes = slopes

    def run(self, drift: Drift) -> None:
        """Evaluate the stages, the state at the end and the slope there."""
        h = self.lanes.factor(self.h, self.x0)
        self._evaluate(drift, self.tableau.stages)
        self.x1 = self.x0 + combine(h, self.tableau.step, self.slopes)
        self.slopes.append(drift(self.lanes.time(self.t1, self.x1), self.x1))

    @property
    def carried(self) -> Array:
        """What the next step is given beside the state: the slope at its start."""
        return self.slopes[-1]

    def _evaluate(self, drift: Drift, stages: tuple[Stage, ...]) -> None:
        h = self.lanes.factor(self.h, self.x0)
        for node, row in stages:
            times = self.t1 if node == 1.0 else self.t0 + node * self.h
            x = self.x0 + combine(h, row, self.slopes)
            self.slopes.append(drift(self.lanes.time(times, x), x))

    def error(self, rtol: float, atol: float) -> Numbers:
        """Return the estimate of the error of each lane in units of the tolerance; NaN where a number is not finite."""
        slopes = [detached(slope) for slope in self.slopes]
        x0, x1 = detached(self.x0), detached(self.x1)
        h = self.lanes.factor(self.h, x0)
        scale = tolerance(x0, x1, rtol, atol)
        norms = self.lanes.norms([combine(h, row, slopes) / scale for row in self.tableau.estimates])
        if len(norms) == 1:
            return norms.reshape(-1)
        fine, coarse = norms
        # Hairer's combination of the estimates of order 5 and 3; both vanish in a step without error.
        total = np.sqrt(fine**2 + 0.01 * coarse**2)
        return np.asarray(np.where(total == 0.0, 0.0, fine**2 / np.where(total == 0.0, 1.0, total)))

    def take(self, lanes: Indices) -> Trial:
        """Return the same step in some of its lanes."""
        if lanes.size == self.t0.size:
            return self
        take = self.lanes.take
        slopes = [take(slope, lanes) for slope in self.slopes]
        part = Trial(self.lanes, self.tableau, self.t0[lanes], self.t1[lanes], take(self.x0, lanes), slopes)
        part.x1 = take(self.x1, lanes)
        return part

    def prepare(self, drift: Drift) -> None:
        """Evaluate what dense output needs beyond the step, once."""
        if len(self.slopes) == len(self.tableau.b) + 1:
            self._evaluate(drift, self.tableau.extra_stages)

    def dense(self, fraction: Numbers) -> Array:
        """Return the states at fractions of the step; ``prepare`` comes first."""
        coefficients = self.tableau.nested
        shapes, factors = [fraction], (1.0 - fraction, fraction)
        for degree in range(1, coefficients.shape[1]):
            shapes.append(shapes[-1] * factors[(degree + 1) % 2])
        # A sum and not a product of matrices, whose rounding would depend on the number of rows.
        weights = (np.stack(shapes, axis=1)[:, None, :] * coefficients).sum(-1)
        total = None
        for weight, slope in zip((self.h[:, None] * weights).T, self.slopes):
            if weight.any():
                part = self.lanes.factor(weight, slope) * slope
                total = part if total is None else total + part
        return self.x0 if total is None else self.x0 + total
