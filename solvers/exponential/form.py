r"""The two forms of an exponential method: the data prediction or the noise prediction is what a polynomial follows.

.. math::
   x_s &= \frac{\sigma_s}{\sigma_t}x_t + \alpha_s\int_0^h e^{-(h - \tau)}\,\hat x(\lambda_t + \tau)\,d\tau
   \qquad\text{(data)} \\
   x_s &= \frac{\alpha_s}{\alpha_t}x_t - \sigma_s\int_0^h e^{h - \tau}\,\hat\varepsilon(\lambda_t + \tau)\,d\tau
   \qquad\text{(noise)}

With the prediction held both are the step of :class:`solvers.DDIM`. What is beyond it is a sum of differences of
predictions, with weights from the moments :math:`\int u^k = h\,k!\,\varphi_{k+1}(z)`, z = −h or h.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from solvers.arrays import Array
from solvers.exponential.phi import phi
from solvers.exponential.place import Place


class Form(NamedTuple):
    """Which prediction a method follows."""

    noise: bool

    def read(self, at: Place, x: Array, data: Array) -> Array:
        """Return the prediction that is followed, from the state and the data prediction."""
        return (x - at.alpha * data) / at.sigma if self.noise else data

    def scale(self, end: Place) -> float:
        """Return the factor before the integral."""
        return -end.sigma if self.noise else end.alpha

    def exponent(self, h: float) -> float:
        """Return z."""
        return h if self.noise else -h

    def moment(self, k: int, h: float) -> float:
        r"""Return :math:`\int_0^h e^{\mp(h - \tau)}(\tau/h)^k\,d\tau = h\,k!\,\varphi_{k+1}(z)`."""
        return h * math.factorial(k) * phi(k + 1, self.exponent(h))


DATA, NOISE = Form(noise=False), Form(noise=True)


def hold(start: Place, end: Place, x: Array, data: Array) -> Array:
    """Return the step in which the prediction is held: DDIM's."""
    keep, gain = start.to(end).factors(1.0, 0.0)
    return keep * x + gain * data
