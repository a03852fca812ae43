"""Gaussians and mixtures under every schedule, against scipy, differentiation and quadrature."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from scipy import stats

from interpolants import VP, Data, Gaussian, GaussianMixture, Linear, Path, Velocity
from tests.support.strategies import cases, coordinates, covariances, law, middle
from tests.support.zoo import CASES, COVARIANCE, GAUSSIAN, MEAN, MIXTURE, MIXTURE_1D, PREDICTIONS, row

every_case = pytest.mark.parametrize("case", CASES, ids=repr)
POINTS = np.array([[0.3, -0.8], [1.4, 0.9], [-2.0, 0.1], [0.0, 0.0], [4.0, -5.0]])


def numbers(case, time):
    """Return α, σ, α̇, σ̇ as floats from the oracle."""
    with mpmath.workdps(50):
        return [float(f(mpf(time))) for f in (case.alpha, case.sigma, case.d_alpha, case.d_sigma)]


def scipy_log_density(case, target, time, x):
    alpha, sigma, _, _ = numbers(case, time)
    parts = [
        math.log(weight)
        + stats.multivariate_normal(alpha * mean, alpha**2 * cov + sigma**2 * np.eye(len(mean))).logpdf(x)
        for weight, mean, cov in zip(target.weights, target.means, target.covs)
    ]
    return np.logaddexp.reduce(parts)


@pytest.mark.covering(3)
@every_case
@pytest.mark.parametrize("target", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
@pytest.mark.parametrize("time", [1e-6, 0.2, 0.5, 0.93])
def test_log_density(case, target, time):
    """log p_t is scipy's multivariate normal density of N(αm, α²C + σ²I), mixed."""
    found = Path(case.schedule, target).log_density(time, POINTS)
    np.testing.assert_allclose(found, scipy_log_density(case, target, time, POINTS), rtol=1e-11, atol=1e-11)


@given(case=cases, mean=st.tuples(coordinates, coordinates), cov=covariances(), time=middle)
@law(20)
def test_gaussian_closed_forms(case, mean, cov, time):
    """v, s, x̂ and ε̂ of N(m, C) are the matrix formulas with Σ = α²C + σ²I and numpy's solver."""
    alpha, sigma, d_alpha, d_sigma = numbers(case, time)
    m, path = np.array(mean), Path(case.schedule, Gaussian(mean, cov))
    whole = alpha**2 * cov + sigma**2 * np.eye(2)
    whitened = np.linalg.solve(whole, (POINTS - alpha * m).T).T
    rate = 2 * (alpha * d_alpha * cov + sigma * d_sigma * np.eye(2))
    close = lambda found, exact: np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-10)  # noqa: E731
    close(path.score(time, POINTS), -whitened)
    close(path.noise(time, POINTS), sigma * whitened)
    close(path.data(time, POINTS), m + alpha * whitened @ cov)
    close(path.velocity(time, POINTS), d_alpha * m + 0.5 * whitened @ rate)


@every_case
@pytest.mark.parametrize("time", [0.05, 0.4, 0.8])
def test_score_is_the_gradient_of_the_log_density(case, time):
    """The score of a mixture is the central difference of scipy's log density, to the error of the difference."""
    h, path = 1e-5, Path(case.schedule, MIXTURE)
    for k, step in enumerate(h * np.eye(2)):
        upper, lower = (scipy_log_density(case, MIXTURE, time, POINTS + sign * step) for sign in (1, -1))
        np.testing.assert_allclose(path.score(time, POINTS)[:, k], (upper - lower) / (2 * h), rtol=2e-6, atol=2e-6)


