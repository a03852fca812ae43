"""Transport cost, Wasserstein distance and straightness against closed forms, MATH.md's numbers and mpmath."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from interpolants import (
    GVP,
    VP,
    Gaussian,
    Linear,
    Path,
    kinetic_gap,
    lipschitz,
    path_length,
    straightness,
    transport_cost,
    wasserstein2,
)
from tests.support.strategies import coordinates, covariances, law
from tests.support.zoo import CASES, MIXTURE

VARIANCES = [1e-6, 1e-4, 1e-2, 0.25, 1.0, 4.0, 1e2, 1e4]


@pytest.mark.parametrize("c", VARIANCES)
def test_linear(c):
    """Linear: C = |m|² + 1 + c − (π/2)√c."""
    exact = 0.49 + 1 + c - math.pi / 2 * math.sqrt(c)
    assert abs(transport_cost(Path(Linear(), Gaussian([0.7], c))) / exact - 1) < 1e-9


@pytest.mark.parametrize("c", VARIANCES)
def test_gvp(c):
    """GVP: C = (π²/8)(|m|² + (1 − √c)²), and W2² is what stands in the bracket."""
    bracket = 0.49 + (1 - math.sqrt(c)) ** 2
    path = Path(GVP(), Gaussian([0.7], c))
    assert abs(transport_cost(path) - math.pi**2 / 8 * bracket) < 1e-9 * bracket
    assert abs(wasserstein2(path) - math.sqrt(bracket)) < 1e-12 * (1 + math.sqrt(bracket))


@given(mean=st.tuples(coordinates, coordinates), cov=covariances())
@law(15)
def test_full_covariance(mean, cov):
    """With a full covariance the cost is the sum over numpy's eigenvalues, for Linear and GVP."""
    values, m2 = np.linalg.eigvalsh(cov), float(np.dot(mean, mean))
    w2 = m2 + float(((1 - np.sqrt(values)) ** 2).sum())
    linear = m2 + float((1 + values - math.pi / 2 * np.sqrt(values)).sum())
    target = Gaussian(mean, cov)
    assert abs(transport_cost(Path(Linear(), target)) - linear) < 1e-9 * (1 + linear)
    assert abs(transport_cost(Path(GVP(), target)) - math.pi**2 / 8 * w2) < 1e-9 * (1 + w2)
    assert abs(wasserstein2(Path(Linear(), target)) ** 2 - w2) < 1e-10 * (1 + w2)
    assert abs(straightness(Path(Linear(), target)) - (linear - w2)) < 1e-9 * (1 + linear)


@pytest.mark.parametrize(("c", "number"), [(0.25, "0.52126004"), (4.0, "1.8469576"), (0.01, "1.7964018")])
def test_vp_numbers(c, number):
    """VP(0.1, 20): the published numbers of MATH.md, to their last digit."""
    found = transport_cost(Path(VP(0.1, 20.0), Gaussian([0.0], c)))
    assert abs(found - float(number)) < 0.51 * 10.0 ** -len(number.partition(".")[2])


@pytest.mark.parametrize(("schedule", "number"), [(Linear(), 1.0), (GVP(), 1.2337006), (VP(0.1, 20), 1.3978611)])
def test_energy_of_the_mean(schedule, number):
    """∫α̇² is 1, 1.2337006 and 1.3978611: what a shift of the mean by one adds."""
    still, moved = (transport_cost(Path(schedule, Gaussian([m], 0.5))) for m in (0.0, 1.0))
    assert abs(moved - still - number) < 6e-8


@pytest.mark.covering(5)
@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("c", [1e-3, 0.3, 20.0])
def test_against_mpmath(case, c):
    """The cost of any schedule is ∫ρ̇² + m²∫α̇² by mpmath's quadrature of the oracle, to 1e-9."""

    def energy(s):
        rho2 = case.alpha(s) ** 2 * mpf(c) + case.sigma(s) ** 2
        slope = case.alpha(s) * case.d_alpha(s) * mpf(c) + case.sigma(s) * case.d_sigma(s)
        return slope**2 / rho2 + mpf("0.25") * case.d_alpha(s) ** 2

    with mpmath.workdps(25):
        panels = [0, mpf("1e-8"), mpf("1e-5"), mpf("1e-3"), mpf("0.02"), mpf("0.2"), mpf("0.6"), 1]
        exact = float(mpmath.quad(energy, panels, maxdegree=7))
    found = transport_cost(Path(case.schedule, Gaussian([0.5], c)))
    assert abs(found / exact - 1) < 1e-9


@pytest.mark.parametrize("case", CASES, ids=repr)
@pytest.mark.parametrize("c", [1e-3, 1.0, 9.0])
def test_wasserstein_uses_the_actual_ends(case, c):
    """W2² is between the marginals at both ends, VP's α₁ ≠ 0 included, and never exceeds the cost."""
    with mpmath.workdps(30):
        alpha, sigma = case.alpha(mpf(1)), case.sigma(mpf(1))
        spread = mpmath.sqrt(alpha**2 * mpf(c) + sigma**2)
        exact = float(mpmath.sqrt(mpf("0.25") * (1 - alpha) ** 2 + (mpmath.sqrt(mpf(c)) - spread) ** 2))
    path = Path(case.schedule, Gaussian([0.5], c))
    assert abs(wasserstein2(path) - exact) < 1e-12 * (1 + exact)
    assert transport_cost(path) >= wasserstein2(path) ** 2 - 1e-12
    assert abs(straightness(path) - (transport_cost(path) - exact**2)) < 1e-10 * (1 + exact**2)


@pytest.mark.parametrize("function", [transport_cost, path_length, wasserstein2, straightness, kinetic_gap, lipschitz])
def test_what_is_not_a_path(function):
    """Something that is not a path, and numbers of samples that make no estimate, are errors in three parts."""
    for wrong in (Linear(), None):
        with pytest.raises(TypeError, match=r"expected .*; received .*; remedy: "):
            function(wrong)
    for n in (1, 2.5):
        with pytest.raises(ValueError, match=r"expected n >= 2 .*; received .*; remedy: "):
            function(Path(Linear(), MIXTURE), n=n)
