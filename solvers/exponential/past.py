"""What a multistep method remembers: predictions at the starts of steps, and for want of those inside its first."""

from __future__ import annotations

from typing import NamedTuple

from solvers.arrays import Array


class Known(NamedTuple):
    """A prediction, where it was made (in λ, or in time for DEIS), and whether that was inside a step."""

    where: float
    prediction: Array
    inside: bool


Past = tuple[Known, ...]


def kept(known: Past, count: int) -> Past:
    """Return ``count`` predictions, the last first: starts of steps, and others as far as there are too few of them.

    The state inside a step is less accurate than that at its start.
    """
    spare = count - sum(not one.inside for one in known)
    chosen = []
    for one in known:
        if not one.inside or spare > 0:
            chosen.append(one)
            spare -= one.inside
    return tuple(chosen[:count])
