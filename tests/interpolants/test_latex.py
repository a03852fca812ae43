"""The formulas that people read are the expressions that are evaluated, and their limits are right."""

import mpmath
import pytest
import sympy
from mpmath import mpf

from interpolants import GVP, VP, Linear, Schedule
from interpolants.latex import SYMBOLS, _limit, conversion_rows, rows, shortest
from interpolants.schedules import Laplace, Sigmoid
from interpolants.symbols import t
from tests.support.precision import value
from tests.support.zoo import BUILT_INS, CASES

built_in = pytest.mark.parametrize("case", BUILT_INS, ids=repr)


@pytest.mark.covering(6)
@pytest.mark.parametrize("case", CASES[:3] + CASES[5:], ids=repr)
def test_short_forms_have_the_value(case):
    """At three times the shortest form of every quantity is, to 30 digits, what the library evaluates."""
    for expression in case.schedule.expressions.values():
        form = shortest(expression)
        assert len(sympy.latex(form)) <= len(sympy.latex(expression))
        for time in (sympy.Rational(1, 7), sympy.Rational(1, 2), sympy.Rational(9, 11)):
            first, second = (sympy.N(e.subs(t, time), 40) for e in (form, expression))
            assert abs(first - second) <= 1e-30 * abs(second) + 1e-35, form


@pytest.mark.covering(5)
@built_in
@pytest.mark.parametrize("name", ["alpha", "sigma", "d_alpha", "d_sigma"])
def test_limits(case, name):
    """The limit printed for each end is that of the 240-digit oracle."""
    expression = case.schedule.expressions[name]
    for which, end in ((0, 0.0), (1, 1.0)):
        printed = _limit(shortest(expression), expression, which, case.schedule.exact_domain)
        with mpmath.workdps(40):
            exact = value(getattr(case, name), end)
            if mpmath.isinf(exact):
                assert float(printed) == float(exact)
            else:
                assert abs(mpf(str(sympy.N(printed, 35))) - exact) < mpf(10) ** -30


def test_textbook_forms():
    """Linear and GVP come out as the paper prints them."""
    linear, gvp = ({row.symbol: row.formula for row in rows(schedule)} for schedule in (Linear(), GVP()))
    assert linear[SYMBOLS["kappa"]] == r"\frac{t}{1 - t}"
    assert linear[SYMBOLS["w_kl"]] == r"\frac{2 t}{1 - t}"
    assert gvp[SYMBOLS["w_kl"]] == r"\pi \tan{\left(\frac{\pi t}{2} \right)}"
    assert gvp[SYMBOLS["wronskian"]] == r"\frac{\pi}{2}"


@pytest.mark.slow
def test_limits_are_short():
    """sinh 5 / (2 sinh(5/2) cosh(5/2)) is printed as the 1 that it is."""
    sigmoid = {row.symbol: row for row in rows(Sigmoid())}
    assert (sigmoid[r"\alpha_t"].at_data, sigmoid[r"\sigma_t"].at_noise) == ("1", "1")


@pytest.mark.slow
def test_limits_of_branches():
    """A Piecewise has its two ends."""
    laplace = {row.symbol: row for row in rows(Laplace())}
    assert (laplace[r"\alpha_t"].at_data, laplace[r"\alpha_t"].at_noise) == ("1", "0")
    assert "NaN" not in Laplace().latex()


def test_the_block():
    """One line per quantity, balanced braces, in an environment that can be pasted."""
    text = VP().latex()
    assert text.startswith(r"\begin{aligned}")
    assert text.endswith(r"\end{aligned}")
    assert text.count(r"\\" + "\n") == len(SYMBOLS) - 1
    assert text.count("{") == text.count("}")
    assert text.count(r"\left") == text.count(r"\right")


def test_conversions():
    """Twenty conversions; velocity to noise under Linear is x + (1 − t) v."""
    found = {(source, to): (a.formula, b.formula) for source, to, a, b in conversion_rows(Linear())}
    assert len(found) == 20
    assert found["Velocity", "Noise"] == ("1", "1 - t")
    assert found["Velocity", "Data"] == ("1", "- t")


def test_user_schedule():
    """Two expressions are enough."""
    text = Schedule("quadratic", 1 - t**2, t**2).latex()
    assert r"W_t &= 2 t && \bigl(0 \to 2\bigr)" in text
