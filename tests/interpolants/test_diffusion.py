"""Every choice of w is the formula of the paper, non-negative, and can be scaled and added."""

import math

import mpmath
import numpy as np
import pytest
import scipy.optimize
import sympy
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from interpolants import GVP, VP, Linear, Schedule, t
from interpolants import diffusion as w
from interpolants.schedules import TrigFlow
from tests.support.precision import sensitivity, ulps, value
from tests.support.strategies import cases, choices, interior, law, many
from tests.support.zoo import CASES, CHOICES
from tests.support.zoo import kappa as zoo_kappa


@given(case=cases, choice=choices, times=many(interior, 8))
@law(60)
def test_every_choice_is_its_formula(case, choice, times):
    """Every w of every schedule is the hand-written formula to 16 ulp at interior times."""
    found = choice.w.of(case.schedule)(np.array(times))
    for time, got in zip(times, found.tolist(), strict=True):
        function = lambda s: choice.value(case, s)  # noqa: E731
        assert ulps(got, value(function, time), float, sensitivity(function, time)) <= 16


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (Linear(), lambda s: 2 * s / (1 - s)),
        (GVP(), lambda s: mpmath.pi * mpmath.tan(mpmath.pi * s / 2)),
        (VP(0.1, 20), lambda s: mpf("0.1") + mpf("19.9") * s),
        (VP(0.5, 0.5), lambda s: mpf("0.5")),
    ],
    ids=["linear", "gvp", "vp", "vp-constant"],
)
@pytest.mark.parametrize("choice", [w.KL(), w.SBDM()], ids=repr)
def test_closed_forms_of_kl(schedule, formula, choice):
    """wKL is 2t/(1 − t), π tan(πt/2) and β_t, and SBDM without a rate is the same."""
    for time in (1e-12, 1e-4, 0.3, 0.5, 0.9, 1 - 1e-6):
        assert ulps(choice.of(schedule)(time), formula(mpf(time)), float, sensitivity(formula, time)) <= 16


@pytest.mark.covering(17)
@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("choice", CHOICES, ids=repr)
def test_ends_of_w(case, choice):
    """At the ends w is its limit: infinite where and only where the formula is, and never NaN."""
    coefficient = choice.w.of(case.schedule)
    for end in (0.0, 1.0):
        limit = value(lambda s: choice.value(case, s), end)
        assert (end in coefficient.poles) is bool(mpmath.isinf(limit))
        assert ulps(coefficient(np.array([end]))[0], limit, float, 1e-30) <= 16


@pytest.mark.slow
@given(factor=st.integers(0, 1000).map(lambda k: k / 64), time=interior, case=cases)
@law(25)
def test_multiples_and_sums(factor, time, case):
    """a·w, w·a and w + w' are what they say at a time, and the name says so too."""
    schedule, s = case.schedule, mpf(time)
    exact = mpf(factor) * case.sigma(s)
    for choice in (factor * w.Sigma(), w.Sigma() * factor):
        assert abs(choice.of(schedule)(time) - exact) <= 32 * 2.0**-52 * abs(exact)
    total = (w.Ramp() + factor * w.Sigma() + w.Zero()).of(schedule)(time)
    assert abs(total - (s + exact)) <= 32 * 2.0**-52 * (s + exact)
    assert "Ramp()" in repr(w.Ramp() + w.Sigma())
    assert "Sigma()" in repr(w.Ramp() + w.Sigma())


@pytest.mark.parametrize("factor", [-1, -1e-300, t, sympy.I])
def test_negative_multiples(factor):
    """A multiple that is negative, or no number, is a ValueError in three parts."""
    for make in (lambda: factor * w.Sigma(), lambda: w.Constant(factor)):
        with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: "):
            make()


@pytest.mark.parametrize("make", [lambda: w.Constant(float("inf")), lambda: float("inf") * w.Sigma()])
def test_infinite_multiples(make):
    """An infinite multiple or constant is a ValueError when it is built."""
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: "):
        make()


@pytest.mark.parametrize("expression", [t - sympy.Rational(1, 2), "sin(2*pi*t)", "-t", "t**2 - t/10"])
def test_negative_w_is_refused_with_where(expression):
    """A w that is negative somewhere is a ValueError that names the time and the value there."""
    with pytest.raises(ValueError, match=r"received -[0-9.e-]+ at t = 0\.\d+; remedy: ") as error:
        w.Custom(expression).of(Linear())
    time = str(error.value).partition("at t = ")[2].partition(";")[0]
    assert sympy.sympify(expression, locals={"t": t}).subs(t, sympy.Rational(time)) < 0


@pytest.mark.parametrize("expression", [None, object(), "__import__('os')", t * sympy.Symbol("k"), sympy.I])
def test_custom_wants_an_expression(expression):
    """What is not a real expression of time is a TypeError or ValueError in three parts."""
    with pytest.raises((TypeError, ValueError), match=r"expected .*; received .*; remedy: "):
        w.Custom(expression)


def test_factor_of_two():
    """SiT's "diffusion" is w/2: wKL of VP is β_t itself, not β_t/2, and the noise of the SDE is √β_t."""
    assert abs(w.KL().of(VP(0.1, 20))(0.5) - 10.05) < 1e-14
    assert w.Sigma().of(Linear())(0.25) == 0.25
    assert w.Ramp().of(VP())(0.25) == 0.25