@pytest.mark.covering(40)
@every_case
@pytest.mark.parametrize("prediction", PREDICTIONS, ids=repr)
@pytest.mark.parametrize("time", [0.35])
def test_posterior_means_in_one_dimension(case, prediction, time):
    """Every prediction is the posterior mean of a·x_data + b·ε by quadrature over x_data, to 1e-10."""
    path, x = Path(case.schedule, MIXTURE_1D), 0.45
    with mpmath.workdps(30):
        s = mpf(time)
        alpha, sigma = case.alpha(s), case.sigma(s)
        a, b = row(prediction.name, case, s)

        def weight(y):
            prior = sum(
                mpf(p) * mpmath.npdf(y, mpf(m), mpmath.sqrt(mpf(c)))
                for p, m, c in zip(MIXTURE_1D.weights, MIXTURE_1D.means[:, 0], MIXTURE_1D.covs[:, 0, 0])
            )
            return prior * mpmath.npdf(mpf(x), alpha * y, sigma)

        panels = mpmath.linspace(-5, 5, 41)
        mass = mpmath.quad(weight, panels, maxdegree=5)
        exact = mpmath.quad(lambda y: weight(y) * (a * y + b * (x - alpha * y) / sigma), panels, maxdegree=5) / mass
    found = path.predict(prediction, time, np.array([[x]]))[0, 0]
    assert abs(found - float(exact)) <= 1e-10 * max(1.0, abs(float(exact)))


