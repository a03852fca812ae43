"""φ-functions against 60 digits, over all magnitudes and both signs."""

import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from solvers.exponential.phi import phi

UNIT = 2.0**-53
SIZES = [*np.geomspace(1e-16, 700.0, 400), *np.linspace(0.5, 8.0, 300)]


def exact(k, z):
    """The defining integral in closed form, e^z less its Taylor polynomial over z^k, with digits to spare."""
    with mpmath.workdps(60 + 20 * k):
        x = mpf(z)
        return (mpmath.exp(x) - mpmath.fsum(x**j / mpmath.factorial(j) for j in range(k))) / x**k


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["positive", "negative"])
def test_to_a_few_roundings(k, sign):
    """φ_k(z) is within 8 roundings of its value at 700 sizes of z from 1e-16 to 700."""
    worst = max(float(abs(mpf(phi(k, sign * z)) / exact(k, sign * z) - 1)) for z in map(float, SIZES))
    assert worst <= 8 * UNIT, worst / UNIT


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("z", [-5.0, 0.3, 4.0])
def test_the_integral_itself(k, z):
    """The closed form of the oracle is the integral of the definition."""
    with mpmath.workdps(30):
        integral = mpmath.quad(lambda u: mpmath.exp((1 - u) * z) * u ** (k - 1) / math.factorial(k - 1), [0, 1])
        assert abs(integral - exact(k, z)) < 1e-25 * integral


def test_limits():
    """φ_k(0) = 1/k!, and beyond the range of float64 the value is infinite, not an error."""
    assert [phi(k, 0.0) for k in (1, 2, 3, 4)] == [1.0 / math.factorial(k) for k in (1, 2, 3, 4)]
    assert phi(1, 800.0) == math.inf
    assert phi(3, 800.0) == math.inf
