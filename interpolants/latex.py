r"""Formulas of a schedule for people: what follows from α and σ, in LaTeX, with the limits at both ends."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import cache
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

import sympy
from sympy import Expr, Piecewise, Rational
from sympy.codegen.cfunctions import expm1, log1p
from sympy.simplify.fu import TR2i

from interpolants.budget import within
from interpolants.measure import Domain, Exact
from interpolants.rewriting import forms
from interpolants.stable import held, ln, plain
from interpolants.symbols import t

if TYPE_CHECKING:
    from interpolants.schedule import Schedule

__all__ = ["SYMBOLS", "Row", "conversion_rows", "latex", "rows", "shortest"]

SYMBOLS = {
    "alpha": r"\alpha_t",
    "sigma": r"\sigma_t",
    "d_alpha": r"\dot\alpha_t",
    "d_sigma": r"\dot\sigma_t",
    "ratio": r"\sigma_t/\alpha_t",
    "log_snr": r"\log(\alpha_t^2/\sigma_t^2)",
    "wronskian": r"W_t",
    "lambda": r"\lambda_t",
    "kappa": r"\kappa_t",
    "w_kl": r"w^{\mathrm{KL}}_t",
}
SECONDS = 2.0
"""How long sympy may look for a shorter form, and for a limit."""


class Row(NamedTuple):
    """A symbol, its formula and its limits at the data and at the noise end, all in LaTeX."""

    symbol: str
    formula: str
    at_data: str
    at_noise: str


def latex(schedule: Schedule) -> str:
    r"""Return α, σ, their derivatives, log-SNR, W, λ, κ and :math:`w^{KL} = 2\kappa` as an ``aligned`` block.

    With their limits, a line each: put it between ``$$`` and ``$$``.
    """
    lines = [
        rf"{row.symbol} &= {row.formula} && \bigl({row.at_data} \to {row.at_noise}\bigr)" for row in rows(schedule)
    ]
    return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def rows(schedule: Schedule) -> list[Row]:
    """Return the quantities of ``schedule``, one row each."""
    quantities = {**schedule.expressions, "w_kl": 2 * schedule.expressions["kappa"]}
    return [row(SYMBOLS[name], expression, schedule.exact_domain) for name, expression in quantities.items()]


def conversion_rows(schedule: Schedule) -> list[tuple[str, str, Row, Row]]:
    """Return source, target and the factors of x and of the prediction, for all twenty conversions."""
    from interpolants.prediction import PREDICTIONS, conversion  # it needs schedules, which need this module

    found = []
    for source, to in permutations(PREDICTIONS.values(), 2):
        parts = conversion(schedule, source, to)
        of_x = row("A", parts.A, schedule.exact_domain)
        found.append((source.name, to.name, of_x, row("B", parts.B, schedule.exact_domain)))
    return found


def row(symbol: str, expression: Expr, domain: Domain) -> Row:
    """Return the shortest formula and the two limits of one expression of t."""
    formula = shortest(expression)
    limits = (sympy.latex(_limit(formula, expression, which, domain)) for which in (0, 1))
    return Row(symbol, sympy.latex(formula), *limits)


@cache
def shortest(expression: Expr) -> Expr:
    """Return the shortest of the equivalent forms that sympy finds in time; of a Piecewise, branch by branch."""
    if expression.has(Piecewise):
        folded = sympy.piecewise_fold(expression)
        return Piecewise(*((shortest(branch), condition) for branch, condition in folded.args))
    found = [expression]

    def look() -> None:
        for thorough in (False, True):
            for form in forms(expression, thorough=thorough):
                found.extend((_readable(form), TR2i(_readable(form))))

    with suppress(TimeoutError):
        within(SECONDS, look)
    found = [form for form in found if not form.has(sympy.I)]
    return min(found, key=lambda form: (len(sympy.latex(form)), str(form)))


def _readable(form: Expr) -> Expr:
    """Write with the functions of textbooks what is written for floating point."""
    form = form.replace(held, lambda number, total: sympy.Mul(number, total, evaluate=False))
    form = plain(form).replace(ln, sympy.log)
    return form.replace(log1p, lambda x: sympy.log(1 + x)).replace(expm1, lambda x: sympy.exp(x) - 1)


def _limit(formula: Expr, expression: Expr, which: int, domain: Domain) -> Expr:
    """Return sympy's limit where it agrees with 200 digits, and those digits where it does not."""
    measured = Exact(expression, t, domain).ends[which].limit
    if math.isinf(measured):
        return sympy.oo if measured > 0 else -sympy.oo
    branch = formula.args[-which][0] if isinstance(formula, Piecewise) else formula
    try:
        exact = within(SECONDS, lambda: sympy.limit(branch, t, domain[which], "+-"[which]))
        if abs(float(exact) - measured) <= 1e-12 * max(1.0, abs(measured)):
            short = Rational(measured).limit_denominator(1000)
            return short if abs(float(short) - measured) < 1e-14 and exact.equals(short) else exact
    except (TimeoutError, NotImplementedError, ValueError, TypeError):
        pass
    return sympy.Float(measured, 6)