@every_case
@pytest.mark.parametrize("target", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_numpy_torch_and_float32_agree(case, target):
    """torch agrees with numpy to round-off, float32 with float64 to its own, and a time per sample with one time."""
    path = Path(case.schedule, target)
    for name in ("velocity", "score", "noise", "data", "v_prediction", "log_density"):
        method = getattr(path, name)
        exact = method(0.3, POINTS)
        by_torch = method(0.3, torch.from_numpy(POINTS))
        single = method(0.3, POINTS.astype(np.float32))
        assert single.dtype == np.float32
        assert method(0.3, torch.from_numpy(POINTS).float()).dtype == torch.float32
        np.testing.assert_allclose(by_torch.numpy(), exact, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(single, exact, rtol=3e-4, atol=3e-4)
        np.testing.assert_allclose(method(np.full(5, 0.3), POINTS), exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("target", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_vp_at_both_ends(target):
    """VP's velocity is finite at t = 0, −½β(x + s), and at t = 1, although σ̇₀ = ∞; and is continuous there."""
    path = Path(VP(0.1, 20), target)
    score = path.score(0.0, POINTS)
    np.testing.assert_allclose(path.velocity(0.0, POINTS), -0.05 * (POINTS + score), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(path.velocity(1e-9, POINTS), path.velocity(0.0, POINTS), rtol=1e-5, atol=1e-6)
    exact = -10.0 * (POINTS + path.score(1.0, POINTS))
    np.testing.assert_allclose(path.velocity(1.0, POINTS), exact, rtol=1e-9, atol=1e-12)


@every_case
def test_at_the_data_end(case):
    """At t = 0 the data prediction is x, the noise prediction 0 and the score that of the data."""
    path = Path(case.schedule, MIXTURE)
    np.testing.assert_allclose(path.data(0.0, POINTS), POINTS, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(path.noise(0.0, POINTS), 0.0, atol=1e-14)
    density = np.logaddexp.reduce(
        [
            math.log(p) + stats.multivariate_normal(m, c).logpdf(POINTS)
            for p, m, c in zip(MIXTURE.weights, MIXTURE.means, MIXTURE.covs)
        ]
    )
    np.testing.assert_allclose(path.log_density(0.0, POINTS), density, rtol=1e-11)


@given(case=cases, start=middle, stop=middle, x=coordinates, c=st.floats(0.05, 5.0))
@law(30)
def test_flow(case, start, stop, x, c):
    """The flow of a one-dimensional Gaussian keeps the standardised coordinate, in both directions."""
    path = Path(case.schedule, Gaussian([0.6], c))
    found = path.flow(start, stop, np.array([[x]]))[0, 0]
    (a, b, *_), (e, f, *_) = numbers(case, start), numbers(case, stop)
    z = (x - 0.6 * a) / math.hypot(a * math.sqrt(c), b)
    assert abs((found - 0.6 * e) / math.hypot(e * math.sqrt(c), f) - z) < 1e-12 * (1 + abs(z))


@pytest.mark.parametrize("make", [lambda: np.random.default_rng(7), lambda: torch.Generator().manual_seed(7)])
@pytest.mark.parametrize("target", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_samples_have_the_right_moments(make, target):
    """40 000 samples of p_t have its mean and covariance within 6 standard errors; the triple is consistent."""
    n, case, time = 40_000, CASES[2], 0.3
    alpha, sigma, _, _ = numbers(case, time)
    x, x_data, noise = (np.asarray(a) for a in Path(case.schedule, target).sample_joint(time, n, make()))
    np.testing.assert_allclose(x, alpha * x_data + sigma * noise, rtol=1e-5, atol=1e-6)
    mean = (target.weights[:, None] * target.means).sum(0)
    second = sum(p * (c + np.outer(m, m)) for p, m, c in zip(target.weights, target.means, target.covs))
    exact_cov = alpha**2 * (second - np.outer(mean, mean)) + sigma**2 * np.eye(2)
    assert (np.abs(x.mean(0) - alpha * mean) < 6 * np.sqrt(np.diag(exact_cov) / n)).all()
    centred = x - alpha * mean
    products = centred[:, :, None] * centred[:, None, :]
    assert (np.abs(products.mean(0) - exact_cov) < 6 * products.std(0) / math.sqrt(n)).all()
    assert np.abs((x_data[:, :, None] * noise[:, None, :]).mean(0)).max() < 6 * 2.5 / math.sqrt(n)
    again = np.asarray(Path(case.schedule, target).sample(time, n, make()))
    np.testing.assert_array_equal(x, again)


NAN = float("nan")


@pytest.mark.parametrize(
    ("mean", "cov"),
    [
        ([0.0, 0.0], [[1.0, 0.5], [0.4, 1.0]]),
        ([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]),
        ([0.0, 0.0], [[1.0, 1.0], [1.0, 1.0 - 1e-9]]),
        ([0.0], -1.0),
        ([0.0], NAN),
        ([NAN], 1.0),
        ([math.inf], 1.0),
        ([0.0], math.inf),
        ([0.0, 0.0], [1.0, 2.0, 3.0]),
        ([[0.0]], 1.0),
        ([], 1.0),
        ([0.0, 1.0], [[1.0]]),
    ],
)
def test_bad_gaussians(mean, cov):
    """A mean or covariance that is no Gaussian's is a ValueError in three parts."""
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: "):
        Gaussian(mean, cov)


@pytest.mark.parametrize(
    "weights", [[0.5, 0.6], [1.0, 0.0], [1.5, -0.5], [0.5], [NAN, 1.0], [[0.5, 0.5]], [0.5, 0.4999]]
)
def test_bad_weights(weights):
    """Weights that are no distribution over the components are a ValueError in three parts."""
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: "):
        GaussianMixture(weights, [[0.0], [1.0]], [[[1.0]], [[1.0]]])


@pytest.mark.parametrize("shape", [(2,), (5, 3), (5, 2, 1), ()])
def test_points_of_another_shape(shape):
    """x that is not (B, d) is a ValueError that names the shape wanted."""
    with pytest.raises(ValueError, match=r"expected x of shape \(B, 2\); received .*; remedy: "):
        Path(Linear(), GAUSSIAN).velocity(0.5, np.ones(shape))


def test_a_path_of_the_wrong_things():
    """A path of names, classes or samplers is a TypeError in three parts."""
    for schedule, target in (("linear", GAUSSIAN), (Linear, GAUSSIAN), (Linear(), Gaussian), (Linear(), None)):
        with pytest.raises(TypeError, match=r"expected .*; received .*; remedy: "):
            Path(schedule, target)


def test_predict_wants_a_prediction():
    """A prediction given by name is a TypeError in three parts."""
    with pytest.raises(TypeError, match=r"expected a prediction.*; received .*; remedy: "):
        Path(Linear(), GAUSSIAN).predict("velocity", 0.5, POINTS)


def test_far_away_points_do_not_underflow():
    """1000 standard deviations away responsibilities are still a distribution: finite score, velocity and density."""
    far = np.array([[1e3, -1e3]])
    path = Path(Linear(), MIXTURE)
    for found in (path.score(0.01, far), path.velocity(0.01, far), path.log_density(0.01, far)):
        assert np.isfinite(found).all()


def test_diagonal_and_scalar_covariances():
    """One variance, d variances and a matrix describe the same Gaussian where they are equal."""
    full = Path(Linear(), Gaussian(MEAN, np.diag([0.4, 0.4]))).velocity(0.3, POINTS)
    for cov in (0.4, [0.4, 0.4]):
        np.testing.assert_array_equal(Path(Linear(), Gaussian(MEAN, cov)).velocity(0.3, POINTS), full)
    assert Velocity is not Data
    np.testing.assert_array_equal(GAUSSIAN.cov, COVARIANCE)
