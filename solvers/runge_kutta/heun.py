"""Heun's method: the mean of the slopes at both ends of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.problem import ODE


@dataclass(frozen=True, slots=True)
class Heun:
    r"""Explicit trapezoidal rule for :math:`\dot x = f(t, x)`.

    .. math:: k_1 = f(t_0, x), \quad k_2 = f(t_1, x + h k_1), \quad x_1 = x + \tfrac{h}{2} (k_1 + k_2)

    Order 2, two evaluations per step, one of them at its end: ``f`` must be finite at the last time of the grid.
    Also called the improved Euler method.

    References: Heun, Neue Methoden zur approximativen Integration der Differentialgleichungen, Z. Math. Phys. 45
    (1900); Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), II.1.
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    nodes: ClassVar[tuple[float, ...]] = (0.0, 1.0)
    stochastic: ClassVar[bool] = False
    solves: ClassVar[type[ODE]] = ODE

    def init(self, problem: ODE, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(self, problem: ODE, t0: float, t1: float, x: Array, state: None, noise: None) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        h = t1 - t0
        k1 = problem.drift(t0, x)
        k2 = problem.drift(t1, x + h * k1)
        return x + (0.5 * h) * (k1 + k2), None
