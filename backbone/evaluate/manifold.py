r"""Precision and recall: which points lie in the neighbourhoods of the other set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbone.checks import check_count
from backbone.evaluate.rows import expect_finite, host
from solvers.errors import explain

__all__ = ["precision_recall"]

# Entries of a block of distances in float32, of which there are six at a time, and of differences in float64.
_ENTRIES, _DIFFERENCES = 2**23, 2**21


def precision_recall(samples: ArrayLike, reference: ArrayLike, *, k: int = 3) -> tuple[float, float]:
    r"""Improved precision and recall.

    The manifold of a set X is the union of the balls around its points that reach to the k-th nearest other point:

    .. math:: f(y, X) = \bigl[\exists x \in X:\ |y - x| \le |x - \mathrm{NN}_k(x, X)|\bigr], \qquad
              \mathrm{precision} = \operatorname{mean}_{y \in S} f(y, R), \quad
              \mathrm{recall} = \operatorname{mean}_{x \in R} f(x, S).

    Distances are those of float64, compared without a tolerance: products of matrices in float32, with a bound on their
    rounding, decide all pairs that are clear, and differences in float64 the few that are not. (The ADM suite forms the
    products in float16 where they are finite, so its last digits are rounding.) Memory beside the rows and a float32
    copy of them is bounded; time is that of (n² + m² + 2nm) d multiplications. Sets in which most distances are equal
    take longer.

    Args:
        samples: S, features (n, d), n > k.
        reference: R, features (m, d), m > k.
        k: neighbours, ≥ 1.

    Returns:
        precision and recall, in [0, 1].

    Raises:
        ValueError: too few rows, different widths, or values that are not finite.

    References: Kynkäänniemi et al., Improved precision and recall metric for assessing generative models (2019),
    arXiv:1904.06991, eq. 1.
    """
    check_count("k", k)
    drawn, real = _rows("samples", samples, k), _rows("reference", reference, k)
    if drawn.shape[1] != real.shape[1]:
        widths = f"{drawn.shape[1]} and {real.shape[1]}"
        raise ValueError(explain("features of one width", widths, "compute both sets with the same features"))
    centre = real.mean(axis=0, dtype=np.float64)
    scale = max(_reach(drawn, centre), _reach(real, centre)) or 1.0
    points, balls = _Cloud.of(drawn, centre, scale), _Cloud.of(real, centre, scale)
    return _share_inside(points, balls, _radii(balls, k)), _share_inside(balls, points, _radii(points, k))


@dataclass(frozen=True, slots=True)
class _Cloud:
    """Rows as they came, the same in float32 with centre 0 and largest coordinate 1, and their squared lengths."""

    rows: NDArray[Any]
    small: NDArray[np.float32]
    squares: NDArray[np.float32]
    scale: float

    @classmethod
    def of(cls, rows: NDArray[Any], centre: NDArray[np.float64], scale: float) -> _Cloud:
        small = np.empty(rows.shape, np.float32)
        squares = np.empty(len(rows), np.float32)
        for part in _parts(len(rows), rows.shape[1]):
            moved = (rows[part] - centre) / scale
            small[part], squares[part] = moved, np.sum(moved**2, axis=1)
        return cls(rows, small, squares, scale)

    def bounds(self, part: slice, other: _Cloud) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what the scaled squared distances of some rows to all of ``other`` are at least and at most.

        A product of d terms in float32 is off by less than d u |a||b|, u = 2⁻²⁴, and the rounding of rows, lengths and
        sums adds a few u more: together less than (d + 16) u (|a|² + |b|²).
        """
        sums = self.squares[part, None] + other.squares
        products = self.small[part] @ other.small.T
        products *= 2
        # The last term covers squares below the smallest normal number of float32.
        off = sums * np.float32((self.small.shape[1] + 16) * 2.0**-24) + np.float32(self.small.shape[1] * 2.0**-120)
        sums -= products
        low = sums - off
        sums += off
        return low, sums

    def squared(self, i: NDArray[np.intp], other: _Cloud, j: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the squared distances of rows i to rows j of ``other``, from differences in float64, scaled."""
        answer = np.empty(len(i))
        for part in _parts(len(i), self.rows.shape[1]):
            difference = (self.rows[i[part]].astype(np.float64) - other.rows[j[part]]) / self.scale
            answer[part] = np.sum(difference**2, axis=1)
        return answer


def _radii(cloud: _Cloud, k: int) -> NDArray[np.float64]:
    """Return the squared distance of each row to its k-th nearest other row; the row itself is the zeroth."""
    radii = np.empty(len(cloud.rows))
    for part in _parts(len(radii), len(radii), _ENTRIES):
        low, high = cloud.bounds(part, cloud)
        limit = np.partition(high, k, axis=1)[:, k]
        # At least k + 1 rows are within the limit, so the nearest k + 1 are among those that may be.
        i, j = np.nonzero(low <= limit[:, None])
        squared = cloud.squared(i + part.start, cloud, j)
        order = np.lexsort((squared, i))
        first = np.searchsorted(i, np.arange(part.stop - part.start))
        radii[part] = squared[order[first + k]]
    return radii


def _share_inside(points: _Cloud, balls: _Cloud, radii: NDArray[np.float64]) -> float:
    """Return the share of points within a ball around a row of the other cloud."""
    inside: NDArray[np.bool] = np.zeros(len(points.rows), np.bool)
    # The squared radii, rounded to float32, are off by less than these.
    surely, perhaps = (radii * (1 - 2.0**-22)).astype(np.float32), (radii * (1 + 2.0**-22)).astype(np.float32)
    perhaps += np.float32(2.0**-120)
    for part in _parts(len(inside), len(radii), _ENTRIES):
        low, high = points.bounds(part, balls)
        found: NDArray[np.bool] = np.any(high <= surely, axis=1)
        open_rows = np.flatnonzero(~found)
        i, j = np.nonzero(low[open_rows] <= perhaps)
        i = open_rows[i]
        close = points.squared(i + part.start, balls, j) <= radii[j]
        found[i[close]] = True
        inside[part] = found
    return float(inside.mean())


def _parts(count: int, width: int, entries: int = _DIFFERENCES) -> Iterator[slice]:
    step = max(1, entries // max(1, width))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _reach(rows: NDArray[Any], centre: NDArray[np.float64]) -> float:
    return max(float(np.abs(rows[part] - centre).max(initial=0.0)) for part in _parts(len(rows), rows.shape[1]))


def _rows(name: str, values: ArrayLike, k: int) -> NDArray[Any]:
    array = host(values)
    if array.ndim < 2 or len(array) <= k:
        raise ValueError(explain(f"{name} with more than k = {k} rows", f"shape {array.shape}", "give more images"))
    expect_finite(name, array)
    flat = array.reshape(len(array), -1)
    return flat if flat.dtype.kind == "f" else flat.astype(np.float64)
