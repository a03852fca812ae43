"""Asking sympy, within a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy
from sympy import Expr, Symbol, exp

from interpolants.budget import within
from interpolants.naming import LARGEST_POWER

__all__ = ["BUDGET_SECONDS", "attempt", "reduce"]

BUDGET_SECONDS = 5.0
"""The time that sympy has for each proof."""


def attempt(proof: Callable[[], Any]) -> tuple[Any, str]:
    """Return what sympy finds and an empty reason, or None and why it found nothing."""
    try:
        return within(BUDGET_SECONDS, proof), ""
    except TimeoutError:
        return None, f"no proof in {BUDGET_SECONDS:g} s"
    except (NotImplementedError, ValueError, TypeError, RecursionError, ArithmeticError, AttributeError):
        return None, "sympy cannot decide"


def reduce(residual: Expr) -> Expr:
    """Write all exponentials as powers of one symbol, then clear denominators: the numerator must expand to zero."""
    names: dict[Expr, Expr] = {}
    for node in sorted(residual.atoms(exp), key=sympy.default_sort_key):
        first = next(iter(names), node)
        ratio = sympy.cancel(node.exp / first.exp)
        if ratio.is_Rational and max(abs(ratio.p), ratio.q) <= LARGEST_POWER:
            names[node] = (names[first] if names else Symbol("E", positive=True)) ** ratio
    numerator, _ = sympy.fraction(sympy.together(residual.xreplace(names)))
    expanded = sympy.expand(numerator)
    return expanded if expanded == 0 else sympy.simplify(expanded)
