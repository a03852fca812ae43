"""Heun's method: the mean of the slopes at both ends of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.runge_kutta.explicit import RungeKutta
from solvers.runge_kutta.tableau import Tableau, fractions, lower


@dataclass(frozen=True, slots=True)
class Heun(RungeKutta):
    r"""Explicit trapezoidal rule for :math:`\dot x = f(t, x)`.

    .. math:: k_1 = f(t_0, x), \quad k_2 = f(t_1, x + h k_1), \quad x_1 = x + \tfrac{h}{2} (k_1 + k_2)

    Order 2, two evaluations per step, one of them at its end: ``f`` must be finite at the last time of the grid.
    Also called the improved Euler method.

    References: Heun, Neue Methoden zur approximativen Integration der Differentialgleichungen, Z. Math. Phys. 45
    (1900); Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), II.1.
    """

    tableau: ClassVar[Tableau] = Tableau(a=lower("1"), b=fractions("1/2 1/2"), order=2)
