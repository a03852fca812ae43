"""The schedules that a command names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from interpolants import Schedule

__all__ = ["Names", "schedules"]

Names = Annotated[tuple[str, ...], tyro.conf.Positional]


def schedules(names: Sequence[str], alpha: str | None, sigma: str | None) -> list[Schedule]:
    """Return the named schedules, or the one that the two expressions spell."""
    from interpolants import Schedule
    from interpolants.schedules import PAPER, by_name
    from solvers.errors import explain

    if (alpha is None) != (sigma is None):
        given = "--alpha" if sigma is None else "--sigma"
        raise ValueError(explain("both --alpha and --sigma", f"{given} alone", "give the other expression as well"))
    if alpha is not None:
        return [*map(by_name, names), Schedule("custom", alpha, sigma, check=False)]
    return [by_name(name) for name in (names or PAPER)]
