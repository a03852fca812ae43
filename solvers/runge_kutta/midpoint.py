"""The midpoint rule: the slope half-way, found with a half step of Euler, followed over the whole step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.runge_kutta.explicit import RungeKutta
from solvers.runge_kutta.tableau import Tableau, fractions, lower


@dataclass(frozen=True, slots=True)
class Midpoint(RungeKutta):
    r"""Explicit midpoint rule for :math:`\dot x = f(t, x)`.

    .. math:: k_1 = f(t_0, x), \quad k_2 = f\bigl(t_0 + \tfrac{h}{2}, x + \tfrac{h}{2} k_1\bigr), \quad x_1 = x + h k_2

    Order 2, two evaluations per step, never at the last time of the grid: ``f`` may diverge there.
    Also called the modified Euler method or Runge's method; not the implicit midpoint rule.

    References: Runge, Über die numerische Auflösung von Differentialgleichungen, Math. Ann. 46 (1895);
    Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), II.1.
    """

    tableau: ClassVar[Tableau] = Tableau(a=lower("1/2"), b=fractions("0 1"), order=2)
