"""Zero eigenvalues: limits at σ = 0 on and off the supports, never NaN, and finite data as a mixture of points."""

import math

import numpy as np
import pytest
from scipy import stats

from interpolants import VP, Data, Empirical, Gaussian, GaussianMixture, Linear, LowRank, Path
from solvers.errors import PoleError
from tests.support.zoo import BUILT_INS

QUANTITIES = ("velocity", "score", "noise", "data", "v_prediction", "log_density", "jacobian", "divergence")
RNG = np.random.default_rng(3)
WEIGHTS, MEANS = np.array([0.2, 0.5, 0.3]), RNG.standard_normal((3, 4))
VARIANCES, FACTORS = RNG.uniform(0.1, 2.0, (3, 4)), RNG.standard_normal((3, 4, 2))
ROTATION = np.linalg.qr(RNG.standard_normal((4, 4)))[0]
X = RNG.standard_normal((6, 4))
RANKS = VARIANCES * [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1]]
FORMS = {
    "full": 0.3 * np.eye(4) + FACTORS @ FACTORS.swapaxes(1, 2),
    "point": 0.0,
    "ranks": RANKS,
    "ranks-rotated": ROTATION @ (RANKS[:, :, None] * np.eye(4)) @ ROTATION.T + 0.0,
    "thin": LowRank(FACTORS),
    "floors": LowRank(FACTORS, [0.0, 0.5, 0.0]),
}
every_form = pytest.mark.parametrize("form", FORMS)


@pytest.mark.covering(5)
@pytest.mark.parametrize("name", QUANTITIES)
def test_a_mixture_of_points_is_finite_data(name):
    """With zero covariances a mixture is Empirical at every σ, σ = 0 included, in all quantities."""
    points = np.array([[0.0, 1.0], [2.0, 1.0], [-1.0, 0.5]])
    mixture, data = GaussianMixture(WEIGHTS, points, 0.0), Empirical(points, WEIGHTS)
    x = np.array([[0.25, 0.5], [1.0, 1.0], [2.0, 1.0], [0.3, -2.0]])
    times = np.array([0.0, 1e-200, 0.01, 0.3])
    for case in (BUILT_INS[0], BUILT_INS[2]):
        for k, time in enumerate(times):
            here = np.roll(x, k, 0)
            found, exact = (getattr(Path(case.schedule, t), name)(np.full(4, time), here) for t in (mixture, data))
            finite = np.isfinite(exact)
            np.testing.assert_array_equal(found[~finite], exact[~finite])
            size = np.abs(exact[finite]).max(initial=1e-300)
            np.testing.assert_allclose(found[finite], exact[finite], rtol=1e-11, atol=1e-13 * size)


def test_limits_at_the_data_end_of_a_line():
    """On a line through space velocity, noise and score at σ = 0 are limits on it, ±inf off it; data are on it."""
    axis, mean = np.array([0.6, 0.8]), np.array([0.5, -1.0])
    targets = [Gaussian(mean, np.outer(axis, axis) * 2.0), Gaussian(mean, LowRank(math.sqrt(2) * axis[:, None]))]
    on, off = mean + 1.7 * axis, mean + 1.7 * axis + 0.5 * np.array([-0.8, 0.6])
    x, zero = np.stack([on, off]), np.zeros(2)
    for target in targets:
        for schedule in (Linear(), VP()):
            path = Path(schedule, target)
            np.testing.assert_allclose(path.data(0.0, x), [on, on], rtol=1e-13)
            np.testing.assert_array_equal(path.noise(zero, x)[1], [-math.inf, math.inf])
            np.testing.assert_array_equal(path.score(zero, x)[1], [math.inf, -math.inf])
            np.testing.assert_array_equal(path.noise(zero, x)[0], [0.0, 0.0])
            np.testing.assert_allclose(path.score(zero, x)[0], -1.7 * axis / 2.0, rtol=1e-12)
            np.testing.assert_array_equal(path.log_density(zero, x), [math.inf, -math.inf])
            near = path.velocity(np.full(2, 1e-9), schedule.alpha(1e-9) * (x - mean) + schedule.alpha(1e-9) * mean)
            np.testing.assert_allclose(path.velocity(zero, x)[0], near[0], rtol=1e-6, atol=1e-6)
            np.testing.assert_array_equal(path.velocity(zero, x)[1], [-math.inf, math.inf])
            signs = np.array([[1, -1], [-1, 1]])
            np.testing.assert_array_equal(path.jacobian(zero, x), np.broadcast_to(signs * math.inf, (2, 2, 2)))
            np.testing.assert_allclose(path.jacobian(0.0, x, Data), [np.outer(axis, axis)] * 2, rtol=0, atol=1e-15)
            for infinite_there in (path.velocity, path.noise, path.score, path.jacobian):
                with pytest.raises(PoleError, match=r"expected a time where .* is finite; received t = 0; remedy: "):
                    infinite_there(0.0, x)


def test_the_nearest_support_has_the_responsibility():
    """At σ = 0 the nearest support wins; among those that hold x the smallest; ties go by weight and density."""
    plane, line = np.diag([1.0, 1.0, 0.0]), np.diag([1.0, 0.0, 0.0])
    target = GaussianMixture([0.2, 0.3, 0.5], np.zeros((3, 3)), [plane, line, 4 * line])
    x = np.array([[0.5, 0.7, 0.0], [0.5, 0.0, 0.0], [0.5, 3.0, 0.1]])
    found = target.responsibilities(x, alpha=1.0, sigma=0.0)
    masses = np.array([0.3 * stats.norm.pdf(0.5), 0.5 * stats.norm.pdf(0.5, scale=2)])
    np.testing.assert_allclose(found, [[1, 0, 0], [0, *(masses / masses.sum())], [1, 0, 0]], rtol=1e-14)
    beside = target.responsibilities(x, alpha=1.0, sigma=1e-12)
    np.testing.assert_allclose(beside, found, rtol=1e-9, atol=1e-9)


@every_form
def test_no_nan_anywhere(form):
    """From σ = 0 to 1, on and off the supports and 1e8 away nothing is NaN, and from 1e-30 on nothing is infinite."""
    times = np.array([0.0, 1e-300, 1e-160, 1e-30, 1e-8, 0.5, 1.0])
    target = GaussianMixture(WEIGHTS, MEANS, FORMS[form])
    for schedule in (Linear(), VP()):
        path = Path(schedule, target)
        for point in (MEANS[1], X[0], 1e8 * X[1], MEANS[2] + FACTORS[2, :, 0]):
            x = np.tile(point, (len(times), 1))
            for name in QUANTITIES:
                found = getattr(path, name)(times, x)
                assert not np.isnan(found).any(), name
                assert np.isfinite(found[3:]).all(), name
            posterior = path.posterior(times, x)
            assert np.isfinite(posterior.mean).all()
            assert np.isfinite(posterior.covariance).all()


def test_float32_is_computed_in_float64():
    """float32 points at σ = 1e-25, whose square is no float32, come back right to float32's rounding."""
    target = GaussianMixture([0.5, 0.5], [[1.0, 0.0], [-1.0, 0.0]], [[0.0, 1.0], [0.0, 2.0]])
    x = np.array([[1.0, 0.5]], np.float32)
    score = Path(Linear(), target).score(1e-25, x)
    assert score.dtype == np.float32
    np.testing.assert_allclose(score, [[0.0, -0.5]], rtol=1e-6)
