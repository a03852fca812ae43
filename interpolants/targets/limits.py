"""Products and choices whose limits at σ = 0 are kept: nothing there is ever 0·∞ or ∞ − ∞."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from interpolants.coefficient import Array, namespace
from solvers.errors import explain

__all__ = ["blocked", "cast", "check_batch", "constant", "dominated", "doubles", "times"]


def constant(value: Any, x: Array) -> Array:
    """Return a number or array as float64 of x's library and device (jax: in its own type); torch keeps gradients."""
    xp: Any = namespace(x)
    if xp is np:
        return np.asarray(value, np.float64)
    if hasattr(xp, "as_tensor"):
        return xp.as_tensor(value, dtype=xp.float64, device=x.device)
    return xp.asarray(value, dtype=x.dtype)


def doubles(coefficients: dict[str, Any], x: Array) -> dict[str, Any]:
    """Return coefficients in float64; numbers stay numbers, which cost a device nothing."""
    return {k: float(v) if isinstance(v, (float, int)) else constant(v, x) for k, v in coefficients.items()}


def check_batch(x: Array, dimension: int) -> None:
    """Refuse what is not a batch of floating points of shape (B, d)."""
    if x.ndim != 2 or x.shape[1] != dimension:
        remedy = "pass a batch of points"
        raise ValueError(explain(f"x of shape (B, {dimension})", f"shape {tuple(x.shape)}", remedy))
    if not (x.dtype.is_floating_point if hasattr(x.dtype, "is_floating_point") else x.dtype.kind == "f"):
        raise TypeError(explain("x of a floating type", str(x.dtype), "convert it to float32 or float64"))


def cast(value: Array, x: Array) -> Array:
    """Return a value in the type of x."""
    if value.dtype == x.dtype:
        return value
    return value.astype(x.dtype) if hasattr(value, "astype") else value.to(x.dtype)


def times(coefficient: Any, value: Array) -> Array:
    """Multiply; an infinite coefficient times 0 is 0, the limit at points where the value vanishes for every σ."""
    if isinstance(coefficient, float) and math.isfinite(coefficient):
        return coefficient * value
    xp: Any = namespace(value)
    infinite = math.isinf(coefficient) if isinstance(coefficient, float) else xp.isinf(coefficient)
    return xp.where((value == 0) & infinite, 0.0, coefficient) * value


def dominated(lower: Array, higher: Array) -> Array:
    """Add two terms; where both are infinite the one of higher order in 1/σ decides."""
    xp: Any = namespace(higher)
    return xp.where(xp.isinf(higher), 0.0, lower) + higher


def blocked(function: Callable[..., Array], x: Array, coefficients: dict[str, Any], rows: int) -> Array:
    """Call ``function(x, **coefficients)`` on at most ``rows`` points at a time and join the results."""
    if x.shape[0] <= rows:
        return function(x, **coefficients)
    xp: Any = namespace(x)
    results = []
    for first in range(0, x.shape[0], rows):
        part = slice(first, first + rows)
        own = {k: v if isinstance(v, float) or v.ndim == 0 else v[part] for k, v in coefficients.items()}
        results.append(function(x[part], **own))
    return xp.concatenate(results, 0)
