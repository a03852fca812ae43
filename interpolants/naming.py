r"""Names for what sympy should not look into: exponentials, powers with many digits, roots.

Each function returns an expression in which they are powers of positive symbols, and the dictionary back.
"""

from __future__ import annotations

import itertools
import math

import sympy
from sympy import Dummy, Expr, Pow, Rational, exp

__all__ = ["LARGEST_POWER", "factored", "name_exponentials", "name_powers", "name_roots"]

LARGEST_POWER = 12
"""Sympy factors a polynomial of degree 1e16 until somebody stops it."""

_RATIOS = [sign * Rational(ratio) for ratio in ("1", "2", "1/2", "3", "3/2", "4", "1/4") for sign in (1, -1)]


def name_exponentials(expression: Expr) -> tuple[Expr, dict[Expr, Expr]]:
    """Write exponentials whose exponents are rational multiples of one another as powers of one positive symbol.

    Sympy would otherwise split ``exp(a t + b t**2)`` into a product, and take seconds to factor it.
    """
    there: dict[Expr, Expr] = {}
    back: dict[Expr, Expr] = {}
    for node in sorted(expression.atoms(exp), key=sympy.default_sort_key):
        for name, whole in back.items():
            ratio = sympy.cancel(node.exp / whole.exp)
            if ratio.is_Rational and max(abs(ratio.p), ratio.q) <= LARGEST_POWER:
                there[node] = name**ratio
                break
        else:
            name = Dummy("E", positive=True)
            there[node], back[name] = name, node
    short, powers = name_powers(expression.xreplace(there))
    return short, back | {name: power.xreplace(back) for name, power in powers.items()}


def name_powers(expression: Expr) -> tuple[Expr, dict[Expr, Expr]]:
    """Write powers with many digits by one positive symbol per base.

    Sympy would take ``t**1.32781`` for the 132781st power of a root of t, and a list of all smaller ones into memory.
    """
    there: dict[Expr, Expr] = {}
    back: dict[Expr, Expr] = {}
    nodes = [node for node in expression.atoms(Pow) if node.exp.is_Rational and node.exp.q > LARGEST_POWER]
    for node in sorted(nodes, key=sympy.default_sort_key):
        for (name, known), ratio in itertools.product(back.items(), _RATIOS):
            rest = node.exp - ratio * known.exp
            if known.base == node.base and rest.q <= LARGEST_POWER:
                there[node] = name**ratio * node.base**rest
                break
        else:
            name = Dummy("Q", positive=True)
            there[node], back[name] = name, node
    return expression.xreplace(there), back


def name_roots(expression: Expr) -> tuple[Expr, dict[Expr, Expr]]:
    """Write fractional powers of one base as whole powers of one positive symbol."""
    degrees: dict[Expr, int] = {}
    nodes = [node for node in expression.atoms(Pow) if node.base.free_symbols and node.exp.is_Rational]
    for node in nodes:
        degrees[node.base] = math.lcm(degrees.get(node.base, 1), int(node.exp.q))
    names = {base: Dummy("R", positive=True) for base, degree in degrees.items() if degree > 1}
    there = {node: names[node.base] ** (node.exp * degrees[node.base]) for node in nodes if node.base in names}
    return expression.xreplace(there), {name: base ** Rational(1, degrees[base]) for base, name in names.items()}


def factored(expression: Expr) -> Expr:
    """Factor a sum of fractions."""
    short, back = name_powers(expression)
    return sympy.factor(sympy.together(short)).xreplace(back)
