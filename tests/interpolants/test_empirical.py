"""Finite data under every schedule, against 60-digit sums, differentiation, quadrature and closed forms."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from scipy import integrate, special, stats

from interpolants import Data, Empirical, GaussianMixture, Noise, Path, Score, Velocity, VPrediction
from solvers.errors import PoleError
from tests.support.strategies import law
from tests.support.zoo import BUILT_INS, MIXTURE, PREDICTIONS, row

every_case = pytest.mark.parametrize("case", BUILT_INS, ids=repr)
cases = st.sampled_from(BUILT_INS)
inside = st.one_of(st.sampled_from([1e-8, 1e-4, 0.5, 1 - 1e-8, 1.0]), st.floats(1e-3, 1.0 - 1e-3))
standard = st.lists(st.floats(-3.0, 3.0), min_size=2, max_size=2)

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def _same_draws():
    """Every test draws the same numbers, whatever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(5).bit_generator.state


POINTS = np.array([[1.0, 0.5], [-1.5, 0.25], [0.25, -2.0], [-0.75, 0.75], [1.25, 0.75]])
WEIGHTS = np.array([0.125, 0.25, 0.25, 0.0625, 0.3125])
DATA = Empirical(POINTS, WEIGHTS)
ROOTS = RNG.standard_normal((2, 3, 3))
# The eigenvectors of 2 × 2 matrices may be symmetric, which hides a missing transpose.
SOLID = GaussianMixture([0.4, 0.6], RNG.standard_normal((2, 3)), ROOTS @ ROOTS.swapaxes(1, 2) + 0.1 * np.eye(3))
SOME = np.array([[0.3, -0.8], [1.4, 0.9], [-2.0, 0.1], [0.0, 0.0], [4.0, -5.0]])


def log_density(case, s, x, points=POINTS, weights=WEIGHTS):
    """Return log p_t(x) in mpmath; x is a sequence of mpf."""
    alpha, sigma, d = case.alpha(s), case.sigma(s), len(x)
    norm = (2 * mpmath.pi * sigma**2) ** (mpf(d) / 2)
    squares = [sum((a - alpha * mpf(b)) ** 2 for a, b in zip(x, y)) for y in points.tolist()]
    return mpmath.log(sum(mpf(w) * mpmath.exp(-q / (2 * sigma**2)) for w, q in zip(weights.tolist(), squares)) / norm)


def denoised(case, s, x):
    """Return E[x_data|x] in mpmath."""
    alpha, sigma = case.alpha(s), case.sigma(s)
    squares = [sum((a - alpha * mpf(b)) ** 2 for a, b in zip(x, y)) for y in POINTS.tolist()]
    masses = [mpf(w) * mpmath.exp(-q / (2 * sigma**2)) for w, q in zip(WEIGHTS.tolist(), squares)]
    return [sum(m * mpf(y[k]) for m, y in zip(masses, POINTS.tolist())) / sum(masses) for k in range(len(x))]


def predicted(name, case, s, x):
    """Return a prediction in mpmath."""
    (a, b), alpha, sigma = row(name, case, s), case.alpha(s), case.sigma(s)
    return [a * mean + b * (value - alpha * mean) / sigma for value, mean in zip(x, denoised(case, s, x))]


def noisy(case, time, index, z):
    """Return αy + σz as float64, as numpy and as mpf."""
    with mpmath.workdps(30):
        alpha, sigma = float(case.alpha(mpf(time))), float(case.sigma(mpf(time)))
    x = alpha * POINTS[index] + sigma * np.array(z)
    return x[None], [mpf(value) for value in x.tolist()]


