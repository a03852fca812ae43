"""What a source of noise is, and what may be asked of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias, runtime_checkable

from solvers.arrays import Array

Increment: TypeAlias = Callable[[float, float], Array]


@runtime_checkable
class Noise(Protocol):
    """A source of increments other than a bare generator: pass it as ``rng``.

    What ``increments`` returns may have a method ``with_area(t0, t1)``; see :func:`with_area`. A source that is a path,
    so that what it returns depends on the times alone, says between which times by ``interval``, and may name the
    shortest step for which it has the right law by ``resolution``. A source that tells the rows of a batch apart says
    so by ``by_rows = True``.
    """

    def increments(self, x: Array) -> Increment:
        """Return ``noise(t0, t1)`` for states like ``x``; called once per solve, before the problem is evaluated."""


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


def interval_of(rng: Any) -> tuple[float, float] | None:
    """Return the lowest and highest time of a source that is a path, None for any other."""
    interval: tuple[float, float] | None = None if isinstance(rng, type) else getattr(rng, "interval", None)
    return interval
