"""Exact laws of samplers against hand-written recursions, closed forms, matrix recursions and one simulation."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from scipy.linalg import sqrtm

from interpolants import (
    GVP,
    VP,
    Data,
    Gaussian,
    Linear,
    Noise,
    Path,
    Velocity,
    denoising,
    diffusion,
    probability_flow,
    reverse_sde,
    sampler_law,
)
from solvers import (
    DDIM,
    RK4,
    Ancestral,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Heun,
    Midpoint,
    StochasticHeun,
    solve,
    uniform,
)
from tests.support import recursions
from tests.support.strategies import covariances, law, mild_variances
from tests.support.zoo import BUILT_INS, CASES, CHOICES, COVARIANCE, FIRST, GAUSSIAN, MEAN

EEM = ExponentialEulerMaruyama()
SOME = [choice for choice in CHOICES if repr(choice) in FIRST]


def named(pairs, first):
    marks = [[] if first(case, choice) else pytest.mark.slow for case, choice in pairs]
    return [pytest.param(*pair, id=f"{pair[0]}-{pair[1]}", marks=mark) for pair, mark in zip(pairs, marks)]


EVERY = named([(case, choice) for case in CASES for choice in CHOICES], lambda case, w: case in BUILT_INS and w in SOME)


def agree(found, expected, tolerance=1e-12):
    """Compare a one-dimensional law with (mean, variance, cross-covariance)."""
    mean, variance, cross = expected
    size = 1 + abs(variance)
    assert abs(found.mean.item() - mean) <= tolerance * (1 + abs(mean))
    assert abs(found.cov.item() - variance) <= tolerance * size
    assert abs(found.cross.item() - cross) <= tolerance * size


@given(n=st.integers(1, 12), c=mild_variances, m=st.floats(-2, 2), data=st.data())
@law(8)
def test_methods_for_sdes(n, c, m, data):
    """Euler–Maruyama and stochastic Heun have the mean, variance and cross-covariance of their recursions."""
    case, choice = data.draw(st.sampled_from(BUILT_INS)), data.draw(st.sampled_from(SOME))
    ts, path = uniform(n, 0.95, 0.05), Path(case.schedule, Gaussian([m], c))
    for method, recursion in (
        (EulerMaruyama(), recursions.euler_maruyama),
        (StochasticHeun(), recursions.stochastic_heun),
    ):
        found = sampler_law(path, method, ts, choice.w)
        agree(found, recursion(case, choice, ts, m, c), 1e-11)
        assert found.nfe == n * method.evaluations


@given(n=st.integers(1, 12), c=mild_variances, m=st.floats(-2, 2), case=st.sampled_from(CASES))
@law(6)
def test_methods_for_odes(n, c, m, case):
    """Euler, Heun and DDIM have the laws of their recursions, without noise."""
    ts, path = uniform(n, 0.95, 0.05), Path(case.schedule, Gaussian([m], c))
    agree(sampler_law(path, Euler(), ts), recursions.euler_maruyama(case, None, ts, m, c))
    agree(sampler_law(path, Heun(), ts), recursions.stochastic_heun(case, None, ts, m, c))
    found = sampler_law(path, DDIM(), ts)
    agree(found, recursions.exponential(case, None, ts, m, c))
    assert found.noise.item() == 0.0


@pytest.mark.covering(7)
@pytest.mark.parametrize(("case", "choice"), EVERY)
def test_exponential_from_end_to_end(case, choice):
    """From t = 1 exactly to t = 0 the exponential sampler has its recursion's law, for any schedule and w."""
    ts, m, c = [1.0, 0.999, 0.8, 0.35, 0.02, 0.0], 0.7, 0.3
    found = sampler_law(Path(case.schedule, Gaussian([m], c)), EEM, ts, choice.w)
    agree(found, recursions.exponential(case, choice, ts, m, c), 1e-9)


