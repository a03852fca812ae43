"""Exact posteriors of the data, and the digits of mixtures, against quadrature, Bayes' rule and enumeration."""

import math

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf
from scipy import stats

from interpolants import GVP, VP, Empirical, Gaussian, GaussianMixture, Linear, LowRank, Path, Product
from interpolants.targets import Posterior
from tests.support.zoo import BUILT_INS, MIXTURE, MIXTURE_1D, row

every_case = pytest.mark.parametrize("case", BUILT_INS, ids=repr)
RNG = np.random.default_rng(8)
X = RNG.standard_normal((5, 2))
POINTS = np.array([[0.0, 1.0], [2.0, 1.0], [-1.0, 0.5]])
SHARES = np.array([0.2, 0.5, 0.3])
TARGETS = {
    "gaussian": Gaussian([0.5, -1.0], [[1.0, 0.4], [0.4, 0.3]]),
    "mixture": MIXTURE,
    "diagonal": GaussianMixture(SHARES, POINTS, [[0.3, 0.1], [0.2, 1.0], [0.5, 0.5]]),
    "isotropic": GaussianMixture(SHARES, POINTS, [0.3, 0.2, 0.1]),
    "thin": GaussianMixture(SHARES, POINTS, LowRank(RNG.standard_normal((3, 2, 1)))),
    "flat": GaussianMixture(SHARES, POINTS, [[0.3, 0.0], [0.0, 0.0], [0.5, 0.5]]),
    "points": Empirical(POINTS, SHARES),
    "product": Product([MIXTURE_1D, Gaussian([0.5], 0.3)]),
    "mixed": Product([Empirical([[0.0], [1.0], [3.0]]), MIXTURE_1D]),
}
every_target = pytest.mark.parametrize("name", TARGETS)


def exact_in_1d(case, s, x):
    """Return log p_t(x), the posterior mean and variance of MIXTURE_1D by quadrature over x_data at 30 digits."""
    alpha, sigma = case.alpha(s), case.sigma(s)
    parts = [(mpf(p), mpf(m[0]), mpf(c[0][0])) for p, m, c in zip(*_lists(MIXTURE_1D))]

    def joint(y):
        prior = sum(p * mpmath.npdf(y, m, mpmath.sqrt(c)) for p, m, c in parts)
        return prior * mpmath.npdf(x, alpha * y, sigma)

    marks = set()
    for _, m, c in parts:
        variance = 1 / (1 / c + alpha**2 / sigma**2)
        centre, width = variance * (m / c + alpha * x / sigma**2), mpmath.sqrt(variance)
        marks |= {centre + k * width for k in (-12, -6, -3, -1, 1, 3, 6, 12)}
    moments = [mpmath.quad(lambda y, k=k: joint(y) * y**k, sorted(marks), maxdegree=7) for k in range(3)]
    mean = moments[1] / moments[0]
    return mpmath.log(moments[0]), mean, moments[2] / moments[0] - mean**2


def _lists(target):
    return target.weights.tolist(), target.means.tolist(), target.covs.tolist()


@pytest.mark.covering(2)
@every_case
@pytest.mark.parametrize("time", [0.05, *(pytest.param(s, marks=pytest.mark.slow) for s in (1e-4, 0.5, 0.97))])
def test_digits_in_one_dimension(case, time):
    """Every prediction, log p_t, posterior mean and variance, against quadrature at 30 digits, to 1e-12."""
    path, x = Path(case.schedule, MIXTURE_1D), 0.4375
    point = np.array([[x]])
    with mpmath.workdps(30):
        s = mpf(time)
        log_density, mean, variance = exact_in_1d(case, s, mpf(x))
        alpha, sigma = case.alpha(s), case.sigma(s)
        exact = {"log_density": log_density}
        for method, prediction in (("velocity", "Velocity"), ("score", "Score"), ("noise", "Noise"), ("data", "Data")):
            a, b = row(prediction, case, s)
            exact[method] = a * mean + b * (mpf(x) - alpha * mean) / sigma
    for name, value in exact.items():
        found = np.ravel(getattr(path, name)(time, point))[0]
        assert abs(found - float(value)) <= 1e-12 * (1 + abs(float(value))), name
    posterior = path.posterior(time, point)
    assert abs(posterior.mean[0, 0] - float(mean)) <= 1e-12
    assert abs(posterior.covariance[0, 0, 0] / float(variance) - 1) <= 1e-12


