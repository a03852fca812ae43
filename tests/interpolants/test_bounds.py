"""KL bounds and exact divergences against closed forms, quadrature, and the moments of the sampler's own drift."""

import math
import re

import mpmath
import numpy as np
import pytest
import scipy.integrate
import torch
from hypothesis import given
from hypothesis import strategies as st

from interpolants import (
    GVP,
    VP,
    Bound,
    Data,
    Empirical,
    Gaussian,
    GaussianMixture,
    Linear,
    Noise,
    Path,
    Score,
    Velocity,
    VPrediction,
    diffusion,
    kl_bound,
    reverse_sde,
    t,
)
from interpolants.bounds import exact_kl
from tests.support.strategies import law
from tests.support.zoo import COVARIANCE, GAUSSIAN, MEAN, MIXTURE

SMALL = st.floats(-0.3, 0.3, allow_subnormal=False)


def gaussian_kl(mean_p, cov_p, mean_q, cov_q):
    """The divergence of two Gaussians, as in a textbook."""
    inverse, gap = np.linalg.inv(cov_q), mean_q - mean_p
    logs = np.linalg.slogdet(cov_q)[1] - np.linalg.slogdet(cov_p)[1]
    return 0.5 * (np.trace(inverse @ cov_p) + gap @ inverse @ gap - len(gap) + logs)


@pytest.mark.parametrize(
    ("schedule", "w", "loss", "expected"),
    [
        (Linear(), diffusion.KL(), "t*(1 - t)", 1 / 3),
        (Linear(), diffusion.Sigma(), "t", 19 / 24),  # (1/2t)(1 + (1 − t)/2)²t
        (
            GVP(),
            diffusion.KL(),
            lambda s: math.sin(math.pi * s),
            2 / math.pi,
        ),  # sin πt·(2/π)/tan(πt/2) = (4/π)cos²(πt/2)
        (VP(1, 1), diffusion.KL(), 0.25, 0.5),
        (VP(1, 1), 2 * diffusion.KL(), 0.25, 0.5 * 9 / 8),
        (VP(1, 1), diffusion.Constant(4), t, 0.25 * 25 / 4),
        (Linear(), diffusion.KL(), "sqrt(t)", mpmath.quad(lambda s: (1 - s) / mpmath.sqrt(s), [0, 1])),
        (Linear(), diffusion.KL(), lambda s: s**0.1, 1 / 0.1 - 1 / 1.1),
    ],
)
def test_closed_forms(schedule, w, loss, expected):
    """The integral is the closed form to 1e-9, singular ends that are integrable included."""
    bound = kl_bound(Path(schedule, GAUSSIAN), None, w, excess_loss=loss)
    assert bound.reason == ""
    assert bound.standard_error == 0.0
    assert float(bound) - bound.terminal == pytest.approx(float(expected), rel=1e-9)
    assert isinstance(bound, Bound)


def test_a_loss_that_is_infinite_at_the_noise():
    """A loss like (1 − t)^(−1/2) is integrated to 1e-8, what float64 times near 1 allow."""
    bound = kl_bound(Path(VP(1, 1), GAUSSIAN), None, diffusion.KL(), excess_loss=lambda s: (1 - s) ** -0.5)
    assert float(bound) - bound.terminal == pytest.approx(4.0, rel=1e-8)


@pytest.mark.parametrize("schedule", [Linear(), GVP(), VP(), VP(0.1, 1)], ids=lambda s: s.name)
@pytest.mark.parametrize("target", [GAUSSIAN, Gaussian([3.0], 1e-3)], ids=["full", "narrow"])
def test_terminal_term(schedule, target):
    """It is the textbook divergence of p₁ from the prior, and 0 where α₁ = 0."""
    bound = kl_bound(Path(schedule, target), None, diffusion.KL(), excess_loss=0)
    alpha, sigma, eye = schedule.alpha(1.0), schedule.sigma(1.0), np.eye(target.dimension)
    p, prior = (alpha * target.mean, alpha**2 * target.cov + sigma**2 * eye), (0 * target.mean, sigma**2 * eye)
    assert bound.terminal == pytest.approx(gaussian_kl(*p, *prior), abs=1e-15, rel=1e-9)
    assert float(bound) == bound.terminal
    assert (bound.terminal == 0) is (schedule.name in ("linear", "gvp"))


