"""Properties 13–15: orders of solvers, error constants, and the exact laws of stochastic steps."""

import math

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from scipy.integrate import quad, solve_ivp
from sympy import Rational, diff, log

from interpolants import GVP, VP, Gaussian, GaussianMixture, Linear, Path, probability_flow, reverse_sde, t
from solvers import RK4, Euler, EulerMaruyama, Heun, Midpoint, StochasticHeun, solve, uniform
from tests.support.affine import affine, moments
from tests.support.ledger import within
from tests.support.strategies import DEEP, EVERY_SDE, coordinates, law
from tests.support.zoo import BUILT_INS, CASES, CHOICES, QUADRATIC, numbers

MIXTURES = [
    GaussianMixture([0.35, 0.65], [[-1.2], [0.8]], [[[0.09]], [[0.25]]]),
    GaussianMixture([0.3, 0.5, 0.2], [[-2.0], [0.1], [1.5]], [[[0.2]], [[0.1]], [[0.4]]]),
]
SOLVERS = [(Euler(), 1), (Midpoint(), 2), (Heun(), 2), (RK4(), 4)]


@pytest.mark.covering(23)
@pytest.mark.parametrize("case", CASES if DEEP else [*BUILT_INS, QUADRATIC], ids=repr)
@pytest.mark.parametrize(("method", "order"), SOLVERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("target", MIXTURES, ids=["two", "three"])
def test_order_of_solvers(case, method, order, target):
    """Property 13: over four halvings from t = 0.8 to 0.3 on a mixture the error falls with the order, within 0.1.

    Its data prediction is not affine; the truth is scipy's DOP853, and the error a mean over points, for that of one
    may change sign.
    """
    path, x = Path(case.schedule, target), np.linspace(-2.0, 2.0, 9)[:, None]

    def field(time, flat):
        return path.velocity(float(time), flat[:, None])[:, 0]

    exact = solve_ivp(field, (0.8, 0.3), x[:, 0], method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
    counts = np.array([1, 2, 4, 8, 16]) * {1: 128, 2: 64, 4: 24}[order]
    errors = []
    for n in counts.tolist():
        found = solve(probability_flow(case.schedule, path.velocity), x, uniform(n, 0.8, 0.3), method).x
        errors.append(np.sqrt(np.mean((found[:, 0] - exact) ** 2)))
    within(abs(-np.polyfit(np.log(counts), np.log(errors), 1)[0] - order), 0.1, str(errors))


@pytest.mark.parametrize("c", [0.3, 2.0])
@pytest.mark.parametrize(
    ("schedule", "constant"),
    [
        (Linear(), lambda c: -(0.5 + math.pi * (1 + c) / (8 * math.sqrt(c)))),
        (GVP(), lambda c: -(math.pi**2 / 16) * (1 - math.sqrt(c)) ** 2 / math.sqrt(c)),
    ],
    ids=["linear", "gvp"],
)
def test_error_constant_of_euler(schedule, constant, c):
    """Property 14: Euler's log std ratio is h times −½∫ρ̈/ρ, by Richardson from two grids."""
    path = Path(schedule, Gaussian([0.0], c))
    problem = probability_flow(schedule, path.velocity)
    found = []
    for n in (2000, 4000):
        end = solve(problem, np.array([[1.0]]), uniform(n), Euler()).x[0, 0]
        found.append(n * math.log(abs(end) / math.sqrt(c)))
    within(abs(2 * found[1] - found[0] - constant(c)), 2e-4 * (1 + abs(constant(c))))


@pytest.mark.parametrize("c", [0.3, 2.0])
@pytest.mark.parametrize("schedule", [Linear(), GVP(), VP(0.5, 3)], ids=lambda s: s.name)
def test_error_constant_of_heun(schedule, c):
    """Property 14: Heun's log std ratio is h²[(ġ(0) − ġ(1))/12 + ⅙∫g³] with g = ρ̇/ρ, on [0.1, 0.9]."""
    alpha, sigma = (schedule.expressions[name] for name in ("alpha", "sigma"))
    g = diff(log(alpha**2 * Rational(c).limit_denominator(10) + sigma**2), t) / 2
    g_of, slope = sympy.lambdify(t, g), sympy.lambdify(t, diff(g, t))
    lo, hi = 0.1, 0.9
    exact = (slope(lo) - slope(hi)) / 12 + quad(lambda s: g_of(s) ** 3, lo, hi, epsabs=1e-12)[0] / 6
    path = Path(schedule, Gaussian([0.0], c))
    truth = path.flow(hi, lo, np.array([[1.0]]))[0, 0]
    found = []
    for n in (200, 400):
        end = solve(probability_flow(schedule, path.velocity), np.array([[1.0]]), uniform(n, hi, lo), Heun()).x[0, 0]
        found.append((n / (hi - lo)) ** 2 * math.log(end / truth))
    within(abs(2 * found[1] - found[0] - exact), 2e-3 * (1 + abs(exact)))


@pytest.mark.covering(7)
@pytest.mark.parametrize("case", CASES if DEEP else [*BUILT_INS, QUADRATIC], ids=repr)
@pytest.mark.parametrize(("method", "order"), [(EulerMaruyama(), 1), (StochasticHeun(), 2)], ids=["em", "heun"])
@pytest.mark.parametrize("choice", [CHOICES[3], CHOICES[5]], ids=repr)
def test_weak_order(case, method, order, choice):
    """Property 15: mean and variance, propagated exactly, converge with weak order 1 (Heun 2) on [0.2, 0.7]."""
    m, c = 0.8, 0.4
    path = Path(case.schedule, Gaussian([m], c))
    problem = reverse_sde(case.schedule, path.velocity, choice.w)
    (alpha, sigma), (a, b) = numbers(case, 0.7), numbers(case, 0.2)
    counts, errors = [40, 80, 160, 320, 640], []
    for n in counts:
        mean, variance = moments(problem, uniform(n, 0.7, 0.2), method, alpha * m, alpha**2 * c + sigma**2)
        errors.append(max(abs(mean - a * m), abs(variance - a**2 * c - b**2)))
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    within(abs(slope - order), 0.2, str(errors))


@given(n=st.integers(3, 40), c=st.floats(0.1, 3.0), m=coordinates, pair=st.sampled_from(EVERY_SDE))
@law(20)
def test_exact_law_of_euler_maruyama(n, c, m, pair):
    """Property 15: each step is z⁺ = (1 − h a) z + √(h w) ξ with a = g + w/2ρ², g = ρ̇/ρ."""
    case, choice = pair
    path = Path(case.schedule, Gaussian([m], c))
    problem = reverse_sde(case.schedule, path.velocity, choice.w)
    grid = uniform(n, 0.9 * case.span, 0.1 * case.span)
    for t0, t1, factor, gain, offset in affine(problem, grid, EulerMaruyama()):
        with mpmath.workdps(30):
            s, h = mpf(t0), mpf(t0) - mpf(t1)
            rho2 = case.alpha(s) ** 2 * mpf(c) + case.sigma(s) ** 2
            slope = case.alpha(s) * case.d_alpha(s) * mpf(c) + case.sigma(s) * case.d_sigma(s)
            w_t = choice.value(case, s)
            a = slope / rho2 + w_t / (2 * rho2)
            shift = -h * (case.d_alpha(s) - a * case.alpha(s)) * mpf(m)
        within(abs(factor - float(1 - h * a)), 1e-12 * (1 + abs(float(h * a))))
        within(abs(gain - math.sqrt(float(w_t))), 1e-12 * (1 + gain))
        within(abs(offset - float(shift)), 1e-11 * (1 + abs(float(h * a * m)) + abs(float(shift))))


POINTS, MASSES = np.polynomial.legendre.leggauss(10)


def between(lo, hi, integrand):
    """Integrate a smooth function by ten-point Gauss–Legendre."""
    return 0.5 * (hi - lo) * sum(m * integrand(lo + 0.5 * (hi - lo) * (1 + p)) for m, p in zip(MASSES, POINTS))


def exact_step(case, choice, c, t0, t1):
    """Return the factor, the variance of the noise and its covariance with ΔW of the exact reverse process."""

    def rho2(time):
        alpha, sigma = numbers(case, time)
        return alpha**2 * c + sigma**2

    def w_t(time):
        return float(choice.value(case, mpf(time)))

    def decay(time):
        clock = between(t1, time, lambda s: w_t(s) / rho2(s))
        return math.sqrt(rho2(t1) / rho2(time)) * math.exp(-clock / 2)

    variance = between(t1, t0, lambda s: decay(s) ** 2 * w_t(s))
    return decay(t0), variance, between(t1, t0, lambda s: decay(s) * math.sqrt(w_t(s)))


@pytest.mark.covering(8)
@pytest.mark.parametrize("case", [*BUILT_INS, QUADRATIC], ids=repr)
@pytest.mark.parametrize("method", [EulerMaruyama(), StochasticHeun()], ids=["em", "heun"])
def test_strong_order(case, method):
    """Property 15: on one Brownian path the mean square distance to the exact process falls with strong order 1."""
    c, choice, counts, errors = 0.4, CHOICES[3], [8, 16, 32, 64], []
    problem = reverse_sde(case.schedule, Path(case.schedule, Gaussian([0.0], c)).velocity, choice.w)
    for n in counts:
        alpha, sigma = numbers(case, 0.7)
        exact = both = found = alpha**2 * c + sigma**2  # E z², E z z_n, E z_n²
        for t0, t1, factor, gain, _ in affine(problem, uniform(n, 0.7, 0.2), method):
            decay, variance, shared = exact_step(case, choice, c, t0, t1)
            exact = decay**2 * exact + variance
            both = decay * factor * both + gain * shared
            found = factor**2 * found + gain**2 * (t0 - t1)
        errors.append(math.sqrt(exact - 2 * both + found))
    within(abs(-np.polyfit(np.log(counts), np.log(errors), 1)[0] - 1), 0.1, str(errors))
