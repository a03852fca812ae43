"""Properties 8–10, 14, 15, 22 and 24: transport equations, marginals, error constants, cost, time reversal."""

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from scipy.integrate import quad, solve_ivp
from sympy import Function, Rational, Symbol, diff, exp, log, sqrt

from interpolants import (
    GVP,
    VP,
    Gaussian,
    Linear,
    Path,
    Score,
    Velocity,
    diffusion,
    forward_sde,
    probability_flow,
    reverse_sde,
    t,
    transport_cost,
    wasserstein2,
)
from interpolants.dynamics import drift_combination
from solvers import Euler, EulerMaruyama, Heun, StochasticHeun, solve, steps, uniform
from tests.support.strategies import cases, coordinates, covariances, law, middle, sdes
from tests.support.zoo import CASES, CHOICES

every_case = pytest.mark.parametrize("case", CASES, ids=repr)
PATHS = [(Linear(), "linear"), (GVP(), "gvp")]


def small(residual, symbols):
    """Whether a residual vanishes to 40 digits at 12 rational times and values of its symbols."""
    worst = 0
    for k in range(1, 13):
        values = {symbol: Rational(2 * j + k, 7 + k) for j, symbol in enumerate(symbols, start=1)}
        worst = max(worst, abs(sympy.N(residual.subs(values).subs(t, Rational(k, 13)), 60)))
    return worst < 1e-40


@every_case
def test_continuity_equation(case):
    """Property 8: ∂_t p + ∂_x(v p) = 0 for a two-component mixture with v built from the library's row of velocity."""
    x = Symbol("x", real=True)
    e = case.schedule.expressions
    parts, flux = [], []
    for weight, m, c in ((Rational(1, 3), Rational(-3, 2), Rational(1, 4)), (Rational(2, 3), 1, Rational(1, 2))):
        variance = e["alpha"] ** 2 * c + e["sigma"] ** 2
        density = weight * exp(-((x - e["alpha"] * m) ** 2) / (2 * variance)) / sqrt(variance)
        data = m + e["alpha"] * c / variance * (x - e["alpha"] * m)
        noise = e["sigma"] / variance * (x - e["alpha"] * m)
        a, b = Velocity.row(case.schedule)
        parts.append(density)
        flux.append(density * (a * data + b * noise))
    assert small(diff(sum(parts), t) + diff(sum(flux), x), [x])


@every_case
@pytest.mark.parametrize("prediction", [Velocity, Score], ids=repr)
def test_fokker_planck_equation(case, prediction):
    """Property 9: the reverse drift with an undefined w(t) solves the Fokker–Planck equation in reversed time."""
    x, m = Symbol("x", real=True), Symbol("m", real=True)
    c, w_t = Symbol("c", positive=True), Symbol("w_t", positive=True)
    e = case.schedule.expressions
    variance = e["alpha"] ** 2 * c + e["sigma"] ** 2
    log_p = -log(variance) / 2 - (x - e["alpha"] * m) ** 2 / (2 * variance)
    score = diff(log_p, x)
    data = m + e["alpha"] * c / variance * (x - e["alpha"] * m)
    noise = e["sigma"] / variance * (x - e["alpha"] * m)
    a, b = prediction.row(case.schedule)
    combination = drift_combination(case.schedule, prediction, Function("w", positive=True)(t), "drift")
    drift = (combination.A * x + combination.B * (a * data + b * noise)).replace(Function("w", positive=True)(t), w_t)
    # In reversed time the noise spreads backwards: ∂_t p = −∂(drift p) − ½ w ∂²p.
    residual = diff(log_p, t) + drift * score + diff(drift, x) + w_t * (diff(score, x) + score**2) / 2
    assert small(residual, [x, m, c, w_t])


