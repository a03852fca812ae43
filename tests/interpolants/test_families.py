"""Every family: α and σ against the formula of its paper in mpmath, derivatives, certificate, marginals."""

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from scipy.integrate import solve_ivp

from interpolants import Gaussian, Path, certify
from interpolants.schedules import by_name
from tests.support.papers import FAMILIES

NOT_FROM_THE_DATA = {"flow-matching", "ve", "raw-sigmoid"}
every = pytest.mark.parametrize("name", FAMILIES)
# Sympy takes a minute over powers and long polynomials; the first tier leaves that to the second.
SLOW = ("laplace", "cosine", "ddpm-linear", "ddpm-scaled-linear", "ddpm-cosine")
every_proof = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in FAMILIES]
)


def times(schedule):
    lo, hi = schedule.domain
    fractions = np.concatenate(
        [10.0 ** -np.arange(1, 13, 2), np.linspace(0.13, 0.93, 9), 1 - 2.0 ** -np.arange(4, 24, 4)]
    )
    return np.float64(np.float32(lo + (hi - lo) * fractions))


def ulps(got, truth, dtype, slope, distance):
    """Error in units of the last place, of what a perturbation of the distance to the nearer end can do at least."""
    unit = max(abs(truth), abs(slope * distance) / 4, mpf(float(np.finfo(dtype).tiny)))
    return float(abs(mpf(float(got)) - truth) / (unit * mpf(float(np.finfo(dtype).eps))))


def formulas(name):
    """Return the paper's α and σ at the published parameters."""
    return FAMILIES[name].formulas(**FAMILIES[name].defaults)


@pytest.mark.covering(3)
@every
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_and_derivatives(name, dtype):
    """α, σ and their derivatives are within 16 ulp (64 for VE's exponential) of the paper's formula."""
    schedule = by_name(name)
    budget = 64 if name == "ve" else 16
    with mpmath.workdps(80):
        for what, function in zip(("alpha", "sigma"), formulas(name), strict=True):
            for time in times(schedule):
                x = mpf(float(time))
                step = mpf(10) ** -30 * min(x, mpf(schedule.domain[1]) - x)
                slope = (function(x + step) - function(x - step)) / (2 * step)
                bend = (function(x + step) - 2 * function(x) + function(x - step)) / step**2
                distance = min(x, mpf(schedule.domain[1]) - x)
                value = getattr(schedule, what)(np.asarray([time], dtype))[0]
                assert ulps(value, function(x), dtype, slope, distance) <= budget, (what, time)
                derivative = getattr(schedule, f"d_{what}")(np.asarray([time], dtype))[0]
                assert ulps(derivative, slope, dtype, bend, distance) <= budget, (f"d_{what}", time)


@pytest.mark.covering(20)
@every_proof
def test_certificate(name):
    """Signs and transport equations hold; the data end is exact but where the paper gives it a floor."""
    certificate = certify(by_name(name))
    for finding in (
        "alpha_positive",
        "sigma_positive",
        "kappa_positive",
        "continuity",
        "fokker_planck",
        "conversions",
        "rounding",
    ):
        assert certificate[finding].status in ("proved", "measured"), finding
    assert certificate.ok == (name not in NOT_FROM_THE_DATA)


@every
def test_inverse(name):
    """time_of_log_snr undoes log_snr to 1e-9 of the time."""
    schedule = by_name(name)
    points = times(schedule)
    assert np.allclose(schedule.time_of_log_snr(schedule.log_snr(points)), points, rtol=1e-9)


@every_proof
def test_the_exact_velocity_transports_the_marginals(name):
    """An independent integrator carries the variance along 2(v/x)·V to the closed form."""
    schedule = by_name(name)
    path = Path(schedule, Gaussian([0.0], 0.3))
    lo, hi = schedule.domain
    start, stop = lo + 0.95 * (hi - lo), lo + 0.05 * (hi - lo)
    alpha, sigma = formulas(name)
    with mpmath.workdps(30):
        ends = [float(alpha(mpf(x)) ** 2 * mpf("0.3") + sigma(mpf(x)) ** 2) for x in (start, stop)]
    one = np.ones((1, 1))
    run = solve_ivp(
        lambda x, v: 2 * path.velocity(float(x), one)[0] * v,
        (start, stop),
        [ends[0]],
        rtol=1e-10,
        atol=1e-13,
        method="DOP853",
    )
    assert abs(run.y[0, -1] / ends[1] - 1) < 1e-7