def test_terminal_term_of_a_mixture():
    """It is at least the divergence by quadrature, and at most what one broad component would give."""
    schedule = VP(0.1, 1)
    target = GaussianMixture([0.35, 0.65], [[-1.2], [0.8]], [[[0.09]], [[0.25]]])
    path, sigma = Path(schedule, target), schedule.sigma(1.0)

    def part(x):
        log_p = float(path.log_density(1.0, np.array([[x]]))[0])
        return math.exp(log_p) * (log_p + 0.5 * (x / sigma) ** 2 + math.log(sigma * math.sqrt(2 * math.pi)))

    true = scipy.integrate.quad(part, -9, 9, points=[-1, 0, 1], epsabs=1e-12)[0]
    terminal = kl_bound(path, None, diffusion.KL(), excess_loss=0).terminal
    assert 0 < true <= terminal <= 2 * true + 1


INFINITE = [
    (Linear(), diffusion.KL(), 1.0, "kappa = 0 at t = 0.*for every w"),
    (GVP(), diffusion.Sigma(), lambda s: 0.1, "kappa = 0 at t = 0.*for every w"),
    (Linear(), diffusion.SinSquared(), "t", r"w = SinSquared\(\): .*not integrable at t = 0; KL\(\) is finite"),
    (VP(), diffusion.SinSquared(), "t**2", r"w = SinSquared\(\): .*not integrable at t = 1; KL\(\) is finite"),
    (Linear(), diffusion.Constant(1.0), "t", r"w = Constant\(1.0\): .*at t = 0; KL\(\) is finite"),
    (VP(), diffusion.Zero(), 0.1, "w = 0: .*exact_kl"),
    (VP(), diffusion.Custom((t - 0.3) ** 2), 1.0, "inside the domain"),
]


@pytest.mark.covering(7)
@pytest.mark.parametrize(("schedule", "w", "loss", "reason"), INFINITE, ids=lambda value: str(value)[:20])
def test_infinite_bounds_say_why(schedule, w, loss, reason):
    """Without a finite bound the value is inf and the reason names the end, and what can be done."""
    bound = kl_bound(Path(schedule, GAUSSIAN), None, w, excess_loss=loss)
    assert math.isinf(float(bound))
    assert re.search(reason, bound.reason)


def test_models_whose_bound_is_infinite():
    """A constant error of the velocity is infinite for Linear; one of the score is so at t = 1 only; none for VP."""
    model = lambda path, p: lambda s, x: path.predict(p, s, x) + 0.1  # noqa: E731
    path = Path(Linear(), GAUSSIAN)
    assert "kappa = 0 at t = 0" in kl_bound(path, model(path, Velocity), diffusion.KL(), n=16).reason
    assert "kappa = inf at t = 1" in kl_bound(path, model(path, Score), diffusion.KL(), Score, n=16).reason
    path = Path(VP(), GAUSSIAN)
    assert kl_bound(path, model(path, Velocity), diffusion.KL(), n=16).reason == ""


@pytest.mark.covering(7)
@pytest.mark.parametrize("prediction", [Velocity, Score, Noise, Data, VPrediction], ids=repr)
@pytest.mark.parametrize("rng", [np.random.default_rng(3), torch.Generator().manual_seed(3)], ids=["numpy", "torch"])
def test_sampled_models(prediction, rng):
    """A model with an error that is linear in x meets the closed form within six standard errors, which shrink."""
    schedule = VP()
    path = Path(schedule, GAUSSIAN)
    row = {"Velocity": 1.0, "Score": 0.7, "Noise": 0.5, "Data": 0.2, "VPrediction": 0.4}
    scale = 0.1 * row[repr(prediction)]

    def model(s, x):
        return path.predict(prediction, s, x) + scale * schedule.sigma(s) ** 2 * x

    def integrand(s):
        a, b, da, db = schedule(s)
        wronskian = a * db - da * b
        to_velocity = {
            "Velocity": 1.0,
            "Score": b * wronskian / a,
            "Noise": wronskian / a,
            "Data": wronskian / b,
            "VPrediction": wronskian / (a * a + b * b),
        }[repr(prediction)]
        second = np.trace(a**2 * COVARIANCE + b**2 * np.eye(2)) + a**2 * MEAN @ MEAN
        return (to_velocity * scale * b**2) ** 2 * second / (b * wronskian / a)

    exact = scipy.integrate.quad(integrand, 0, 1, points=[1e-4, 1e-2], limit=400)[0]
    bound = kl_bound(path, model, diffusion.KL(), prediction, n=4000, rng=rng)
    assert 0 < bound.standard_error < 0.05 * exact
    assert abs(float(bound) - bound.terminal - exact) < 6 * bound.standard_error
    assert bound.integrand(0.4) == pytest.approx(integrand(0.4), rel=0.1)


