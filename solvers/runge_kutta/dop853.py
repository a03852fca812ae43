"""Dormand and Prince's method of order 8 in Hairer's version, with two estimates and dense output of order 7."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from solvers.runge_kutta.dop853_coefficients import COEFFICIENTS, NODES, THIRD
from solvers.runge_kutta.explicit import RungeKutta
from solvers.runge_kutta.tableau import Row, Tableau, fractions, hermite, sparse


def _rows(text: str) -> dict[str, dict[int, str]]:
    """Return the entries of every line by its name."""
    rows: dict[str, dict[int, str]] = {}
    name = ""
    for word in text.replace(" =", "=").split():
        if word.endswith("="):
            name = word[:-1]
            rows[name] = {}
        else:
            column, _, value = word.partition(":")
            rows[name][int(column)] = value
    return rows


def _tableau() -> Tableau:
    rows, nodes = _rows(COEFFICIENTS), fractions(NODES)
    b = sparse(12, rows["b"])
    subtracted = sparse(12, THIRD)
    third: Row = (*(weight - other for weight, other in zip(b, subtracted)), Fraction(0))
    return Tableau(
        a=tuple(sparse(i - 1, rows[f"a{i}"]) for i in range(2, 13)),
        b=b,
        order=8,
        c=nodes[:12],
        errors=(sparse(13, rows["e"]), third),
        error_order=7,
        extra=tuple(sparse(i - 1, rows[f"a{i}"]) for i in range(14, 17)),
        extra_c=nodes[13:],
        dense=hermite(b, tuple(sparse(16, rows[name]) for name in "DEFG"), size=16),
        dense_order=7,
    )


@dataclass(frozen=True, slots=True)
class DOP853(RungeKutta):
    r"""Dormand and Prince's method of order 8 for :math:`\dot x = f(t, x)`, for high accuracy.

    Order 8. On a fixed grid twelve evaluations per step, the last of them at its end: ``f`` must be finite at the last
    time of the grid. Under :class:`Adaptive` the slope at the end of a step is evaluated too and serves as the first of
    the next; the error is estimated from formulas of order 5 and 3 with the norms
    :math:`e_5^2 / \sqrt{e_5^2 + e_3^2/100}`, which behaves like :math:`h^8`. Dense output has order 7 and costs three
    more evaluations in each step in which it is asked for.

    The coefficients were published as decimals of 30 digits.

    References: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), II.5 (table 5.3) and II.6;
    Dormand & Prince, New Runge–Kutta algorithms for numerical simulation in dynamical astronomy, Celest. Mech. 18
    (1978).
    """

    tableau: ClassVar[Tableau] = _tableau()
