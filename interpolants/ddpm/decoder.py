r"""The probability that a normal variable gives to a bin, in logarithms, however far out.

With a the distance of the bin's centre from the mean and w its half width, both in standard deviations,

.. math::
   \Phi(a + w) - \Phi(a - w) = \tfrac12\Bigl[\operatorname{erf}\tfrac{w + a}{\sqrt2}
   + \operatorname{erf}\tfrac{w - a}{\sqrt2}\Bigr]
   = \tfrac12 e^{-(a - w)^2/2}\Bigl[\operatorname{erfcx}\tfrac{a - w}{\sqrt2}
   - e^{-2aw}\operatorname{erfcx}\tfrac{a + w}{\sqrt2}\Bigr].

The first form is for a ≤ w, where nothing cancels, the second for a > w, where nothing underflows. Each is evaluated on
its own side only, so that neither gives the other's gradient a NaN.
"""

from __future__ import annotations

import math
from typing import Any

from solvers.arrays import Array, is_numpy, is_torch, namespace
from solvers.errors import explain

__all__ = ["discretised_log_likelihood"]

_ROOT = math.sqrt(2.0)


def discretised_log_likelihood(x: Array, mean: Array, log_variance: Any, levels: int = 256) -> Array:
    r"""Return the logarithm of the probability of the bin around x under N(mean, exp(log_variance)).

    .. math:: \log\int_{x - \delta}^{x + \delta} N(u; \mu, s^2)\,du, \qquad \delta = \frac{1}{L - 1},

    where the first bin, around −1, goes on to −∞ and the last, around 1, to ∞. Finite, with finite gradients, wherever
    :math:`|x - \mu|/s` does not overflow when squared.

    The published code of DDPM's successors has an approximation of Φ and stops at a probability of :math:`10^{-12}`;
    this has neither.

    Args:
        x: values y/127.5 − 1 of whole y = 0 … L − 1 for L = 256: L levels from −1 to 1, both included.
        mean: μ, like ``x``.
        log_variance: :math:`\log s^2`, like ``x`` or a number.
        levels: L ≥ 2.

    Returns:
        natural logarithms, like ``x``.

    Raises:
        ValueError: fewer levels than two.

    References: Ho, Jain & Abbeel (2020), arXiv 2006.11239, eq. 13.
    """
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 2:
        raise ValueError(explain("levels: a whole number >= 2", repr(levels), "256 is an image of 8 bits"))
    library, special, half = namespace(x), _special(x), 1.0 / (levels - 1)
    scale = math.exp(-0.5 * log_variance) if isinstance(log_variance, float) else library.exp(-0.5 * log_variance)
    centre, w = (x - mean) * scale, half * scale
    a = abs(centre)
    near = library.where(a <= w, a, 0.0 * a)
    inside = library.log(0.5 * (special.erf((w + near) / _ROOT) + special.erf((w - near) / _ROOT)))
    far = library.where(a > w, a, 0.0 * a + w)
    tail = special.erfcx((far - w) / _ROOT) - library.exp(-2.0 * far * w) * special.erfcx((far + w) / _ROOT)
    outside = library.log(0.5 * tail) - 0.5 * (far - w) ** 2
    between = library.where(a <= w, inside, outside)
    first, last = (_log_below(z, library, special) for z in (w + centre, w - centre))
    return library.where(x < half - 1.0, first, library.where(x > 1.0 - half, last, between))


def _log_below(z: Array, library: Any, special: Any) -> Array:
    """Return log Φ(z), in two forms as above: the gradient of torch's own is wrong in the tail in single precision."""
    low, high = library.where(z < 0.0, z, 0.0 * z), library.where(z < 0.0, 0.0 * z, z)
    below = library.log(0.5 * special.erfcx(-low / _ROOT)) - 0.5 * low**2
    return library.where(z < 0.0, below, library.log1p(-0.5 * special.erfc(high / _ROOT)))


def _special(x: Array) -> Any:
    """Return the special functions of the library of x."""
    if is_torch(x):
        import torch

        return torch.special
    if is_numpy(x):
        import scipy.special

        return scipy.special
    import jax.scipy.special

    return jax.scipy.special