@pytest.mark.parametrize("schedule", [Linear(), VP()], ids=lambda s: s.name)
def test_perfect_models(schedule):
    """The bound of the exact velocity, also where it is computed in another way, is the terminal term."""
    path = Path(schedule, GAUSSIAN)

    def model(s, x):
        covariance = schedule.alpha(s) ** 2 * COVARIANCE + schedule.sigma(s) ** 2 * np.eye(2)
        return -np.linalg.solve(covariance, (x - schedule.alpha(s) * MEAN).T).T

    bound = kl_bound(path, model, diffusion.KL(), Score, n=64)
    assert float(bound) == bound.terminal


def moments(schedule, target, model, w, start=1 - 1e-6, stop=1e-9):
    """Mean and covariance at the data from the affine drift of the library's sampler, probed at points."""
    d, sde = target.dimension, reverse_sde(schedule, model, w)

    def slope(s, state):
        points = np.concatenate([np.zeros((1, d)), np.eye(d)])
        values = sde.drift(float(s), points)
        matrix, offset = (values[1:] - values[0]).T, values[0]
        flow = matrix @ state[d:].reshape(d, d)
        return np.concatenate(
            [matrix @ state[:d] + offset, (flow + flow.T - w.of(schedule)(float(s)) * np.eye(d)).ravel()]
        )

    state = np.concatenate([np.zeros(d), (schedule.sigma(1.0) ** 2 * np.eye(d)).ravel()])
    found = scipy.integrate.solve_ivp(slope, (start, stop), state, method="DOP853", rtol=1e-8, atol=1e-10).y[:, -1]
    return found[:d], found[d:].reshape(d, d)


@pytest.mark.covering(6)
@pytest.mark.parametrize("schedule", [Linear(), VP(0.1, 2)], ids=lambda s: f"{s.name}")
@pytest.mark.parametrize("w", [diffusion.Zero(), diffusion.Sigma(), 1.5 * diffusion.KL()], ids=repr)
def test_exact_kl_is_that_of_the_sampler(schedule, w):
    """It equals the divergence of the moments that the sampler's own drift produces, with a matrix and a shift."""
    path = Path(schedule, GAUSSIAN)
    matrix, vector = np.array([[0.1, -0.2], [0.15, 0.05]]), np.array([0.2, -0.1])

    def model(s, x):
        return path.velocity(s, x) + s * (x - schedule.alpha(s) * MEAN) @ matrix.T + (1 - s) * vector

    mean, cov = moments(schedule, GAUSSIAN, model, w)
    found = exact_kl(path, lambda s: s * matrix, lambda s: (1 - s) * vector, w)
    assert found == pytest.approx(gaussian_kl(MEAN, COVARIANCE, mean, cov), rel=1e-5)


@given(delta=SMALL, shift=SMALL, eta=st.floats(0.25, 4.0))
@law(12)
def test_exact_kl_closed_form(delta, shift, eta):
    """N(0, 1) under VP(1, 1), w = η wKL: variance and mean solve linear equations with constant coefficients."""
    f = 1 + eta
    rate, drift = eta + 2 * f * delta, eta / 2 + f * delta
    variance = eta / rate + (-math.expm1(-1) - eta / rate) * math.exp(-rate)
    mean = -f * shift * -math.expm1(-drift) / drift
    exact = 0.5 * ((1 + mean**2) / variance - 1 + math.log(variance))
    found = exact_kl(Path(VP(1, 1), Gaussian([0.0], 1.0)), delta, shift, eta * diffusion.KL())
    assert found == pytest.approx(exact, rel=1e-9, abs=1e-13)


