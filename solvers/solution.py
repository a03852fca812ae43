"""What a solve returns."""

from __future__ import annotations

from dataclasses import dataclass

from solvers.arrays import Array
from solvers.grid import Grid


@dataclass(frozen=True)
class Solution:
    """What a solve returns.

    Args:
        x: the state at the last time reached; where the start was a tree of arrays, this and ``xs`` are such trees.
        xs: with ``save=True`` the states at all times, start included, shape (n + 1, …); None otherwise.
        ts: the times, float64, shape (n + 1,).
        nfe: how often the problem was evaluated, counted and not computed.
        status: "success"; "non-finite" in the solution that a NonFiniteError carries. :class:`AdaptiveSolution` has
            more.
    """

    x: Array
    xs: Array | None
    ts: Grid
    nfe: int
    status: str
