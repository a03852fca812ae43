"""The method of Tsitouras: order 5 with an estimate of order 4."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from solvers.runge_kutta.explicit import RungeKutta
from solvers.runge_kutta.tableau import Row, Tableau, fractions, lower, multiply

_STEP = "0.09646076681806523 0.01 0.4798896504144996 1.379008574103742 -3.290069515436081 2.324710524099774"
_ERROR = (
    "0.00178001105222577714 0.0008164344596567469 -0.007880878010261995 0.1447110071732629 "
    "-0.5823571654525552 0.45808210592918697 -1/66"
)

# A factor, and polynomials in θ to multiply it with: coefficients from the constant upwards, separated by commas.
_DENSE = """\
-1.0530884977290216, 0 1, -1.3299890189751412 1, 0.7139816917074209 -1.4364028541716351 1
0.1017, 0 0 1, 1.2949852507374631 -2.1966568338249754 1
2.490627285651252793, 0 0 1, 1.57803468208092486 -2.38535645472061657 1
-16.54810288924490272, 0 0 1, -1.21712927295533244 1, -0.61620406037800089 1
47.37952196281928122, 0 0 1, -1.203071208372362603 1, -0.658047292653547382 1
-34.87065786149660974, 0 0 1, -1.2 1, -0.666666666666666667 1
2.5, 0 0 1, -1 1, -0.6 1"""


def _product(line: str) -> Row:
    """Return the coefficients of θ, θ², θ³, θ⁴ of a line."""
    product: Row = (Fraction(1),)
    for factor in line.split(","):
        product = multiply(product, fractions(factor))
    return product[1:]


@dataclass(frozen=True, slots=True)
class Tsit5(RungeKutta):
    r"""Tsitouras' pair 5(4) for :math:`\dot x = f(t, x)`.

    Order 5, with a smaller leading error than :class:`Dopri5` for the same six evaluations per step, the last of them
    at its end: ``f`` must be finite at the last time of the grid. Under :class:`Adaptive` the slope at the end of a
    step is evaluated too and serves as the first of the next. Dense output has order 4.

    The coefficients solve the conditions of order numerically and were published as decimals of 16 digits; the
    conditions hold to about 1e-14, those of dense output to 2e-13.

    References: Tsitouras, Runge–Kutta pairs of order 5(4) satisfying only the first column simplifying assumption,
    Comput. Math. Appl. 62 (2011), table 1.
    """

    tableau: ClassVar[Tableau] = Tableau(
        a=lower("""
            0.161
            -0.008480655492356989 0.335480655492357
            2.8971530571054935    -6.359448489975075 4.3622954328695815
            5.325864828439257     -11.748883564062828 7.4955393428898365 -0.09249506636175525
            5.86145544294642      -12.92096931784711 8.159367898576159 -0.071584973281401 -0.028269050394068383
        """),
        b=fractions(_STEP),
        order=5,
        c=fractions("0 0.161 0.327 0.9 0.9800255409045097 1"),
        errors=lower(_ERROR),
        error_order=4,
        dense=tuple(_product(line) for line in _DENSE.splitlines()),
        dense_order=4,
    )
