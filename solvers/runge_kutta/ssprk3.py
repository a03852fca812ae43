"""The strong-stability-preserving method of three stages: convex combinations of Euler steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.runge_kutta.explicit import RungeKutta
from solvers.runge_kutta.tableau import Tableau, fractions, lower


@dataclass(frozen=True, slots=True)
class SSPRK3(RungeKutta):
    r"""Shu and Osher's third-order method for :math:`\dot x = f(t, x)`.

    .. math::
        k_1 = f(t_0, x), \quad k_2 = f(t_1, x + h k_1), \quad
        k_3 = f\bigl(t_0 + \tfrac{h}{2}, x + \tfrac{h}{4} (k_1 + k_2)\bigr), \quad
        x_1 = x + \tfrac{h}{6} (k_1 + k_2 + 4 k_3)

    Order 3, three evaluations per step, one of them at its end: ``f`` must be finite at the last time of the grid.
    A norm or another convex functional that no Euler step of length h increases is not increased by this step either.

    References: Shu & Osher, Efficient implementation of essentially non-oscillatory shock-capturing schemes, J. Comput.
    Phys. 77 (1988), eq. 2.18; Gottlieb, Shu & Tadmor, SIAM Review 43 (2001).
    """

    tableau: ClassVar[Tableau] = Tableau(
        a=lower("""
            1
            1/4 1/4
        """),
        b=fractions("1/6 1/6 2/3"),
        order=3,
    )
