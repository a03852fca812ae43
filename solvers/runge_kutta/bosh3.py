"""The method of Bogacki and Shampine: order 3 with an estimate of order 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.runge_kutta.explicit import RungeKutta
from solvers.runge_kutta.tableau import Tableau, fractions, lower


@dataclass(frozen=True, slots=True)
class Bosh3(RungeKutta):
    r"""Bogacki and Shampine's pair 3(2) for :math:`\dot x = f(t, x)`.

    .. math::
        k_2 = f\bigl(t_0 + \tfrac{h}{2}, x + \tfrac{h}{2} k_1\bigr), \quad
        k_3 = f\bigl(t_0 + \tfrac{3h}{4}, x + \tfrac{3h}{4} k_2\bigr), \quad
        x_1 = x + \tfrac{h}{9} (2 k_1 + 3 k_2 + 4 k_3)

    Order 3. On a fixed grid three evaluations per step, never at the last time. Under :class:`Adaptive` the slope at
    the end of a step is evaluated too and serves as the first of the next; the formula of order 2 that the step is
    compared with has the weights 7/24, 1/4, 1/3, 1/8. Dense output is the cubic Hermite polynomial.

    References: Bogacki & Shampine, A 3(2) pair of Runge–Kutta formulas, Appl. Math. Lett. 2 (1989).
    """

    tableau: ClassVar[Tableau] = Tableau(
        a=lower("""
            1/2
            0   3/4
        """),
        b=fractions("2/9 1/3 4/9"),
        order=3,
        errors=lower("-5/72 1/12 1/9 -1/8"),
        error_order=2,
    )
