"""Properties 1–5 of the mathematics: boundaries, derivatives, the Wronskian, round trips, reconstruction."""

from itertools import product

import mpmath
import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from interpolants import VP, Data, Noise, convert, t
from interpolants.schedules import BUILT_IN
from tests.support.ledger import within
from tests.support.papers import FAMILIES
from tests.support.precision import sensitivity, ulps, value
from tests.support.registered import ALL, EMBEDDED, KINKS, REGISTERED, registered
from tests.support.strategies import DEEP, coordinates, every_case, interior, law, many, predictions, shipped
from tests.support.zoo import BUILT_INS, row

ARITHMETICS = ["numpy64", "numpy32", "torch64", "torch32"]
U = 2.0**-52


def evaluate(function, points, arithmetic):
    """Return the points as they were rounded, and the values, in one of the arithmetics."""
    dtype = np.float64 if arithmetic.endswith("64") else np.float32
    rounded = np.asarray(points, dtype)
    found = function(torch.from_numpy(rounded)).numpy() if arithmetic.startswith("torch") else function(rounded)
    assert found.dtype == dtype
    return rounded.tolist(), found.tolist(), dtype


def test_every_registered_schedule_is_tested():
    """Property 1: the cases of these laws are the schedules that ship, and the zoo's own."""
    assert [case.name for case in REGISTERED] == list(BUILT_IN)
    assert {case.name for case in ALL} >= set(BUILT_IN)


@pytest.mark.covering(2)
@every_case
def test_boundaries_and_monotone_ratio(case):
    """Property 1: α₀ = 1, σ₀ = 0, α₁ = 0 as exact expressions wherever the paper's formulas say so; σ/α increases."""
    lo, hi = case.schedule.exact_domain
    claims = [("alpha", lo, 1, case.alpha), ("sigma", lo, 0, case.sigma), ("alpha", hi, 0, case.alpha)]
    for name, end, claim, paper in claims:
        found = case.schedule.expressions[name].subs(t, end)
        with mpmath.workdps(100):
            exact = paper(mpf(sympy.N(end, 100)))
            within(abs(mpf(sympy.N(found, 90)) - exact), EMBEDDED.get(case.name, 1e-40), name)
            assert (sympy.simplify(found - claim) == 0) is bool(abs(exact - claim) < mpf(10) ** -40)
    fractions = np.concatenate([np.geomspace(1e-12, 0.4, 40), np.linspace(0.41, 1 - 1e-9, 60)])
    ratio = case.schedule.quantity("ratio")(fractions * case.span)
    assert (np.diff(ratio) > 0).all()


@pytest.mark.covering(17)
@every_case
@given(fractions=many(interior, 4))
@law(1)
def test_derivatives(case, fractions):
    """Property 2: α̇ and σ̇ are the derivatives of the paper's α and σ, within 16 ulp beyond the rounding of t."""
    quantities = (("d_alpha", case.d_alpha), ("d_sigma", case.d_sigma))
    for (name, slope), arithmetic in product(quantities, ARITHMETICS):
        points = [f * case.span for f in fractions if abs(f - KINKS.get(case.name, -1.0)) > 1e-6]
        points, found, dtype = evaluate(getattr(case.schedule, name), points, arithmetic)
        for time, got in zip(points, found, strict=True):
            with mpmath.workdps(60):
                exact = slope(mpf(time))
            within(ulps(got, exact, dtype, sensitivity(slope, time)), 16, f"{name} at {time!r}")


@pytest.mark.covering(7)
@pytest.mark.parametrize("case", [case for case in ALL if case.span == 1], ids=repr)
def test_derivatives_at_the_ends(case):
    """Property 2: at t = 0 and t = 1 they are the one-sided limits, infinite where these are."""
    for name, slope in (("d_alpha", case.d_alpha), ("d_sigma", case.d_sigma)):
        limits = [value(slope, time) for time in (0.0, 1.0)]
        for arithmetic in ARITHMETICS:
            points, found, dtype = evaluate(getattr(case.schedule, name), [0.0, 1.0], arithmetic)
            for time, got, limit in zip(points, found, limits, strict=True):
                within(ulps(got, limit, dtype), 16, f"{name} at {time!r}")


