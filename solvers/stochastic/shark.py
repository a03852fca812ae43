"""ShARK: two evaluations, strong order 3/2, with a smaller error than SRA1's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.method import Planned
from solvers.noise import Increment, with_area
from solvers.problem import SDE


@dataclass(frozen=True, slots=True)
class ShARK(Planned):
    r"""The shifted additive-noise Runge–Kutta method for :math:`dX = f(t, X)\,dt + g(t)\,dW`.

    With H the space–time Lévy area of the step and :math:`\bar g = \tfrac12(g(t_0) + g(t_1))`,

    .. math::
        \tilde x &= x + \bar g H, \quad k_1 = f(t_0, \tilde x), \quad
        k_2 = f\bigl(t_0 + \tfrac56 h,\ \tilde x + \tfrac56 (h k_1 + \bar g\,\Delta W)\bigr), \\
        x_1 &= x + h\bigl(\tfrac25 k_1 + \tfrac35 k_2\bigr) + \bar g\,\Delta W + \bigl(g(t_0) - g(t_1)\bigr) H

    The noise of the last line is that of :class:`SRA1`: exact for a ``g`` linear in time. Weak order 2, strong order
    3/2, two evaluations per step, never at the last time of the grid; ``g`` is asked there.

    References: Foster, dos Reis & Strange (2023), High order splitting methods for SDEs satisfying a commutativity
    condition, arXiv 2210.17543, eq. 6.1, there with a constant ``g``.
    """

    order: ClassVar[int] = 2
    weak_order: ClassVar[int] = 2
    strong_order: ClassVar[float] = 1.5
    evaluations: ClassVar[int] = 2
    nodes: ClassVar[tuple[float, ...]] = (0.0, 5.0 / 6.0)
    noise_nodes: ClassVar[tuple[float, ...]] = (0.0, 1.0)
    stochastic: ClassVar[bool] = True
    solves: ClassVar[type[SDE]] = SDE

    def init(self, problem: SDE, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(self, problem: SDE, t0: float, t1: float, x: Array, state: None, noise: Increment) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        h, g0, g1 = t1 - t0, problem.diffusion(t0), problem.diffusion(t1)
        g = 0.5 * (g0 + g1)
        dW, area = with_area(noise, t0, t1)
        shifted = x + g * area
        k1 = problem.drift(t0, shifted)
        k2 = problem.drift(t0 + (5.0 / 6.0) * h, shifted + (5.0 / 6.0) * (h * k1 + g * dW))
        return x + h * (0.4 * k1 + 0.6 * k2) + g * dW + (g0 - g1) * area, None
