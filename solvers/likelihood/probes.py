r"""Random directions for estimates of a divergence, drawn once for a whole solve."""

from __future__ import annotations

from typing import Any

from solvers.arrays import Array, check_state, namespace
from solvers.errors import explain
from solvers.grid import check_count
from solvers.noise import increments, interval_of

__all__ = ["gaussian_probes", "rademacher_probes"]


def gaussian_probes(x: Array, count: int, rng: Any, *, shared: bool = False) -> Array:
    r"""Draw directions with independent entries N(0, 1).

    Args:
        x: the points, shape (B, …).
        count: m, how many directions; two or more tell the standard error.
        rng: a generator of the library of x, as :func:`solvers.solve` takes.
        shared: the same m directions for all points. The errors of the points then go together, and do not average
            out over the batch.

    Returns:
        Shape (m, B, …), or (m, …) if shared, in the library, dtype and device of x.

    Raises:
        TypeError: another library's generator.
        ValueError: m < 1; x without a batch axis.
    """
    count = check_count("count: the number of probes", count)
    check_state(x)
    if x.ndim < 2:
        raise ValueError(explain("points of shape (B, …)", f"shape {tuple(x.shape)}", "give x a batch axis: x[None]"))
    if interval_of(rng) is not None:
        remedy = "pass a generator, or PerSample(seed)"
        raise ValueError(explain("rng: a source of independent draws", f"the path {type(rng).__name__}", remedy))
    draw = increments(rng, x[0] if shared else x)
    return namespace(x).stack([draw(0.0, 1.0) for _ in range(count)])


def rademacher_probes(x: Array, count: int, rng: Any, *, shared: bool = False) -> Array:
    r"""Draw directions with independent entries ±1, of equal probability: the least variance of independent entries.

    Arguments, result and errors are those of :func:`gaussian_probes`, whose signs these are.
    """
    drawn = gaussian_probes(x, count, rng, shared=shared)
    ones = namespace(drawn).ones_like(drawn)
    return namespace(drawn).where(drawn < 0, -ones, ones)
