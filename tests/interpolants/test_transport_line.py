"""Mixtures and points on the line: cost, length, W2 and slopes against quadrature by scipy and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from interpolants import (
    GVP,
    VP,
    Empirical,
    Gaussian,
    GaussianMixture,
    Linear,
    Path,
    lipschitz,
    path_length,
    straightness,
    transport_cost,
    wasserstein2,
)
from interpolants.transport.line import LIMIT, Line, line_of
from interpolants.transport.quantiles import _quantile, _squared, line_wasserstein
from interpolants.transport.steepness import _places, _slope
from tests.support.strategies import cases, law
from tests.support.zoo import MIXTURE_1D

TWO = GaussianMixture([0.5, 0.5], [[-1.5], [1.5]], [[[0.04]], [[0.04]]])
WIDE_AND_NARROW = GaussianMixture([0.2, 0.3, 0.5], [[-5.0], [0.0], [0.3]], [[[1e-4]], [[1.0]], [[0.01]]])
POINTS = Empirical([[-1.0], [1.0], [1.3]])
TARGETS = [MIXTURE_1D, TWO, WIDE_AND_NARROW, POINTS]
PATHS = [Path(schedule, target) for schedule in (Linear(), GVP(), VP()) for target in TARGETS]


def label(path):
    return f"{path.schedule.name}-{TARGETS.index(path.target)}"


@pytest.mark.parametrize("path", PATHS, ids=label)
@pytest.mark.parametrize("time", [2e-3, 0.03, 0.1, 0.4, 0.95])
def test_mean_speed_and_energy_at_a_time(path, time):
    """E|v| and E|v|² at a time are fine trapezoidal sums of the path's own velocity and density."""
    line = line_of(path)
    moment = line.at(time)
    reach = np.linspace(-12, 12, 20_001)
    x = np.sort((moment.centre[:, None] + moment.rho[:, None] * reach).ravel())
    density, velocity = np.exp(path.log_density(time, x[:, None])), path.velocity(time, x[:, None])[:, 0]
    assert abs(line._power(time) / np.trapezoid(velocity**2 * density, x) - 1) < 2e-8
    assert abs(line._speed(time) / np.trapezoid(np.abs(velocity) * density, x) - 1) < 2e-7


@pytest.mark.slow
@pytest.mark.parametrize("path", [Path(Linear(), MIXTURE_1D), Path(GVP(), MIXTURE_1D)], ids=lambda p: p.schedule.name)
def test_cost_and_length_against_nested_quadrature(path):
    """Cost and length are scipy's nested adaptive quadrature of the path's velocity and density, to 1e-9 and 1e-8."""

    def inner(time, power):
        def integrand(x):
            point = np.array([[x]])
            return abs(path.velocity(time, point)[0, 0]) ** power * math.exp(path.log_density(time, point)[0])

        return quad(integrand, -9, 9, points=[-1.2, -0.4, 0.0, 0.8], limit=200, epsabs=1e-9, epsrel=1e-9)[0]

    nodes, weights = np.polynomial.legendre.leggauss(24)
    exact = sum(w / 2 * inner((1 + s) / 2, 2) for s, w in zip(nodes, weights))
    assert abs(transport_cost(path) / exact - 1) < 1e-9
    exact = sum(w / 2 * inner((1 + s) / 2, 1) for s, w in zip(nodes, weights))
    assert abs(path_length(path) / exact - 1) < 1e-3  # a kink in time: Gauss's rule, not ours, is the coarse one
    times = np.linspace(0, 1, 4001)
    fine = np.trapezoid([line_of(path)._speed(float(s)) for s in times], times)
    assert abs(path_length(path) - fine) < 1e-6


