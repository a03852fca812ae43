r"""The two forms of an exponential method: the data prediction or the noise prediction is what a polynomial follows.

.. math::
   x_s &= \frac{\sigma_s}{\sigma_t}x_t + \alpha_s\int_0^h e^{-(h - \tau)}\,\hat x(\lambda_t + \tau)\,d\tau
   \qquad\text{(data)} \\
   x_s &= \frac{\alpha_s}{\alpha_t}x_t - \sigma_s\int_0^h e^{h - \tau}\,\hat\varepsilon(\lambda_t + \tau)\,d\tau
   \qquad\text{(noise)}

With the prediction held both are the step of :class:`solvers.DDIM`. What is beyond it is a sum of differences of
predictions, with weights from the moments :math:`\int u^k = h\,k!\,\varphi_{k+1}(z)`, z = −h or h.

With noise of clock :math:`\Theta = 2\eta h` over the step, :math:`w = \eta w^{KL}`, the first is

.. math:: x_s = \frac{\sigma_s}{\sigma_t}e^{-\Theta/2}x_t + \alpha_s\int_0^h (1 + \eta)e^{-(1 + \eta)(h - \tau)}\,
          \hat x(\lambda_t + \tau)\,d\tau + \sigma_s\sqrt{1 - e^{-\Theta}}\,\xi,

whose moments are those of the length :math:`(1 + \eta)h = h + \Theta/2`. For another w the step has the η of its Θ:
the zeroth moment is exact, and the others are to the first order in how η changes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from solvers.arrays import Array
from solvers.exponential.phi import phi
from solvers.exponential.place import Place, distance


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


def hold(start: Place, end: Place, x: Array, data: Array, theta: float = 0.0) -> Array:
    """Return the step in which the data prediction is held, without its noise: DDIM's where Θ = 0."""
    keep, gain = start.to(end).factors(math.exp(-0.5 * theta), -math.expm1(-0.5 * theta))
    return keep * x + gain * data


def renewed(start: Place, end: Place, theta: float) -> bool:
    """Whether a step is one of order 1 because of its noise: nothing from before it is of use.

    It starts where there is no signal; or much of the state is drawn anew (Θ > 1) by noise that does more than twice
    what wKL's would over the step (Θ > 4h), as any w > 0 does in the end near σ = 0 under Linear. Predictions of
    the past then differ from the one at hand by noise, and to follow their differences would add it up. With wKL
    itself Θ = 2h, and long steps are what the published methods take.
    """
    return theta > 0.0 and (start.alpha == 0.0 or theta > max(1.0, 4.0 * distance(start, end)))


def spread(end: Place, theta: float) -> float:
    """Return the standard deviation of a step's noise."""
    return end.sigma * math.sqrt(-math.expm1(-theta))
