"""Weak orders of the methods for SDEs by exact moments: no Monte Carlo, so four halvings show the order to ±0.1."""

import math

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad

from interpolants import Gaussian, Path, diffusion, sampler_law
from solvers import (
    SRA1,
    SRA3,
    EulerMaruyama,
    LeimkuhlerMatthews,
    Pole,
    PoleError,
    ShARK,
    SiTHeun,
    StochasticHeun,
    solve,
    uniform,
)
from solvers.problem import SDE
from tests.support.fields import slope
from tests.support.zoo import BUILT_INS, CHOICES

START, STOP = 0.9, 0.2
VARIANCES, MEAN = (0.05, 0.3, 2.0), 0.7
METHODS = [EulerMaruyama(), StochasticHeun(), SRA1(), SRA3(), ShARK(), LeimkuhlerMatthews(), SiTHeun()]
COUNTS = [40 * 2**k for k in range(5)]
KINDS = [choice for choice in CHOICES if repr(choice) in {"KL()", "Sigma()", "SinSquared()"}]
EVERY = [
    pytest.param(method, case, choice, id=f"{type(method).__name__}-{case}-{choice}")
    for method in METHODS
    for k, case in enumerate(BUILT_INS)
    for choice in [KINDS[k]]
]


def exact(case, choice, c):
    """ρ² at the stop and the covariance of both ends, ρ_start ρ_stop exp(−½∫w/ρ²), from the oracle's functions."""

    def rho(time):
        return math.hypot(float(case.alpha(time)) * math.sqrt(c), float(case.sigma(time)))

    with mpmath.workdps(17):
        area = quad(lambda u: float(choice.value(case, u)) / rho(u) ** 2, STOP, START, epsabs=1e-13, epsrel=1e-12)[0]
        return rho(STOP) ** 2, rho(START) * rho(STOP) * math.exp(-0.5 * area)


@pytest.mark.covering(5)
@pytest.mark.parametrize(("method", "case", "choice"), EVERY)
def test_weak_order(method, case, choice):
    """Variance and two-time covariance converge with the order on the label, no less for any of three variances."""
    path = Path(case.schedule, Gaussian([MEAN] * 3, np.diag(VARIANCES)))
    truth = np.array([exact(case, choice, c) for c in VARIANCES])
    errors = []
    for n in COUNTS:
        found = sampler_law(path, method, uniform(n, START, STOP), choice.w)
        moments = np.column_stack([np.diag(found.cov), np.diag(found.cross)])
        errors.append(np.abs(moments / truth - 1).max(0))
    variance, cross = (slope(COUNTS, [error[k] for error in errors]) for k in (0, 1))
    assert abs(variance - method.weak_order) < 0.1
    assert cross > method.weak_order - 0.1


def test_sit_heun_against_stochastic_heun():
    """At 160 steps the sampler that SiT calls Heun is more than 50 times as far off as stochastic Heun."""
    case, choice = BUILT_INS[0], KINDS[0]
    path = Path(case.schedule, Gaussian([0.0], 0.3))
    variance, _ = exact(case, choice, 0.3)
    published, proper = (
        abs(sampler_law(path, method, uniform(160, START, STOP), choice.w).cov.item() - variance)
        for method in (SiTHeun(), StochasticHeun())
    )
    assert 50 * proper < published


def test_leimkuhler_matthews_where_it_is_good():
    """On Langevin dynamics of a Gaussian its stationary variance is exact for a large step, Euler–Maruyama's is not.

    dX = −X dt + √2 dW has variance 1; Euler–Maruyama settles at 1/(1 − h/2).
    """
    sde, h, n = SDE(lambda time, x: -x, lambda time: math.sqrt(2.0)), 0.5, 60
    ts = np.linspace(0.0, n * h, n + 1)
    found = [_variance(sde, ts, method) for method in (LeimkuhlerMatthews(), EulerMaruyama())]
    np.testing.assert_allclose(found, [1.0, 1.0 / (1.0 - h / 2)], rtol=1e-12)


class _Units:
    """Row k has a unit normal in draw k and zeros in the others; areas are a draw of their own."""

    def increments(self, x):
        drawn = iter(np.eye(len(x)))
        return lambda t0, t1: math.sqrt(abs(t1 - t0)) * next(drawn)[:, None]


def _variance(sde, ts, method):
    """Return the variance at the end from a start at 0: the sum of the squares of the responses to each draw."""
    end = solve(sde, np.zeros((2 * len(ts), 1)), ts, method, rng=_Units()).x
    return float((end**2).sum())


@pytest.mark.parametrize("w", [diffusion.KL(), diffusion.Constant(1.0)], ids=repr)
def test_where_there_is_no_drift_the_noise_is_that_of_a_linear_g(w):
    """Without drift SRA1, SRA3 and ShARK have the variance of ∫g dW for the chord of g: |h|(g₀² + g₀g₁ + g₁²)/3."""
    rate = w.of(BUILT_INS[2].schedule)
    sde = SDE(lambda time, x: 0.0 * x, lambda time: math.sqrt(float(rate(time))))
    g0, g1 = sde.diffusion(0.7), sde.diffusion(0.4)
    for method in (SRA1(), SRA3(), ShARK()):
        found = _variance(sde, np.array([0.7, 0.4]), method)
        assert abs(found - 0.3 * (g0 * g0 + g0 * g1 + g1 * g1) / 3) < 1e-14


def test_first_step_of_leimkuhler_matthews():
    """Half of a normal drawn for it and half of its own increment: without drift the variance is g²|h|/2."""
    sde = SDE(lambda time, x: 0.0 * x, lambda time: 3.0)
    assert abs(_variance(sde, np.array([0.7, 0.4]), LeimkuhlerMatthews()) - 9.0 * 0.3 / 2) < 1e-14


def test_step_of_sit_heun():
    """Both slopes see all of the noise: with f = −x its factor is that of Heun's step, (1 − h + h²/2)."""
    sde, h = SDE(lambda time, x: -x, lambda time: 1.0 + time), 0.3
    variance = (1 + 0.4) ** 2 * h * (1 - h + h * h / 2) ** 2
    assert abs(_variance(sde, np.array([0.4, 0.4 + h]), SiTHeun()) - variance) < 1e-14


@pytest.mark.parametrize("method", [SRA1(), ShARK()], ids=lambda method: type(method).__name__)
def test_a_pole_of_the_noise_alone(method):
    """Who asks for the noise at the end of a step is refused where it is infinite, not where only the drift is."""
    pole, x, rng = Pole(0.0, "made so"), np.ones(2), np.random.default_rng(0)
    infinite = SDE(lambda time, x: -x, lambda time: 1.0 / time if time else math.inf, poles=(pole,))
    with pytest.raises(PoleError, match=r"a pole at time 0\.0 \(made so\)"):
        solve(infinite, x, [1.0, 0.5, 0.0], method, rng=rng)
    finite = SDE(lambda time, x: -x / time, lambda time: 1.0, poles=(pole,))
    assert np.isfinite(solve(finite, x, [1.0, 0.5, 0.0], method, rng=rng).x).all()