@pytest.mark.parametrize("path", PATHS, ids=label)
def test_wasserstein_against_quantiles(path):
    """W₂² is scipy's integral of |Q₀(u) − Q₁(u)|² over u, with quantiles by root finding on scipy's normal law."""
    target = path.target
    weights = np.asarray(target.weights)
    means = (target.points if isinstance(target, Empirical) else target.means)[:, 0]
    variances = np.zeros(len(means)) if isinstance(target, Empirical) else target.covs[:, 0, 0]

    def quantile(u, alpha, sigma):
        deviations = np.sqrt(alpha**2 * variances + sigma**2)
        if deviations.max() == 0:
            return np.sort(means)[np.searchsorted(np.cumsum(weights), u)]
        lo, hi = np.full(u.shape, -60.0), np.full(u.shape, 60.0)
        for _ in range(60):
            middle = (lo + hi) / 2
            high = norm.cdf((middle[:, None] - alpha * means) / deviations) @ weights > u
            lo, hi = np.where(high, lo, middle), np.where(high, middle, hi)
        return middle

    ends = [(float(path.schedule.alpha(s)), float(path.schedule.sigma(s))) for s in (0.0, 1.0)]
    nodes, rule = np.polynomial.legendre.leggauss(12)
    near = 10.0 ** np.arange(-14.0, -0.9, 0.25)  # a gap between modes is a steep step of the quantiles
    steps = [np.concatenate([level - near, [level], level + near]) for level in (0.0, *np.cumsum(weights)[:-1], 1.0)]
    cuts = np.unique(np.concatenate([np.linspace(0.12, 0.9, 20), *steps]))
    cuts = cuts[(cuts > 0) & (cuts < 1)]
    half = np.diff(cuts)[:, None] / 2
    u, w = (cuts[:-1, None] + half * (1 + nodes)).ravel(), (half * rule).ravel()
    exact = w @ (quantile(u, *ends[0]) - quantile(u, *ends[1])) ** 2
    assert abs(wasserstein2(path) - math.sqrt(exact)) < 1e-8


def test_quantiles_keep_both_tails():
    """A quantile from the mass above it has all its digits where the mass below rounds to 1."""
    tails = np.array([1e-300, 1e-30, 1e-12, 0.3])
    law = (np.ones(1), np.zeros(1), np.ones(1))
    np.testing.assert_allclose(_quantile(law, 1 - tails, tails), norm.isf(tails), rtol=1e-13)
    np.testing.assert_allclose(_quantile(law, tails, 1 - tails), norm.ppf(tails), rtol=1e-13)


def test_wasserstein_of_two_points():
    """½δ₋₁ + ½δ₁ against N(0, 1): 1 + 1 − 2√(2/π), since each half line goes to its point."""
    found = wasserstein2(Path(Linear(), Empirical([[-1.0], [1.0]])))
    assert abs(found**2 - (2 - 2 * math.sqrt(2 / math.pi))) < 1e-12


def test_wasserstein_of_a_shift_and_a_scaling():
    """A mixture and its image under x ↦ 2x + 3 are at distance E(x + 3)²."""
    weights, centres, deviations = np.array([0.3, 0.7]), np.array([-1.0, 2.0]), np.array([0.5, 1e-3])
    found = _squared((weights, centres, deviations), (weights, 2 * centres + 3, 2 * deviations))
    exact = float(weights @ ((centres + 3) ** 2 + deviations**2))
    assert abs(found / exact - 1) < 1e-11


def test_points_among_gaussians():
    """A law of a point and a Gaussian, against the map x ↦ x/2 of it: W₂² = E x²/4; and against N(0, 1) by hand."""
    mixed = (np.array([0.25, 0.75]), np.array([-0.5, 1.0]), np.array([0.0, 2.0]))
    normal = (np.ones(1), np.zeros(1), np.ones(1))
    # T(x) = F₀⁻¹(Φ(x)): below the jump, the point's slice, and above it.
    low, high = (0.75 * norm.cdf((-0.5 - 1) / 2) + extra for extra in (0.0, 0.25))

    def carried(u, shift):
        return 1 + 2 * norm.ppf((u - shift) / 0.75) - norm.ppf(u)

    parts = quad(lambda u: carried(u, 0.0) ** 2, 0, low, limit=200, epsabs=1e-10)[0]
    parts += quad(lambda u: carried(u, 0.25) ** 2, high, 1, limit=200, epsabs=1e-10)[0]
    parts += quad(lambda u: (-0.5 - norm.ppf(u)) ** 2, low, high, epsabs=1e-12)[0]
    assert abs(_squared(mixed, normal) - parts) < 1e-7


@pytest.mark.parametrize("schedule", [Linear(), GVP(), VP()], ids=lambda s: s.name)
def test_one_component_is_a_gaussian(schedule):
    """A mixture of one component has the numbers of the Gaussian, which have another code."""
    one = Path(schedule, GaussianMixture([1.0], [[0.7]], [[[0.3]]]))
    same = Path(schedule, Gaussian([0.7], 0.3))
    for function in (transport_cost, path_length, wasserstein2, straightness, lipschitz):
        assert abs(function(one) / function(same) - 1) < 1e-9


