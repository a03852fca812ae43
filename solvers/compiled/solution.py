"""What a solve of an ensemble returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.solution import Solution


@dataclass(frozen=True)
class EnsembleSolution(Solution):
    """What :func:`solve_ensemble` returns: a :class:`~solvers.Solution` with what each sample did.

    ``nfe`` is the largest of ``nfes`` and ``status`` the worst of ``statuses``: "success", "max-steps", "min-step", or
    "non-finite" in the solution that a NonFiniteError carries. A sample that did not reach the last time has its last
    state in ``x``, and in ``xs`` from there on; ``time`` says when it ended.

    Args:
        time: the time of each row of ``x``, float64, shape (B,).
        statuses: the status of each sample, shape (B,).
        nfes: how often the drift was evaluated for each sample, shape (B,).
        accepted: how many steps each took, shape (B,).
        rejected: how many were tried and refused, shape (B,); none on a fixed grid.
    """

    time: NDArray[np.float64]
    statuses: NDArray[Any]
    nfes: NDArray[np.int64]
    accepted: NDArray[np.int64]
    rejected: NDArray[np.int64]
