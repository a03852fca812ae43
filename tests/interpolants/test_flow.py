"""Integrated flows: quantiles are preserved, flows compose and invert, to 1e-10, at both ends and in every clock."""

import math

import numpy as np
import pytest
import torch
from scipy import special

from interpolants import GVP, VP, Empirical, Gaussian, GaussianMixture, Linear, LowRank, Path, Product, Schedule, t
from interpolants.schedules import Follmer, Power
from interpolants.targets import flow
from solvers.errors import PoleError
from tests.support.zoo import MIXTURE, MIXTURE_1D

SCHEDULES = {
    "linear": Linear(),
    "gvp": GVP(),
    "vp": VP(),
    "power": Power(0.5, 2.0),
    "slow-start": Power(2.0, 0.25),
    "follmer": Follmer(),
    "quadratic": Schedule("quadratic", 1 - t**2, t**2),
}
every_schedule = pytest.mark.parametrize("name", SCHEDULES)
NARROW = GaussianMixture([0.2, 0.5, 0.3], [[-2.0], [0.0], [1.5]], [1e-4, 0.3, 0.02])
X = np.random.default_rng(2).standard_normal((7, 2))


def cdf(target, schedule, time, x):
    """Return F_t(x) and 1 − F_t(x) of a mixture in one dimension, from the normal distribution function."""
    alpha, sigma = float(schedule.alpha(time)), float(schedule.sigma(time))
    z = [(x - alpha * m) / math.hypot(alpha * math.sqrt(c), sigma) for (m,), ((c,),) in zip(target.means, target.covs)]
    below, above = (sum(w * special.ndtr(s * u) for w, u in zip(target.weights, z)) for s in (1, -1))
    return below, above


@pytest.mark.covering(5)
@every_schedule
@pytest.mark.parametrize("times", [(1.0, 0.0), (0.0, 1.0), (0.9, 0.1)], ids=["generate", "encode", "inside"])
@pytest.mark.parametrize("target", [MIXTURE_1D, NARROW], ids=["wide", "narrow"])
def test_quantiles_are_preserved(name, times, target):
    """In one dimension the flow is the monotone rearrangement: F_stop(flow(x)) = F_start(x), tails included."""
    schedule, (start, stop) = SCHEDULES[name], times
    alpha, sigma = float(schedule.alpha(start)), float(schedule.sigma(start))
    spread = np.sqrt(alpha**2 * target.covs[:, 0] + sigma**2)
    x = np.sort((alpha * target.means + spread * np.linspace(-4, 4, 9)).ravel())
    moved = Path(schedule, target).flow(start, stop, x[:, None])[:, 0]
    assert (np.diff(moved) >= -1e-10).all()
    for before, after in zip(cdf(target, schedule, start, x), cdf(target, schedule, stop, moved)):
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-10)
        # The error of the point, in standard deviations: both tails have digits of their own.
        tail = (before < 1e-2) & (before > 1e-12)
        np.testing.assert_allclose(special.ndtri(after[tail]), special.ndtri(before[tail]), rtol=0, atol=1e-8)


@every_schedule
def test_semigroup_and_inverse(name):
    """Ψ_{u→r}Ψ_{t→u} = Ψ_{t→r} and Ψ_{u→t}Ψ_{t→u} = 1 for a mixture in two dimensions, ends included, to 1e-10."""
    path = Path(SCHEDULES[name], MIXTURE)
    whole = path.flow(1.0, 0.0, X)
    half = path.flow(1.0, 0.35, X)
    np.testing.assert_allclose(path.flow(0.35, 0.0, half), whole, rtol=0, atol=1e-10)
    np.testing.assert_allclose(path.flow(0.0, 1.0, whole), X, rtol=0, atol=1e-10)
    np.testing.assert_allclose(path.flow(0.35, 1.0, half), X, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(path.flow(0.35, 0.35, X), X)


@every_schedule
def test_a_gaussian_by_both_ways(name):
    """Integrating a Gaussian's flow gives the closed form to 1e-11, full, diagonal or low rank."""
    covs = ([[1.0, 0.4], [0.4, 0.3]], [0.5, 2.0], LowRank([[1.0], [0.5]], 0.1))
    schedule = SCHEDULES[name]
    ends = [tuple(float(f(time)) for f in (schedule.alpha, schedule.sigma)) for time in (1.0, 0.0)]
    for cov in covs:
        target = Gaussian([0.5, -1.0], cov)
        closed = Path(schedule, target).flow(1.0, 0.0, X)
        np.testing.assert_allclose(flow.integrate(target, X, *ends), closed, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["linear", "vp", "power"])
def test_the_flow_moves_with_the_velocity(name):
    """d/du Ψ_{t→u}(x) at u = t is v(x, t), by a fourth-order difference, for a mixture and a product."""
    product = Product([MIXTURE_1D, Empirical([[0.0], [1.0]])])
    for target in (MIXTURE, product):
        path, h = Path(SCHEDULES[name], target), 1e-3
        moved = [path.flow(0.4, 0.4 + k * h, X) for k in (-2, -1, 1, 2)]
        slope = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * h)
        np.testing.assert_allclose(slope, path.velocity(0.4, X), rtol=1e-6, atol=1e-6)