@pytest.mark.parametrize("schedule", [Linear(), GVP(), VP()], ids=lambda s: s.name)
def test_splitting_a_component_changes_nothing(schedule):
    """Two equal components are one."""
    whole = Path(schedule, MIXTURE_1D)
    split = GaussianMixture([0.35, 0.25, 0.4], [[-1.2], [0.8], [0.8]], [[[0.09]], [[0.25]], [[0.25]]])
    for function in (transport_cost, wasserstein2):
        assert abs(function(Path(schedule, split)) / function(whole) - 1) < 1e-9


@given(case=cases, gap=st.floats(0.0, 3.0), c=st.floats(-2.0, 0.5).map(lambda k: 10.0**k), p=st.floats(0.1, 0.9))
@law(3)
def test_order_of_the_measures_on_the_line(case, gap, c, p):
    """W₂² ≤ C, (∫E|v|)² ≤ C, and the defect is C − W₂² ≥ 0: on the line the flow is the optimal map."""
    path = Path(case.schedule, GaussianMixture([p, 1 - p], [[-gap], [gap]], [[[c]], [[1.0]]]))
    cost, length, distance = transport_cost(path), path_length(path), wasserstein2(path)
    assert distance**2 <= cost * (1 + 1e-9) + 1e-12
    assert length**2 <= cost * (1 + 1e-9)
    assert abs(straightness(path) - max(0.0, cost - distance**2)) < 1e-9 * (1 + cost)


@pytest.mark.parametrize(
    "path",
    [
        path if path in (PATHS[1], PATHS[4]) else pytest.param(path, marks=pytest.mark.slow)
        for path in PATHS
        if path.target is not POINTS
    ],
    ids=label,
)
def test_lipschitz_is_a_supremum_on_the_line(path):
    """No slope of the path's Jacobian on a fine grid is larger, and one comes within 5%."""
    times = np.concatenate([[0.0], np.geomspace(1e-6, 0.05, 50), np.linspace(0.06, 1.0, 20)])
    x = np.concatenate([np.linspace(-6, 4, 3001), np.linspace(-0.3, 0.6, 1001)])[:, None]
    grid = max(float(np.abs(path.jacobian(float(s), x)).max()) for s in times)
    found = lipschitz(path)
    assert grid <= found * (1 + 1e-9)
    assert found <= 1.05 * grid


@pytest.mark.parametrize("m", [0.7, 10.0])
def test_lipschitz_between_two_modes(m):
    """Equal modes ±m of variance c: the largest slope is at x = 0, where it is ρ̇/ρ + (αm/ρ)²(α̇/α − ρ̇/ρ)."""
    c = 0.04
    s = np.linspace(0, 0.5, 400_001)
    square = (1 - s) ** 2 * c + s**2
    rate = ((s - 1) * c + s) / square
    slopes = rate + ((1 - s) * m) ** 2 / square * (-1 / (1 - s) - rate)
    path = Path(Linear(), GaussianMixture([0.5, 0.5], [[-m], [m]], [[[c]], [[c]]]))
    assert abs(lipschitz(path) / np.abs(slopes).max() - 1) < 1e-9


@pytest.mark.parametrize("time", [1e-3, 0.05, 0.3])
def test_places_between_far_modes(time):
    """Whatever lies between two modes of other weights and widths, a place is near the top of the slope there."""
    line = line_of(Path(Linear(), GaussianMixture([0.2, 0.8], [[-10.0], [10.0]], [[[0.04]], [[0.09]]])))
    moment = line.at(time)
    fine = np.abs(_slope(line, moment, np.linspace(moment.centre[0], moment.centre[1], 2_000_001))).max()
    assert np.abs(_slope(line, moment, _places(line, moment))).max() > 0.98 * fine


def test_many_components_are_sampled():
    """Above the limit there is no quadrature on the line, and one below it there is."""
    points = np.linspace(-1, 1, LIMIT + 1)[:, None]
    assert line_of(Path(Linear(), Empirical(points))) is None
    assert isinstance(line_of(Path(Linear(), Empirical(points[1:]))), Line)
    assert line_of(Path(Linear(), GaussianMixture([1.0], [[0.0, 0.0]], [np.eye(2)]))) is None
    assert line_wasserstein(line_of(Path(Linear(), Empirical([[0.0]])))) == pytest.approx(1.0, abs=1e-12)