@given(q=st.lists(st.floats(0.05, 1.0), min_size=1, max_size=8), c=mild_variances, m=st.floats(-2, 2))
@law(10)
def test_deficit_of_ancestral_sampling(q, c, m):
    """β̃: the mean is exact, the variance too small by c³ Σ(q_k − q_{k+1})²/(q_k(c + q_k)(c + q_{k+1})²), q = r²."""
    levels = np.concatenate([np.cumsum(q)[::-1], [0.0]])
    ts = [*GVP().time_of_log_snr(-np.log(levels[:-1])), 0.0]
    found = sampler_law(Path(GVP(), Gaussian([m], c)), Ancestral(), ts)
    deficit = c**3 * sum((a - b) ** 2 / (a * (c + a) * (c + b) ** 2) for a, b in pairwise(levels))
    assert abs(found.mean.item() - m) < 1e-12 * (1 + abs(m))
    assert abs(c - found.cov.item() - deficit) < 1e-11 * c


def matrices(time, w):
    """Return Σ and the slope of Linear's reverse drift for the full covariance of the zoo, at 1 > time > 0."""
    alpha, sigma = 1 - time, time
    cov = alpha**2 * COVARIANCE + sigma**2 * np.eye(2)
    growth = -2 * alpha * COVARIANCE + 2 * sigma * np.eye(2)
    return cov, 0.5 * growth @ np.linalg.inv(cov) + 0.5 * w * np.linalg.inv(cov)


def test_full_covariance():
    """With a full covariance V⁺ = (I − hA)V(I − hA)ᵀ + hwI, and the cross-covariance is the product times V."""
    ts = uniform(9, 0.9, 0.1)
    cov, _ = matrices(0.9, 0.0)
    cross, mean = cov.copy(), 0.1 * MEAN
    for t0, t1 in pairwise(ts):
        h, (_, slope) = t0 - t1, matrices(t0, t0)
        factor = np.eye(2) - h * slope
        mean = mean - h * (-MEAN + slope @ (mean - (1 - t0) * MEAN))
        cov, cross = factor @ cov @ factor.T + h * t0 * np.eye(2), factor @ cross
    path = Path(Linear(), GAUSSIAN)
    for model in (None, path.velocity):
        found = sampler_law(path, EulerMaruyama(), ts, diffusion.Ramp(), model=model)
        np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(found.cov, cov, rtol=1e-12)
        np.testing.assert_allclose(found.cross, cross, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(found.transfer @ matrices(0.9, 0.0)[0], cross, rtol=1e-11, atol=1e-13)


def test_rotations():
    """In three dimensions, where the eigenbasis is no symmetric matrix, a model in the given axes has the same law."""
    axes, _ = np.linalg.qr(np.array([[1.0, 2.0, 0.5], [-1.0, 1.0, 3.0], [0.3, -2.0, 1.0]]))
    path = Path(Linear(), Gaussian([0.4, -0.3, 1.0], axes @ np.diag([0.1, 0.6, 2.0]) @ axes.T))
    exact, given = (sampler_law(path, Euler(), uniform(5), model=model) for model in (None, path.velocity))
    np.testing.assert_allclose(given.cov, exact.cov, rtol=0, atol=1e-13)
    np.testing.assert_allclose(given.mean, path.target.mean, rtol=0, atol=1e-13)
    # Euler's factor along an eigenvector is Π(1 − h g), g = (t − (1 − t)c)/((1 − t)²c + t²).
    for c, axis in zip((0.1, 0.6, 2.0), axes.T):
        factor = math.prod(1 - 0.2 * (t - (1 - t) * c) / ((1 - t) ** 2 * c + t * t) for t in (1.0, 0.8, 0.6, 0.4, 0.2))
        np.testing.assert_allclose(given.cov @ axis, factor**2 * axis, rtol=0, atol=1e-12)


def test_perturbed_models():
    """A velocity with a rotation and a shift added has the law of its own matrix recursion; the prediction is free."""
    delta, shift = np.array([[0.1, 0.4], [-0.3, 0.2]]), np.array([0.5, -0.2])
    path, ts = Path(Linear(), GAUSSIAN), uniform(7)
    cov, mean = np.eye(2), np.zeros(2)
    for t0, t1 in pairwise(ts):
        h, slope = t0 - t1, matrices(t0, 0.0)[1] + delta
        mean = mean - h * (-MEAN + slope @ (mean - (1 - t0) * MEAN) + shift)
        cov = (np.eye(2) - h * slope) @ cov @ (np.eye(2) - h * slope).T

    def model(time, x):
        return path.velocity(time, x) + (x - (1 - time) * MEAN) @ delta.T + shift

    found = sampler_law(path, Euler(), ts, model=model)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.cov, cov, rtol=1e-12, atol=1e-14)
    data = sampler_law(path, Euler(), ts, prediction=Data, model=lambda time, x: x - time * model(time, x))
    np.testing.assert_allclose(data.cov, cov, rtol=1e-10)


