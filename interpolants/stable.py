r"""The functions that floating point has for differences and angles, and factored polynomials.

.. math:: a e^X - a = a\,\mathrm{expm1}(X), \quad \sin(\pi q) = \mathrm{sinpi}(q), \quad \log f = \mathrm{log1p}(f - 1)

Nothing here changes a value.
"""

from __future__ import annotations

import sympy
from sympy import Add, Expr, Function, Integer, Pow, Rational, cos, exp, log, pi, sin, tan
from sympy.codegen.cfunctions import expm1, log1p

from interpolants.naming import factored, name_exponentials

__all__ = [
    "cospi",
    "from_one",
    "held",
    "ln",
    "plain",
    "powers_from_one",
    "reflect",
    "release",
    "sinpi",
    "stable",
    "supplement",
]

sinpi = Function("sinpi", real=True)
cospi = Function("cospi", real=True)

LARGEST_FACTORED = 6
"""Beyond this degree a polynomial is only searched for the zeros that matter, those at the ends."""

ln = Function("ln", real=True)
"""A logarithm that sympy does not take back: expm1(q log t) would become t**q − 1 again."""

held = Function("held", real=True)
"""A product of a number and a sum that sympy would multiply out: 5·(1 − t) is exact near 1, 5 − 5·t is not."""


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
    turns = sympy.factor(release(node.args[0]) / pi)
    if turns.has(pi) or not turns.is_rational_function(*turns.free_symbols):
        return node
    if isinstance(node, tan):
        turns = _factor_polynomial(sympy.expand(turns))
        return sinpi(turns) / cospi(turns)
    turns = _factor_polynomial(sympy.expand(turns))
    return sinpi(turns) if isinstance(node, sin) else cospi(turns)


def release(expression: Expr) -> Expr:
    """Multiply out what was held."""
    return expression.replace(held, lambda number, total: number * total)


def reflect(expression: Expr) -> Expr:
    """Measure every angle from the quarter turn: exact where ``t`` is close to 1."""
    half = Rational(1, 2)
    swapped = {node: cospi(_rest(half, node.args[0])) for node in expression.atoms(sinpi)}
    swapped |= {node: sinpi(_rest(half, node.args[0])) for node in expression.atoms(cospi)}
    return expression.xreplace(swapped)


def powers_from_one(expression: Expr) -> Expr:
    """Write 1 − t**q with a broken q as −expm1(q log t): exact where t is close to 1."""

    def rewrite(node: Expr) -> Expr:
        for power in node.atoms(Pow):
            if isinstance(node, Add) and power.base.is_Symbol and power.exp.is_Rational and not power.exp.is_Integer:
                weight = node.coeff(power)
                if weight != 0 and -weight in node.args:
                    node = node - weight * power + weight + weight * expm1(power.exp * ln(power.base))
        return node

    return expression.replace(lambda node: isinstance(node, Add), rewrite)


def plain(expression: Expr) -> Expr:
    """Sines and cosines as every library has them: cheaper, and good where no zero but sin 0 is met."""
    return expression.replace(sinpi, lambda turns: sin(pi * turns)).replace(cospi, lambda turns: cos(pi * turns))


def supplement(expression: Expr) -> Expr:
    """Measure the angle of every sine from the half turn: exact where it is close to π and ``t`` to 1."""
    swapped = {node: sinpi(_rest(Integer(1), node.args[0])) for node in expression.atoms(sinpi)}
    return expression.xreplace(swapped)


def _rest(whole: Expr, turns: Expr) -> Expr:
    """Return ``whole − turns`` with its zero as a factor."""
    rest = sympy.expand(whole - release(turns))
    if rest.is_polynomial(*rest.free_symbols):
        return _factor_polynomial(rest)
    return stable(sympy.factor(sympy.together(rest)))


def from_one(expression: Expr) -> Expr:
    """Take every logarithm from the distance of its argument to one: exact where the argument is close to 1."""
    swapped = {}
    for node in expression.atoms(log):
        short, back = name_exponentials(release(node.args[0]) - Integer(1))
        swapped[node] = log1p(stable(factored(short).xreplace(back)))
    return expression.xreplace(swapped)
