"""Guided samplers on Gaussians: their law is known, by closed forms and by the equations of the moments."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from interpolants import GVP, VP, Gaussian, Linear, Path, diffusion, sampler_law
from interpolants.guidance import Autoguidance, ClassifierFree, Interval, guided
from solvers import RK4, Midpoint, StochasticHeun, uniform

SCHEDULES = [Linear(), GVP(), VP()]
by_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
# alpha, sigma and their derivatives, by hand.
LINEAR = lambda t: (1 - t, t, -1.0, 1.0)  # noqa: E731


def marginal(schedule, variance, time):
    """Return the variance of p_t for data N(0, variance)."""
    return schedule.alpha(time) ** 2 * variance + schedule.sigma(time) ** 2


@pytest.mark.covering(5)
@by_schedule
@pytest.mark.parametrize("kind", [ClassifierFree, Autoguidance])
@pytest.mark.parametrize(("low", "high"), [(-1.5, 2.0), (-math.inf, 1.0), (-0.5, math.inf)])
def test_guidance_in_an_interval_has_a_closed_form(schedule, kind, low, high):
    """The log-variance integrates g_u + ζ(g_c − g_u) inside and g_c outside: products of powers of marginals."""
    wanted, other, scale = np.array([0.25, 2.0]), np.array([1.0, 0.5]), 2.5
    good, bad = (Path(schedule, Gaussian([0.0, 0.0], c)) for c in (wanted, other))
    interval = Interval(kind(scale), schedule, low, high)
    first, last = interval.times
    ends = sorted({1.0, last, first, 0.0}, reverse=True)
    pieces = [np.linspace(a, b, 400)[:-1] for a, b in pairwise(ends)]
    model = guided(good.velocity, bad.velocity, interval)
    law = sampler_law(good, Midpoint(), [*np.concatenate(pieces), 0.0], model=model)
    inside = [marginal(schedule, c, first) / marginal(schedule, c, last) for c in (wanted, other)]
    outside = wanted * marginal(schedule, wanted, last) / marginal(schedule, wanted, first)
    expected = outside * inside[0] ** scale * inside[1] ** (1 - scale)
    np.testing.assert_allclose(np.diag(law.cov), expected, rtol=5e-5)


def test_the_same_interval_under_every_schedule():
    """The ends of an interval are the times with its log-SNR, and it is open to the data and noise by default."""
    for schedule in SCHEDULES:
        first, last = Interval(ClassifierFree(2.0), schedule, -1.5, 2.0).times
        alpha, sigma = schedule.alpha(np.array([first, last])), schedule.sigma(np.array([first, last]))
        np.testing.assert_allclose(2 * np.log(alpha / sigma), [2.0, -1.5], rtol=1e-12)
        rule = Interval(ClassifierFree(2.0), schedule, -1.5, 2.0)
        assert [rule.active(time) for time in (first, last, first - 1e-9, last + 1e-9)] == [True, True, False, False]
        assert Interval(ClassifierFree(2.0), schedule).times == (0.0, 1.0)


def test_an_affine_pair_with_a_scale_that_changes():
    """Mean and variance of the flow guided by ζ(t) = 1 + 2t solve their linear equations, here by scipy's DOP853."""
    (m, c), (n, d) = (0.7, 0.3), (-0.4, 1.5)
    good, bad = Path(Linear(), Gaussian([m], c)), Path(Linear(), Gaussian([n], d))

    def moments(t, y):
        alpha, sigma, d_alpha, d_sigma = LINEAR(t)
        slopes = [(alpha * d_alpha * v + sigma * d_sigma) / (alpha**2 * v + sigma**2) for v in (c, d)]
        drifts = [d_alpha * mean + slope * (y[0] - alpha * mean) for mean, slope in zip((m, n), slopes)]
        zeta = 1 + 2 * t
        mix = lambda pair: zeta * pair[0] + (1 - zeta) * pair[1]  # noqa: E731
        return [mix(drifts), 2 * mix(slopes) * y[1]]

    exact = solve_ivp(moments, (1.0, 0.0), [0.0, 1.0], method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    model = guided(good.velocity, bad.velocity, ClassifierFree(lambda time: 1 + 2 * time))
    law = sampler_law(good, RK4(), uniform(200), model=model)
    np.testing.assert_allclose([law.mean[0], law.cov[0, 0]], exact, rtol=1e-8)


def test_a_guided_sde_has_another_law_than_its_flow():
    """The variance of the guided reverse SDE solves its own equation (scipy); w changes it, unlike without guidance."""
    c, d, zeta = 0.3, 1.5, 2.0
    good, bad = Path(Linear(), Gaussian([0.0], c)), Path(Linear(), Gaussian([0.0], d))

    def rate(t, y, w):
        alpha, sigma, d_alpha, d_sigma = LINEAR(t)
        slopes = [(alpha * d_alpha * v + sigma * d_sigma) / (alpha**2 * v + sigma**2) for v in (c, d)]
        velocity = zeta * slopes[0] + (1 - zeta) * slopes[1]
        score = -(1 + (1 - t) * velocity) / t
        return 2 * (velocity - 0.5 * w(t) * score) * y - w(t)

    start = 0.02**2 * c + 0.98**2
    flow, exact = (
        solve_ivp(rate, (0.98, 0.02), [start], args=(w,), rtol=1e-11, atol=1e-12).y[0, -1]
        for w in (lambda t: 0.0, lambda t: t)
    )
    model = guided(good.velocity, bad.velocity, ClassifierFree(zeta))
    law = sampler_law(good, StochasticHeun(), uniform(400, start=0.98, stop=0.02), diffusion.Sigma(), model=model)
    assert law.cov[0, 0] == pytest.approx(exact, rel=2e-4)
    assert abs(exact / flow - 1) > 0.02
