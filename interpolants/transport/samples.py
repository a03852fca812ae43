r"""Distances W₂ between Gaussians and between samples.

Between Gaussians, with :math:`R_i = C_i^{1/2}` (Bures),

.. math::
   W_2^2 = |m_1 - m_2|^2 + \operatorname{tr}\bigl(C_1 + C_2 - 2(R_1C_2R_1)^{1/2}\bigr)
         = |m_1 - m_2|^2 + \min_{U^\top U = I}\|R_1 - R_2U\|^2.

The second form is a sum of squares: nothing cancels for nearly equal covariances, and singular ones are no exception.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interpolants.prior import generator_or_default
from interpolants.transport.estimate import Estimate, Moments
from solvers.errors import explain

__all__ = ["bures", "sample_wasserstein2", "sliced_wasserstein2"]

Floats = NDArray[np.float64]

_ASSIGNMENT, _PLAN = 8192, 250_000


def bures(mean_1: ArrayLike, cov_1: ArrayLike, mean_2: ArrayLike, cov_2: ArrayLike) -> float:
    r"""Return :math:`W_2` between :math:`N(m_1, C_1)` and :math:`N(m_2, C_2)`.

    >>> from interpolants import bures
    >>> bures([0.0, 0.0], 4.0, [3.0, 0.0], [1.0, 25.0])
    4.358898943540674

    Args:
        mean_1: shape (d,).
        cov_1: positive semi-definite, singular or not: a variance, variances (d,) or a matrix (d, d).
        mean_2: as ``mean_1``.
        cov_2: as ``cov_1``.

    Raises:
        ValueError: shapes that do not fit, or a covariance that is not symmetric and positive semi-definite.

    References: Dowson & Landau (1982), J. Multivariate Analysis 12(3); Bhatia, Jain & Lim (2019), arXiv 1712.01504,
    theorem 1, for the form without cancellation.
    """
    means = [np.atleast_1d(np.asarray(mean, np.float64)) for mean in (mean_1, mean_2)]
    if means[0].shape != means[1].shape or means[0].ndim != 1:
        received = f"{means[0].shape} and {means[1].shape}"
        raise ValueError(explain("two means of shape (d,)", received, "give both Gaussians one dimension"))
    first, second = (_root(cov, len(means[0])) for cov in (cov_1, cov_2))
    left, _, right = np.linalg.svd(second.T @ first)
    return float(np.sqrt(((means[0] - means[1]) ** 2).sum() + ((first - second @ (left @ right)) ** 2).sum()))


def _root(cov: ArrayLike, d: int) -> Floats:
    """Return the symmetric root of a covariance."""
    matrix = np.asarray(cov, np.float64)
    if matrix.shape not in ((), (d,), (d, d)) or not np.isfinite(matrix).all():
        received = f"shape {matrix.shape}" if np.isfinite(matrix).all() else "NaN or infinity"
        raise ValueError(explain(f"a finite covariance (), ({d},) or ({d}, {d})", received, "match the mean"))
    if matrix.ndim < 2:
        matrix = np.diag(np.broadcast_to(matrix, (d,)))
    size = float(np.abs(matrix).max())
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    if np.abs(matrix - matrix.T).max() > 1e-9 * size or values.min() < -1e-12 * size:
        received = f"least eigenvalue {values.min():.3g}, asymmetry {np.abs(matrix - matrix.T).max():.3g}"
        remedy = "symmetrise it: (C + C.T) / 2"
        raise ValueError(explain("a symmetric positive semi-definite covariance", received, remedy))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def sample_wasserstein2(x: Any, y: Any, *, x_weights: Any = None, y_weights: Any = None) -> float:
    r"""Return :math:`W_2` between two finite sets of points, exactly: the square root of the cheapest plan's cost.

    On the line the monotone plan is the cheapest. Sets of one size and without weights are matched by
    ``scipy.optimize.linear_sum_assignment``, up to 8192 points (O(N³) time, O(N²) memory); others are a linear program
    over all pairs, up to 250 000 pairs. The distance between samples of two laws exceeds, on average, that between the
    laws: by :math:`O(N^{-1/d})` in d dimensions.

    Args:
        x: points, shape (N, d): numpy or torch.
        y: points, shape (M, d).
        x_weights: weights of x, non-negative with sum 1, shape (N,); equal when absent.
        y_weights: likewise of y, shape (M,).

    Raises:
        ValueError: shapes or weights that do not fit; more points than the limits.

    References: Peyré & Cuturi (2019), arXiv 1803.00567, §2.3 and remark 2.28; Fournier & Guillin (2015), arXiv
    1312.2128, for the rate.
    """
    (first, p), (second, q) = _points("x", x, x_weights), _points("y", y, y_weights)
    _match(first, second)
    if first.shape[1] == 1:
        return math.sqrt(float(_monotone(first, p, second, q)[0]))
    if len(first) == len(second) and x_weights is None and y_weights is None:
        return math.sqrt(_assignment(first, second))
    return math.sqrt(_program(first, p, second, q))


def sliced_wasserstein2(
    x: Any,
    y: Any,
    projections: int = 256,
    rng: np.random.Generator | None = None,
    *,
    x_weights: Any = None,
    y_weights: Any = None,
) -> Estimate:
    r"""Return the sliced distance :math:`\bigl(\mathbb E_\theta W_2^2(\theta^\top x, \theta^\top y)\bigr)^{1/2}`.

    θ is uniform on the sphere; O(N log N) per direction, so that it serves large sets. It is at most
    :math:`W_2/\sqrt d`.

    Args:
        x: points, shape (N, d): numpy or torch.
        y: points, shape (M, d).
        projections: how many directions, at least 2.
        rng: draws the directions; ``numpy.random.default_rng(0)`` when absent.
        x_weights: as for :func:`sample_wasserstein2`.
        y_weights: likewise.

    Returns:
        The distance; its standard error is over directions, for the given points.

    References: Bonneel, Rabin, Peyré & Pfister (2015), J. Math. Imaging and Vision 51, §3.
    """
    (first, p), (second, q) = _points("x", x, x_weights), _points("y", y, y_weights)
    _match(first, second)
    if not isinstance(projections, int) or projections < 2:
        raise ValueError(explain("projections: a whole number >= 2", repr(projections), "256 does for most"))
    generator = generator_or_default(rng)
    moments, left = Moments(), projections
    while left:
        count = min(left, 32)
        directions = generator.standard_normal((first.shape[1], count))
        directions /= np.linalg.norm(directions, axis=0)
        moments.add(_monotone(first @ directions, p, second @ directions, q))
        left -= count
    mean = moments.estimate()
    return root_of(mean)


def root_of(square: Estimate) -> Estimate:
    """Return the estimate of a root from that of the square, by the delta method."""
    value = math.sqrt(max(square.value, 0.0))
    error = square.standard_error / (2 * value) if value > 0 else math.sqrt(square.standard_error)
    return Estimate(value, error, square.n)


def _points(name: str, points: Any, weights: Any) -> tuple[Floats, Floats]:
    array = points if isinstance(points, np.ndarray) or not hasattr(points, "detach") else points.detach().cpu().numpy()
    found = np.asarray(array, np.float64)
    if found.ndim != 2 or not len(found) or not np.isfinite(found).all():
        received = f"shape {found.shape}" if np.isfinite(found).all() else "NaN or infinity"
        raise ValueError(
            explain(f"{name}: finite points of shape (N, d)", received, f"write {name}[:, None] for d = 1")
        )
    if weights is None:
        return found, np.full(len(found), 1.0 / len(found))
    given = np.asarray(weights, np.float64)
    if given.shape != (len(found),) or not (given >= 0).all() or abs(given.sum() - 1) > 1e-9:
        received = f"shape {given.shape} with sum {given.sum():.9g}"
        remedy = "divide them by their sum"
        raise ValueError(explain(f"weights of {name}, shape ({len(found)},), >= 0 with sum 1", received, remedy))
    return found, given / given.sum()


def _match(first: Floats, second: Floats) -> None:
    if first.shape[1] != second.shape[1]:
        received = f"{first.shape} and {second.shape}"
        raise ValueError(explain("points of one dimension", received, "compare points of the same space"))


def _monotone(x: Floats, p: Floats, y: Floats, q: Floats) -> Floats:
    """Return W₂² of every column: both quantile functions are steps, and their product is integrated piece by piece."""
    if len(x) == len(y) and np.ptp(p) == 0 and np.ptp(q) == 0:
        return np.asarray(((np.sort(x, 0) - np.sort(y, 0)) ** 2).mean(0))
    return np.array([_monotone_weighted(a, p, b, q) for a, b in zip(x.T, y.T)])


def _monotone_weighted(x: Floats, p: Floats, y: Floats, q: Floats) -> float:
    i, j = np.argsort(x), np.argsort(y)
    tops = np.cumsum(p[i]), np.cumsum(q[j])
    levels = np.union1d(*tops)
    masses = np.diff(np.concatenate([[0.0], levels]))
    found = [np.minimum(np.searchsorted(top, levels), len(top) - 1) for top in tops]
    return float(masses @ (x[i][found[0]] - y[j][found[1]]) ** 2)


def _assignment(x: Floats, y: Floats) -> float:
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if len(x) > _ASSIGNMENT:
        remedy = "take fewer, or use sliced_wasserstein2"
        raise ValueError(explain(f"at most {_ASSIGNMENT} points for an exact matching", str(len(x)), remedy))
    rows, columns = linear_sum_assignment(cdist(x, y, "sqeuclidean"))
    return float(((x[rows] - y[columns]) ** 2).sum(1).mean())


def _program(x: Floats, p: Floats, y: Floats, q: Floats) -> float:
    from scipy import sparse
    from scipy.optimize import linprog
    from scipy.spatial.distance import cdist

    n, m = len(x), len(y)
    if n * m > _PLAN:
        remedy = "give both sets one size and no weights, take fewer points, or use sliced_wasserstein2"
        raise ValueError(explain(f"at most {_PLAN} pairs for an exact plan", f"{n} × {m}", remedy))
    sums = [sparse.kron(sparse.eye(n), np.ones((1, m))), sparse.kron(np.ones((1, n)), sparse.eye(m))]
    costs = cdist(x, y, "sqeuclidean")
    # One of the n + m constraints follows from the others.
    system, masses = sparse.vstack(sums).tocsr()[:-1], np.concatenate([p, q])[:-1]
    found = linprog(costs.ravel() / max(float(costs.max()), 1e-300), A_eq=system, b_eq=masses, method="highs")
    if not found.success:
        raise ValueError(explain("a linear program that can be solved", found.message, "check the points and weights"))
    return float(np.maximum(found.x, 0.0) @ costs.ravel())