def test_other_domains_have_their_own_unit():
    """On [0, π/2] sin² vanishes at both ends, the ramp ends at 1, and the decreasing one goes from 0 to 1."""
    schedule = TrigFlow()
    lo, hi = schedule.domain
    for choice, ends in ((w.SinSquared(), (0.0, 0.0)), (w.Ramp(), (0.0, 1.0)), (w.Decreasing(), (0.0, 1.0))):
        assert [choice.of(schedule)(end) for end in (lo, hi)] == pytest.approx(ends, abs=1e-15)
    assert w.SinSquared().of(schedule)(hi / 2) == pytest.approx(1.0)


HUNDREDTHS = st.integers(1, 400).map(lambda k: k / 100)


@pytest.mark.slow
@given(time=interior, case=cases, eta=HUNDREDTHS, loss=HUNDREDTHS)
@law(20)
def test_regularised_optimum_is_the_minimiser(time, case, eta, loss):
    """It is where scipy finds the least of ½(1 + w/2κ)²L/w + ηw, with κ of the zoo; that of the appendix is worse."""
    kappa = float(value(lambda s: zoo_kappa(case, s), time))

    def objective(choice):
        return (1 + choice / (2 * kappa)) ** 2 * loss / (2 * choice) + eta * choice

    # The expression itself, without the search for code: the case is new every time.
    found = float(w.KLRegularized(eta, loss).expression(case.schedule).subs(t, sympy.Rational(time)))
    best = scipy.optimize.minimize_scalar(lambda x: objective(math.exp(x)), bracket=(-9.0, 0.0), tol=1e-12)
    assert objective(found) <= best.fun * (1 + 1e-12)
    assert found == pytest.approx(math.exp(best.x), rel=1e-5)
    appendix = (1 / (2 * kappa) ** 2 + 4 * eta / loss) ** -0.5
    assert objective(appendix) > objective(found)


@pytest.mark.covering(5)
@pytest.mark.parametrize("schedule", [Linear(), GVP()], ids=lambda s: s.name)
@pytest.mark.parametrize(
    "loss",
    [sympy.Rational(1, 3), 2 + t, "exp(t)/7", lambda s: 1 + s * s],
    ids=["number", "expression", "text", "function"],
)
def test_regularised_optimum_at_the_noise(schedule, loss):
    """Its limit at t = 1 is √(L₁/2η), by sympy and by the coefficient; it has no pole, and is wKL near the data."""
    eta, choice = sympy.Rational(3, 10), w.KLRegularized(sympy.Rational(3, 10), loss)
    at_1 = {"exp(t)/7": sympy.E / 7}.get(loss) if isinstance(loss, str) else None
    at_1 = at_1 or (sympy.Integer(2) if callable(loss) and not isinstance(loss, sympy.Expr) else loss.subs(t, 1))
    exact = sympy.sqrt(at_1 / (2 * eta))
    assert sympy.simplify(sympy.limit(choice.expression(schedule), t, 1, "-") - exact) == 0
    coefficient = choice.of(schedule)
    assert coefficient.poles == ()
    assert coefficient(1.0) == pytest.approx(float(exact), rel=4e-16)
    assert coefficient(0.0) == 0
    assert coefficient(1e-9) == pytest.approx(w.KL().of(schedule)(1e-9), rel=1e-8)


def test_regularised_optimum_without_loss():
    """Where the excess loss vanishes the best w is 0: everywhere, at an inner time, and at an end."""
    assert w.KLRegularized(1, 0).of(Linear())(np.linspace(0, 1, 5)).tolist() == [0.0] * 5
    assert w.KLRegularized(1, (t - sympy.Rational(1, 2)) ** 2).of(Linear())(0.5) == 0.0
    assert w.KLRegularized(1, 1 - t).of(Linear())(1.0) == 0.0


def no_symbol(s):
    """A function that only takes numbers."""
    return float(np.interp(float(s), [0, 1], [1, 2]))


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (ValueError, lambda: w.KLRegularized(0, 1)),
        (ValueError, lambda: w.KLRegularized(-1, 1)),
        (ValueError, lambda: w.KLRegularized(t, 1)),
        (TypeError, lambda: w.KLRegularized(1, None)),
        (TypeError, lambda: w.KLRegularized(1, no_symbol)),
        (ValueError, lambda: w.KLRegularized(1, sympy.oo)),
        (ValueError, lambda: w.KLRegularized(1, -1).of(Linear())),
        (ValueError, lambda: w.KLRegularized(1, t - sympy.Rational(1, 2)).of(Schedule("s", 1 - t, t))),
    ],
)
def test_refusals_of_the_regularised_optimum(kind, make):
    """A price that is not positive, and a loss that is negative or no expression, are refused in three parts."""
    with pytest.raises(kind, match=r"expected .*; received .*; remedy: "):
        make()


def test_a_negative_loss_is_called_by_its_name():
    """The refusal speaks of the excess loss, where it is negative, and not of a root that is not real."""
    with pytest.raises(ValueError, match=r"expected the excess loss >= 0 .*; received -0\.4.* at t = 0\.0"):
        w.KLRegularized(1, t - sympy.Rational(1, 2)).of(Linear())
