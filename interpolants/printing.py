"""From a sympy expression to the text of a function.

Two spellings of the same arithmetic: ``array`` for numpy, torch and jax, which share the names of the array API
standard, and ``scalar`` for Python floats through :mod:`math` (and for numba). Constants are folded to the nearest
double here, at 30 digits, and never again.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy
from sympy import Abs, Add, Expr, Mul, Pow, Rational, Symbol, exp

from interpolants.stable import ln, plain, release
from solvers.errors import explain

__all__ = ["FUNCTIONS", "PREAMBLE", "emit", "statements"]

FUNCTIONS = (
    *("exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("expm1", "log1p"),
)
"""The functions that math, numpy, torch and jax.numpy share under one name."""

LONG = 3
"""A polynomial of a higher degree is evaluated by Horner's rule."""

PREAMBLE = {
    "array": '''
def _sinpi(x):
    """Return sin(pi x) for 0 <= x <= 1, accurate at both zeros."""
    r = xp.where(x > 0.5, 1.0 - x, x)
    return xp.where(r > 0.25, xp.cos(3.141592653589793 * (0.5 - r)), xp.sin(3.141592653589793 * r))


def _cospi(x):
    """Return cos(pi x) for 0 <= x <= 1, accurate at its zero."""
    r = 0.5 - x
    return xp.where(x < 0.25, xp.cos(3.141592653589793 * x), xp.sin(3.141592653589793 * r))
''',
    "scalar": '''
def _sinpi(x):
    """Return sin(pi x) for 0 <= x <= 1, accurate at both zeros."""
    r = 1.0 - x if x > 0.5 else x
    return xp.cos(3.141592653589793 * (0.5 - r)) if r > 0.25 else xp.sin(3.141592653589793 * r)


def _cospi(x):
    """Return cos(pi x) for 0 <= x <= 1, accurate at its zero."""
    return xp.cos(3.141592653589793 * x) if x < 0.25 else xp.sin(3.141592653589793 * (0.5 - x))
''',
}


def statements(expression: Expr, symbol: Symbol, prefix: str) -> tuple[list[str], str]:
    """Return assignments of the shared sub-expressions and the text of the result."""
    if not expression.free_symbols:  # its parts are not worth names, which would hide that it is a number
        return [], emit(expression)
    long = sorted((node for node in expression.atoms(Add) if _is_long(node, symbol)), key=sympy.default_sort_key)
    polynomials = {node: Symbol(f"{prefix}p{index}", real=True) for index, node in enumerate(long)}
    names = (Symbol(f"{prefix}{index}") for index in range(10**6))
    shared, (result,) = sympy.cse([expression.xreplace(polynomials)], symbols=names, optimizations=None)
    # A shared number is written out: the root of a Python float would be a numpy float64, and make float32 wider.
    numbers: dict[Expr, Expr] = {}
    for name, value in shared:
        if not value.xreplace(numbers).free_symbols:
            numbers[name] = value.xreplace(numbers)
    shared = [(name, value.xreplace(numbers)) for name, value in shared if name not in numbers]
    result = result.xreplace(numbers)
    lines = [f"{name} = {_horner(node, symbol)}" for node, name in polynomials.items()]
    return [*lines, *(f"{name} = {emit(value)}" for name, value in shared)], emit(result)


def _is_long(node: Expr, symbol: Symbol) -> bool:
    return bool(node.is_polynomial(symbol)) and sympy.degree(node, symbol) > LONG


def _horner(node: Expr, symbol: Symbol) -> str:
    """Add the small terms first, and take no power."""
    first, *others = sympy.Poly(node, symbol).all_coeffs()
    text = emit(first)
    for coefficient in others:
        text = f"({emit(coefficient)} + {symbol} * {text})"
    return text


def emit(expression: Expr) -> str:
    """Return ``expression`` as a fully parenthesised Python expression."""
    if not expression.free_symbols:
        value = plain(release(expression)).replace(ln, sympy.log).evalf(30)
        if not value.is_real:
            raise ValueError(explain("real constants", str(expression), "keep the expression real on its domain"))
        return repr(float(value))
    match expression:
        case Symbol():
            return str(expression.name)
        case Add():
            return _sum(expression.args)
        case Mul():
            return _product(expression)
        case Pow():
            return _power(expression.base, expression.exp)
        case exp():
            return f"xp.exp({emit(expression.args[0])})"
    name = expression.func.__name__
    arguments = ", ".join(map(emit, expression.args))
    if name == "held":
        return f"({' * '.join(map(emit, expression.args))})"
    if name == "ln":
        return f"xp.log({arguments})"
    if name in ("sinpi", "cospi"):
        return f"_{name}({arguments})"
    if isinstance(expression, Abs):
        return f"abs({arguments})"
    if name in FUNCTIONS:
        return f"xp.{name}({arguments})"
    remedy = f"use + - * / ** sqrt and {', '.join(sorted(FUNCTIONS))}"
    raise ValueError(explain("a function with a numerical implementation", name, remedy))


def _sum(terms: Sequence[Expr]) -> str:
    parts: list[str] = []
    for term in sorted(terms, key=lambda term: bool(term.free_symbols)):
        coefficient, rest = term.as_coeff_Mul()
        if parts and coefficient.is_negative:
            parts.append(f"- {emit(-coefficient * rest)}")
        else:
            parts.append(f"+ {emit(term)}" if parts else emit(term))
    return f"({' '.join(parts)})"


def _product(expression: Expr) -> str:
    constant, rest = expression.as_independent(*expression.free_symbols, as_Add=False)
    if rest.func.__name__ == "held":  # the two numbers are one
        return f"({emit(constant * rest.args[0])} * {emit(rest.args[1])})"
    above, below = [], []
    factors = list(Mul.make_args(rest))
    roots = [factor for factor in factors if isinstance(factor, Pow) and factor.exp == Rational(1, 2)]
    if len(roots) > 1:  # one square root of the product
        factors = [factor for factor in factors if factor not in roots]
        above.append(f"xp.sqrt({' * '.join(emit(root.base) for root in roots)})")
    for factor in factors:
        base, power = factor.as_base_exp()
        if not isinstance(factor, exp) and power.is_number and power.is_negative:
            below.append(_power(base, -power))
        else:
            above.append(emit(factor))
    sign = ""
    if constant == -1:
        sign = "-"
    elif constant != 1:
        above.insert(0, emit(constant))
    numerator = " * ".join(above) if above else "1.0"
    if not below:
        return f"({sign}{numerator})"
    denominator = below[0] if len(below) == 1 else f"({' * '.join(below)})"
    return f"({sign}{numerator} / {denominator})"


def _power(base: Expr, power: Expr) -> str:
    text = emit(base)
    if power.is_number and power.is_negative:
        return f"(1.0 / {_power(base, -power)})"
    if power == 1:
        return text
    if power == 2 and isinstance(base, Symbol):
        return f"({text} * {text})"
    if power.is_Rational and power.q == 2:
        root = f"xp.sqrt({text})"
        return root if power.p == 1 else f"({root} * {emit(base ** ((power.p - 1) // 2))})"
    if power.is_Integer:
        return f"({text}**{int(power)})"
    return f"({text} ** {emit(power)})"
