"""Ralston's method: the second-order method of two stages with the smallest bound on its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.runge_kutta.explicit import RungeKutta
from solvers.runge_kutta.tableau import Tableau, fractions, lower


@dataclass(frozen=True, slots=True)
class Ralston(RungeKutta):
    r"""Ralston's method of two stages for :math:`\dot x = f(t, x)`.

    .. math::
        k_1 = f(t_0, x), \quad k_2 = f\bigl(t_0 + \tfrac{2h}{3}, x + \tfrac{2h}{3} k_1\bigr), \quad
        x_1 = x + \tfrac{h}{4} (k_1 + 3 k_2)

    Order 2, two evaluations per step, never at the last time of the grid: ``f`` may diverge there.
    Also called Heun's method by some authors; :class:`Heun` is the trapezoidal one.

    References: Ralston, Runge-Kutta methods with minimum error bounds, Math. Comp. 16 (1962).
    """

    tableau: ClassVar[Tableau] = Tableau(a=lower("2/3"), b=fractions("1/4 3/4"), order=2)
