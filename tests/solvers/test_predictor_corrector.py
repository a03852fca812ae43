"""Langevin correctors: the exact law against a recursion by hand, and the excess that no grid removes."""

from itertools import pairwise

import numpy as np
import pytest

from interpolants import GVP, Gaussian, Linear, Path, diffusion, sampler_law
from solvers import DDIM, ExponentialEulerMaruyama, PredictorCorrector, uniform

M, C = 0.7, 0.4


def langevin(schedule, ts, method, predict):
    """Return mean and variance of x at the end: a predictor's affine step, then x + 2snr²(αx̂ − x) + 2 snr σ ξ."""
    alpha, sigma = schedule.alpha(ts[0]), schedule.sigma(ts[0])
    mean, variance = alpha * M, alpha**2 * C + sigma**2
    for t, s in pairwise(ts):
        (a, b), (alpha, sigma) = ((schedule.alpha(u), schedule.sigma(u)) for u in (t, s))
        keep, fresh = predict(b, sigma, t, s)
        pull = a * C / (a * a * C + b * b)
        factor = keep + (alpha - a * keep) * pull
        mean, variance = alpha * M + factor * (mean - a * M), factor**2 * variance + fresh
        rho2 = alpha**2 * C + sigma**2
        for _ in range(method.steps if sigma else 0):
            shrink = 1.0 - 2.0 * method.snr**2 * sigma**2 / rho2
            mean = alpha * M + shrink * (mean - alpha * M)
            variance = shrink**2 * variance + 4.0 * method.snr**2 * sigma**2
    return mean, variance


def by_kl(schedule):
    """Return the factor and the variance of exponential Euler–Maruyama with wKL, whose e^−Θ is (r_s/r_t)²."""

    def predict(b, sigma, t, s):
        shrunk = 0.0 if schedule.alpha(t) == 0.0 else sigma / schedule.alpha(s) * schedule.alpha(t) / b
        return sigma / b * shrunk, sigma**2 * (1.0 - shrunk**2)

    return predict


@pytest.mark.parametrize("steps", [1, 3])
def test_corrector_has_the_law_of_the_recursion(steps):
    """Mean and variance on N(m, c) with a deterministic predictor and with a stochastic one, from t = 1 to t = 0."""
    for schedule in (Linear(), GVP()):
        path, ts = Path(schedule, Gaussian([M], C)), uniform(11)
        cases = (
            (DDIM(), diffusion.Zero(), lambda b, sigma, t, s: (sigma / b, 0.0)),
            (ExponentialEulerMaruyama(), diffusion.KL(), by_kl(schedule)),
        )
        for predictor, w, predict in cases:
            method = PredictorCorrector(predictor, steps, 0.3)
            law = sampler_law(path, method, ts, w)
            expected = langevin(schedule, ts, method, predict)
            np.testing.assert_allclose([law.mean.item(), law.cov.item()], expected, rtol=1e-12)


@pytest.mark.parametrize("snr", [0.16, 0.5])
def test_what_is_left_on_fine_grids_is_langevins_excess(snr):
    """As n grows the variance at an interior time tends to ρ²/(1 − snr²σ²/ρ²), not to ρ²: the stated order is 0."""
    time = 0.4
    path, rho2 = Path(Linear(), Gaussian([M], C)), 0.36 * C + 0.16
    method = PredictorCorrector(DDIM(), snr=snr)
    found = [sampler_law(path, method, uniform(n, 0.8, time)).cov.item() for n in (400, 800, 1600)]
    stationary = rho2 / (1.0 - snr**2 * 0.16 / rho2)
    gaps = [abs(value - stationary) for value in found]
    assert gaps[2] < 0.2 * (stationary - rho2)
    assert abs(gaps[0] / gaps[1] - 2.0) < 0.2
    assert abs(gaps[1] / gaps[2] - 2.0) < 0.2
    assert (method.order, method.weak_order) == (0, 0)
