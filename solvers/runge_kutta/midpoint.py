"""The midpoint rule: the slope half-way, found with a half step of Euler, followed over the whole step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.problem import ODE


@dataclass(frozen=True, slots=True)
class Midpoint:
    r"""Explicit midpoint rule for :math:`\dot x = f(t, x)`.

    .. math:: k_1 = f(t_0, x), \quad k_2 = f\bigl(t_0 + \tfrac{h}{2}, x + \tfrac{h}{2} k_1\bigr), \quad x_1 = x + h k_2

    Order 2, two evaluations per step, never at the last time of the grid: ``f`` may diverge there.
    Also called the modified Euler method or Runge's method; not the implicit midpoint rule.

    References: Runge, Über die numerische Auflösung von Differentialgleichungen, Math. Ann. 46 (1895);
    Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), II.1.
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    nodes: ClassVar[tuple[float, ...]] = (0.0, 0.5)
    stochastic: ClassVar[bool] = False
    solves: ClassVar[type[ODE]] = ODE

    def init(self, problem: ODE, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(self, problem: ODE, t0: float, t1: float, x: Array, state: None, noise: None) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        h = t1 - t0
        k1 = problem.drift(t0, x)
        k2 = problem.drift(t0 + 0.5 * h, x + (0.5 * h) * k1)
        return x + h * k2, None
