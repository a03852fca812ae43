"""The affine map of one step of a method, read off the method itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from solvers import steps


class _Basis:
    def increments(self, x: Any) -> Any:
        return lambda t0, t1: np.array([[0.0], [0.0], [1.0]])


def affine(problem: Any, times: Any, method: Any) -> Iterator[tuple[float, float, float, float, float]]:
    """Yield (t0, t1, factor, gain, offset) of every step of a scalar problem: x⁺ = factor·x + gain·ΔW + offset."""
    basis = np.array([[0.0], [1.0], [0.0]])
    run = steps(problem, basis, times, method, _Basis() if method.stochastic else None)
    for step in run:
        offset, moved, kicked = step.x[:, 0]
        yield times[step.index - 1], step.time, moved - offset, kicked - offset, offset
        run.send(basis)


def moments(problem: Any, times: Any, method: Any, mean: float, variance: float) -> tuple[float, float]:
    """Return mean and variance after all steps, with no Monte Carlo."""
    for t0, t1, factor, gain, offset in affine(problem, times, method):
        mean, variance = factor * mean + offset, factor**2 * variance + gain**2 * abs(t1 - t0)
    return mean, variance
