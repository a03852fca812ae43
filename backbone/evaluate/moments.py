r"""Mean and covariance of features that come in batches, in float64."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbone.evaluate.rows import expect_finite, host
from solvers.errors import explain

__all__ = ["Moments"]

# Rows that are joined at once, 34 MB at d = 2048: a join passes over d² numbers, which for batches of 64 takes longer
# than their products.
_BLOCK = 2048


class Moments:
    r"""Count, mean and scatter of rows, built up batch by batch and merged over processes.

    Batches A and B with counts n, m, means :math:`\mu` and scatters :math:`S = \sum (x - \mu)(x - \mu)^T` join to

    .. math:: \mu = \mu_A + \tfrac{m}{n + m}\,\delta, \qquad
              S = S_A + S_B + \tfrac{n m}{n + m}\,\delta\delta^T, \qquad \delta = \mu_B - \mu_A.

    No difference of large numbers is formed, as it is in :math:`\sum xx^T - n\mu\mu^T`, so a mean that is large beside
    the deviations costs no digits. Any division into batches gives the same up to rounding.

    Args:
        dimension: d, the width of a row.

    References: Chan, Golub & LeVeque, Updating formulae and a pairwise algorithm for computing sample variances (1982).
    """

    def __init__(self, dimension: int) -> None:
        self._joined, self._mean = 0, np.zeros(dimension)
        self._scatter = np.zeros((dimension, dimension))
        self._waiting, self._rows = 0, np.empty((_BLOCK, dimension))

    @classmethod
    def of(cls, rows: ArrayLike) -> Self:
        """Return the moments of one batch, (n, …) and flattened to (n, d)."""
        array = host(rows)
        flat = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
        moments = cls(flat.shape[1])
        moments.update(flat)
        return moments

    def update(self, rows: ArrayLike) -> None:
        """Add a batch.

        Args:
            rows: (n, d), of any real dtype; an empty batch changes nothing.

        Raises:
            ValueError: another width, or values that are not finite, by the row counted from the first batch on.
        """
        array = host(rows)
        if array.ndim != 2 or array.shape[1] != len(self._mean):
            remedy = "flatten the features and compute all with the same network"
            raise ValueError(explain(f"rows of shape (n, {len(self._mean)})", f"shape {array.shape}", remedy))
        expect_finite("features", array, first=self.count)
        while len(array):
            taken = array[: len(self._rows) - self._waiting]
            self._rows[self._waiting : self._waiting + len(taken)] = taken
            self._waiting += len(taken)
            array = array[len(taken) :]
            if self._waiting == len(self._rows):
                self._join_waiting()

    def merge(self, other: Moments) -> None:
        """Add what another process or part has seen.

        Raises:
            ValueError: another width.
        """
        if other.mean.shape != self.mean.shape:
            widths = f"{len(self.mean)} and {len(other.mean)}"
            raise ValueError(explain("moments of one width", widths, "compute both with the same features"))
        if other.count:
            self._join(other.count, other.mean, other.scatter)

    @property
    def count(self) -> int:
        """The rows seen, n."""
        return self._joined + self._waiting

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean (d,)."""
        self._join_waiting()
        return self._mean.copy()

    @property
    def scatter(self) -> NDArray[np.float64]:
        """The scatter S, (d, d) and symmetric; with ``count`` and ``mean`` all that another process needs."""
        self._join_waiting()
        return self._scatter.copy()

    @property
    def covariance(self) -> NDArray[np.float64]:
        """The unbiased covariance, scatter / (n − 1), as ``numpy.cov`` and the published FIDs have it.

        Raises:
            ValueError: fewer than two rows.
        """
        if self.count < 2:
            raise ValueError(explain("at least 2 rows for a covariance", str(self.count), "give more samples"))
        self._join_waiting()
        return self._scatter / (self.count - 1)

    def _join_waiting(self) -> None:
        if self._waiting:
            rows = self._rows[: self._waiting]
            mean = rows.mean(axis=0)
            rows -= mean
            count, self._waiting = self._waiting, 0
            self._join(count, mean, rows.T @ rows)

    def _join(self, count: int, mean: NDArray[np.float64], scatter: NDArray[np.float64]) -> None:
        total = self._joined + count
        delta = mean - self._mean
        self._scatter += scatter
        self._scatter += np.outer(delta, delta * (self._joined * count / total))
        self._mean += delta * (count / total)
        self._joined = total
