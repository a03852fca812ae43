r"""Increments of a Wiener process for the libraries whose generators and arrays we meet.

An increment over :math:`[t_0, t_1]` is :math:`\Delta W \sim N(0, |t_1 - t_0| I)`, independent from step to step,
with the shape, dtype and device of the state.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from solvers.arrays import Array, describe, is_numpy, is_torch
from solvers.errors import explain

Increment: TypeAlias = Callable[[float, float], Array]


@runtime_checkable
class Noise(Protocol):
    """A source of increments other than a bare generator: pass it as ``rng``."""

    def increments(self, x: Array) -> Increment:
        """Return ``noise(t0, t1)`` for states like ``x``; called once per solve, before the problem is evaluated."""


def increments(rng: Any, x: Array) -> Increment:
    """Return the function that draws the noise of a step.

    Args:
        rng: a numpy Generator, a torch Generator, a jax key, or a ``Noise``; of the same library as ``x``.
        x: the initial state; only its shape, dtype and device matter.

    Raises:
        TypeError: ``rng`` is None or belongs to another library than ``x``.
        ValueError: a torch generator lives on another device than ``x``.
    """
    if isinstance(rng, Noise):
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
    received = "None" if rng is None else type(rng).__module__.partition(".")[0] + f" {type(rng).__name__}"
    raise TypeError(explain(f"rng: {wanted}, for x is a {describe(x)}", received, remedy))


def with_area(noise: Increment, t0: float, t1: float) -> tuple[Array, Array]:
    r"""Return the increment :math:`\Delta W` over a step and its space–time Lévy area H.

    .. math:: H = \frac1{|h|}\int_0^{|h|}\Bigl(W_u - \frac{u}{|h|}\Delta W\Bigr)du
              \sim N\bigl(0, \tfrac{|h|}{12}I\bigr), \qquad \int_0^{|h|} W_u\,du = |h|\bigl(\tfrac12\Delta W + H\bigr),

    with W counted from the start of the step, independent of :math:`\Delta W`; the same in both directions of time.
    Noise that is a path gives the area of the path, any other a second draw.
    """
    known = getattr(noise, "with_area", None)
    if known is not None:
        found: tuple[Array, Array] = known(t0, t1)
        return found
    return noise(t0, t1), noise(t0, t1) * math.sqrt(1.0 / 12.0)


def normals(noise: Increment, t0: float, t1: float, count: int) -> Iterator[Array]:
    """Yield independent standard normals over a step: increments over its equal parts, scaled to variance 1.

    Noise that is a path has them too, as long as nobody else asks for the increment of the whole step.
    """
    scale = 1.0 / math.sqrt(abs(t1 - t0) / count)
    for k in range(count):
        since, until = t0 + (t1 - t0) * (k / count), t0 + (t1 - t0) * ((k + 1) / count)
        yield scale * noise(since, t1 if k == count - 1 else until)


def _numpy_increments(rng: np.random.Generator, x: Array) -> Increment:
    shape, dtype = x.shape, x.dtype
    # numpy draws in single and double precision only; the other dtypes are rounded from the nearer of the two.
    drawn = np.float32 if dtype.itemsize <= 4 else np.float64

    def noise(t0: float, t1: float) -> Array:
        z = rng.standard_normal(shape, dtype=drawn)
        return np.asarray(z, dtype=dtype) * math.sqrt(abs(t1 - t0))

    return noise


def _torch_increments(rng: Any, x: Array) -> Increment:
    torch = sys.modules["torch"]
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
        return torch.randn(shape, generator=rng, dtype=dtype, device=device) * math.sqrt(abs(t1 - t0))

    return noise


def _jax_increments(key: Any, x: Array) -> Increment:
    jax = sys.modules["jax"]
    drawn = 0

    def noise(t0: float, t1: float) -> Array:
        nonlocal drawn
        drawn += 1
        return jax.random.normal(jax.random.fold_in(key, drawn), x.shape, x.dtype) * math.sqrt(abs(t1 - t0))

    return noise
