"""Properties 8, 9, 10 and 24: the equations of continuity and of Fokker and Planck, marginals, time reversal."""

import math
from functools import cache
from itertools import groupby

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from scipy.integrate import quad, solve_ivp
from sympy import Rational, Symbol, diff, exp, lambdify, sqrt

from interpolants import Gaussian, Path, Score, Velocity, diffusion, forward_sde, reverse_sde, t
from interpolants.dynamics import drift_combination
from solvers import StochasticHeun, uniform
from tests.support.affine import affine
from tests.support.ledger import within
from tests.support.registered import EMBEDDED
from tests.support.strategies import DEEP, EVERY_SDE, coordinates, every_case, law, middle
from tests.support.zoo import BUILT_INS, CASES, CHOICES, FIRST, QUADRATIC, numbers

FINITE = [w for w in CHOICES if repr(w) in FIRST - {"KL()"}]

by_case = pytest.mark.parametrize(
    ("case", "choices"),
    [(case, [w for _, w in pairs]) for case, pairs in groupby(EVERY_SDE, key=lambda pair: pair[0])],
    ids=lambda value: getattr(value, "name", ""),
)


@cache
def equations():
    """Return the residuals of both equations for a mixture, as mpmath functions of what the library supplies.

    The density is that of two Gaussians (8) or one (9) with α = A(t), σ = S(t) left open, so that each is derived once.
    In reversed time the noise spreads backwards: ∂_t p = −∂(drift p) − ½ w ∂²p.
    """
    x, a, s, d_a, d_s, row_a, row_b, w = Symbol("x"), *map(Symbol, ["a", "s", "d_a", "d_s", "row_a", "row_b", "w"])

    def component(m, c):
        variance = a**2 * c + s**2
        density = exp(-((x - a * m) ** 2) / (2 * variance)) / sqrt(variance)
        return density, m + a * c / variance * (x - a * m), s / variance * (x - a * m)

    def rate(value):
        return diff(value, a) * d_a + diff(value, s) * d_s

    parts = [(Rational(1, 3), *component(Rational(-3, 2), Rational(1, 4)))]
    parts += [(Rational(2, 3), *component(1, Rational(1, 2)))]
    total = sum(weight * density for weight, density, _, _ in parts)
    flux = sum(weight * density * (row_a * data + row_b * noise) for weight, density, data, noise in parts)
    continuity = rate(total) + diff(flux, x)
    density, data, noise = component(Rational(3, 5), Rational(2, 3))
    A, B = Symbol("A"), Symbol("B")
    flux = (A * x + B * (row_a * data + row_b * noise)) * density
    fokker = rate(density) + diff(flux, x) + w * diff(density, x, 2) / 2
    names = (x, a, s, d_a, d_s, row_a, row_b)
    return lambdify(names, continuity, "mpmath"), lambdify((*names, w, A, B), fokker, "mpmath")


def supplied(case, expressions, symbols):
    """Yield a point, the paper's α, σ and slopes, and the library's expressions, all to 60 digits, at five times."""
    for k in range(1, 6):
        time = Rational(k, 6) * case.schedule.exact_domain[1]
        with mpmath.workdps(60):
            s = mpf(sympy.N(time, 60))
            paper = [f(s) for f in (case.alpha, case.sigma, case.d_alpha, case.d_sigma)]
            found = [mpf(sympy.N(e.subs({t: time, **symbols}), 60)) for e in expressions]
            yield mpf(2 + k) / (7 + k), paper, found


@pytest.mark.covering(25)
@every_case
def test_continuity_equation(case):
    """Property 8: ∂_t p + ∂_x(v p) = 0 for a two-component mixture with v built from the library's row of velocity."""
    for x, paper, found in supplied(case, Velocity.row(case.schedule), {}):
        with mpmath.workdps(60):
            within(abs(equations()[0](x, *paper, *found)), EMBEDDED.get(case.name, 1e-28))


@pytest.mark.covering(11)
@every_case
@pytest.mark.parametrize("prediction", [Velocity, Score], ids=repr)
def test_fokker_planck_equation(case, prediction):
    """Property 9: the reverse drift with an undefined w(t) solves the Fokker–Planck equation in reversed time."""
    w = Symbol("w", positive=True)
    combination = drift_combination(case.schedule, prediction, w, "drift")
    expressions = [*prediction.row(case.schedule), combination.A, combination.B]
    for x, paper, found in supplied(case, expressions, {w: Rational(7, 3)}):
        with mpmath.workdps(60):
            (row_a, row_b, A, B), number = found, mpf(7) / 3
            within(abs(equations()[1](x, *paper, row_a, row_b, number, A, B)), EMBEDDED.get(case.name, 1e-28))


@pytest.mark.covering(7)
@by_case
@given(data=st.data(), m=coordinates, c=st.floats(0.1, 3.0))
@law(1)
def test_marginals_do_not_depend_on_w(case, choices, data, m, c):
    """Property 10: the moment equations of the reverse drift carry p_0.9 to p_0.1 for any w ≥ 0."""
    choice, path = data.draw(st.sampled_from(choices)), Path(case.schedule, Gaussian([m], c))
    sde = reverse_sde(case.schedule, path.velocity, choice.w)

    def rates(time, state):
        offset, moved = sde.drift(float(time), np.array([[0.0], [1.0]]))[:, 0]
        slope = moved - offset
        # Integrated backwards, d V/dt = 2 slope V − w.
        return [slope * state[0] + offset, 2 * slope * state[1] - sde.diffusion(float(time)) ** 2]

    start, stop = 0.9 * case.span, 0.1 * case.span
    (alpha, sigma), (a, b) = numbers(case, start), numbers(case, stop)
    first = [alpha * m, alpha**2 * c + sigma**2]
    found = solve_ivp(rates, (start, stop), first, method="LSODA", rtol=1e-9, atol=1e-11).y[:, -1]
    within(abs(found[0] - a * m), 1e-6)
    within(abs(found[1] / (a**2 * c + b**2) - 1), 1e-6)


@pytest.mark.slow
@given(
    case=st.sampled_from(BUILT_INS),
    choice=st.sampled_from(FINITE),
    time=middle,
    x=coordinates,
    c=st.floats(0.1, 3.0),
)
@law(12)
def test_time_reversal(case, choice, time, x, c):
    """Property 24: b_forward − b_reverse = w s on the exact score of a Gaussian."""
    path, point = Path(case.schedule, Gaussian([0.4], c)), np.array([[x]])
    forward = forward_sde(case.schedule, path.score, choice.w, prediction=Score).drift(time, point)[0, 0]
    reverse = reverse_sde(case.schedule, path.score, choice.w, prediction=Score).drift(time, point)[0, 0]
    alpha, sigma = numbers(case, time)
    exact = -float(choice.value(case, mpf(time))) * (x - 0.4 * alpha) / (alpha**2 * c + sigma**2)
    within(abs(forward - reverse - exact), 1e-11 * (1 + abs(forward) + abs(reverse)))


@pytest.mark.covering(8)
@pytest.mark.parametrize("case", CASES if DEEP else [*BUILT_INS, QUADRATIC], ids=repr)
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
    within(np.abs(np.array(found) / exact - 1), 3e-5)