def affine(problem, times, method):
    """Return (t0, t1, factor, gain, offset) of every step of a scalar problem, read off the method."""

    class Basis:
        def increments(self, x):
            return lambda t0, t1: np.array([[0.0], [0.0], [1.0]])

    basis = np.array([[0.0], [1.0], [0.0]])
    run = steps(problem, basis, times, method, Basis() if method.stochastic else None)
    for step in run:
        offset, moved, kicked = step.x[:, 0]
        yield times[step.index - 1], step.time, moved - offset, kicked - offset, offset
        run.send(basis)


def moments(problem, times, method, mean, variance):
    for t0, t1, factor, gain, offset in affine(problem, times, method):
        mean, variance = factor * mean + offset, factor**2 * variance + gain**2 * abs(t1 - t0)
    return mean, variance


def numbers(case, time):
    with mpmath.workdps(30):
        return float(case.alpha(mpf(time))), float(case.sigma(mpf(time)))


@given(pair=sdes, m=coordinates, c=st.floats(0.1, 3.0))
@law(12)
def test_marginals_do_not_depend_on_w(pair, m, c):
    """Property 10: the moment equations of the reverse drift carry p_0.9 to p_0.1 for any w ≥ 0."""
    case, choice = pair
    path = Path(case.schedule, Gaussian([m], c))
    sde = reverse_sde(case.schedule, path.velocity, choice.w)

    def rates(time, state):
        offset, moved = sde.drift(float(time), np.array([[0.0], [1.0]]))[:, 0]
        slope = moved - offset
        # Integrated backwards, d V/dt = 2 slope V − w.
        return [slope * state[0] + offset, 2 * slope * state[1] - sde.diffusion(float(time)) ** 2]

    (alpha, sigma), (a, b) = numbers(case, 0.9), numbers(case, 0.1)
    start = [alpha * m, alpha**2 * c + sigma**2]
    found = solve_ivp(rates, (0.9, 0.1), start, method="LSODA", rtol=1e-9, atol=1e-11).y[:, -1]
    assert abs(found[0] - a * m) < 1e-6
    assert abs(found[1] - (a**2 * c + b**2)) < 1e-6 * (a**2 * c + b**2)


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
    """Property 14: Euler's log std ratio is h times −½∫ρ̈/ρ of MATH.md, by Richardson from two grids."""
    path = Path(schedule, Gaussian([0.0], c))
    problem = probability_flow(schedule, path.velocity)
    found = []
    for n in (2000, 4000):
        end = solve(problem, np.array([[1.0]]), uniform(n), Euler()).x[0, 0]
        found.append(n * math.log(abs(end) / math.sqrt(c)))
    assert abs(2 * found[1] - found[0] - constant(c)) < 2e-4 * (1 + abs(constant(c)))


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
    assert abs(2 * found[1] - found[0] - exact) < 2e-3 * (1 + abs(exact))


@pytest.mark.parametrize("case", CASES, ids=repr)
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
    assert abs(slope - order) < 0.2, errors


@given(n=st.integers(3, 40), c=st.floats(0.1, 3.0), m=coordinates, pair=sdes)
@law(12)
def test_exact_law_of_euler_maruyama(n, c, m, pair):
    """Property 15: each step is z⁺ = (1 − h a) z + √(h w) ξ with a = g + w/2ρ²: the recursion of MATH.md."""
    case, choice = pair
    path = Path(case.schedule, Gaussian([m], c))
    problem = reverse_sde(case.schedule, path.velocity, choice.w)
    for t0, t1, factor, gain, offset in affine(problem, uniform(n, 0.9, 0.1), EulerMaruyama()):
        with mpmath.workdps(30):
            s, h = mpf(t0), mpf(t0) - mpf(t1)
            rho2 = case.alpha(s) ** 2 * mpf(c) + case.sigma(s) ** 2
            slope = case.alpha(s) * case.d_alpha(s) * mpf(c) + case.sigma(s) * case.d_sigma(s)
            w_t = choice.value(case, s)
            a = slope / rho2 + w_t / (2 * rho2)
            shift = -h * (case.d_alpha(s) - a * case.alpha(s)) * mpf(m)
        assert abs(factor - float(1 - h * a)) < 1e-12 * (1 + abs(float(h * a)))
        assert abs(gain - math.sqrt(float(w_t))) < 1e-12 * (1 + gain)
        assert abs(offset - float(shift)) < 1e-11 * (1 + abs(float(h * a * m)) + abs(float(shift)))


