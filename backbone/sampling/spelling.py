"""Objects spelt as text: a name with options, looked up and called; nothing is evaluated as code."""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from solvers.errors import closest, explain

__all__ = ["folded", "spelled"]

_CALL = re.compile(r"\s*([A-Za-z][\w\-]*)\s*(\(.*\))?\s*", re.DOTALL)
_NUMBERS = {"inf": math.inf, "pi": math.pi}


def folded(name: str) -> str:
    """Return a name without case, dashes and underscores."""
    return re.sub(r"[-_]", "", name).lower()


def spelled(text: str, choices: Mapping[str, Callable[..., Any]], what: str) -> Any:
    """Return ``choices[name](…)`` for the text ``name`` or ``name(option=value, …)``.

    Values are numbers, texts, True, False, None, or names with options again.

    Args:
        text: such as "heun", "DPMSolverPP(order=3)" or "Adaptive(Dopri5(), rtol=1e-4)".
        choices: what may be named.
        what: what it is, for messages: "a method".

    Raises:
        ValueError: no such name or option (the choices are listed), or text of another form.
        TypeError, ValueError: what the choice itself raises.
    """
    match = _CALL.fullmatch(text)
    try:
        call = ast.parse(f"f{match[2] or '()'}", mode="eval").body if match else None
    except SyntaxError:
        call = None
    if match is None or not isinstance(call, ast.Call):
        wanted = f"{what}: a name with or without options, such as {next(iter(choices))}"
        raise ValueError(explain(wanted, repr(text), f"the names are {', '.join(choices)}"))
    return _called(match[1], call, choices, what)


def _called(name: str, call: ast.Call, choices: Mapping[str, Callable[..., Any]], what: str) -> Any:
    known = {folded(choice): choice for choice in choices}
    if folded(name) not in known:
        remedy = f"did you mean {closest(name, choices)}?"
        raise ValueError(explain(f"{what}: one of {', '.join(choices)}", repr(name), remedy))
    chosen = known[folded(name)]
    make = choices[chosen]
    values = [_value(node, choices, what) for node in call.args]
    options = {str(keyword.arg): _value(keyword.value, choices, what) for keyword in call.keywords}
    takes = inspect.signature(make).parameters
    try:
        inspect.signature(make).bind(*values, **options)
    except TypeError as error:
        shown = ", ".join(takes) or "none"
        raise ValueError(explain(f"options of {chosen}: {shown}", str(error), "correct the options")) from error
    return make(*values, **options)


def _value(node: ast.expr, choices: Mapping[str, Callable[..., Any]], what: str) -> Any:
    """Return a value of an option."""
    match node:
        case ast.Name(id=name) if name in _NUMBERS:
            return _NUMBERS[name]
        case ast.Name(id=name):
            return _called(name, ast.Call(node, [], []), choices, what)
        case ast.Call(func=ast.Name(id=name)):
            return _called(name, node, choices, what)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        remedy = "write a number, a text in quotes, True, False, None, or a name with options"
        raise ValueError(explain(f"a value of an option of {what}", ast.unparse(node), remedy)) from error
