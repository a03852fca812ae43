r"""A sampled number and its standard error, gathered in one pass over batches of any size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "Moments"]


@dataclass(frozen=True)
class Estimate:
    """A number that was sampled; ``float(estimate)`` is its value.

    Attributes:
        value: the mean.
        standard_error: the standard deviation of ``value`` over repetitions with other random numbers.
        n: how many independent samples it is the mean of.
    """

    value: float
    standard_error: float
    n: int

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        if not (math.isfinite(self.value) and 0 < self.standard_error < math.inf):
            return f"{self.value:g} ± {self.standard_error:g} (n = {self.n})"
        digits = max(0, -math.floor(math.log10(self.standard_error)))
        return f"{self.value:.{digits}f} ± {self.standard_error:.{digits}f} (n = {self.n})"


class Moments:
    r"""Count, mean and centred second moment of what has been seen, of every column at once.

    A batch with its own mean :math:`\bar y_b` and moment :math:`M_b` joins by

    .. math::
       \delta = \bar y_b - \bar y, \qquad \bar y \leftarrow \bar y + \delta\,\tfrac{n_b}{n + n_b}, \qquad
       M \leftarrow M + M_b + \delta^2\,\tfrac{n n_b}{n + n_b},

    which loses no digits to large means and needs no memory of the past.

    References: Chan, Golub & LeVeque (1983), The American Statistician 37(3), eq. 2.1.
    """

    def __init__(self) -> None:
        self.n = 0
        self.mean: NDArray[np.float64] = np.zeros(())
        self.moment: NDArray[np.float64] = np.zeros(())

    def add(self, values: NDArray[np.float64]) -> None:
        """Take in a batch of shape (B,) or (B, columns)."""
        size, total = len(values), self.n + len(values)
        mean = values.mean(0)
        delta = mean - self.mean
        self.moment = self.moment + ((values - mean) ** 2).sum(0) + delta**2 * (self.n * size / total)
        self.mean = self.mean + delta * (size / total)
        self.n = total

    def estimate(self, column: int = 0) -> Estimate:
        """Return the mean of a column with its standard error."""
        mean, moment = np.atleast_1d(self.mean)[column], np.atleast_1d(self.moment)[column]
        return Estimate(float(mean), math.sqrt(float(moment) / (self.n * (self.n - 1))), self.n)