@given(case=cases, mean=st.tuples(coordinates, coordinates), cov=covariances())
@law(8)
def test_cost_bounds_the_distance(case, mean, cov):
    """Property 22: C ≥ W2² for every schedule, and the ratio is exactly π²/8 under GVP."""
    target = Gaussian(mean, cov)
    path = Path(case.schedule, target)
    assert transport_cost(path) >= wasserstein2(path) ** 2 - 1e-10
    curved = Path(GVP(), target)
    bound = float(np.dot(mean, mean)) + float(((1 - np.sqrt(np.linalg.eigvalsh(cov))) ** 2).sum())
    assert abs(transport_cost(curved) - math.pi**2 / 8 * bound) < 1e-9 * (1 + bound)


@given(case=cases, c=st.floats(0.05, 5.0))
@law(8)
def test_length_is_below_the_cost(case, c):
    """Property 22: (∫E|v| dt)² ≤ C, with ∫E|v| = √(2/π)·TV(ρ) from the oracle."""
    times = [mpf(k) / 400 for k in range(401)]
    rho = [mpmath.sqrt(case.alpha(s) ** 2 * mpf(c) + case.sigma(s) ** 2) for s in times]
    variation = float(sum(abs(b - a) for a, b in pairwise(rho)))
    assert 2 / math.pi * variation**2 <= transport_cost(Path(case.schedule, Gaussian([0.0], c))) + 1e-12


@given(pair=sdes.filter(lambda pair: repr(pair[1]) != "KL()"), time=middle, x=coordinates, c=st.floats(0.1, 3.0))
@law(12)
def test_time_reversal(pair, time, x, c):
    """Property 24: b_forward − b_reverse = w s on the exact score of a Gaussian."""
    case, choice = pair
    path, point = Path(case.schedule, Gaussian([0.4], c)), np.array([[x]])
    forward = forward_sde(case.schedule, path.score, choice.w, prediction=Score).drift(time, point)[0, 0]
    reverse = reverse_sde(case.schedule, path.score, choice.w, prediction=Score).drift(time, point)[0, 0]
    alpha, sigma = numbers(case, time)
    exact = -float(choice.value(case, mpf(time))) * (x - 0.4 * alpha) / (alpha**2 * c + sigma**2)
    assert abs(forward - reverse - exact) < 1e-11 * (1 + abs(forward) + abs(reverse))


@pytest.mark.parametrize("case", [case for case in CASES if case.name != "exp-log"], ids=repr)
@pytest.mark.parametrize("choice", [diffusion.Ramp(), diffusion.SinSquared()], ids=repr)
def test_two_time_covariances_agree(case, choice):
    """Property 24: Cov(X_0.7, X_0.3) of the reverse SDE equals that of the forward SDE and ρρ'e^{−½∫w/ρ²}."""
    c, path = 0.6, Path(case.schedule, Gaussian([0.0], 0.6))
    rho2 = lambda time: sum(k * v**2 for k, v in zip((c, 1.0), numbers(case, time)))  # noqa: E731
    w_t = next(entry for entry in CHOICES if repr(entry) == repr(choice))
    clock = quad(lambda s: float(w_t.value(case, mpf(s))) / rho2(s), 0.3, 0.7, epsabs=1e-11)[0]
    exact = math.sqrt(rho2(0.3) * rho2(0.7)) * math.exp(-clock / 2)
    found = []
    for make, start, stop in ((reverse_sde, 0.7, 0.3), (forward_sde, 0.3, 0.7)):
        problem, factor = make(case.schedule, path.velocity, choice), 1.0
        for _, _, slope, _, _ in affine(problem, uniform(400, start, stop), StochasticHeun()):
            factor *= slope
        found.append(factor * rho2(start))
    np.testing.assert_allclose(found, exact, rtol=3e-5)
