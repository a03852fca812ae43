"""Stochastic Heun: the mean of the slopes at both ends, the second one taken after the noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.method import Planned
from solvers.noise import Increment
from solvers.problem import SDE


@dataclass(frozen=True, slots=True)
class StochasticHeun(Planned):
    r"""Heun's method for :math:`dX = f(t, X)\,dt + g(t)\,dW` with one increment for predictor and corrector.

    .. math::
        n = \tfrac12 \bigl(g(t_0) + g(t_1)\bigr)\,\Delta W, \quad \Delta W \sim N(0, |h| I)

        k_1 = f(t_0, x), \quad k_2 = f(t_1, x + h k_1 + n), \quad x_1 = x + \tfrac{h}{2} (k_1 + k_2) + n

    Weak order 2, strong order 1 (additive noise), two evaluations per step, one of them at its end: ``f`` must be
    finite at the last time of the grid. The weak order needs a smooth ``g``; where :math:`g^2` has a simple zero at an
    end of the grid, as :math:`w_t = \sigma_t` has at t = 0, it is a little lower.

    This is not the sampler called Heun in SiT's code, which adds the noise first and then takes a deterministic step
    of Heun from the noisy point: that one has weak order 1.

    References: Kloeden & Platen, Numerical Solution of Stochastic Differential Equations (1992), 15.1; Rümelin,
    Numerical treatment of stochastic differential equations, SIAM J. Numer. Anal. 19 (1982).
    """

    order: ClassVar[int] = 2
    weak_order: ClassVar[int] = 2
    strong_order: ClassVar[float] = 1.0
    evaluations: ClassVar[int] = 2
    nodes: ClassVar[tuple[float, ...]] = (0.0, 1.0)
    stochastic: ClassVar[bool] = True
    solves: ClassVar[type[SDE]] = SDE

    def init(self, problem: SDE, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(self, problem: SDE, t0: float, t1: float, x: Array, state: None, noise: Increment) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        h = t1 - t0
        kick = 0.5 * (problem.diffusion(t0) + problem.diffusion(t1)) * noise(t0, t1)
        k1 = problem.drift(t0, x)
        k2 = problem.drift(t1, x + h * k1 + kick)
        return x + (0.5 * h) * (k1 + k2) + kick, None
