"""Checks that the parameters of schedules share."""

from __future__ import annotations

from sympy import Expr

from interpolants.symbols import canonical
from solvers.errors import explain

__all__ = ["positive"]


def positive(value: object, name: str, below: float | None = None) -> Expr:
    """Return ``value`` as an exact positive number, less than ``below`` where that is given.

    Raises:
        ValueError: it has a free symbol, or is not in the range.
    """
    number = canonical(value, name)
    wanted = f"{name} > 0" if below is None else f"0 < {name} < {below:g}"
    if number.free_symbols or not number > 0 or (below is not None and not number < below):
        raise ValueError(explain(wanted, str(value), "pass a number in that range"))
    return number