@given(mean=st.tuples(st.floats(-1, 1), st.floats(-1, 1)), cov=covariances())
@law(15)
def test_distances(mean, cov):
    """W2 is Bures' by scipy's matrix roots, the KL divergence is by inverse and determinant."""
    path = Path(Linear(), Gaussian(mean, cov))
    noisy = np.array([[0.2, -0.1], [0.4, 0.1]])
    found = sampler_law(path, Euler(), uniform(6), model=lambda t, x: path.velocity(t, x) + x @ noisy + 0.3)
    shift, root = found.mean - np.array(mean), np.real(sqrtm(cov))
    bures = np.trace(cov + found.cov - 2 * np.real(sqrtm(root @ found.cov @ root)))
    assert abs(found.wasserstein2() ** 2 - bures - shift @ shift) < 1e-6
    inverse = np.linalg.inv(found.cov)
    logs = np.linalg.slogdet(found.cov)[1] - np.linalg.slogdet(cov)[1]
    kl = 0.5 * (np.trace(inverse @ cov) - 2 + logs + shift @ inverse @ shift)
    assert abs(found.kl() - kl) < 1e-9 * (1 + kl)


def test_small_distances_keep_their_digits():
    """500 steps of RK4 leave a relative error near 1e-12 in 40 digits' recursion, and W2 and KL show it, not 1e-8."""
    c, ts = 0.25, uniform(200)
    path = Path(Linear(), Gaussian([0.0], c))
    with mpmath.workdps(40):
        ratio = mpf(1)
        g = lambda s: (s - (1 - s) * mpf(c)) / ((1 - s) ** 2 * mpf(c) + s**2)  # noqa: E731
        for t0, t1 in pairwise(ts):
            t0, h = mpf(t0), mpf(t1) - mpf(t0)
            k1 = g(t0)
            k2 = g(t0 + h / 2) * (1 + h / 2 * k1)
            k3 = g(t0 + h / 2) * (1 + h / 2 * k2)
            k4 = g(t0 + h) * (1 + h * k3)
            ratio *= 1 + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        off = float(ratio / mpmath.sqrt(c) - 1)
    found = sampler_law(path, RK4(), ts)
    assert 1e-11 < abs(off) < 1e-8
    assert abs(found.wasserstein2() / (abs(off) * 0.5) - 1) < 1e-4
    assert abs(found.kl() / off**2 - 1) < 1e-3


def test_degenerate_laws():
    """One DDIM step from α = 0 returns the mean: the divergence is infinite and W2 is the spread of the data."""
    found = sampler_law(Path(Linear(), Gaussian([0.3], 0.49)), DDIM(), uniform(1))
    assert (found.mean.item(), found.cov.item(), found.kl()) == (0.3, 0.0, math.inf)
    assert abs(found.wasserstein2() - 0.7) < 1e-15