@given(case=cases, time=inside, index=st.integers(0, 4), z=standard)
@law(40)
def test_predictions_against_sixty_digits(case, time, index, z):
    """Every prediction at αy_k + σz is the 60-digit sum, to the rounding of α and σ: 1e-13 (1 + 1/σ)(|a| + |b|)."""
    path = Path(case.schedule, DATA)
    with mpmath.workdps(60):
        s = mpf(time)
        x, exact_x = noisy(case, time, index, z)
        for prediction in PREDICTIONS:
            exact = [float(value) for value in predicted(prediction.name, case, s, exact_x)]
            tolerance = float((1 + 1 / case.sigma(s)) * sum(map(abs, row(prediction.name, case, s)))) * 1e-13
            assert np.abs(path.predict(prediction, time, x)[0] - exact).max() <= 5 * tolerance


@given(case=cases, time=inside, index=st.integers(0, 4), z=standard)
@law(40)
def test_score_is_the_gradient_of_the_log_density(case, time, index, z):
    """log p_t, its gradient by 60-digit differences, and Tweedie's x̂ = (x + σ²∇log p)/α agree with the target."""
    path = Path(case.schedule, DATA)
    x, exact_x = noisy(case, time, index, z)
    with mpmath.workdps(60):
        s, h = mpf(time), mpf(10) ** -28
        alpha, sigma = case.alpha(s), case.sigma(s)
        exact = float(log_density(case, s, exact_x))
        slope = []
        for k in range(2):
            ends = [[v + sign * h * (j == k) for j, v in enumerate(exact_x)] for sign in (1, -1)]
            slope.append((log_density(case, s, ends[0]) - log_density(case, s, ends[1])) / (2 * h))
        scale = float(1 + 1 / sigma)
        assert abs(path.log_density(time, x)[0] - exact) <= 1e-13 * scale * (1 + abs(exact))
        np.testing.assert_allclose(path.score(time, x)[0], np.array(slope, float), rtol=0, atol=5e-13 * scale**2)
        if float(alpha) > 1e-3:
            tweedie = [float((v + sigma**2 * g) / alpha) for v, g in zip(exact_x, slope)]
            np.testing.assert_allclose(path.data(time, x)[0], tweedie, rtol=0, atol=5e-13 * scale)


@every_case
@pytest.mark.parametrize("time", [1e-3, 0.2, 0.6, 1 - 1e-8, 1.0])
def test_scipy_density(case, time):
    """log p_t is the log-sum of scipy's normal densities around αy_k."""
    alpha, sigma = (float(f(mpf(time))) for f in (case.alpha, case.sigma))
    parts = [stats.multivariate_normal(alpha * y, sigma**2).logpdf(SOME) for y in POINTS]
    exact = special.logsumexp(np.array(parts), axis=0, b=WEIGHTS[:, None])
    np.testing.assert_allclose(Path(case.schedule, DATA).log_density(time, SOME), exact, rtol=1e-10)


@every_case
@pytest.mark.parametrize("prediction", PREDICTIONS, ids=repr)
def test_narrow_mixture(case, prediction):
    """A mixture with variance 1e-13 at every point predicts the same to 1e-9."""
    mixture = GaussianMixture(WEIGHTS, POINTS, np.full((5, 1, 1), 1e-13) * np.eye(2))
    found, other = (Path(case.schedule, target).predict(prediction, 0.4, SOME) for target in (DATA, mixture))
    np.testing.assert_allclose(found, other, rtol=1e-9, atol=1e-9)


@every_case
@pytest.mark.parametrize("time", [0.3, 0.7])
def test_quadrature(case, time):
    """In one dimension ∫p = 1, ∫x p = αE[y], ∫v p = α̇E[y], ∫s p = 0 and ∫x̂ p = E[y] by quadrature."""
    points, weights = np.array([[-1.0], [0.5], [2.0]]), np.array([0.25, 0.5, 0.25])
    path, mean = Path(case.schedule, Empirical(points, weights)), float(weights @ points[:, 0])
    alpha, d_alpha = (float(f(mpf(time))) for f in (case.alpha, case.d_alpha))

    def mass(f):
        def integrand(value):
            x = np.array([[value]])
            return math.exp(path.log_density(time, x)[0]) * f(x)

        return integrate.quad(integrand, -12, 12, points=alpha * points[:, 0], limit=200)[0]

    assert abs(mass(lambda x: 1.0) - 1) < 1e-9
    assert abs(mass(lambda x: x[0, 0]) - alpha * mean) < 1e-9
    assert abs(mass(lambda x: path.velocity(time, x)[0, 0]) - d_alpha * mean) < 1e-8
    assert abs(mass(lambda x: path.score(time, x)[0, 0])) < 1e-8
    assert abs(mass(lambda x: path.data(time, x)[0, 0]) - mean) < 1e-9


