r"""Power-function profiles: how much each moment of the training weighs in an average.

.. math:: \hat\theta_\gamma(t) = \int_0^t p_{\gamma,t}(\tau)\,\theta(\tau)\,d\tau, \qquad
          p_{\gamma,t}(\tau) = \frac{(\gamma + 1)\,\tau^\gamma}{t^{\gamma + 1}} \quad (0 \le \tau \le t)

Time is the number of updates. :math:`\tau/t` has the law Beta(γ + 1, 1), whose standard deviation is the relative width

.. math:: \sigma_{\mathrm{rel}} = \sqrt{(\gamma + 1)\,(\gamma + 2)^{-2}\,(\gamma + 3)^{-1}}.

It falls from :math:`1/\sqrt{12}` at γ = 0, the plain mean, towards zero.

References: Karras et al. (2024), arXiv:2312.02696, section 3 and appendix C.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers.errors import explain

__all__ = ["Profile", "gamma_of", "inner_products", "sigma_rel_of"]

WIDEST = 1 / math.sqrt(12)


@dataclass(frozen=True, slots=True)
class Profile:
    r""":math:`p_{\gamma,t}`, the weights of a power-function average.

    Args:
        gamma: exponent :math:`\gamma \ge 0`.
        step: number of updates :math:`t \ge 1`.

    Raises:
        ValueError: a number outside its range.
        TypeError: ``step`` is no integer.
    """

    gamma: float
    step: int

    def __post_init__(self) -> None:
        sigma_rel_of(self.gamma)
        if isinstance(self.step, bool) or not isinstance(self.step, int):
            raise TypeError(explain("a whole number of updates", repr(self.step), "pass step=int(…)"))
        if self.step < 1:
            raise ValueError(explain("at least one update", str(self.step), "average a trained network"))

    @property
    def sigma_rel(self) -> float:
        """Standard deviation of the profile as a fraction of ``step``."""
        return sigma_rel_of(self.gamma)


def sigma_rel_of(gamma: float) -> float:
    r"""Return the relative width of an exponent, :math:`\sqrt{(\gamma + 1)(\gamma + 2)^{-2}(\gamma + 3)^{-1}}`.

    Args:
        gamma: :math:`\gamma \ge 0`; for negative exponents the width is not monotonic.

    Raises:
        ValueError: ``gamma`` is negative or not finite.
    """
    if not 0 <= gamma < math.inf:
        raise ValueError(explain("an exponent gamma ≥ 0", str(gamma), "gamma=16.97 for a relative width of 0.05"))
    return math.sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2)


def gamma_of(sigma_rel: float) -> float:
    r"""Return the exponent of a relative width, the largest root of a cubic polynomial.

    .. math:: \gamma^3 + 7\gamma^2 + (16 - s)\gamma + 12 - s = 0, \qquad s = \sigma_{\mathrm{rel}}^{-2}

    With :math:`\gamma = u - 7/3` it is :math:`u^3 - P u + Q = 0`, :math:`P = s + \tfrac13`,
    :math:`Q = \tfrac43 s + \tfrac{2}{27}`, which has three real roots; the largest is Viète's
    :math:`2\sqrt{P/3}\,\cos\bigl(\tfrac13\arccos\bigl(-\tfrac{Q}{2}(P/3)^{-3/2}\bigr)\bigr)`.

    Args:
        sigma_rel: in :math:`(0, 1/\sqrt{12}]`.

    Raises:
        ValueError: ``sigma_rel`` is outside this range.
    """
    if not 0 < sigma_rel <= WIDEST:
        remedy = "0.05 and 0.10 are usual in training; the plain mean is the widest"
        raise ValueError(explain(f"a relative width sigma_rel in (0, {WIDEST:.4f}]", str(sigma_rel), remedy))
    s = 1 / sigma_rel**2
    third, q = (s + 1 / 3) / 3, 4 * s / 3 + 2 / 27
    root = 2 * math.sqrt(third) * math.cos(math.acos(-q / 2 / third**1.5) / 3) - 7 / 3
    return max(root, 0.0)  # rounding, where the width is the widest


def inner_products(first: Sequence[Profile], second: Sequence[Profile]) -> NDArray[np.float64]:
    r"""Return the matrix of :math:`\langle p, q\rangle = \int p(\tau)\,q(\tau)\,d\tau`, a row for each of ``first``.

    The product ends at :math:`m = \min(s, t)`, and there the integral of :math:`\tau^{\gamma + \delta}` gives

    .. math:: \langle p_{\gamma,s}, p_{\delta,t}\rangle = \frac{(\gamma + 1)(\delta + 1)}{\gamma + \delta + 1}
              \cdot \frac{(m/s)^\gamma\,(m/t)^\delta}{\max(s, t)},

    in which no power can overflow.
    """
    gamma, s = (np.array([[getattr(p, name)] for p in first], dtype=float) for name in ("gamma", "step"))
    delta, t = (np.array([[getattr(p, name) for p in second]], dtype=float) for name in ("gamma", "step"))
    m = np.minimum(s, t)
    shape = (gamma + 1) * (delta + 1) / (gamma + delta + 1)
    product: NDArray[np.float64] = shape * (m / s) ** gamma * (m / t) ** delta / np.maximum(s, t)
    return product
