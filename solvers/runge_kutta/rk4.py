"""The classical Runge–Kutta method: Simpson's rule with slopes found on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.runge_kutta.explicit import RungeKutta
from solvers.runge_kutta.tableau import Tableau, fractions, lower


@dataclass(frozen=True, slots=True)
class RK4(RungeKutta):
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

    tableau: ClassVar[Tableau] = Tableau(
        a=lower("""
            1/2
            0   1/2
            0   0   1
        """),
        b=fractions("1/6 1/3 1/3 1/6"),
        order=4,
    )
