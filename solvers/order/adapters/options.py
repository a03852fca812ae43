"""Options as text, key=value, for a callable whose parameters are known."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from solvers.errors import closest, explain

Parameters = Mapping[str, inspect.Parameter]


def load(module: str, distribution: str) -> ModuleType:
    """Import a peer's module, or say how to get it.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        remedy = f"pip install {distribution}"
        raise ImportError(explain(f"{distribution}, to measure its samplers", f"{error}", remedy)) from error


def expect_name(name: str, names: Sequence[str], source: str) -> None:
    """Refuse a name that a source does not have.

    Raises:
        ValueError: with the names it has.
    """
    if name not in names:
        wanted = f"a sampler of {source} that has an order: {', '.join(names)}"
        raise ValueError(explain(wanted, repr(name), f"did you mean {closest(name, names)}?"))


def parameters(function: Any, *leave_out: str) -> dict[str, inspect.Parameter]:
    """Return the parameters of a callable that can be options."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(function).parameters
    return {name: item for name, item in found.items() if item.kind in kinds and name not in (*leave_out, "self")}


def typed(options: Sequence[str], takes: Parameters, name: str) -> dict[str, Any]:
    """Return options with values of the type of the parameter's default.

    Args:
        options: texts such as "solver_order=3" or "use_karras_sigmas=true".
        takes: the parameters.
        name: the sampler, for messages.

    Raises:
        ValueError: a text without =, a name that is no parameter, a name given twice.
        TypeError: a value of another type.
    """
    found: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise ValueError(explain("an option key=value", repr(option), "write --option solver_order=3"))
        if key not in takes:
            names = ", ".join(takes) or "none"
            remedy = f"did you mean {closest(key, takes)}?" if takes else "leave the option out"
            raise ValueError(explain(f"an option of {name}: {names}", repr(key), remedy))
        if key in found:
            raise ValueError(explain(f"the option {key} once", "it twice", "give it once"))
        found[key] = _value(key, text, takes[key].default)
    return found


def _value(key: str, text: str, default: Any) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        value: Any = words[text.lower()]
    else:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
    kinds = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}.get(type(default))
    if kinds is None or value is None or (isinstance(value, kinds) and isinstance(value, bool) <= (bool in kinds)):
        return value
    if kinds == (str,):
        return text
    wanted = type(default).__name__
    raise TypeError(explain(f"{key}: {wanted}, such as {default!r}", repr(text), f"write --option {key}={default}"))
