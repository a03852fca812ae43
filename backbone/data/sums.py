r"""Statistics of each channel, in float64, from sums that shards are added up by.

The variance of a latent is :math:`E[m^2] + E[s^2] - E[m]^2`, of the means m and the deviations s of its records.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sums"]


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the pixels of records, by channel.

    Attributes:
        count: how many pixels of each channel.
        mean: of the means, (C,).
        square: of their squares, (C,).
        variance: of the squares of the deviations, (C,).
    """

    count: int
    mean: list[float]
    square: list[float]
    variance: list[float]

    @classmethod
    def of(cls, stored: NDArray[Any]) -> Sums:
        """Return the sums of what is stored of some images, (…, parts, C, h, w)."""
        *_, parts, channels, height, width = stored.shape
        values = stored.reshape(-1, parts, channels, height * width).astype(np.float64)
        mean, square = values[:, 0].sum(axis=(0, 2)), np.square(values[:, 0]).sum(axis=(0, 2))
        variance = np.square(values[:, 1]).sum(axis=(0, 2)) if parts == 2 else np.zeros(channels)
        return cls(len(values) * height * width, mean.tolist(), square.tolist(), variance.tolist())

    @classmethod
    def total(cls, parts: Iterable[Sums]) -> Sums:
        """Return the sums of all parts, added in their order."""
        count, *rows = 0, [0.0], [0.0], [0.0]
        for part in parts:
            count += part.count
            rows = [np.add(row, new).tolist() for row, new in zip(rows, (part.mean, part.square, part.variance))]
        return cls(count, *rows)

    @property
    def moments(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel."""
        mean = np.array(self.mean) / self.count
        variance = (np.array(self.square) + np.array(self.variance)) / self.count - np.square(mean)
        return mean.tolist(), np.sqrt(np.maximum(variance, 0.0)).tolist()
