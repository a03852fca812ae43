"""Noise of a sample that does not depend on its batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from solvers.arrays import Array, cast
from solvers.noise.source import Increment
from solvers.noise.streams import SAMPLE, Streams, check_ids, check_seed, streams


@dataclass(frozen=True, eq=False)
class PerSample:
    """A stream for each row: row i of the batch draws from the stream of the seed and its id, ``first`` + i.

    The k-th draw of a solve is the k-th of each stream, so a row has the same noise in every batch, bit for bit. In
    numpy and torch the streams are those of Philox4x32-10 and the same, whatever the device and the dtype, up to an
    ulp of the logarithm and the cosine of a library; jax has its own, other ones. torch needs double precision on the
    device. Memory does not grow with the steps.

    Args:
        seed: 0 to 2⁶⁴ − 1.
        first: the id of the first row, from 0 to 2³² − 1.
        ids: an id for each row instead, where they do not count up.

    Raises:
        TypeError: a seed or an id that is no whole number.
        ValueError: one out of range; ``first`` and ``ids`` together.

    References: Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
    """

    seed: int
    first: int = 0
    ids: Any = None
    by_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_ids(self.first, self.ids)

    def start(self, x: Array) -> Array:
        """Return standard normals like ``x``, a draw of the streams that no solve uses: the noise to start from."""
        return cast(self._streams(x).single(0), x.dtype)

    def increments(self, x: Array) -> Increment:
        """Return ``noise(t0, t1)`` for states like ``x``, from the beginning of the streams."""
        found = self._streams(x)
        drawn = 0

        def noise(t0: float, t1: float) -> Array:
            nonlocal drawn
            drawn += 1
            return cast(found.single(drawn) * math.sqrt(abs(t1 - t0)), x.dtype)

        return noise

    def _streams(self, x: Array) -> Streams:
        return streams(check_seed(self.seed), SAMPLE, *check_ids(self.first, self.ids), x)
