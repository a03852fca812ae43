r"""Equivalent forms of one expression, some of which survive floating point.

:func:`forms` yields candidates from cheap to expensive: algebraic rearrangements by sympy, each passed through
:func:`interpolants.stable.stable`, which introduces expm1, sinpi and log1p and factors polynomials, so that a zero at
an end of the domain is a factor. No form is trusted for its looks: the choice among them is made by measured error
(:mod:`interpolants.search`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sympy
from sympy import Expr, Function, Pow, cos, cosh, log, sin, sinh, tan
from sympy.simplify.fu import TR8, TR9, hyper_as_trig

from interpolants.naming import name_exponentials, name_roots
from interpolants.stable import cospi, from_one, held, plain, powers_from_one, reflect, sinpi, stable, supplement

__all__ = ["effort", "forms"]


def forms(expression: Expr, *, thorough: bool) -> Iterator[Expr]:
    """Yield candidate forms of ``expression``: the cheap ones, or those that cost a simplification."""
    seen: set[Expr] = set()
    for raw in _simplifications(expression) if thorough else _rearrangements(expression):
        once = stable(raw)
        for form in (plain(once), once, reflect(once), supplement(once), from_one(once), powers_from_one(once)):
            if form not in seen:
                seen.add(form)
                yield form


def effort(form: Expr) -> int:
    """Return the cost of evaluating ``form``, an addition being one; common functions are counted once."""
    functions = [node for node in form.atoms(Function) if not isinstance(node, held)]
    turns = sum(isinstance(node, (sinpi, cospi)) for node in functions)
    powers = sum(not node.exp.is_Rational for node in form.atoms(Pow))
    return int(form.count_ops()) + 10 * len(functions) + 10 * turns + 15 * powers


def _rearrangements(expression: Expr) -> Iterator[Expr]:
    yield expression
    short, back = name_exponentials(expression)
    yield from (form.xreplace(back) for form in _algebra(short))
    powers = {name for name, whole in back.items() if whole.is_Pow}
    yield from (form.xreplace(back) for form in _quotients(short, powers))
    shorter, roots = name_roots(short)
    if roots:
        yield from (form.xreplace(roots).xreplace(back) for form in _algebra(shorter))
    if expression.has(sin, cos, tan):
        yield sympy.factor(sympy.trigsimp(short)).xreplace(back)
        yield sympy.factor(sympy.expand_trig(short)).xreplace(back)
        yield from (form.xreplace(back) for form in _merge_products(short, lambda plain: plain))
    if expression.has(sinh, cosh):
        plain, hyperbolic = hyper_as_trig(short)
        yield from (form.xreplace(back) for form in _merge_products(plain, hyperbolic))


def _merge_products(expression: Expr, restore: Callable[[Expr], Expr]) -> Iterator[Expr]:
    """Turn products of sines and cosines in the numerator into sums, where most cancel, and back into products."""
    above, below = sympy.fraction(sympy.together(expression))
    sums = sympy.factor_terms(TR8(sympy.expand(above)))
    yield restore(sums / below)
    yield restore(TR9(sums) / below)


def _algebra(expression: Expr) -> Iterator[Expr]:
    if expression.has(log):
        split = sympy.expand_log(expression, force=True)
        yield split
        combined = sympy.logcombine(split, force=True)
        yield combined
        yield sympy.expand_log(sympy.factor(combined, deep=True), force=True)
        yield _one_logarithm(split)
        yield from _inside_logarithms(split)
        return
    yield sympy.factor_terms(expression)
    yield sympy.expand(expression)
    yield sympy.factor(expression)
    together = sympy.together(sympy.expand(expression))
    yield together
    yield sympy.factor(together)
    yield sympy.factor(sympy.radsimp(together))


def _quotients(expression: Expr, names: set[Expr]) -> Iterator[Expr]:
    """Divide both sides of a fraction by the power of a base that is common at its zero: t/Q is a power again."""
    above, below = sympy.fraction(sympy.together(expression))
    for name in sorted(names & below.free_symbols, key=str):
        yield sympy.expand(above / name) / sympy.factor(sympy.expand(below / name))


def _one_logarithm(expression: Expr) -> Expr:
    r"""Write :math:`\sum_i g n_i \log a_i + b` with whole :math:`n_i` as :math:`g\log\prod_i a_i^{n_i} + b`."""
    nodes = sorted(expression.atoms(log), key=sympy.default_sort_key)
    rates = [expression.coeff(node) for node in nodes]
    rest = sympy.expand(expression - sum(rate * node for rate, node in zip(rates, nodes)))
    if rest.has(log) or not all(rate.is_Rational for rate in rates):
        return expression
    common = sympy.gcd_list(rates)
    product = sympy.Mul(*(node.args[0] ** (rate / common) for node, rate in zip(nodes, rates)))
    return common * log(product) + rest


def _inside_logarithms(expression: Expr) -> Iterator[Expr]:
    """Rearrange the argument of every logarithm: the first way for all, the second for all, and so on."""
    ways = {node: list(dict.fromkeys(_rearrangements(node.args[0]))) for node in expression.atoms(log)}
    for index in range(max(map(len, ways.values()), default=0)):
        rearranged = {node: log(way[min(index, len(way) - 1)]) for node, way in ways.items()}
        yield sympy.expand_log(expression.xreplace(rearranged), force=True)


def _simplifications(expression: Expr) -> Iterator[Expr]:
    short, back = name_exponentials(expression)
    shorter, roots = name_roots(short)
    yield sympy.factor(sympy.powsimp(sympy.together(sympy.expand(shorter)))).xreplace(roots).xreplace(back)
    simple = sympy.simplify(short)
    yield simple.xreplace(back)
    yield sympy.radsimp(simple).xreplace(back)