def test_twice_the_best_w_can_be_better():
    """N(0, 1) under VP with a velocity wrong by 0.05βx: the bound prefers wKL and the truth prefers 2wKL."""
    schedule = VP()
    path, beta = Path(schedule, Gaussian([0.0], 1.0)), lambda s: 0.1 + 19.9 * s
    once, twice = (exact_kl(path, lambda s: 0.05 * beta(s), 0, k * diffusion.KL()) for k in (1, 2))
    bounds = [
        float(kl_bound(path, None, k * diffusion.KL(), excess_loss=lambda s: (0.05 * beta(s)) ** 2)) for k in (1, 2)
    ]
    assert (round(once, 4), round(twice, 4)) == (0.0088, 0.0051)
    assert twice < once < bounds[0] < bounds[1]


def test_exact_kl_of_a_right_model():
    """Without an error the flow keeps the divergence of the prior, noise only shrinks it, and α₁ = 0 leaves none."""
    path = Path(VP(), GAUSSIAN)
    terminal = kl_bound(path, None, diffusion.KL(), excess_loss=0).terminal
    assert exact_kl(path, 0) == pytest.approx(terminal, rel=1e-6)
    assert exact_kl(path, 0, 0, diffusion.KL()) < 1e-3 * terminal
    assert exact_kl(Path(Linear(), GAUSSIAN), 0, 0, diffusion.KL()) == 0


def test_exact_kl_is_infinite_where_the_drift_is():
    """A constant w under Linear multiplies a constant velocity error by 1/t; an error like t is finite."""
    path = Path(Linear(), GAUSSIAN)
    assert math.isinf(exact_kl(path, 0.1, 0, diffusion.Constant(1.0)))
    assert math.isfinite(exact_kl(path, lambda s: 0.1 * s, 0, diffusion.Constant(1.0)))


PATH, ZERO = Path(VP(), GAUSSIAN), lambda s, x: 0 * x


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (TypeError, lambda: kl_bound("path", ZERO, diffusion.KL())),
        (TypeError, lambda: kl_bound(PATH, 3, diffusion.KL())),
        (TypeError, lambda: kl_bound(PATH, None, diffusion.KL())),
        (TypeError, lambda: kl_bound(PATH, ZERO, "KL")),
        (TypeError, lambda: kl_bound(PATH, ZERO, diffusion.KL(), "Velocity")),
        (ValueError, lambda: kl_bound(PATH, ZERO, diffusion.KL(), excess_loss=1)),
        (ValueError, lambda: kl_bound(PATH, ZERO, diffusion.KL(), n=1)),
        (ValueError, lambda: kl_bound(PATH, lambda s, x: x[:, 0], diffusion.KL())),
        (ValueError, lambda: kl_bound(PATH, None, diffusion.KL(), excess_loss=-1)),
        (ValueError, lambda: kl_bound(PATH, None, diffusion.KL(), excess_loss=lambda s: math.nan)),
        (TypeError, lambda: exact_kl(Path(VP(), MIXTURE), 0.1)),
        (ValueError, lambda: exact_kl(PATH, [0.1, 0.2])),
        (ValueError, lambda: exact_kl(PATH, 0.1, [1.0, 2.0, 3.0])),
        (ValueError, lambda: exact_kl(PATH, math.nan)),
        (TypeError, lambda: exact_kl(PATH, 0.1, 0.1, None)),
    ],
)
def test_refusals(kind, call):
    """Every wrong argument is refused in three parts."""
    with pytest.raises(kind, match=r"expected .*; received .*; remedy: "):
        call()


def test_terminal_term_of_finite_data():
    """For one point y the law at the noise end is N(αy, σ²I), whose divergence from the prior is α²|y|²/2σ²."""
    point = np.array([[1.5, -0.5]])
    bound = kl_bound(Path(VP(), Empirical(point)), None, diffusion.KL(), excess_loss=lambda time: 0.0)
    alpha = mpmath.exp(-mpmath.mpf(201) / 40)
    exact = alpha**2 * mpmath.mpf("2.5") / (2 * (1 - alpha**2))
    assert float(bound) == pytest.approx(float(exact), rel=1e-9)
