"""The oracles of the zoo are right, and the zoo is complete: the tools are tested before they test."""

import mpmath
import pytest
from hypothesis import given
from mpmath import mpf

from interpolants.schedules import BUILT_IN, PAPER
from tests.support.precision import ulps, value
from tests.support.strategies import interior, law
from tests.support.zoo import BUILT_INS, CASES, solve_two, wronskian

every_case = pytest.mark.parametrize("case", CASES, ids=repr)


def test_the_zoo_has_the_schedules_of_the_paper():
    """Every entry of PAPER is in the list that the laws run over, and is the schedule of that entry."""
    assert {case.name for case in BUILT_INS} == set(PAPER)
    assert all(case.schedule == BUILT_IN[case.name]() for case in BUILT_INS)
    assert set(map(id, BUILT_INS)) <= set(map(id, CASES))


@every_case
@given(time=interior)
@law(20)
def test_oracle_derivatives(case, time):
    """The hand-written derivatives are those of the hand-written functions, by numerical differentiation."""
    with mpmath.workdps(60):
        for function, slope in ((case.alpha, case.d_alpha), (case.sigma, case.d_sigma)):
            assert abs(mpmath.diff(function, mpf(time)) - slope(mpf(time))) < mpf(10) ** -25


@every_case
def test_oracle_boundaries(case):
    """The oracles start at (1, 0), end at (0, 1) where the case says so, and have W > 0 between."""
    assert abs(value(case.alpha, 0.0) - 1) < 1e-40
    assert value(case.sigma, 0.0) == 0
    assert (abs(value(case.alpha, 1.0)) < 1e-40) is case.exact_end
    assert all(wronskian(case, mpf(k) / 64) > 0 for k in range(1, 64))


def test_solve_two_solves():
    """The 2×2 oracle returns A, B with A·(α, σ) + B·given = wanted."""
    case, s = BUILT_INS[2], mpf("0.3")
    A, B = solve_two(case, s, (mpf(2), mpf(5)), (mpf(-1), mpf(7)))
    assert abs(A * case.alpha(s) + 2 * B + 1) < 1e-14
    assert abs(A * case.sigma(s) + 5 * B - 7) < 1e-14


@pytest.mark.parametrize(
    ("got", "truth", "error"),
    [
        (1.0, "1", 0.0),
        (1.0 + 2**-52, "1", 1.0),
        (float("nan"), "1", float("inf")),
        (float("inf"), "1e400", 0.0),
        (float("-inf"), "1e400", float("inf")),
        (float("inf"), "1", float("inf")),
    ],
)
def test_ulps(got, truth, error):
    """The unit of error is the last place; NaN and a wrong infinity are infinitely far."""
    found = ulps(got, mpf(truth), float)
    assert found == error or (error == float("inf") and found >= 1.0)


@pytest.mark.parametrize(
    ("function", "time", "limit"),
    [
        (lambda s: mpmath.sin(s) / s, 0.0, 1),
        (lambda s: 1 / s, 0.0, mpmath.inf),
        (lambda s: mpmath.log(1 - s), 1.0, -mpmath.inf),
        (lambda s: mpmath.sqrt(s), 0.0, 0),
    ],
)
def test_limits(function, time, limit):
    """At the ends the oracle is the one-sided limit, infinite ones included."""
    found = value(function, time)
    assert found == limit or abs(found - limit) < 1e-30