def check_wronskian(case, numerators):
    """Compare W, κ and λ of the library's expressions with the paper's α and σ at k/24 of the domain."""
    e = case.schedule.expressions
    for k in numerators:
        with mpmath.workdps(80):
            point = {t: sympy.Rational(k, 24) * case.schedule.exact_domain[1]}
            kappa, rate, w = (mpf(sympy.N(e[name].subs(point), 60)) for name in ("kappa", "lambda", "wronskian"))
            s = mpf(sympy.N(point[t], 80))
            alpha, sigma, d_alpha, d_sigma = case.alpha(s), case.sigma(s), case.d_alpha(s), case.d_sigma(s)
            exact = alpha * d_sigma - d_alpha * sigma
            assert w > 0
            for found, wanted in ((w, exact), (kappa, exact * sigma / alpha), (rate, exact / alpha)):
                within(abs(found / wanted - 1), EMBEDDED.get(case.name, 1e-30))


@pytest.mark.covering(5)
@every_case
def test_wronskian_identities(case):
    """Property 3: κ = σ² d/dt log(σ/α), λ = W/α and W = ασ̇ − α̇σ > 0 to 30 digits of the paper's α and σ."""
    check_wronskian(case, range(1, 24, 1 if DEEP else 3))


@pytest.mark.covering(5)
@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.parameters])
@given(data=st.data())
@law(1)
def test_wronskian_with_drawn_parameters(name, data):
    """Property 3: the same for every family, at parameters that are drawn."""
    parameters = {key: data.draw(values, key) for key, values in FAMILIES[name].parameters.items()}
    check_wronskian(registered(name, parameters), [3, 14, 22])


@pytest.mark.parametrize("case", BUILT_INS, ids=repr)
def test_kappa_is_symbolically_the_rate(case):
    """Property 3: for the paper's schedules κ − σ²(log r)˙ simplifies to the integer 0."""
    e = case.schedule.expressions
    by_log = e["sigma"] ** 2 * (sympy.diff(sympy.log(e["sigma"]), t) - sympy.diff(sympy.log(e["alpha"]), t))
    assert sympy.simplify(e["kappa"] - by_log) == 0


@given(low=st.integers(1, 40), more=st.integers(0, 400), time=interior)
@law(5)
def test_vp_kappa_is_half_beta(low, more, time):
    """Property 3: for VP of any rates κ = β_t/2 at every time, to 16 ulp."""
    exact = float((low + more * mpf(time)) / 20)
    within(abs(VP(low / 10, (low + more) / 10).quantity("kappa")(time) - exact), 16 * U * exact)


@pytest.mark.covering(3)
@shipped
@given(source=predictions, to=predictions, fraction=interior, x=coordinates, p=coordinates)
@law(8)
def test_round_trips(case, source, to, fraction, x, p):
    """Property 4: to any other prediction and back is the identity within 16u times both conditions."""
    time, x, p = fraction * case.span, np.array([[x]]), np.array([[p]])
    there = convert(p, time, x, case.schedule, source=source, to=to)
    back = convert(there, time, x, case.schedule, source=to, to=source)
    with mpmath.workdps(50):
        s = mpf(time)
        (a, b), (c, d) = row(source.name, case, s), row(to.name, case, s)
        alpha, sigma = case.alpha(s), case.sigma(s)
        D, E = alpha * b - sigma * a, alpha * d - sigma * c
        size = abs(p) + abs(x) * float(2 * abs((b * c - a * d) / E)) + abs(p) * float(abs(E / D) * abs(D / E))
    within(abs(back - p), 16 * U * size)


@shipped
@given(source=predictions, fraction=interior, x=coordinates, p=coordinates)
@law(4)
def test_reconstruction(case, source, fraction, x, p):
    """Property 5: αx̂ + σε̂ = x for the data and noise of any prediction, within 16u of the terms."""
    time, x, p = fraction * case.span, np.array([[x]]), np.array([[p]])
    data = convert(p, time, x, case.schedule, source=source, to=Data)
    noise = convert(p, time, x, case.schedule, source=source, to=Noise)
    alpha, sigma = float(value(case.alpha, time)), float(value(case.sigma, time))
    with mpmath.workdps(50):
        a, b = row(source.name, case, mpf(time))
        determinant = abs(float(case.alpha(mpf(time)) * b - case.sigma(mpf(time)) * a))
    terms = (abs(alpha * float(b)) + abs(sigma * float(a))) * abs(x) + 2 * alpha * sigma * abs(p)
    size = abs(alpha * data) + abs(sigma * noise) + abs(x) + terms / determinant
    within(abs(alpha * data + sigma * noise - x), 16 * U * size)
