"""Pairs of rows with opposite noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from solvers.arrays import Array, concat, describe
from solvers.errors import explain
from solvers.noise.generators import increments
from solvers.noise.source import Increment, interval_of, with_area


@dataclass(frozen=True, eq=False)
class Antithetic:
    r"""The noise of a source for the first half of the batch, and minus it for the second.

    Rows i and i + B/2 are a pair. Increments and areas both change their sign. Each row has the law it had; the mean
    over a pair has no error from the noise where the end depends on it linearly, and the variance of a mean is smaller
    wherever the dependence is monotone. Rows start alike in pairs if they are made so: ``concat([z, z])``.

    Args:
        source: what :func:`solvers.solve` takes as ``rng``, drawn for states of B/2 rows.

    Raises:
        ValueError: a batch that is not even.

    References: Hammersley & Morton, A new Monte Carlo technique: antithetic variates, Math. Proc. Camb. Philos. Soc.
    52 (1956).
    """

    source: Any
    by_rows: ClassVar[bool] = True

    @property
    def interval(self) -> tuple[float, float] | None:
        """That of the source."""
        return interval_of(self.source)

    @property
    def resolution(self) -> float:
        """That of the source."""
        return float(getattr(self.source, "resolution", 0.0))

    def increments(self, x: Array) -> Increment:
        """Return ``noise(t0, t1)`` for states like ``x``."""
        if x.ndim == 0 or x.shape[0] % 2:
            remedy = "add a row or leave one out"
            raise ValueError(explain("x with an even number of rows, for they go in pairs", describe(x), remedy))
        return _Mirrored(increments(self.source, x[: x.shape[0] // 2]))


class _Mirrored:
    """The noise of half of a batch for the whole of it."""

    __slots__ = ("half",)

    def __init__(self, half: Increment) -> None:
        self.half = half

    def __call__(self, t0: float, t1: float) -> Array:
        """Return the increment from t0 to t1."""
        return _both(self.half(t0, t1))

    def with_area(self, t0: float, t1: float) -> tuple[Array, Array]:
        """Return the increment and the area."""
        increment, area = with_area(self.half, t0, t1)
        return _both(increment), _both(area)


def _both(half: Array) -> Array:
    return concat([half, -half], axis=0)
