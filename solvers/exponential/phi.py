r"""The functions :math:`\varphi_k(z) = \int_0^1 e^{(1 - u)z}\frac{u^{k-1}}{(k-1)!}\,du` of exponential integrators."""

from __future__ import annotations

import math

# In units of k. Measured against 60 digits: 6 roundings for any choice from 0.6 to 1.1, 16 at 0.4 and 10 at 1.3.
_THRESHOLD = 0.75
_TERMS = 30


def phi(k: int, z: float) -> float:
    r"""Return :math:`\varphi_k(z)`, k from 1 to 4, to a few roundings; inf where it is beyond float64.

    .. math:: \varphi_1 = \frac{e^z - 1}{z}, \qquad \varphi_{k+1} = \frac{\varphi_k - 1/k!}{z}, \qquad
              \varphi_k = \sum_{j \ge 0} \frac{z^j}{(j + k)!}

    φ₁ is ``expm1(z)/z``. Above it the recurrence subtracts numbers that agree more the smaller z is, so the series
    takes its place for :math:`|z| < \tfrac34 k`.

    References: Hochbruck & Ostermann (2010), Exponential integrators, Acta Numerica 19, §2.1.
    """
    if k == 1:
        return _phi_1(z)
    if abs(z) < _THRESHOLD * k:
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
