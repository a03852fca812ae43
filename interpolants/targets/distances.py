r"""Distances :math:`|x - \alpha y|^2` between many points, to a few ulp, without an array of shape (B, n, d).

Up to 16 dimensions the differences are squared and summed, dimension after dimension. Beyond, one matrix product gives
:math:`|X|^2 - 2\alpha X\cdot Y + \alpha^2|Y|^2` with :math:`Y = y - m`, :math:`X = x - \alpha m` around a centre m,
whose rounding error is that of its largest term; pairs whose distance is under half of :math:`|X|^2 + \alpha^2|Y|^2`
would lose digits to the cancellation, and are computed again from their differences.
"""

from __future__ import annotations

from typing import Any

from interpolants.coefficient import Array, namespace

__all__ = ["boltzmann", "half_squares"]

SMALL = 16
CANCELLATION = 0.5


def half_squares(x: Array, alpha: Array, y: Array, centre: Array, block: int) -> Array:
    r"""Return :math:`\tfrac12|x_b - \alpha_b y_k|^2`, shape (B, n), from float64 arrays.

    Args:
        x: shape (B, d).
        alpha: a scalar array, or of shape (B, 1).
        y: shape (n, d).
        centre: m, shape (d,), a point amid the y.
        block: how many differences may be held at once.
    """
    d = x.shape[1]
    if d <= SMALL:
        # One dimension is a (B, n) array, so that the differences of all are never held together.
        return 0.5 * sum((x[:, k : k + 1] - alpha * y[:, k]) ** 2 for k in range(d))
    xp: Any = namespace(x)
    points, data = x - alpha * centre, y - centre
    scale = (points * points).sum(1)[:, None] + alpha * alpha * (data * data).sum(1)
    squares = scale - 2 * alpha * (points @ data.T)
    rows, columns = xp.where(squares < CANCELLATION * scale)
    factor = alpha if alpha.ndim == 0 else alpha[rows]
    step = max(1, block // d)
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        b, k = rows[part], columns[part]
        differences = x[b] - (factor if factor.ndim == 0 else factor[part]) * y[k]
        squares[b, k] = (differences * differences).sum(1)
    return 0.5 * squares


def boltzmann(excess: Array, sigma: Array) -> Array:
    r"""Return :math:`e^{-\mathrm{excess}/\sigma^2}` for excess ≥ 0; at σ = 0 the limit, 1 at 0 and else 0."""
    xp: Any = namespace(excess)
    safe = xp.where(sigma > 0, sigma, 1.0)
    return xp.where(sigma > 0, xp.exp(-(excess / safe / safe)), excess == 0)
