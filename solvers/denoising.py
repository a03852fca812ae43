r"""What an exponential integrator solves: a data prediction :math:`\hat x(t, x)` and the schedule it belongs to.

The linear part of the dynamics is integrated exactly, so the problem is not a drift but its ingredients: :math:`\alpha,
\sigma` and the clock :math:`\Theta(t, s) = \int_s^t w_u/\sigma_u^2\,du` of the noise. They are finite, or infinite in a
harmless way, where a drift has poles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from solvers.problem import Field, Pole, Problem, check_callable, check_limits

Scalar = Callable[[float], float]


@dataclass(frozen=True)
class Denoising(Problem):
    r"""A data prediction under :math:`x_t = \alpha_t x_{\mathrm{data}} + \sigma_t\varepsilon`, for exponential methods.

    The reverse SDE with noise :math:`\sqrt{w}` has between times :math:`t > s`, for a constant :math:`\hat x`,

    .. math:: x_s = C x_t + (\alpha_s - \alpha_t C)\hat x + \sigma_s\sqrt{1 - e^{-\Theta}}\,\xi, \qquad
              C = \frac{\sigma_s}{\sigma_t} e^{-\Theta/2}, \qquad \Theta = \int_s^t \frac{w_u}{\sigma_u^2}\,du.

    Args:
        data: :math:`\hat x(t, x) = \mathbb E[x_{\mathrm{data}}|x_t = x]`, called with a Python float and an array;
            returns an array like ``x``.
        alpha: :math:`\alpha_t`, called with and returning a float, as are the next three.
        sigma: :math:`\sigma_t`; 0 at the data end.
        log_snr: :math:`\log(\alpha_t^2/\sigma_t^2)`, :math:`\pm\infty` where one of them vanishes.
        time_of_log_snr: its inverse.
        clock: ``clock(t, s)`` is :math:`\Theta` for t > s, in :math:`[0, \infty]`; 0 for the probability flow.
        poles: times at which ``data`` is not finite.
        domain: the lowest and highest time at which all of these have a meaning.
    """

    evaluated: ClassVar[str] = "data"
    data: Field
    alpha: Scalar
    sigma: Scalar
    log_snr: Scalar
    time_of_log_snr: Scalar
    clock: Callable[[float, float], float]
    poles: tuple[Pole, ...] = ()
    domain: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        check_callable("data", self.data, "(time: float, x) -> array like x")
        for name in ("alpha", "sigma", "log_snr"):
            check_callable(name, getattr(self, name), "(time: float) -> float")
        check_callable("time_of_log_snr", self.time_of_log_snr, "(log_snr: float) -> float")
        check_callable("clock", self.clock, "(t: float, s: float) -> float")
        check_limits(self)