@pytest.mark.covering(4)
@pytest.mark.parametrize("name", ["mixture", "diagonal"])
@pytest.mark.parametrize("time", [0.3, 0.8])
def test_two_dimensions_by_quadrature(name, time):
    """In two dimensions log p_t, posterior mean and covariance are Gauss–Legendre quadratures over x_data, to 1e-12."""
    target, x = TARGETS[name], np.array([0.4, -0.3])
    path = Path(GVP(), target)
    alpha, sigma = math.cos(math.pi * time / 2), math.sin(math.pi * time / 2)
    nodes, masses = np.polynomial.legendre.leggauss(400)
    y = np.stack(np.meshgrid(9 * nodes, 9 * nodes, indexing="ij"), -1)
    prior = sum(
        w * stats.multivariate_normal(m, c).pdf(y) for w, m, c in zip(target.weights, target.means, target.covs)
    )
    joint = 81 * np.outer(masses, masses) * prior * stats.multivariate_normal(x, sigma**2).pdf(alpha * y)
    total = joint.sum()
    mean = np.einsum("ij,ijk->k", joint, y) / total
    cov = np.einsum("ij,ijk,ijl->kl", joint, y - mean, y - mean) / total
    assert abs(path.log_density(time, x[None])[0] - math.log(total)) < 1e-12
    noise = (x - alpha * mean) / sigma
    exact = {"data": mean, "noise": noise, "score": -noise / sigma}
    exact["velocity"] = math.pi / 2 * (alpha * noise - sigma * mean)
    for quantity, value in exact.items():
        np.testing.assert_allclose(getattr(path, quantity)(time, x[None])[0], value, rtol=2e-12, atol=2e-12)
    posterior = path.posterior(time, x[None])
    np.testing.assert_allclose(posterior.mean[0], mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(posterior.covariance[0], cov, rtol=0, atol=1e-12)


@every_target
@pytest.mark.parametrize("time", [0.2, pytest.param(0.7, marks=pytest.mark.slow)])
def test_second_order_tweedie(name, time):
    """The mean is the data prediction, and ∇s = −I/σ² + (α²/σ⁴)Cov for every target, with torch as with numpy."""
    for schedule in (Linear(), VP()):
        path = Path(schedule, TARGETS[name])
        alpha, sigma = schedule.alpha(time), schedule.sigma(time)
        slope = torch.func.jacrev(lambda p: path.score(time, p).sum(0))(torch.from_numpy(X)).permute(1, 0, 2)  # noqa: B023
        exact = (slope.numpy() + np.eye(2) / sigma**2) * sigma**4 / alpha**2
        for x in (X, torch.from_numpy(X)):
            posterior = path.posterior(time, x)
            assert isinstance(posterior, Posterior)
            assert isinstance(posterior.mean, type(x))
            size = sigma**2 / alpha**2
            np.testing.assert_allclose(posterior.covariance, exact, rtol=1e-10, atol=1e-11 * (1 + size))
            np.testing.assert_allclose(posterior.mean, path.data(time, x), rtol=0, atol=1e-13)
        times = path.posterior(np.linspace(0.1, time, 5), X)
        np.testing.assert_allclose(times.covariance[-1], exact[-1], rtol=1e-10, atol=1e-11 * (1 + size))
        single = path.posterior(time, X.astype(np.float32))
        assert single.covariance.dtype == single.mean.dtype == np.float32


@pytest.mark.covering(5)
@every_target
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_samples(name, kind):
    """20 000 draws of the posterior of one point have its mean and covariance within 6 standard errors."""
    n, path = 20_000, Path(Linear(), TARGETS[name])
    x = kind(np.repeat(X[:1], n, 0))
    make = np.random.default_rng if isinstance(x, np.ndarray) else torch.Generator().manual_seed
    posterior = path.posterior(0.75, x)
    drawn = np.asarray(posterior.sample(make(6)))
    np.testing.assert_array_equal(drawn, np.asarray(path.posterior(0.75, x).sample(make(6))))
    mean, cov = np.asarray(posterior.mean)[0], np.asarray(posterior.covariance)[0]
    assert (np.abs(drawn.mean(0) - mean) <= 6 * np.sqrt(np.diag(cov) / n) + 1e-12).all()
    products = (drawn - mean)[:, :, None] * (drawn - mean)[:, None, :]
    assert (np.abs(products.mean(0) - cov) <= 6 * products.std(0) / math.sqrt(n) + 1e-12).all()
    assert drawn.shape == (n, 2)


@pytest.mark.parametrize("name", ["gaussian", "mixture", "diagonal", "isotropic", "thin", "flat"])
def test_components(name):
    """Weights, means and covariances of the components compose the whole; each is Bayes' rule for one Gaussian."""
    target, alpha, sigma = TARGETS[name], 0.6, 0.4
    posterior = Path(Linear(), target).posterior(0.4, X)
    np.testing.assert_allclose(posterior.weights.sum(1), 1.0, rtol=1e-14)
    for k, (m, c) in enumerate(zip(target.means, target.covs)):
        gain = alpha * c @ np.linalg.inv(alpha**2 * c + sigma**2 * np.eye(2))
        np.testing.assert_allclose(posterior.means[:, k], m + (X - alpha * m) @ gain.T, rtol=1e-12, atol=1e-13)
        exact = np.broadcast_to(c - gain @ c * alpha, (5, 2, 2))
        np.testing.assert_allclose(posterior.covariances[:, k], exact, rtol=1e-12, atol=1e-13)
    whole = np.einsum("bk,bki->bi", posterior.weights, posterior.means)
    np.testing.assert_allclose(posterior.mean, whole, rtol=1e-12, atol=1e-14)
    apart = posterior.means - whole[:, None]
    spread = np.einsum(
        "bk,bkij->bij", posterior.weights, posterior.covariances + np.einsum("bki,bkj->bkij", apart, apart)
    )
    np.testing.assert_allclose(posterior.covariance, spread, rtol=1e-12, atol=1e-14)


@every_target
def test_ends(name):
    """At t = 1 the posterior is the prior; at t = 0 it is certain: covariance 0, or that of equally near points."""
    target = TARGETS[name]
    early, late = (Path(Linear(), target).posterior(time, X) for time in (0.0, 1.0))
    np.testing.assert_allclose(early.covariance, 0.0, atol=1e-14)
    draws = target.sample(100_000, np.random.default_rng(2))
    scale = 6 * draws.std(0) / math.sqrt(len(draws))
    assert (np.abs(late.mean - draws.mean(0)) < scale + 1e-12).all()
    np.testing.assert_allclose(late.covariance, np.broadcast_to(np.cov(draws.T), (5, 2, 2)), atol=0.05)
    assert np.isfinite(early.sample(np.random.default_rng(0))).all()


def test_finite_data_are_weighed():
    """The weights on the points are Bayes' rule, their mean and covariance the weighted ones, in blocks of any size."""
    likelihood = np.stack([stats.multivariate_normal(0.6 * y, 0.16).pdf(X) for y in POINTS], 1) * SHARES
    exact = likelihood / likelihood.sum(1, keepdims=True)
    for block in (1, 4, 2**22):
        posterior = Path(Linear(), Empirical(POINTS, SHARES, block=block)).posterior(0.4, X)
        np.testing.assert_allclose(posterior.weights, exact, rtol=1e-12)
        np.testing.assert_allclose(posterior.mean, exact @ POINTS, rtol=1e-12)
        apart = POINTS - (exact @ POINTS)[:, None]
        np.testing.assert_allclose(posterior.covariance, np.einsum("bn,bni,bnj->bij", exact, apart, apart), atol=1e-14)
        drawn = posterior.sample(np.random.default_rng(0))
        assert all(point in POINTS.tolist() for point in drawn.tolist())


def test_marginal_of_the_draws():
    """A draw from the posterior of x_t is a draw of the data: the pair (x_t, draw) has the law of (x_t, x_data)."""
    path, rng, n = Path(Linear(), MIXTURE_1D), np.random.default_rng(3), 40_000
    x, x_data, _ = path.sample_joint(0.3, n, rng)
    drawn = path.posterior(0.3, x).sample(rng)
    mean = float(MIXTURE_1D.weights @ MIXTURE_1D.means[:, 0])
    assert abs(drawn.mean() - mean) < 6 * drawn.std() / math.sqrt(n)
    difference = (x * drawn - x * x_data)[:, 0]
    assert abs(difference.mean()) < 6 * difference.std() / math.sqrt(n)
    square = (drawn**2 - x_data**2)[:, 0]
    assert abs(square.mean()) < 6 * square.std() / math.sqrt(n)


def test_refusals():
    """Another shape, and a generator of the other library, are errors in three parts."""
    path = Path(Linear(), MIXTURE)
    with pytest.raises(ValueError, match=r"expected x of shape \(B, 2\); received .*; remedy: "):
        path.posterior(0.3, np.ones((2, 3)))
    for target in (MIXTURE, TARGETS["points"]):
        for x, rng in ((X, torch.Generator()), (torch.from_numpy(X), np.random.default_rng(0))):
            with pytest.raises(TypeError, match=r"expected a generator of the library of x; received .*; remedy: "):
                Path(Linear(), target).posterior(0.3, x).sample(rng)