def test_start_from_the_prior():
    """Under VP the prior is not p_1: the exact marginal maps to α₁-biased data, the prior to what Euler makes of it."""
    path, ts = Path(VP(), Gaussian([2.0], 0.25)), uniform(20)
    alpha, sigma = math.exp(-10.05 / 2), math.sqrt(-math.expm1(-10.05))
    exact, prior = (sampler_law(path, Heun(), ts, from_prior=flag) for flag in (False, True))
    factor = exact.transfer.item()
    assert abs(exact.mean.item() - prior.mean.item() - factor * alpha * 2.0) < 1e-13
    assert abs(prior.cov.item() - factor**2 * sigma**2) < 1e-13
    assert abs(exact.cov.item() - factor**2 * (alpha**2 * 0.25 + sigma**2)) < 1e-13


def test_history():
    """The laws at earlier times are those of the grid cut there; the first is the exact marginal."""
    path, ts = Path(Linear(), GAUSSIAN), uniform(6, 0.9, 0.0)
    whole = sampler_law(path, EulerMaruyama(), ts, diffusion.Sigma(), save=True)
    assert [each.time for each in whole.history] == ts.tolist()
    assert whole.history[0].wasserstein2() < 1e-15
    for k in range(2, 7):
        cut = sampler_law(path, EulerMaruyama(), ts[:k], diffusion.Sigma())
        np.testing.assert_allclose(whole.history[k - 1].cov, cut.cov, rtol=1e-13)
        np.testing.assert_allclose(whole.history[k - 1].cross, cut.cross, rtol=1e-13, atol=1e-15)
        assert abs(whole.history[k - 1].kl() - cut.kl()) < 1e-14
    assert sampler_law(path, Euler(), ts).history == ()


@pytest.mark.parametrize(
    ("method", "w", "build"),
    [
        (EulerMaruyama(), diffusion.Sigma(), lambda p, w: reverse_sde(p.schedule, p.velocity, w)),
        (EEM, diffusion.KL(), lambda p, w: denoising(p.schedule, p.velocity, w=w)),
        (Ancestral("large"), diffusion.Zero(), lambda p, w: denoising(p.schedule, p.velocity)),
        (Midpoint(), diffusion.Zero(), lambda p, w: probability_flow(p.schedule, p.velocity)),
    ],
    ids=["em", "exponential", "ancestral", "midpoint"],
)
def test_simulation(method, w, build):
    """Mean, covariance and cross-covariance of 40000 samples are those of the law, within six standard errors."""
    path, n, rng = Path(Linear(), GAUSSIAN), 40000, np.random.default_rng(5)
    x = path.prior(n, rng)
    end = solve(build(path, w), x, uniform(8), method, rng=rng).x
    found = sampler_law(path, method, uniform(8), w)
    scale = np.diag(found.cov)
    assert (np.abs(end.mean(0) - found.mean) < 6 * np.sqrt(scale / n)).all()
    cov = np.cov(end.T)
    assert (np.abs(cov - found.cov) < 6 * np.sqrt((np.outer(scale, scale) + found.cov**2) / n)).all()
    cross = (end - end.mean(0)).T @ (x - x.mean(0)) / n
    assert (np.abs(cross - found.cross) < 6 * np.sqrt((scale[:, None] + found.cross**2) / n)).all()


def test_the_prediction_does_not_matter():
    """In exact arithmetic every prediction has the same law; a velocity and a noise model agree to rounding."""
    path, ts = Path(VP(), GAUSSIAN), uniform(9, 0.9, 0.1)
    laws = [sampler_law(path, Heun(), ts, prediction=prediction) for prediction in (Velocity, Noise, Data)]
    for other in laws[1:]:
        np.testing.assert_allclose(other.cov, laws[0].cov, rtol=1e-12)


def test_a_step_that_forgets_its_start():
    """One DDIM step from noise to data ends at the mean, be it as small as 1e-94: the rounding of the start is none."""
    law = sampler_law(Path(Linear(), Gaussian([-4.9e-94], 1.2)), DDIM(), [1.0, 0.0])
    assert abs(law.mean.item()) < 1e-15
    assert law.cov.item() < 1e-30
