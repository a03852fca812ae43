"""Every family: α and σ against the formula of its paper in mpmath, derivatives, certificate, marginals."""

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from scipy.integrate import solve_ivp

from interpolants import Gaussian, Path, certify
from interpolants.schedules import FAMILIES, by_name

S = mpmath.mpf


def sig(z):
    return 1 / (1 + mpmath.exp(-z))


def vp(noise):
    return lambda x: mpmath.exp(-noise(x) / 2), lambda x: mpmath.sqrt(-mpmath.expm1(-noise(x)))


def linear_rate(x):
    return x / 10 + S("9.95") * x**2


def cosine(x):
    offset = S("0.008")
    return mpmath.cos((x + offset) / (1 + offset) * mpmath.pi / 2) / mpmath.cos(offset / (1 + offset) * mpmath.pi / 2)


def jabri(x):
    return (sig(-(-3 + 6 * x)) - sig(S(-3))) / (sig(S(3)) - sig(S(-3)))


def laplace_snr(x):
    return -S("0.5") * mpmath.sign(S("0.5") - x) * mpmath.log(1 - 2 * abs(x - S("0.5")))


def normalised(x):
    return (sig(5 * (1 - 2 * x)) - sig(S(-5))) / (sig(S(5)) - sig(S(-5)))


def turned(rho):
    return lambda x: rho(x) * mpmath.cos(mpmath.pi * x / 2) * 2, lambda x: rho(x) * mpmath.sin(mpmath.pi * x / 2)


def gamma_product(x, start, end, power):
    """Return log prod(1 − β_k), k ≤ 1000x: the rates have linear factors, whose products are gamma functions."""
    root, last = mpmath.root(S(start), power), mpmath.root(S(end), power)
    rise, n, total = (last - root) / 999, 1000 * x, S(0)
    for sign in (1, -1)[:power]:
        first = (1 - sign * root) / (-sign * rise)  # the factors are (−sign·rise)(first + k), k = 0 … n − 1
        if sign > 0:
            total += n * mpmath.log(rise) + mpmath.loggamma(1 - first) - mpmath.loggamma(1 - first - n)
        else:
            total += n * mpmath.log(rise) + mpmath.loggamma(first + n) - mpmath.loggamma(first)
    return total


def clipped_cosine(x):
    last = S(999) / 1000
    return cosine(x) if x <= last else cosine(last) * S("0.001") ** ((1000 * x - 999) / 2)


PAPERS = {
    "flow-matching": (lambda x: 1 - x, lambda x: 1 - (1 - S("0.0001")) * (1 - x)),
    "trigflow": (mpmath.cos, lambda x: mpmath.sin(x) / 2),
    "cosine": (cosine, lambda x: mpmath.sqrt(1 - cosine(x) ** 2)),
    "constant-vp": vp(lambda x: 10 * x),
    "sub-vp": (lambda x: mpmath.exp(-linear_rate(x) / 2), lambda x: 1 - mpmath.exp(-linear_rate(x))),
    "ve": (lambda x: S(1), lambda x: S("0.01") * S(5000) ** x),
    "edm": (lambda x: S(1), lambda x: x),
    "sigmoid": (normalised, lambda x: 1 - normalised(x)),
    "raw-sigmoid": (lambda x: sig(5 * (1 - 2 * x)), lambda x: 1 - sig(5 * (1 - 2 * x))),
    "sigmoid-vp": (lambda x: mpmath.sqrt(jabri(x)), lambda x: mpmath.sqrt(1 - jabri(x))),
    "laplace": (lambda x: mpmath.sqrt(sig(laplace_snr(x))), lambda x: mpmath.sqrt(sig(-laplace_snr(x)))),
    "power": (lambda x: 1 - x, lambda x: x**2),
    "superellipse": (lambda x: mpmath.sqrt(1 - x**2), lambda x: x),
    "follmer": (lambda x: 1 - x, lambda x: mpmath.sqrt(x * (2 - x))),
    "kinetic-optimal": turned(lambda x: (1 - x) / 2 + x),
    "lipschitz-optimal": turned(lambda x: S("0.25") ** ((1 - x) / 2)),
    "ddpm-linear": vp(lambda x: -gamma_product(x, "0.0001", "0.02", 1)),
    "ddpm-scaled-linear": vp(lambda x: -gamma_product(x, "0.00085", "0.012", 2)),
    "ddpm-cosine": (clipped_cosine, lambda x: mpmath.sqrt(1 - clipped_cosine(x) ** 2)),
}
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


def test_every_family_has_its_paper():
    """The list of formulas here and the list of families are the same."""
    assert set(PAPERS) == set(FAMILIES)


@every
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_and_derivatives(name, dtype):
    """α, σ and their derivatives are within 16 ulp (64 for VE's exponential) of the paper's formula."""
    schedule = by_name(name)
    budget = 64 if name == "ve" else 16
    with mpmath.workdps(80):
        for what, function in zip(("alpha", "sigma"), PAPERS[name], strict=True):
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


@every_proof
def test_certificate(name):
    """Signs and transport equations hold; the data end is exact but where the paper gives it a floor."""
    certificate = certify(by_name(name))
    for finding in ("alpha_positive", "sigma_positive", "kappa_positive", "continuity", "fokker_planck", "rounding"):
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
    alpha, sigma = PAPERS[name]
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
