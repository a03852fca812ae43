"""The classical Runge–Kutta method: Simpson's rule with slopes found on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.problem import ODE


@dataclass(frozen=True, slots=True)
class RK4:
    r"""Classical fourth-order Runge–Kutta for :math:`\dot x = f(t, x)`.

    .. math::
        k_1 = f(t_0, x), \quad k_2 = f\bigl(t_0 + \tfrac{h}{2}, x + \tfrac{h}{2} k_1\bigr), \quad
        k_3 = f\bigl(t_0 + \tfrac{h}{2}, x + \tfrac{h}{2} k_2\bigr), \quad k_4 = f(t_1, x + h k_3)

        x_1 = x + \tfrac{h}{6} (k_1 + 2 k_2 + 2 k_3 + k_4)

    Order 4, four evaluations per step, one of them at its end: ``f`` must be finite at the last time of the grid.
    Not the 3/8 rule, which some libraries call rk4.

    References: Kutta, Beitrag zur näherungsweisen Integration totaler Differentialgleichungen, Z. Math. Phys. 46
    (1901); Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), II.1.
    """

    order: ClassVar[int] = 4
    evaluations: ClassVar[int] = 4
    nodes: ClassVar[tuple[float, ...]] = (0.0, 0.5, 0.5, 1.0)
    stochastic: ClassVar[bool] = False
    solves: ClassVar[type[ODE]] = ODE

    def init(self, problem: ODE, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(self, problem: ODE, t0: float, t1: float, x: Array, state: None, noise: None) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        h = t1 - t0
        middle = t0 + 0.5 * h
        k1 = problem.drift(t0, x)
        k2 = problem.drift(middle, x + (0.5 * h) * k1)
        k3 = problem.drift(middle, x + (0.5 * h) * k2)
        k4 = problem.drift(t1, x + h * k3)
        return x + (h / 6.0) * (k1 + 2.0 * (k2 + k3) + k4), None
