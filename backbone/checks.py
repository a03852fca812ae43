"""Checks of a config's fields; each error says what was expected, what came and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from solvers.errors import closest, explain

__all__ = ["check_choice", "check_count", "check_divides", "check_flag", "check_text", "is_number"]


def is_number(value: object) -> bool:
    """Whether the value is a finite number, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise ValueError unless the value is an integer of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(explain(f"{name} to be an integer ≥ {least}", repr(value), f"pass {name}={least} or more"))


def check_flag(name: str, value: object) -> None:
    """Raise ValueError unless the value is True or False."""
    if not isinstance(value, bool):
        raise ValueError(explain(f"{name} True or False", repr(value), "pass a bool"))


def check_text(name: str, value: object) -> None:
    """Raise ValueError unless the value is a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(explain(f"{name} to be a text", repr(value), "put a name in quotation marks"))


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise ValueError, listing the choices, unless the value is one of them."""
    if value not in choices:
        raise ValueError(
            explain(
                f"{name} to be one of {', '.join(choices)}", repr(value), f"closest: {closest(str(value), choices)}"
            )
        )


def check_divides(whole: str, size: int, part: str, divisor: int) -> None:
    """Raise ValueError, naming the sizes beside it, unless the divisor divides the size."""
    if size % divisor:
        below = size - size % divisor
        near = f"{below} or {below + divisor}" if below else f"{divisor}"
        raise ValueError(
            explain(
                f"{whole} divisible by {part}",
                f"{whole}={size}, {part}={divisor}",
                f"use {whole}={near}, or change {part}",
            )
        )