def test_finite_data_away_from_the_pole():
    """Finite data flow from noise to σ = 1e-6, to 1e-13 by the quantile of each point's part, and back to 1e-9."""
    target, path = Empirical([[-1.0], [0.5], [2.0]]), Path(Linear(), Empirical([[-1.0], [0.5], [2.0]]))
    x = special.ndtri(np.linspace(0.04, 0.96, 9))[:, None]
    near = path.flow(1.0, 1e-6, x)
    nearest = target.points[:, 0][np.abs((1 - 1e-6) * target.points[:, 0] - near).argmin(1)]
    np.testing.assert_array_equal(nearest, np.repeat([-1.0, 0.5, 2.0], 3))
    ranks = special.ndtr((near[:, 0] - (1 - 1e-6) * nearest) / 1e-6)
    np.testing.assert_allclose((ranks + np.repeat([0, 1, 2], 3)) / 3, np.linspace(0.04, 0.96, 9), rtol=0, atol=1e-7)
    back = path.flow(0.1, 1.0, path.flow(1.0, 0.1, x))
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-9)


def test_products_flow_by_coordinate():
    """Each coordinate moves as its factor moves it, Gaussians by the closed form."""
    factors = [MIXTURE_1D, Gaussian([0.5], 0.2), MIXTURE_1D]
    x = np.random.default_rng(3).standard_normal((4, 3))
    moved = Path(VP(), Product(factors)).flow(1.0, 0.0, x)
    for k, factor in enumerate(factors):
        exact = Path(VP(), factor).flow(1.0, 0.0, x[:, k : k + 1])
        np.testing.assert_allclose(moved[:, k : k + 1], exact, rtol=0, atol=1e-11)


def test_a_hard_sample_is_not_lost_among_easy_ones(monkeypatch):
    """One point between two narrow parts, among 2,999 easy ones, is right to 1e-10: no norm is over more than 1,024."""
    sizes, solve = [], flow._solve

    def counted(target, points, *rest):
        sizes.append(points.size)
        return solve(target, points, *rest)

    monkeypatch.setattr(flow, "_solve", counted)
    target = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 1e-3)
    x = np.full((3000, 1), 2.5)
    x[1234] = 1e-3
    path = Path(Linear(), target)
    moved = path.flow(1.0, 0.0, x)
    assert max(sizes) <= 1024
    assert sum(sizes) == 3000
    for found, exact in zip(cdf(target, Linear(), 0.0, moved[:, 0]), cdf(target, Linear(), 1.0, x[:, 0])):
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-10)
    assert abs(moved[1234, 0] - path.flow(1.0, 0.0, x[1234:1235])[0, 0]) < 1e-10


def test_torch_and_float32():
    """torch in, torch out, on its type; a wanted gradient is refused where it would be lost, and kept where not."""
    path = Path(Linear(), MIXTURE)
    x = torch.from_numpy(X)
    exact = path.flow(1.0, 0.0, X)
    np.testing.assert_array_equal(path.flow(1.0, 0.0, x).numpy(), exact)
    single = path.flow(1.0, 0.0, x.float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, exact, rtol=2e-5, atol=2e-5)
    point = x.clone().requires_grad_()
    with pytest.raises(TypeError, match=r"expected points without gradient.*; received requires_grad; remedy: "):
        path.flow(1.0, 0.0, point)
    Path(Linear(), Gaussian([0.0, 0.0], 4.0)).flow(1.0, 0.0, point).sum().backward()
    np.testing.assert_allclose(point.grad, np.full((7, 2), 2.0), rtol=1e-14)


def test_singular_gaussians():
    """A flow to the data end lands on the support; from it a singular law has none. Elsewhere flows are inverses."""
    axis, mean = np.array([0.6, 0.8]), np.array([0.5, -1.0])
    for cov in (np.outer(axis, axis), LowRank(axis[:, None])):
        path = Path(Linear(), Gaussian(mean, cov))
        landed = path.flow(1.0, 0.0, X)
        np.testing.assert_allclose(landed, mean + np.outer(X @ axis, axis), rtol=0, atol=1e-14)
        np.testing.assert_allclose(path.flow(0.2, 1.0, path.flow(1.0, 0.2, X)), X, rtol=0, atol=1e-13)
        with pytest.raises(PoleError, match=r"expected a start where the law has a density; received .*; remedy: "):
            path.flow(0.0, 1.0, landed)
    np.testing.assert_array_equal(Path(VP(), Gaussian(mean, 0.0)).flow(1.0, 0.0, X), np.tile(mean, (7, 1)))


def test_poles():
    """At σ = 0 finite data, and mixtures and products with a zero variance, are refused with a remedy."""
    targets = [Empirical([[0.0], [1.0]]), GaussianMixture([0.5, 0.5], [[0.0], [1.0]], [0.0, 1.0])]
    targets.append(Product([targets[0]]))
    for target in targets:
        for times in ((1.0, 0.0), (0.0, 1.0)):
            with pytest.raises(PoleError, match=r"expected ends of the flow at which.*; received .*; remedy: "):
                Path(Linear(), target).flow(*times, np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"expected t in \[0, 1\]"):
        Path(Linear(), MIXTURE).flow(1.0, -0.1, X)
