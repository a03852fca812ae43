"""What a network is called with, and what it may answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from solvers.arrays import Array, is_torch, namespace
from solvers.errors import explain

__all__ = ["Network", "filled", "first_half", "one_index", "place"]

Network = Callable[[Any, Array], Array]
"""``model(timesteps, x)``: whole numbers of shape (B,) and x_i of shape (B, …) → prediction."""


def place(x: Array) -> dict[str, Any]:
    """Return what makes a new array live where ``x`` does."""
    return {"device": x.device} if is_torch(x) else {}


def filled(value: float, x: Array, **options: Any) -> Array:
    """Return one number for every sample of ``x``, shape (B,)."""
    return namespace(x).full((x.shape[0],), value, **options, **place(x))


def first_half(output: Array, x: Array) -> Array:
    """Return the prediction of a network, the first half of the channels where it has twice those of x."""
    if output.shape == x.shape:
        return output
    if x.ndim > 1 and tuple(output.shape) == (x.shape[0], 2 * x.shape[1], *x.shape[2:]):
        return output[:, : x.shape[1]]
    wanted = f"a prediction of shape {tuple(x.shape)}, or with twice the channels on axis 1"
    raise ValueError(explain(wanted, f"{tuple(output.shape)}", "return a prediction of the shape of x"))


def one_index(index: float, count: int, x: Array, fractional: bool) -> Array:
    """Return the index of one time for every sample, whole unless fractions are allowed."""
    nearest = round(index)
    whole = abs(index - nearest) < 1e-9 * count
    if not fractional and not (whole and 0 <= nearest < count):
        remedy = "solve on the chain's times with a method that evaluates there, or pass fractional=True"
        raise ValueError(explain(f"a time (i + 1)/{count} of a timestep", f"{(index + 1.0) / count!r}", remedy))
    if not fractional:
        return filled(nearest, x)
    # Half precision does not tell timesteps apart.
    real = x.dtype if x.dtype.itemsize >= 4 else namespace(x).float32
    return filled(float(nearest) if whole else index, x, dtype=real)