@every_case
@pytest.mark.parametrize("time", [1e-8, 0.4, 1 - 1e-8, 1.0])
def test_point_mass(case, time):
    """One point has the affine velocity α̇y + (σ̇/σ)(x − αy), with Jacobian (σ̇/σ)I and divergence dσ̇/σ."""
    y, path = np.array([0.5, -1.25]), Path(case.schedule, Empirical([[0.5, -1.25]]))
    with mpmath.workdps(40):
        s = mpf(time)
        rate, alpha, slope = case.d_sigma(s) / case.sigma(s), case.alpha(s), case.d_alpha(s)
        exact = [[float(slope * b + rate * (mpf(a) - alpha * b)) for a, b in zip(x, y)] for x in SOME.tolist()]
    np.testing.assert_allclose(path.velocity(time, SOME), exact, rtol=1e-12, atol=1e-12)
    matrices = np.broadcast_to(float(rate) * np.eye(2), (5, 2, 2))
    np.testing.assert_allclose(path.jacobian(time, SOME), matrices, rtol=1e-13, atol=1e-30)
    np.testing.assert_allclose(path.divergence(time, SOME), np.full(5, 2 * float(rate)), rtol=1e-13, atol=1e-30)


@given(case=cases, time=inside, x=standard)
@law(30)
def test_symmetric_data(case, time, x):
    """For the points ±y the denoiser is the odd function y tanh(αx·y/σ²), and 0 at 0."""
    y, x = np.array([1.5, -0.5]), np.array([x])
    path = Path(case.schedule, Empirical([y, -y]))
    alpha, sigma = (float(f(mpf(time))) for f in (case.alpha, case.sigma))
    found = path.data(time, x)
    np.testing.assert_allclose(found[0], y * math.tanh(alpha * float(x[0] @ y) / sigma**2), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(path.data(time, -x), -found, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(path.data(time, 0 * x), 0 * x)


@pytest.mark.covering(7)
@every_case
@pytest.mark.parametrize("prediction", [Velocity, Score, Noise, Data, VPrediction], ids=repr)
@pytest.mark.parametrize("time", [0.25, 0.8])
def test_jacobian_and_divergence(case, prediction, time):
    """The Jacobian is the 60-digit difference quotient of the 60-digit prediction; the divergence is its trace."""
    path, x = Path(case.schedule, DATA), SOME[:2]
    exact = np.empty((2, 2, 2))
    with mpmath.workdps(60):
        s, h = mpf(time), mpf(10) ** -28
        for b, point in enumerate(x.tolist()):
            for k in range(2):
                upper, lower = (
                    predicted(prediction.name, case, s, [mpf(v) + sign * h * (j == k) for j, v in enumerate(point)])
                    for sign in (1, -1)
                )
                exact[b, :, k] = [float((p - q) / (2 * h)) for p, q in zip(upper, lower)]
    found = path.jacobian(time, x, prediction)
    np.testing.assert_allclose(found, exact, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(path.divergence(time, x, prediction), np.trace(exact, axis1=1, axis2=2), 1e-11, 1e-11)


@every_case
@pytest.mark.parametrize("target", [DATA, MIXTURE, SOLID], ids=["empirical", "mixture", "mixture-3d"])
def test_jacobian_is_what_autograd_finds(case, target):
    """Gradients flow in torch, and give the Jacobian of velocity and score of finite data and of mixtures."""
    path, x = Path(case.schedule, target), torch.from_numpy(np.hstack([SOME, SOME[::-1]])[:, : target.dimension].copy())
    for prediction in (Velocity, Score):
        one = torch.func.jacrev(lambda p: path.predict(prediction, 0.4, p).sum(0))(x)  # noqa: B023
        found = path.jacobian(0.4, x, prediction)
        torch.testing.assert_close(found, one.permute(1, 0, 2), rtol=1e-11, atol=1e-11)
        trace = found.diagonal(dim1=1, dim2=2).sum(1)
        torch.testing.assert_close(path.divergence(0.4, x, prediction), trace, rtol=1e-11, atol=1e-11)
    point = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(path.log_density(0.4, point).sum(), point)
    torch.testing.assert_close(slope, path.score(0.4, x), rtol=1e-11, atol=1e-11)


@every_case
def test_the_data_end(case):
    """At σ = 0 the posterior is the nearest point, ties by weight; scores are ±inf, and noise 0 at the data."""
    path = Path(case.schedule, Empirical([[0.0, 1.0], [2.0, 1.0], [2.0, 1.0]], [0.25, 0.25, 0.5]))
    x = np.array([[0.25, 0.5], [1.0, 1.0], [2.0, 1.0]])
    zero = np.zeros(3)
    np.testing.assert_array_equal(path.data(0.0, x), [[0.0, 1.0], [1.5, 1.0], [2.0, 1.0]])
    np.testing.assert_array_equal(path.data(zero, x), path.data(0.0, x))
    posterior = path.target.posterior(x, alpha=1.0, sigma=0.0)
    np.testing.assert_array_equal(posterior, [[1, 0, 0], [0.25, 0.25, 0.5], [0, 1 / 3, 2 / 3]])
    signs = np.array([[1, -1], [-1, 0], [0, 0]])
    with np.errstate(invalid="ignore"):
        infinite = np.where(signs == 0, 0.0, signs * math.inf)
    np.testing.assert_array_equal(path.noise(zero, x), infinite)
    np.testing.assert_array_equal(path.score(zero, x), -infinite)
    along = float(case.d_alpha(mpf(0))) * path.data(0.0, x)
    np.testing.assert_allclose(path.velocity(zero, x), np.where(signs == 0, along, infinite), rtol=1e-14)
    np.testing.assert_array_equal(path.log_density(zero, x), [-math.inf, -math.inf, math.inf])
    assert not np.isnan(path.jacobian(zero, x)).any()
    np.testing.assert_array_equal(path.divergence(zero, x), [math.inf, -math.inf, math.inf])
    for infinite_there in (path.score, path.velocity, path.noise, path.v_prediction, path.jacobian, path.divergence):
        with pytest.raises(PoleError, match=r"expected a time where .* is finite; received t = 0; remedy: "):
            infinite_there(0.0, x)
    equal = Path(case.schedule, Empirical(np.full((13, 1), 0.1)))
    np.testing.assert_array_equal(equal.score(np.zeros(1), np.array([[0.1]])), [[0.0]])
    by_torch = path.score(torch.zeros(3, dtype=torch.float64), torch.from_numpy(x))
    np.testing.assert_array_equal(by_torch.numpy(), -infinite)


@every_case
def test_no_nan_anywhere(case):
    """From σ = 0 to σ = 1 and 1e8 away from the data nothing is NaN, and only what diverges is infinite."""
    times = np.array([0.0, 1e-300, 1e-160, 1e-30, 1e-8, 0.5, 1 - 1e-8, 1.0])
    path = Path(case.schedule, DATA)
    for point in ([0.3, 0.1], [1e8, -1e8], [1.0, 0.5]):
        x = np.tile(point, (len(times), 1))
        for name in ("velocity", "score", "noise", "data", "v_prediction", "log_density", "jacobian", "divergence"):
            found = getattr(path, name)(times, x)
            assert not np.isnan(found).any(), name
            assert np.isfinite(found[3:]).all(), name
        sigma = np.array([[1e-300], [1e-160], [1.0]])
        assert np.abs(DATA.posterior(x[:3], alpha=1.0, sigma=sigma).sum(1) - 1).max() < 1e-15
