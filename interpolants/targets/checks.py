"""What targets must be: points, means, weights and labels that fit one another."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.errors import explain

__all__ = ["INFINITE", "check_block", "check_labels", "check_mixture", "check_points", "check_weights", "finite_points"]

INFINITE = np.errstate(over="ignore")
"""Near σ = 0 predictions and densities leave the range of floats, and are then ±inf as meant."""


def check_points(points: Any) -> Any:
    """Return points of shape (N, d) as a floating array, or as the floating torch tensor that they are."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(points, torch.Tensor):
        array, real = points.detach(), not points.is_complex()
        floating = array.is_floating_point()
    else:
        array = np.asarray(points)
        floating, real = array.dtype.kind == "f", array.dtype.kind in "fiub"
    if not real:
        raise TypeError(explain("points that are real numbers", f"dtype {array.dtype}", "pass an array of floats"))
    if array.ndim != 2 or not all(array.shape):
        remedy = "flatten each point to a row: data.reshape(len(data), -1)"
        raise ValueError(explain("points of shape (N, d), N and d at least 1", f"shape {tuple(array.shape)}", remedy))
    if floating:
        return array
    return array.astype(np.float64) if isinstance(array, np.ndarray) else array.double()


def finite_points(points: Any, step: int) -> NDArray[np.float64]:
    """Return the mean of the points, shape (d,), read in blocks; refuse NaN and infinity."""
    total = np.zeros(points.shape[1])
    for first in range(0, len(points), step):
        part = points[first : first + step]
        part = part if isinstance(part, np.ndarray) else part.double().cpu().numpy()
        if not np.isfinite(part).all():
            row = first + int(np.flatnonzero(~np.isfinite(part).all(1))[0])
            raise ValueError(explain("finite points", f"NaN or infinity in row {row}", "clean the data first"))
        total += part.sum(0, dtype=np.float64) / len(points)
    return total


def check_weights(weights: ArrayLike, count: int) -> NDArray[np.float64]:
    """Return positive weights of shape (count,) that sum to one."""
    array = np.asarray(weights, np.float64)
    if array.shape != (count,):
        raise ValueError(explain(f"weights of shape ({count},)", f"shape {array.shape}", "give every point its weight"))
    if not ((array > 0).all() and abs(array.sum() - 1) <= 1e-9):
        received = f"weights from {array.min():.9g} to {array.max():.9g} with sum {array.sum():.9g}"
        raise ValueError(explain("positive weights that sum to 1", received, "divide them by their sum"))
    return array


def check_labels(labels: Any, count: int) -> NDArray[Any]:
    """Return labels of shape (count,)."""
    array = np.asarray(labels)
    if array.shape != (count,):
        raise ValueError(explain(f"labels of shape ({count},)", f"shape {array.shape}", "give every point its label"))
    return array


def check_block(block: int) -> int:
    """Return how many numbers may be held at once."""
    if not block >= 1:
        raise ValueError(explain("block >= 1", repr(block), "leave it out, or pass the numbers that fit in memory"))
    return int(block)


def check_mixture(
    weights: ArrayLike, means: ArrayLike, block: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return weights (K,), means (K, d) and the limit on blocks."""
    centres, shares = np.asarray(means, np.float64), np.asarray(weights, np.float64)
    if centres.ndim != 2 or not all(centres.shape) or shares.shape != centres.shape[:1]:
        remedy = "give every component its weight, mean and covariance"
        received = f"{shares.shape} and {centres.shape}"
        raise ValueError(explain("weights (K,) and means (K, d)", received, remedy))
    if not np.isfinite(centres).all():
        raise ValueError(explain("finite means", "NaN or infinity", "clean the data first"))
    return check_weights(shares, len(centres)), centres, check_block(block)
