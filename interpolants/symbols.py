"""Time and the questions that sympy is asked about it.

Every schedule is written in one real positive symbol, :data:`t`. Numbers typed as floats become exact
rationals (``0.1`` is 1/10), because sympy keeps the round-off of a Float through every simplification.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

import sympy
from sympy import Abs, Expr, Float, I, Piecewise, Rational, Symbol
from sympy.core.function import Application, AppliedUndef

from interpolants.printing import FUNCTIONS
from solvers.errors import explain

__all__ = ["L", "canonical", "derivative", "parse", "t"]

t = Symbol("t", positive=True)
"""Time: 0 is data, 1 is noise. Positive, so that ``sqrt(t**2)`` is ``t``; values at 0 are limits."""

L = Symbol("L", real=True)
r"""The log-SNR :math:`\log(\alpha^2/\sigma^2)`, argument of the inverse ``time_of_log_snr``."""


def _exact(value: Float) -> Rational:
    return Rational(repr(float(value)))


def canonical(expression: object, what: str, symbol: Symbol = t) -> Expr:
    """Return ``expression`` as exact sympy in ``symbol``, whatever its one free symbol was called.

    Raises:
        TypeError: it is not something that sympy understands as an expression.
        ValueError: it has several free symbols, an undefined function, or the imaginary unit.
    """
    if isinstance(expression, str):
        expression = parse(expression)
    try:
        result = sympy.sympify(expression)
    except (sympy.SympifyError, TypeError) as error:
        remedy = "write it with sympy, for example 1 - t**2 with `from interpolants import t`"
        raise TypeError(explain(f"a sympy expression for {what}", repr(expression), remedy)) from error
    if not isinstance(result, Expr) or result.is_Matrix:
        raise TypeError(explain(f"a sympy expression for {what}", repr(expression), "pass a scalar expression"))
    free = sorted(result.free_symbols, key=str)
    if len(free) > 1:
        names = ", ".join(map(str, free))
        raise ValueError(explain(f"time as the only free symbol of {what}", names, "substitute the parameters first"))
    undefined = sorted(map(str, result.atoms(AppliedUndef)))
    if undefined:
        raise ValueError(
            explain(f"known functions in {what}", ", ".join(undefined), "use functions that sympy defines")
        )
    result = _in_known_functions(result, what)
    if free:
        result = result.xreplace({free[0]: symbol})
    if result.has(I, sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        raise ValueError(explain(f"a finite real expression for {what}", str(result), "keep it real and finite"))
    return result.xreplace({value: _exact(value) for value in result.atoms(Float)})


_RECIPROCALS = {
    sympy.sec: sympy.cos,
    sympy.csc: sympy.sin,
    sympy.cot: sympy.tan,
    sympy.sech: sympy.cosh,
    sympy.csch: sympy.sinh,
    sympy.coth: sympy.tanh,
}


def _in_known_functions(expression: Expr, what: str) -> Expr:
    """Write sec, csc, … and the absolute value of a straight line with the functions that every library has."""
    for reciprocal, function in _RECIPROCALS.items():
        expression = expression.replace(reciprocal, lambda x, function=function: 1 / function(x))
    expression = expression.replace(Abs, _bent)
    nodes = [node for node in expression.atoms(Application) if isinstance(node, Expr)]
    found = {node.func.__name__ for node in nodes if not hasattr(node, "_imp_")}  # a measured function has its own
    unknown = sorted(found - {*FUNCTIONS, "Piecewise"})
    if unknown:
        remedy = f"use {', '.join(FUNCTIONS)}, sqrt, Piecewise; or Schedule.from_callables"
        raise ValueError(explain(f"functions with a numerical implementation in {what}", ", ".join(unknown), remedy))
    return expression


def _bent(line: Expr) -> Expr:
    """Return the absolute value of a line as two branches, whose derivative is no distribution."""
    if len(line.free_symbols) != 1 or not line.is_polynomial() or sympy.degree(line) != 1:
        return Abs(line)
    (symbol,) = line.free_symbols
    falling = line if line.coeff(symbol, 1).is_negative else -line
    return Piecewise((falling, symbol <= sympy.solve(line, symbol)[0]), (-falling, True))


def derivative(expression: Expr) -> Expr:
    """Return the time derivative of ``expression``."""
    return sympy.diff(expression, t)


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS = (
    *("sqrt", "exp", "log", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh"),
    *("atanh", "Abs", "sec", "csc", "cot"),
)
_LARGEST_POWER = 1000
_LONGEST_TEXT = 4000
_CONSTANTS = {"pi": sympy.pi, "E": sympy.E, "t": t, "L": L}


def parse(text: str) -> Expr:
    """Read an expression of ``t`` (or ``L``) from text without evaluating any of it as Python.

    The arithmetic operators, ``sqrt``, ``exp``, ``log``, the trigonometric and hyperbolic functions, ``pi`` and
    ``E``, and ``Piecewise((first, t <= a), (last, True))`` are understood and nothing else, so text from a file or a
    command line can be trusted.
    """
    if len(text) > _LONGEST_TEXT:
        remedy = "build the expression with sympy and pass it to Schedule"
        raise ValueError(explain(f"an expression of at most {_LONGEST_TEXT} characters", f"{len(text)}", remedy))
    try:
        return _build(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, KeyError, RecursionError, MemoryError, TypeError) as error:
        remedy = f"use t, pi, numbers, + - * / ** and {', '.join(_FUNCTIONS)}"
        raise ValueError(explain("an expression such as 1 - t**2", repr(text), remedy)) from error


def _build(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return Rational(repr(value))
        case ast.Name(id=name):
            return _CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand):
            return _OPERATORS[type(op)](_build(operand))
        case ast.BinOp(left=left, op=op, right=right):
            first, second = _build(left), _build(right)
            if isinstance(op, ast.Pow) and second.is_number and abs(second) > _LARGEST_POWER:
                raise KeyError("a power that sympy would work out digit by digit")
            return _OPERATORS[type(op)](first, second)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return getattr(sympy, name)(*map(_build, arguments))
        case ast.Call(func=ast.Name(id="Piecewise"), args=branches, keywords=[]):
            return Piecewise(*map(_branch, branches))
    raise KeyError(ast.dump(node))


def _branch(node: ast.AST) -> tuple[Any, Any]:
    match node:
        case ast.Tuple(elts=[value, ast.Constant(value=True)]):
            return _build(value), True
        case ast.Tuple(elts=[value, ast.Compare(left=left, ops=[ast.Lt()], comparators=[right])]):
            return _build(value), _build(left) < _build(right)
        case ast.Tuple(elts=[value, ast.Compare(left=left, ops=[ast.LtE()], comparators=[right])]):
            return _build(value), _build(left) <= _build(right)
    raise KeyError(ast.dump(node))
