"""Products of one-dimensional targets against their factors, a joint mixture, differentiation and moments."""

import itertools
import math
import time as clock

import numpy as np
import pytest
import torch

from interpolants import (
    VP,
    Data,
    Empirical,
    Gaussian,
    GaussianMixture,
    Linear,
    Path,
    Product,
    Score,
    Velocity,
    diffusion,
    kl_bound,
)
from solvers.errors import PoleError
from tests.support.zoo import BUILT_INS, MIXTURE, MIXTURE_1D

QUANTITIES = ("velocity", "score", "noise", "data", "v_prediction", "log_density", "jacobian", "divergence")
OTHER = GaussianMixture([0.6, 0.4], [[0.0], [2.0]], [[0.1], [0.4]])
POINTS = Empirical([[-1.0], [0.5], [2.0]], [0.25, 0.25, 0.5])
FACTORS = [MIXTURE_1D, Gaussian([0.5], 0.3), POINTS, MIXTURE_1D, Gaussian([-1.0], 2.0), OTHER]
TARGET = Product(FACTORS)
X = np.random.default_rng(4).standard_normal((5, 6))
every_case = pytest.mark.parametrize("case", BUILT_INS, ids=repr)


@pytest.mark.covering(3)
@every_case
@pytest.mark.parametrize(
    "time", [0.03, pytest.param(0.5, marks=pytest.mark.slow), pytest.param(1.0, marks=pytest.mark.slow)]
)
def test_coordinate_by_coordinate(case, time):
    """Predictions are the factors' own, densities their sum, the Jacobian their slopes on a diagonal."""
    path, parts = Path(case.schedule, TARGET), [Path(case.schedule, factor) for factor in FACTORS]
    for x in (X, torch.from_numpy(X)):
        for when in (time, np.full(5, time) if x is X else torch.full((5,), time, dtype=torch.float64)):
            for name in ("velocity", "score", "noise", "data", "v_prediction"):
                exact = np.hstack([getattr(p, name)(time, X[:, k : k + 1]) for k, p in enumerate(parts)])
                np.testing.assert_allclose(getattr(path, name)(when, x), exact, rtol=1e-12, atol=1e-13)
            exact = sum(p.log_density(time, X[:, k : k + 1]) for k, p in enumerate(parts))
            np.testing.assert_allclose(path.log_density(when, x), exact, rtol=1e-13)
            slopes = np.stack([p.jacobian(time, X[:, k : k + 1])[:, 0, 0] for k, p in enumerate(parts)], 1)
            np.testing.assert_allclose(path.jacobian(when, x), slopes[:, None] * np.eye(6), rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(path.divergence(when, x), slopes.sum(1), rtol=1e-11, atol=1e-12)
    assert path.velocity(time, X.astype(np.float32)).dtype == np.float32
    times = np.linspace(0.1, 0.9, 5)
    for name in ("velocity", "log_density"):
        one_by_one = np.concatenate([getattr(path, name)(s, X[k : k + 1]) for k, s in enumerate(times)])
        np.testing.assert_allclose(getattr(path, name)(times, X), one_by_one, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("case", BUILT_INS[:1], ids=repr)
def test_the_joint_mixture(case):
    """The product of two mixtures is the mixture of all pairs with variances along the axes, to 1e-12."""
    pairs = list(itertools.product(range(2), range(2)))
    one, two = MIXTURE_1D, OTHER
    joint = GaussianMixture(
        [one.weights[i] * two.weights[j] for i, j in pairs],
        [[one.means[i, 0], two.means[j, 0]] for i, j in pairs],
        [[one.covs[i, 0, 0], two.covs[j, 0, 0]] for i, j in pairs],
    )
    x = X[:, :2].copy()
    for name in QUANTITIES:
        found, exact = (getattr(Path(case.schedule, t), name)(0.35, x) for t in (Product([one, two]), joint))
        np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-12, err_msg=name)


def test_autograd():
    """The Jacobian and the score are what torch differentiates from the predictions and the density."""
    path, x = Path(Linear(), TARGET), torch.from_numpy(X)
    for prediction in (Velocity, Score, Data):
        one = torch.func.jacrev(lambda p: path.predict(prediction, 0.4, p).sum(0))(x).permute(1, 0, 2)  # noqa: B023
        torch.testing.assert_close(path.jacobian(0.4, x, prediction), one, rtol=1e-11, atol=1e-11)
    point = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(path.log_density(0.4, point).sum(), point)
    torch.testing.assert_close(slope, path.score(0.4, x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "make", [np.random.default_rng, lambda s: torch.Generator().manual_seed(s)], ids=["np", "torch"]
)
def test_samples(make):
    """Coordinates have their factors' means and variances, and no correlation, within 6 standard errors."""
    n = 20_000
    x = np.asarray(TARGET.sample(n, make(1)))
    assert x.dtype == np.float64
    for k, factor in enumerate(FACTORS):
        y = np.asarray(factor.sample(n, make(2)))[:, 0]
        spread = math.sqrt(2 / n) * y.std()
        assert abs(x[:, k].mean() - y.mean()) < 6 * spread
        squares = (x[:, k] - y.mean()) ** 2
        assert abs(squares.mean() - y.var()) < 6 * math.sqrt(2 / n) * squares.std()
    correlation = np.corrcoef(x.T) - np.eye(6)
    assert np.abs(correlation).max() < 6 / math.sqrt(n)
    assert set(x[:, 2]) == {-1.0, 0.5, 2.0}
    np.testing.assert_array_equal(x, np.asarray(TARGET.sample(n, make(1))))


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=lambda s: s.name)
def test_the_data_end(schedule):
    """At σ = 0 nothing is NaN: densities of 0 decide, the higher order decides, and numbers as time are poles."""
    target = Product([POINTS, Gaussian([0.0], 0.0), Empirical([[0.0], [1.0]])])
    path, zero = Path(schedule, target), np.zeros(3)
    x = np.array([[0.5, 0.0, 0.5], [0.5, 0.0, 1.0], [0.1, 0.2, 0.3]])
    for name in QUANTITIES:
        assert not np.isnan(getattr(path, name)(zero, x)).any(), name
    np.testing.assert_array_equal(path.log_density(zero, x), [-math.inf, math.inf, -math.inf])
    np.testing.assert_array_equal(path.divergence(zero, x), [-math.inf, math.inf, math.inf])
    np.testing.assert_array_equal(path.divergence(zero, x, Score), [math.inf, -math.inf, -math.inf])
    small = np.full(3, 1e-7)
    near = path.divergence(small, schedule.alpha(1e-7) * x)
    np.testing.assert_array_equal(np.sign(near), [-1, 1, 1])
    with pytest.raises(PoleError, match=r"received t = 0"):
        path.velocity(0.0, x)


def test_repeated_factors_are_evaluated_once():
    """3,072 coordinates with one mixture cost one evaluation on all of them, not 3,072."""
    d = 3072
    path, x = Path(Linear(), Product([MIXTURE_1D] * d)), np.random.default_rng(0).standard_normal((4, d))
    calls = []

    class Counted(GaussianMixture):
        def expectation(self, x, **coefficients):
            calls.append(len(x))
            return super().expectation(x, **coefficients)

    counted = Counted([0.35, 0.65], [[-1.2], [0.8]], [0.09, 0.25])
    gaussians = [Gaussian([float(k)], 1.0 + k) for k in range(3)]
    mixed = Product([*gaussians, *[counted] * (d - 3)])
    found = Path(Linear(), mixed).velocity(0.3, x)
    assert calls == [4 * (d - 3)]
    np.testing.assert_allclose(found[:, 3:], path.velocity(0.3, x)[:, 3:], rtol=1e-12, atol=1e-13)
    began = clock.process_time()
    path.velocity(0.3, x)
    assert clock.process_time() - began < 1.0
    assert repr(mixed) == "Product(d=3072, 2 kinds of factors)"


def test_bad_factors():
    """No factor, one of another dimension, and what is no target, are refused in three parts."""
    with pytest.raises(ValueError, match=r"expected at least one factor; received none; remedy: "):
        Product([])
    with pytest.raises(ValueError, match=r"one-dimensional targets; received dimension 2 as factor 1; remedy: "):
        Product([MIXTURE_1D, MIXTURE])
    with pytest.raises(TypeError, match=r"expected one-dimensional targets; received 0.5 as factor 0; remedy: "):
        Product([0.5])
    with pytest.raises(ValueError, match=r"expected x of shape \(B, 6\); received .*; remedy: "):
        Path(Linear(), TARGET).velocity(0.5, X[:, :2])


def test_terminal_term_of_a_product():
    """Independent coordinates: the divergences from the prior add up, as for the same law written as one Gaussian."""
    schedule = VP()
    parts = [Gaussian([0.5], 0.3), Gaussian([-1.0], 2.0)]
    found = kl_bound(Path(schedule, Product(parts)), None, diffusion.KL(), excess_loss=0)
    whole = kl_bound(Path(schedule, Gaussian([0.5, -1.0], [0.3, 2.0])), None, diffusion.KL(), excess_loss=0)
    assert found.terminal == pytest.approx(whole.terminal, rel=1e-12)
    assert found.terminal > 0
