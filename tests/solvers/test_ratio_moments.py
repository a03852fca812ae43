"""The moments of a step against dr: to rounding, in few evaluations, however short the step."""

import math
from dataclasses import replace

import mpmath
import pytest

from interpolants import VP, Linear, denoising
from solvers import DDIM, Denoising, Preconditioned
from solvers.exponential.place import place
from solvers.exponential.ratio_moments import ratio_moments

mpmath.mp.dps = 40
U = 2.0**-53


def plain(schedule):
    return denoising(schedule, lambda time, x: x)


def bounded() -> Denoising:
    """Under the linear schedule, in the coordinates of a standard normal: r = √(α² + σ²)/α is flat at the data end."""
    return Preconditioned(DDIM(), variance=1.0).whitened(plain(Linear()))


EXACT = {
    "linear": (plain(Linear()), lambda t: t / (1 - t)),
    "vp": (
        plain(VP(0.1, 20.0)),
        lambda t: mpmath.sqrt(mpmath.expm1(mpmath.mpf(1) / 10 * t + mpmath.mpf(199) / 20 * t * t)),
    ),
    "bounded": (bounded(), lambda t: mpmath.sqrt((1 - t) ** 2 + t**2) / (1 - t)),
}


@pytest.mark.covering(2)
@pytest.mark.parametrize("case", EXACT)
@pytest.mark.parametrize(("t", "s"), [(0.9, 0.5), (0.5, 0.499), (0.02, 0.01), (1e-4, 9e-5), (0.3, 0.0)])
def test_against_quadrature_at_forty_digits(case, t, s):
    posed, ratio = EXACT[case]
    calls = [0]

    def counted(time):
        calls[0] += 1
        return posed.sigma(time)

    counting = replace(posed, sigma=counted)
    moments = ratio_moments(counting, place(posed, t), place(posed, s), 3)
    last = ratio(mpmath.mpf(s))
    for k, moment in enumerate(moments, start=1):

        def integrand(u, k=k):
            return -k * u ** (k - 1) * (ratio(t + u * (mpmath.mpf(s) - t)) - last)

        exact = mpmath.quad(integrand, [0, 0.25, 0.5, 0.75, 0.9, 0.99, 1])
        # The differences of r, formed in floats, have lost this much already.
        floor = 32 * U * float(max(last, ratio(mpmath.mpf(t))))
        assert abs(moment - exact) <= 1e-12 * abs(exact) + floor
    # Twelve halvings of everything would be 49,000.
    assert calls[0] <= 1000
    assert math.isfinite(sum(moments))
