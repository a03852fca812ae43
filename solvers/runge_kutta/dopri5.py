"""The method of Dormand and Prince: order 5 with an estimate of order 4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.runge_kutta.explicit import RungeKutta
from solvers.runge_kutta.tableau import Tableau, fractions, hermite, lower

_B = fractions("35/384 0 500/1113 125/192 -2187/6784 11/84")
_BUMP = fractions(
    "-12715105075/11282082432 0 87487479700/32700410799 -10690763975/1880347072 "
    "701980252875/199316789632 -1453857185/822651844 69997945/29380423"
)


@dataclass(frozen=True, slots=True)
class Dopri5(RungeKutta):
    r"""Dormand and Prince's pair 5(4) for :math:`\dot x = f(t, x)`.

    Order 5. On a fixed grid six evaluations per step, the last of them at its end: ``f`` must be finite at the last
    time of the grid. Under :class:`Adaptive` the slope at the end of a step is evaluated too and serves as the first of
    the next; the formula that the step is compared with has order 4. Dense output is Shampine's polynomial of degree
    and order 4, continuous together with its slope.

    Other libraries call it dopri5, RK45 or ode45.

    References: Dormand & Prince, A family of embedded Runge-Kutta formulae, J. Comput. Appl. Math. 6 (1980), table 2;
    Shampine, Some practical Runge-Kutta formulas, Math. Comp. 46 (1986); Hairer, Nørsett & Wanner, Solving Ordinary
    Differential Equations I (1993), table II.5.2 and II.6.
    """

    tableau: ClassVar[Tableau] = Tableau(
        a=lower("""
            1/5
            3/40        9/40
            44/45       -56/15      32/9
            19372/6561  -25360/2187 64448/6561 -212/729
            9017/3168   -355/33     46732/5247 49/176 -5103/18656
        """),
        b=_B,
        order=5,
        errors=lower("71/57600 0 -71/16695 71/1920 -17253/339200 22/525 -1/40"),
        error_order=4,
        dense=hermite(_B, (_BUMP,)),
        dense_order=4,
    )
