"""What an adaptive solve returns beyond a solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.arrays import Array
from solvers.grid import Grid
from solvers.solution import Solution

# From the mildest to the worst: the status of a batch is the worst of its samples.
STATUSES = ("success", "event", "max-steps", "min-step", "non-finite")


@dataclass(frozen=True)
class Occurrence:
    """A zero of an event's function.

    Args:
        event: its place among the events.
        sample: the row, None without ``per_sample``.
        time: when; never before the crossing.
        x: the state then, from the dense output.
    """

    event: int
    sample: int | None
    time: float
    x: Array


@dataclass(frozen=True)
class AdaptiveSolution(Solution):
    """What a solve with :class:`Adaptive` returns.

    ``status`` is "success"; "event" where a terminal event stopped it; "max-steps" or "min-step" where a limit did;
    "non-finite" in the solution that a NonFiniteError carries. All but "success" are partial: ``x`` is the state at
    ``time``. Without ``per_sample`` the times not reached are left out of ``ts`` and ``xs``, which end with ``time``
    and ``x``. With it ``ts`` stays whole, and after its own ``time`` a sample keeps its last state.

    Args:
        time: the time of ``x``: a float, or float64 of shape (B,) with ``per_sample``.
        statuses: the status of each sample, shape (B,) with ``per_sample``; of the one solve otherwise.
        accepted: how many steps were taken, shaped like ``statuses``.
        rejected: how many were tried and refused.
        rows: how many rows the drift was given in all its calls: the work, where samples leave the batch.
        events: the zeros found, in the order in which they were passed.
    """

    time: float | Grid
    statuses: NDArray[Any]
    accepted: NDArray[np.int64]
    rejected: NDArray[np.int64]
    rows: int
    events: tuple[Occurrence, ...]
