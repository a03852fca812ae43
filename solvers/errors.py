"""What goes wrong, said in three parts: expected, received, remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from solvers.solution import Solution


def explain(expected: str, received: str, remedy: str) -> str:
    """Return the text every error of the library has: what was wanted, what came, what to do."""
    return f"expected {expected}; received {received}; remedy: {remedy}"


def closest(name: str, choices: Iterable[str]) -> str:
    """Return the choices nearest to a misspelt ``name``, or all of them where none is near, as a readable list."""
    names = list(choices)
    # Case is folded because "sit-xl/2" for "SiT-XL/2" is the commonest slip, and difflib counts case as distance.
    folded = {choice.lower(): choice for choice in names}
    near = [folded[match] for match in get_close_matches(name.lower(), list(folded), n=3, cutoff=0.5)]
    return ", ".join(repr(choice) for choice in (near or names))


def expect_order(order: object, orders: tuple[int, ...], name: str) -> None:
    """Refuse an order that a method does not have."""
    wanted = f"order: one of {', '.join(map(str, orders))} for {name}"
    remedy = f"pass order={orders[-1]}"
    if isinstance(order, bool) or not isinstance(order, int):
        raise TypeError(explain(wanted, f"{type(order).__name__} {order!r:.40}", remedy))
    if order not in orders:
        raise ValueError(explain(wanted, repr(order), remedy))


class PoleError(ValueError):
    """A method would evaluate the problem at one of its poles."""


class NonFiniteError(ValueError):
    """A solve produced NaN or infinity; ``solution`` holds the states reached so far."""

    def __init__(self, message: str, solution: Solution) -> None:
        super().__init__(message)
        self.solution = solution
