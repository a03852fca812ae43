"""Increments from a source of noise, and from the generators of the libraries whose arrays we meet."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from solvers.arrays import Array, describe, is_numpy, is_torch
from solvers.errors import explain
from solvers.noise.source import Increment, Noise


def increments(rng: Any, x: Array) -> Increment:
    """Return the function that draws the noise of a step.

    Args:
        rng: a numpy Generator, a torch Generator, a jax key, or a ``Noise``; of the same library as ``x``.
        x: the initial state; only its shape, dtype and device matter.

    Raises:
        TypeError: ``rng`` is None or belongs to another library than ``x``.
        ValueError: a torch generator lives on another device than ``x``.
    """
    if isinstance(rng, Noise) and not isinstance(rng, type):
        return rng.increments(x)
    if is_numpy(x) and isinstance(rng, np.random.Generator):
        return _numpy_increments(rng, x)
    if is_torch(x) and isinstance(rng, sys.modules["torch"].Generator):
        return _torch_increments(rng, x)
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(x, jax.Array) and isinstance(rng, jax.Array):
        return _jax_increments(rng, x)
    wanted, remedy = "a generator of the library of x", "numpy, torch and jax states need their own library's generator"
    if is_numpy(x):
        wanted, remedy = "a numpy.random.Generator", "pass rng=np.random.default_rng(seed)"
    elif is_torch(x):
        wanted, remedy = "a torch.Generator", f"pass rng=torch.Generator({str(x.device)!r}).manual_seed(seed)"
    elif jax is not None and isinstance(x, jax.Array):
        wanted, remedy = "a jax key", "pass rng=jax.random.key(seed)"
    if isinstance(rng, type):
        raise TypeError(explain(f"rng: {wanted}", f"the class {rng.__name__}", f"{remedy}, or make an object of it"))
    received = "None" if rng is None else type(rng).__module__.partition(".")[0] + f" {type(rng).__name__}"
    raise TypeError(explain(f"rng: {wanted}, for x is a {describe(x)}", received, remedy))


def _numpy_increments(rng: np.random.Generator, x: Array) -> Increment:
    shape, dtype = x.shape, x.dtype
    # numpy draws in single and double precision only; the other dtypes are rounded from the nearer of the two.
    drawn = np.float32 if dtype.itemsize <= 4 else np.float64

    def noise(t0: float, t1: float) -> Array:
        z = rng.standard_normal(shape, dtype=drawn)
        return np.asarray(z, dtype=dtype) * math.sqrt(abs(t1 - t0))

    return noise


def _torch_increments(rng: Any, x: Array) -> Increment:
    normal = sys.modules["torch"].normal
    shape, dtype, device = x.shape, x.dtype, x.device
    if rng.device.type != device.type or (rng.device.index or 0) != (device.index or 0):
        raise ValueError(
            explain(
                f"rng: a generator on {device}, the device of x",
                f"one on {rng.device}",
                f"pass rng=torch.Generator({str(device)!r}).manual_seed(seed)",
            )
        )

    def noise(t0: float, t1: float) -> Array:
        # One operation where a draw and its scaling are two: half of what a step costs beside a small network.
        return normal(0.0, math.sqrt(abs(t1 - t0)), shape, generator=rng, dtype=dtype, device=device)

    return noise


def _jax_increments(key: Any, x: Array) -> Increment:
    jax = sys.modules["jax"]
    try:
        jax.random.fold_in(key, 0)
    except (TypeError, ValueError):
        wanted = "rng: one jax key"
        raise TypeError(explain(wanted, describe(key), "pass rng=jax.random.key(seed)")) from None
    drawn = 0

    def noise(t0: float, t1: float) -> Array:
        nonlocal drawn
        drawn += 1
        return jax.random.normal(jax.random.fold_in(key, drawn), x.shape, x.dtype) * math.sqrt(abs(t1 - t0))

    return noise
