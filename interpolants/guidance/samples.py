"""Lengths and inner products of samples, each over all axes but the first, in single precision at least."""

from __future__ import annotations

import math

from interpolants.coefficient import Array
from solvers.arrays import cast, namespace
from solvers.errors import explain

__all__ = ["dot", "ratio", "rows"]

# Below this a squared length counts as zero; single precision ends at 1e-38.
_TINY = 1e-30


def rows(x: Array) -> Array:
    """Return one row per sample, shape (B, entries)."""
    if x.ndim < 2:
        remedy = "give x an axis of samples, x[None]: lengths are those of samples"
        raise ValueError(explain("x of shape (B, …)", f"shape {tuple(x.shape)}", remedy))
    flat = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    return cast(flat, namespace(x).float32) if x.dtype.itemsize < 4 else flat


def dot(a: Array, b: Array) -> Array:
    """Return the inner product of each sample, shape (B,)."""
    return (rows(a) * rows(b)).sum(-1)


def ratio(part: Array, whole: Array) -> Array:
    """Return part/whole for whole ≥ 0, and 0 for 0/0."""
    return part / whole.clip(min=_TINY)
