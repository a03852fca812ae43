"""Euler's method: the tangent at the start of the step, followed to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.problem import ODE


@dataclass(frozen=True, slots=True)
class Euler:
    r"""Explicit Euler for :math:`\dot x = f(t, x)`.

    .. math:: x_1 = x + h f(t_0, x), \quad h = t_1 - t_0

    Order 1, one evaluation per step, never at the last time of the grid: ``f`` may diverge there.

    References: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), I.7.
    """

    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = False
    solves: ClassVar[type[ODE]] = ODE

    def init(self, problem: ODE, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(self, problem: ODE, t0: float, t1: float, x: Array, state: None, noise: None) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        return x + (t1 - t0) * problem.drift(t0, x), None
