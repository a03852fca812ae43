r"""Equivalent forms of one expression, some of which survive floating point.

:func:`forms` yields candidates from cheap to expensive: algebraic rearrangements by sympy, each passed through
:func:`stable`, which introduces the functions that floating point has for exactly this purpose,

.. math:: a e^X - a = a\,\mathrm{expm1}(X), \quad \sin(\pi q) = \mathrm{sinpi}(q), \quad \log f = \mathrm{log1p}(f - 1),

and factors polynomials so that a zero at an end of the domain is a factor. No form is trusted for its looks: the
choice among them is made by measured error (:mod:`interpolants.lowering`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import sympy
from sympy import Add, Dummy, Expr, Function, Integer, Pow, Rational, cos, cosh, exp, log, pi, sin, sinh, tan
from sympy.codegen.cfunctions import expm1, log1p
from sympy.simplify.fu import TR8, TR9, hyper_as_trig

__all__ = ["cospi", "effort", "factored", "forms", "held", "sinpi", "stable"]

sinpi = Function("sinpi", real=True)
cospi = Function("cospi", real=True)

LARGEST_POWER = 12
"""Sympy factors a polynomial of degree 1e16 until somebody stops it."""

_RATIOS = [sign * Rational(ratio) for ratio in ("1", "2", "1/2", "3", "3/2", "4", "1/4") for sign in (1, -1)]
LARGEST_FACTORED = 6
"""Beyond this degree a polynomial is only searched for the zeros that matter, those at the ends."""

held = Function("held", real=True)
"""A product of a number and a sum that sympy would multiply out: 5·(1 − t) is exact near 1, 5 − 5·t is not."""


def forms(expression: Expr, *, thorough: bool) -> Iterator[Expr]:
    """Yield candidate forms of ``expression``: the cheap ones, or those that cost a simplification."""
    seen: set[Expr] = set()
    for raw in _simplifications(expression) if thorough else _rearrangements(expression):
        once = stable(raw)
        for form in (_plain(once), once, _reflect(once), _supplement(once), _log1p(once)):
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
    short, back = _name_exponentials(expression)
    yield from (form.xreplace(back) for form in _algebra(short))
    powers = {name for name, whole in back.items() if whole.is_Pow}
    yield from (form.xreplace(back) for form in _quotients(short, powers))
    shorter, roots = _name_roots(short)
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


def _name_exponentials(expression: Expr) -> tuple[Expr, dict[Expr, Expr]]:
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
    short, powers = _name_powers(expression.xreplace(there))
    return short, back | {name: power.xreplace(back) for name, power in powers.items()}


def _name_powers(expression: Expr) -> tuple[Expr, dict[Expr, Expr]]:
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


def _name_roots(expression: Expr) -> tuple[Expr, dict[Expr, Expr]]:
    """Write fractional powers of one base as whole powers of one positive symbol."""
    degrees: dict[Expr, int] = {}
    nodes = [node for node in expression.atoms(Pow) if node.base.free_symbols and node.exp.is_Rational]
    for node in nodes:
        degrees[node.base] = math.lcm(degrees.get(node.base, 1), int(node.exp.q))
    names = {base: Dummy("R", positive=True) for base, degree in degrees.items() if degree > 1}
    there = {node: names[node.base] ** (node.exp * degrees[node.base]) for node in nodes if node.base in names}
    return expression.xreplace(there), {name: base ** Rational(1, degrees[base]) for base, name in names.items()}


def _simplifications(expression: Expr) -> Iterator[Expr]:
    short, back = _name_exponentials(expression)
    shorter, roots = _name_roots(short)
    yield sympy.factor(sympy.powsimp(sympy.together(sympy.expand(shorter)))).xreplace(roots).xreplace(back)
    simple = sympy.simplify(short)
    yield simple.xreplace(back)
    yield sympy.radsimp(simple).xreplace(back)


def factored(expression: Expr) -> Expr:
    """Factor a sum of fractions."""
    short, back = _name_powers(expression)
    return sympy.factor(sympy.together(short)).xreplace(back)


def stable(expression: Expr) -> Expr:
    """Rewrite bottom-up with expm1, sinpi, cospi and factored polynomials; the value does not change."""
    if not expression.args or not expression.free_symbols:
        return expression
    node = expression.func(*(stable(argument) for argument in expression.args))
    if isinstance(node, Add):
        return _factor_polynomial(_expm1(node))
    if isinstance(node, (sin, cos, tan)):
        return _half_turns(node)
    return node


def _expm1(node: Expr) -> Expr:
    """Pair every ``a exp(X)`` with a ``-a`` of the same sum."""
    for term in node.atoms(exp):
        if not isinstance(node, Add):
            break
        weight = node.coeff(term)
        if weight != 0 and not weight.has(exp) and -weight in node.args:
            node = node - weight * term + weight + weight * expm1(term.exp)
    return node


def _factor_polynomial(node: Expr) -> Expr:
    """Factor a polynomial, each factor positive inside (0, 1): a zero divisor then has the right sign."""
    symbols = node.free_symbols
    if not isinstance(node, Add) or len(symbols) != 1 or not node.is_polynomial(*symbols):
        return node
    (symbol,) = symbols
    node = sympy.expand(node)
    if not node.free_symbols:
        return node
    inside = {symbol: Rational(37, 100)}
    constant, powers = _factors(node, symbol)
    factors = []
    for base, power in powers:
        if base.subs(inside).is_negative:
            base, constant = sympy.expand(-base), constant * (-1) ** power
        factors.append(base**power)
    sums = [index for index, factor in enumerate(factors) if isinstance(factor, Add)]
    if sums and not Rational(1, 10**4) < abs(constant) < 10**4:
        # 9e-17 * t * (…) underflows in float32 long before the product does.
        factors[sums[-1]] = sympy.expand(constant * factors[sums[-1]])
        constant = Integer(1)
    if len(factors) == 1 and sums and constant not in (1, -1):
        return held(constant, factors[0])
    return sympy.Mul(constant, *factors)


def _factors(node: Expr, symbol: Expr) -> tuple[Expr, list[tuple[Expr, int]]]:
    """Factor a short polynomial; of a long one, which can take minutes, only take out the zeros at 0 and at 1."""
    if sympy.degree(node, symbol) <= LARGEST_FACTORED:
        constant, powers = sympy.factor_list(node)
        return constant, powers
    rest, found = sympy.Poly(node, symbol), []
    for zero in (0, 1):
        power = 0
        while rest.eval(zero) == 0:
            rest, power = rest.exquo(sympy.Poly(symbol - zero, symbol)), power + 1
        found += [(symbol - zero, power)] if power else []
    return Integer(1), [*found, (rest.as_expr(), 1)]


def _half_turns(node: Expr) -> Expr:
    turns = sympy.factor(_release(node.args[0]) / pi)
    if turns.has(pi) or not turns.is_rational_function(*turns.free_symbols):
        return node
    if isinstance(node, tan):
        turns = _factor_polynomial(sympy.expand(turns))
        return sinpi(turns) / cospi(turns)
    turns = _factor_polynomial(sympy.expand(turns))
    return sinpi(turns) if isinstance(node, sin) else cospi(turns)


def _release(expression: Expr) -> Expr:
    return expression.replace(held, lambda number, total: number * total)


def _reflect(expression: Expr) -> Expr:
    """Measure every angle from the quarter turn: exact where ``t`` is close to 1."""
    half = Rational(1, 2)
    swapped = {node: cospi(_rest(half, node.args[0])) for node in expression.atoms(sinpi)}
    swapped |= {node: sinpi(_rest(half, node.args[0])) for node in expression.atoms(cospi)}
    return expression.xreplace(swapped)


def _plain(expression: Expr) -> Expr:
    """Sines and cosines as every library has them: cheaper, and good where no zero but sin 0 is met."""
    return expression.replace(sinpi, lambda turns: sin(pi * turns)).replace(cospi, lambda turns: cos(pi * turns))


def _supplement(expression: Expr) -> Expr:
    """Measure the angle of every sine from the half turn: exact where it is close to π and ``t`` to 1."""
    swapped = {node: sinpi(_rest(Integer(1), node.args[0])) for node in expression.atoms(sinpi)}
    return expression.xreplace(swapped)


def _rest(whole: Expr, turns: Expr) -> Expr:
    """Return ``whole − turns`` with its zero as a factor."""
    rest = sympy.expand(whole - _release(turns))
    if rest.is_polynomial(*rest.free_symbols):
        return _factor_polynomial(rest)
    return stable(sympy.factor(sympy.together(rest)))


def _log1p(expression: Expr) -> Expr:
    """Take every logarithm from the distance of its argument to one: exact where the argument is close to 1."""
    swapped = {}
    for node in expression.atoms(log):
        short, back = _name_exponentials(_release(node.args[0]) - Integer(1))
        swapped[node] = log1p(stable(factored(short).xreplace(back)))
    return expression.xreplace(swapped)
