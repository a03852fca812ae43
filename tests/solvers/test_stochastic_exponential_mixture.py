"""Weak and strong orders of the stochastic exponential methods where x̂ bends: on a mixture, in the second tier."""

import math
from itertools import pairwise

import numpy as np
import pytest
from solver_methods import name

from interpolants import GVP, GaussianMixture, Path, denoising, diffusion
from solvers import SASolver, SDEDPMSolverPP, solve, uniform
from tests.support.fields import slope

START, STOP = 0.8, 0.2
MIXTURE = GaussianMixture([0.4, 0.6], [[-1.0], [1.2]], [0.6, 0.8])


class ThreePoints:
    """Three-point normals at every step, all their combinations in the rows of a batch."""

    POINTS, WEIGHTS = np.array([-math.sqrt(3.0), 0.0, math.sqrt(3.0)]), np.array([1.0, 4.0, 1.0]) / 6.0

    def __init__(self, n, starts):
        codes = np.arange(3**n)
        self.digits = [(codes // 3**k) % 3 for k in range(n)]
        self.starts = starts
        self.probability = np.prod([self.WEIGHTS[digit] for digit in self.digits], axis=0)

    def increments(self, x):
        left = iter(self.digits)
        return lambda t0, t1: np.repeat(self.POINTS[next(left)], self.starts)[:, None] * math.sqrt(abs(t1 - t0))


@pytest.mark.slow
@pytest.mark.parametrize("method", [SDEDPMSolverPP(1), SDEDPMSolverPP(2), SDEDPMSolverPP(3), SASolver(2, 3)], ids=name)
def test_weak_order_on_a_mixture(method):
    """Where x̂ bends, expectations over all paths of three-point noise converge with the weak order, or faster.

    The three-point normal has five moments of the normal, which keeps weak order 2; the expectation is a finite sum.
    """
    start, stop = 0.55, 0.45
    path = Path(GVP(), MIXTURE)
    made = denoising(path.schedule, path.velocity, w=diffusion.KL())
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    weights = weights / weights.sum()

    def marginal(time):
        alpha, sigma = path.schedule.alpha(time), path.schedule.sigma(time)
        spreads = np.sqrt(alpha**2 * np.array([0.6, 0.8]) + sigma**2)
        x = (alpha * np.array([-1.0, 1.2])[:, None] + spreads[:, None] * nodes).ravel()
        return x, (np.array([0.4, 0.6])[:, None] * weights).ravel()

    x, start_weights = marginal(start)
    test = lambda x: np.cos(x - 0.3)  # noqa: E731
    end, end_weights = marginal(stop)
    exact, counts, errors = float(end_weights @ test(end)), [2, 3, 4, 6, 8], []
    for n in counts:
        noise = ThreePoints(n, len(x))
        states = np.tile(x, 3**n)[:, None]
        found = solve(made, states, uniform(n, start, stop), method, rng=noise).x[:, 0]
        total = np.repeat(noise.probability, len(x)) * np.tile(start_weights, 3**n)
        errors.append(abs(float(total @ test(found)) - exact))
    assert slope(counts, errors) > method.weak_order - 0.15, errors


class Coarse:
    """Sums of ``merge`` neighbouring increments of one fine path."""

    def __init__(self, fine, merge):
        self.sums = fine.reshape(len(fine) // merge, merge, *fine.shape[1:]).sum(1)

    def increments(self, x):
        left = iter(self.sums)
        return lambda t0, t1: next(left)


@pytest.mark.slow
@pytest.mark.parametrize("method", [SDEDPMSolverPP(1), SDEDPMSolverPP(2), SDEDPMSolverPP(3), SASolver(2, 3)], ids=name)
def test_strong_order_on_a_mixture(method):
    """On one Wiener path, refined, solutions on neighbouring grids come together with the strong order."""
    path, rng, finest = Path(GVP(), MIXTURE), np.random.default_rng(5), 8192
    made = denoising(path.schedule, path.velocity, w=diffusion.KL())
    fine = rng.standard_normal((finest, 300, 1)) * math.sqrt((START - STOP) / finest)
    x = path.sample(START, 300, rng)
    counts = [finest // 2**k for k in range(5)]
    ends = [solve(made, x, uniform(n, START, STOP), method, rng=Coarse(fine, finest // n)).x for n in counts]
    errors = [float(np.sqrt(np.mean((a - b) ** 2))) for a, b in pairwise(ends)]
    assert abs(slope(counts[1:], errors) - method.strong_order) < 0.1, errors
