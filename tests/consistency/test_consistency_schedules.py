"""Properties 1–5 of the mathematics: boundaries, derivatives, the Wronskian, round trips, reconstruction."""

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from interpolants import Data, Noise, certify, convert, t
from tests.support.precision import sensitivity, ulps, value
from tests.support.strategies import coordinates, interior, law, many, models
from tests.support.zoo import BUILT_INS, CASES, row

every_case = pytest.mark.parametrize("case", CASES, ids=repr)


@every_case
def test_boundaries_and_monotone_ratio(case):
    """Property 1: α₀ = 1 and σ₀ = 0 exactly by sympy's limits, α₁ = 0 or its certified value, σ/α increasing."""
    alpha, sigma = (case.schedule.expressions[name] for name in ("alpha", "sigma"))
    assert sympy.limit(alpha, t, 0, "+") == 1
    assert sympy.limit(sigma, t, 0, "+") == 0
    at_one = sympy.limit(alpha, t, 1, "-")
    assert (sympy.simplify(at_one) == 0) is case.exact_end
    assert (certify(case.schedule)["alpha_1"].status == "proved") is case.exact_end
    times = np.concatenate([np.geomspace(1e-12, 0.4, 40), np.linspace(0.41, 1 - 1e-9, 60)])
    ratio = case.schedule.sigma(times) / case.schedule.alpha(times)
    assert (np.diff(ratio) > 0).all()


@every_case
@given(points=many(interior, 12))
@law(12)
def test_derivatives(case, points):
    """Property 2: α̇ and σ̇ are mpmath's numerical derivatives of the oracle, within 16 ulp."""
    for name, function in (("d_alpha", case.alpha), ("d_sigma", case.sigma)):
        found = getattr(case.schedule, name)(np.array(points))
        slope = {"d_alpha": case.d_alpha, "d_sigma": case.d_sigma}[name]
        for time, got in zip(points, found.tolist(), strict=True):
            with mpmath.workdps(60):
                exact = mpmath.diff(function, mpf(time))
            assert ulps(got, exact, float, sensitivity(slope, time)) <= 16


@every_case
def test_wronskian_identities(case):
    """Property 3: κ = σ² d/dt log(σ/α) and λ = W/α to 50 digits of their expressions; W > 0 inside."""
    e = case.schedule.expressions
    by_log = e["sigma"] ** 2 * sympy.diff(sympy.log(e["sigma"] / e["alpha"]), t)
    for k in range(1, 24):
        point = {t: sympy.Rational(k, 24)}
        assert abs(sympy.N((e["kappa"] - by_log).subs(point), 50)) < 1e-44
        assert abs(sympy.N((e["lambda"] * e["alpha"] - e["wronskian"]).subs(point), 50)) < 1e-44
        assert sympy.N(e["wronskian"].subs(point), 30) > 0


@pytest.mark.parametrize("case", BUILT_INS, ids=repr)
def test_kappa_is_symbolically_the_rate(case):
    """Property 3: for the built-ins κ − σ²(log r)˙ simplifies to the integer 0."""
    e = case.schedule.expressions
    by_log = e["sigma"] ** 2 * (sympy.diff(sympy.log(e["sigma"]), t) - sympy.diff(sympy.log(e["alpha"]), t))
    assert sympy.simplify(e["kappa"] - by_log) == 0


@given(start=models, end=models, time=interior, x=coordinates, p=coordinates)
@law(60)
def test_round_trips(start, end, time, x, p):
    """Property 4: to any other prediction and back is the identity within 16u times both conditions."""
    (case, source), (_, to) = start, end
    x, p = np.array([[x]]), np.array([[p]])
    there = convert(p, time, x, case.schedule, source=source, to=to)
    back = convert(there, time, x, case.schedule, source=to, to=source)
    with mpmath.workdps(50):
        s = mpf(time)
        (a, b), (c, d) = row(source.name, case, s), row(to.name, case, s)
        alpha, sigma = case.alpha(s), case.sigma(s)
        D, E = alpha * b - sigma * a, alpha * d - sigma * c
        size = abs(p) + abs(x) * float(2 * abs((b * c - a * d) / E)) + abs(p) * float(abs(E / D) * abs(D / E))
    assert (abs(back - p) <= 16 * 2.0**-52 * size).all()


@given(pair=models, time=interior, x=coordinates, p=coordinates)
@law(60)
def test_reconstruction(pair, time, x, p):
    """Property 5: αx̂ + σε̂ = x for the data and noise of any prediction, within 16u of the terms."""
    (case, source), s = pair, mpf(time)
    x, p = np.array([[x]]), np.array([[p]])
    data = convert(p, time, x, case.schedule, source=source, to=Data)
    noise = convert(p, time, x, case.schedule, source=source, to=Noise)
    alpha, sigma = float(value(case.alpha, time)), float(value(case.sigma, time))
    a, b = row(source.name, case, s)
    determinant = abs(float(case.alpha(s) * b - case.sigma(s) * a))
    terms = (abs(alpha * float(b)) + abs(sigma * float(a))) * abs(x) + 2 * alpha * sigma * abs(p)
    size = abs(alpha * data) + abs(sigma * noise) + abs(x) + terms / determinant
    assert (abs(alpha * data + sigma * noise - x) <= 16 * 2.0**-52 * size).all()


@given(low=st.integers(1, 40), more=st.integers(0, 400), time=interior)
@law(5)
def test_vp_kappa_is_half_beta(low, more, time):
    """Property 3: for VP of any rates κ = β_t/2 at every time, to 16 ulp."""
    from interpolants import VP

    schedule = VP(low / 10, (low + more) / 10)
    exact = (low + more * mpf(time)) / 20
    assert abs(schedule.quantity("kappa")(time) - exact) <= 32 * 2.0**-52 * exact
