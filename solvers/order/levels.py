r"""Levels of noise, and the grid between two of them on which orders are measured.

A state belongs to a level :math:`(\alpha, \sigma)` of :math:`x = \alpha x_{\mathrm{data}} + \sigma\varepsilon`. Every
schedule passes the same levels but for a factor on x, so problems are written in

.. math:: \lambda = \log(\alpha/\sigma), \qquad \varphi = \arctan(\sigma/\alpha) \in [0, \pi/2],

and one reference solution serves samplers of all schedules.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from solvers.errors import explain
from solvers.grid import uniform

# From σ/α = 4 to σ/α = ¼: where a mixture's responsibilities are decided, and neither end is near.
FIRST, LAST = -1.4, 1.4


class Level(NamedTuple):
    r"""A level of noise: :math:`\alpha \ge 0` and :math:`\sigma \ge 0`, not both 0."""

    alpha: float
    sigma: float

    @property
    def angle(self) -> float:
        r""":math:`\varphi`: 0 for data, π/2 for noise."""
        return math.atan2(self.sigma, self.alpha)

    @property
    def scale(self) -> float:
        r""":math:`\sqrt{\alpha^2 + \sigma^2}`, the scale of x that the schedule chose."""
        return math.hypot(self.alpha, self.sigma)


def grid(n: int, *, beyond: int = 0, equal: bool = False) -> list[float]:
    r"""Return n steps in :math:`\lambda` from the first to the last interior level, and ``beyond`` more.

    .. math:: \lambda_k = \lambda_0 + (\lambda_1 - \lambda_0)\frac{u + u^2}2, \qquad u = k/n

    Steps grow smoothly to three times the first: coefficients that are right for equal steps alone lose their order
    here. With ``equal`` the fraction is u.
    """

    def place(u: float) -> float:
        return FIRST + (LAST - FIRST) * (u if equal else 0.5 * (u + u * u))

    return [place(k / n) for k in range(n + beyond + 1)]


@dataclass(frozen=True)
class Clock:
    r"""A schedule as plain functions of time, for samplers that run on times.

    Args:
        name: what to call it.
        alpha: :math:`\alpha_t`, as are the next three a function of a float.
        sigma: :math:`\sigma_t`.
        d_alpha: :math:`\dot\alpha_t`.
        d_sigma: :math:`\dot\sigma_t`.
        time: of :math:`\lambda`.
        ends: the times of noise and of data, where the schedule has them; a sampler is run from one to the other.
    """

    name: str
    alpha: Callable[[float], float]
    sigma: Callable[[float], float]
    d_alpha: Callable[[float], float]
    d_sigma: Callable[[float], float]
    time: Callable[[float], float]
    ends: tuple[float, float]

    def level(self, time: float) -> Level:
        """Return the level at a time."""
        return Level(self.alpha(time), self.sigma(time))

    def interior(self, n: int, *, equal: bool) -> list[float]:
        """Return the times of n steps inside; equal steps are equal in time."""
        if equal:
            return [float(time) for time in uniform(n, self.time(FIRST), self.time(LAST))]
        return [self.time(ratio) for ratio in grid(n)]

    def log_ratio(self, time: float) -> float:
        r"""Return :math:`\lambda_t`, infinite at the ends."""
        alpha, sigma = self.level(time)
        if alpha == 0.0:
            return -math.inf
        return math.log(alpha / sigma) if sigma else math.inf


LINEAR = Clock(
    "linear",
    alpha=lambda t: 1.0 - t,
    sigma=lambda t: t,
    d_alpha=lambda t: -1.0,
    d_sigma=lambda t: 1.0,
    time=lambda ratio: 0.5 * (1.0 - math.tanh(0.5 * ratio)),
    ends=(1.0, 0.0),
)
EDM = Clock(
    "edm",
    alpha=lambda t: 1.0,
    sigma=lambda t: t,
    d_alpha=lambda t: 0.0,
    d_sigma=lambda t: 1.0,
    time=lambda ratio: math.exp(-ratio),
    ends=(80.0, 0.0),
)
CLOCKS = {clock.name: clock for clock in (LINEAR, EDM)}


def expect_clock(name: object) -> Clock:
    """Return the clock of a name, or list the names."""
    if not isinstance(name, str) or name not in CLOCKS:
        names = " or ".join(repr(choice) for choice in CLOCKS)
        raise ValueError(explain(f"schedule: {names}", repr(name), "pass 'linear' where α = 1 − t and σ = t"))
    return CLOCKS[name]
