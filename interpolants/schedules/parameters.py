"""Checks that the parameters of schedules share."""

from __future__ import annotations

from sympy import Expr

from interpolants.symbols import canonical
from solvers.errors import explain

__all__ = ["positive"]


def positive(value: object, name: str) -> Expr:
    """Return ``value`` as an exact positive number.

    Raises:
        ValueError: it has a free symbol, or is not > 0.
    """
    number = canonical(value, name)
    if number.free_symbols or not number > 0:
        raise ValueError(explain(f"{name} > 0", str(value), "pass a positive number"))
    return number
