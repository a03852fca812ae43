"""Strong orders on one refined path: a nonlinear drift, the same Brownian motion for every number of steps."""

import math

import numpy as np
import pytest
from solver_methods import PLAIN_STOCHASTIC, name

from solvers import ODE, RK4, SDE, SRA1, SRA3, Euler, LeimkuhlerMatthews, ShARK, solve, uniform
from tests.support.fields import slope

FINE, ROWS = 16384, 100
START, STOP = 1.0, 0.25


class Refined:
    """W and its areas on FINE cells of [STOP, START], and their sums over the steps of a coarser grid."""

    def __init__(self, seed):
        rng, cell = np.random.default_rng(seed), (START - STOP) / FINE
        self.length = cell
        self.dW = math.sqrt(cell) * rng.standard_normal((FINE, ROWS, 2))
        self.area = math.sqrt(cell / 12) * rng.standard_normal((FINE, ROWS, 2))

    def increments(self, x):
        return self

    def _cells(self, t0, t1):
        first, last = (round((START - time) / self.length) for time in (t0, t1))
        return self.dW[first:last], self.area[first:last]

    def __call__(self, t0, t1):
        return self._cells(t0, t1)[0].sum(0)

    def with_area(self, t0, t1):
        """∫W over the step is the sum of the cells': W so far, half of the cell's own increment, and its area."""
        dW, area = self._cells(t0, t1)
        before = np.cumsum(dW, axis=0) - dW
        total = dW.sum(0)
        return total, (before + 0.5 * dW + area).mean(0) - 0.5 * total


def drift(time, x):
    return np.sin(2.0 * x + time) - 0.7 * x[:, ::-1] * math.cos(3.0 * time)


def diffusion(time):
    return 1.0 + 2.0 * math.exp(-time) * time


SDE_HERE, PATH = SDE(drift, diffusion), Refined(7)
X = np.random.default_rng(1).standard_normal((ROWS, 2))
COUNTS = [64, 128, 256, 512, 1024]


@pytest.fixture(scope="module")
def reference():
    """The state at the end by SRA1 on all cells: its own error is 1/60 of the smallest that is measured."""
    return solve(SDE_HERE, X, uniform(FINE, START, STOP), SRA1(), rng=PATH).x


@pytest.mark.parametrize("method", PLAIN_STOCHASTIC, ids=name)
def test_strong_order(method, reference):
    """The root mean square of the error at the end, over 100 paths, has the order on the label within 0.1."""
    errors = [
        float(np.sqrt(np.mean((solve(SDE_HERE, X, uniform(n, START, STOP), method, rng=PATH).x - reference) ** 2)))
        for n in COUNTS
    ]
    assert abs(slope(COUNTS, errors) - method.strong_order) < 0.1


class Deaf:
    """The increments of the path, with areas that are drawn anew."""

    def increments(self, x):
        self.rng = np.random.default_rng(3)
        return self

    def __call__(self, t0, t1):
        return PATH(t0, t1)

    def with_area(self, t0, t1):
        return PATH(t0, t1), math.sqrt(abs(t1 - t0) / 12) * self.rng.standard_normal((ROWS, 2))


def test_without_the_area_the_order_is_one(reference):
    """With areas of its own drawing, not those of the path, SRA1 is of strong order 1: the test sees the area."""
    errors = [
        float(np.sqrt(np.mean((solve(SDE_HERE, X, uniform(n, START, STOP), SRA1(), rng=Deaf()).x - reference) ** 2)))
        for n in COUNTS
    ]
    assert abs(slope(COUNTS, errors) - 1.0) < 0.1


def test_no_noise():
    """Where g = 0 SRA3 is of order 3, SRA1 and ShARK of order 2, Leimkuhler–Matthews is Euler's method."""
    quiet = SDE(drift, lambda time: 0.0)
    exact = solve(ODE(drift), X, uniform(4000, START, STOP), RK4()).x
    for method, order in ((SRA1(), 2), (ShARK(), 2), (SRA3(), 3)):
        errors = [np.abs(solve(quiet, X, uniform(n, START, STOP), method, rng=PATH).x - exact).max() for n in COUNTS]
        assert abs(slope(COUNTS, errors) - order) < 0.1
    np.testing.assert_array_equal(
        solve(quiet, X, uniform(16, START, STOP), LeimkuhlerMatthews(), rng=PATH).x,
        solve(ODE(drift), X, uniform(16, START, STOP), Euler()).x,
    )
