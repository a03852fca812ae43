"""Property 22: what a path costs is at least the distance of its ends, and its length squared."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from interpolants import GVP, Gaussian, Path, transport_cost, wasserstein2
from tests.support.ledger import within
from tests.support.strategies import coordinates, covariances, every_case, law


@pytest.mark.covering(11)
@every_case
@given(mean=st.tuples(coordinates, coordinates), cov=covariances())
@law(1)
def test_cost_bounds_the_distance(case, mean, cov):
    """Property 22: C·span ≥ W2² by Cauchy and Schwarz, for every schedule."""
    path = Path(case.schedule, Gaussian(mean, cov))
    bound = wasserstein2(path) ** 2
    within(bound, transport_cost(path) * case.span + 1e-10 * (1 + bound))


@given(mean=st.tuples(coordinates, coordinates), cov=covariances())
@law(8)
def test_ratio_of_gvp(mean, cov):
    """Property 22: under GVP the cost is π²/8 times W2², exactly, for every Gaussian."""
    bound = float(np.dot(mean, mean)) + float(((1 - np.sqrt(np.linalg.eigvalsh(cov))) ** 2).sum())
    within(abs(transport_cost(Path(GVP(), Gaussian(mean, cov))) - math.pi**2 / 8 * bound), 1e-9 * (1 + bound))


@pytest.mark.covering(7)
@every_case
@given(c=st.floats(0.05, 5.0))
@law(1)
def test_length_is_below_the_cost(case, c):
    """Property 22: (∫E|v| dt)² ≤ C·span by Cauchy and Schwarz, with ∫E|v| = √(2/π)·TV(ρ) from the oracle."""
    times = [mpf(k) / 100 * mpf(case.span) for k in range(101)]
    rho = [mpmath.sqrt(case.alpha(s) ** 2 * mpf(c) + case.sigma(s) ** 2) for s in times]
    variation = float(sum(abs(b - a) for a, b in pairwise(rho)))
    cost = transport_cost(Path(case.schedule, Gaussian([0.0], c)))
    within(2 / math.pi * variation**2, cost * case.span * (1 + 1e-9))
