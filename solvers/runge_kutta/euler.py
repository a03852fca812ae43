"""Euler's method: the tangent at the start of the step, followed to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.problem import ODE
from solvers.runge_kutta.explicit import RungeKutta
from solvers.runge_kutta.tableau import Tableau, fractions


@dataclass(frozen=True, slots=True)
class Euler(RungeKutta):
    r"""Explicit Euler for :math:`\dot x = f(t, x)`.

    .. math:: x_1 = x + h f(t_0, x), \quad h = t_1 - t_0

    Order 1, one evaluation per step, never at the last time of the grid: ``f`` may diverge there.

    References: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), I.7.
    """

    tableau: ClassVar[Tableau] = Tableau(a=(), b=fractions("1"), order=1)

    def step(self, problem: ODE, t0: float, t1: float, x: Array, state: None, noise: None) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1: the shared step in one line, for this method is where its loops would show."""
        return x + (t1 - t0) * problem.drift(t0, x), None
