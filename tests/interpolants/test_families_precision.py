"""Every quantity of every family is within its budget at parameters that nobody tuned it for, extremes included."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from interpolants.schedules import BUILT_IN
from tests.support.papers import FAMILIES
from tests.support.strategies import law

NAMES = ("alpha", "sigma", "d_alpha", "d_sigma", "ratio", "log_snr", "wronskian", "lambda", "kappa")
with_parameters = [name for name, family in FAMILIES.items() if family.parameters]


def quantities(alpha, sigma):
    """Return the eight functions in mpmath; derivatives are central differences of step h, at 160 digits."""

    def slope(function):
        return lambda x, h: (function(x + h) - function(x - h)) / (2 * h)

    d_alpha, d_sigma = slope(alpha), slope(sigma)
    w = lambda x, h: alpha(x) * d_sigma(x, h) - d_alpha(x, h) * sigma(x)  # noqa: E731
    return {
        "alpha": lambda x, h: alpha(x),
        "sigma": lambda x, h: sigma(x),
        "d_alpha": d_alpha,
        "d_sigma": d_sigma,
        "log_snr": lambda x, h: 2 * mpmath.log(alpha(x) / sigma(x)),
        "ratio": lambda x, h: sigma(x) / alpha(x),
        "wronskian": w,
        "lambda": lambda x, h: w(x, h) / alpha(x),
        "kappa": lambda x, h: sigma(x) * w(x, h) / alpha(x),
    }


def grid(domain, fractions):
    lo, hi = domain
    relative = np.concatenate([10.0 ** -np.arange(1.0, 13.0, 2.0), fractions, 1 - 2.0 ** -np.arange(3.0, 23.0, 4.0)])
    points = np.float64(np.float32(lo + (hi - lo) * relative))
    return points[(points > lo) & (points < hi)]


def check(name, parameters, fractions, budget=16.0):
    family = FAMILIES[name]
    schedule = family.make(**parameters)
    with mpmath.workdps(160):
        exact = quantities(*family.formulas(**parameters))
        for what in NAMES:
            for dtype in (np.float64, np.float32):
                points = grid(schedule.domain, fractions)
                found = schedule.quantity(what)(points.astype(dtype))
                for time, got in zip(points, found, strict=True):
                    error = ulps(exact[what], what, mpf(float(time)), float(got), dtype, schedule)
                    assert error <= budget, (schedule, what, dtype.__name__, time, error)


def ulps(function, what, x, got, dtype, schedule):
    """Error in units of the last place of what must be allowed.

    At least |d f'|/4 with d the distance to the nearer end (exact in t), and for exponentials the rounding of their
    argument, 4u(1 + |log α|) (DESIGN.md); a log-SNR is absolute below 1.
    """
    distance = min(x - mpf(schedule.domain[0]), mpf(schedule.domain[1]) - x)
    h = distance * mpf(10) ** -50
    truth = function(x, h)
    near = function(x + distance * mpf(10) ** -20, h)
    slope = (near - truth) / (distance * mpf(10) ** -20)
    exponent = abs(mpmath.log(abs(float(schedule.alpha(float(x)))) + mpf("1e-300")))
    exponent = max(exponent, abs(mpmath.log(abs(float(schedule.sigma(float(x)))) + mpf("1e-300"))))
    unit = max(abs(truth) * max(1, (1 + exponent) / 4), abs(slope * distance) / 4, mpf(float(np.finfo(dtype).tiny)))
    if what == "log_snr":
        unit = max(unit, mpf(1))
    return float(abs(mpf(got) - truth) / (unit * mpf(float(np.finfo(dtype).eps))))


def test_every_family_is_here():
    """The formulas of the papers cover every built-in schedule."""
    assert set(FAMILIES) == set(BUILT_IN)


@pytest.mark.covering(30)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "cosine" else name for name in with_parameters]
)
def test_extreme_parameters(name):
    """Rates, steepnesses and variances far from the published ones lose nothing."""
    for parameters in FAMILIES[name].extremes:
        check(name, parameters, np.linspace(0.07, 0.93, 7))


@pytest.mark.slow
@pytest.mark.parametrize("name", with_parameters)
@given(data=st.data())
@law(6)
def test_drawn_parameters(name, data):
    """Six draws of parameters and times each; a first use searches briefly, and may miss certify's 16 ulp by half."""
    family = FAMILIES[name]
    parameters = {key: data.draw(strategy) for key, strategy in family.parameters.items()}
    fractions = np.asarray(data.draw(st.lists(st.floats(1e-3, 0.999), min_size=8, max_size=8)))
    check(name, parameters, fractions, 24.0)
