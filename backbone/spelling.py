"""Objects spelt as text, such as ``LogitNormal(0, 1)``: a name that is known, and plain values as its arguments."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from solvers.errors import closest, explain

__all__ = ["laws", "prediction", "schedule", "spelled", "times", "weight"]


Makers = Mapping[str, Callable[..., Any]]


def spelled(text: str, known: Makers, what: str, inside: Makers | None = None) -> Any:
    """Return the object that a text spells; nothing else than the known names is ever called.

    Args:
        text: ``Name``, or ``Name(1.5, steps=10)`` with numbers, text, tuples, None, booleans or such objects inside.
        known: what makes the object, by name.
        what: what the object is, for messages.
        inside: what may also be among the arguments, by name.

    Raises:
        ValueError: an unknown name (the closest is named), or a text that spells no object.
        TypeError: arguments that the object does not take.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        value = _value(tree, known, {**known, **(inside or {})}, what)
    except SyntaxError as error:
        remedy = f"write a name, or a name with arguments: one of {', '.join(known)}"
        raise ValueError(explain(f"{what} as text", repr(text), remedy)) from error
    except TypeError as error:
        raise TypeError(
            explain(f"{what} with the arguments that it takes", f"{text}: {error}", "see its help")
        ) from None
    return value


def _value(tree: ast.expr, known: Makers, inside: Makers, what: str) -> Any:
    match tree:
        case ast.Name(id=name):
            return _maker(name, known, what)()
        case ast.Call(func=ast.Name(id=name), args=places, keywords=names):
            arguments = [_value(place, inside, inside, what) for place in places]
            options = {str(item.arg): _value(item.value, inside, inside, what) for item in names}
            return _maker(name, known, what)(*arguments, **options)
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return tuple(_value(part, inside, inside, what) for part in parts)
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
    remedy = "write numbers out, and use no operators"
    raise ValueError(explain(f"{what}: names and plain values", ast.unparse(tree), remedy))


def _same(value: Any) -> Any:
    return value


def _maker(name: str, known: Makers, what: str) -> Callable[..., Any]:
    if name not in known:
        remedy = f"did you mean {closest(name, known)}?"
        raise ValueError(explain(f"{what}, one of {', '.join(known)}", repr(name), remedy))
    return known[name]


def schedule(text: str) -> Any:
    """Return a schedule: a built-in name such as ``flow-matching``, or a class with arguments, ``VP(beta_max=10)``."""
    from interpolants import schedules

    if text in schedules.BUILT_IN:
        return schedules.by_name(text)
    classes = {name: getattr(schedules, name) for name in schedules.__all__ if name[0].isupper() and name != "BUILT_IN"}
    names = {name: make for name, make in schedules.BUILT_IN.items() if name.isidentifier()}
    if "(" not in text and text not in classes:
        return schedules.by_name(text)
    return spelled(text, classes | names, "a schedule")


def prediction(text: str) -> Any:
    """Return a prediction by its name, in any case."""
    from interpolants.prediction import PREDICTIONS

    known = {name.lower(): value for name, value in PREDICTIONS.items()}
    if text.lower() not in known:
        remedy = f"did you mean {closest(text, known)}?"
        raise ValueError(explain(f"a prediction, one of {', '.join(known)}", repr(text), remedy))
    return known[text.lower()]


def weight(text: str) -> Any:
    """Return a weight of the loss, such as ``MinSNR(5)`` or ``Of(Noise)``."""
    from interpolants import weights
    from interpolants.prediction import PREDICTIONS

    known = {name: getattr(weights, name) for name in weights.__all__ if name[0].isupper() and name != "Weight"}
    return spelled(text, known, "a weight", {name: partial(_same, value) for name, value in PREDICTIONS.items()})


def times(text: str) -> Any:
    """Return a law of training times, such as ``Stratified(LogitNormal(0, 1))``."""
    return spelled(text, laws(), "a law of times")


def laws() -> dict[str, Callable[..., Any]]:
    """Return what makes laws of training times, by name."""
    from interpolants import times as module

    return {name: getattr(module, name) for name in module.__all__ if name not in ("Law", "Times", "Shape")}
