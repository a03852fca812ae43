"""A Brownian path that is a function of time: the same on every grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from solvers.arrays import Array, cast
from solvers.errors import explain
from solvers.grid import check_count, host_times
from solvers.noise.source import Increment
from solvers.noise.streams import PATH, check_ids, check_seed, streams
from solvers.noise.tree import Point, Tree

_DEEPEST = 30
# A time is a fraction of the interval of so many bits.
_BITS = 48


@dataclass(frozen=True, eq=False)
class BrownianPath:
    r"""A path for each row between two times, to be asked at any times in any order.

    .. math:: \Delta W = W(t_1) - W(t_0), \qquad H = \frac1{|h|}\int_{t_0}^{t_1} W(u)\,|du| - \frac{W(t_0) + W(t_1)}2

    are the same on every grid: n steps and 2n steps have one path, and so have both directions of time. Increments add
    up, and the areas of adjoining intervals combine by Chen's relation, both to rounding.

    The path is a tree of 2^depth leaves. At any times of which no two lie in one leaf its law is that of Brownian
    motion, to the rounding of double precision; of jax in single precision, to that. Within a leaf the path is defined
    and continuous, but smooth. A time costs the normals from the last branch to its own, depth of them at most and few
    where times follow each other; on a grid of 2^k steps there are few. Held are 4 arrays of double precision for each
    level, whatever the number of steps.

    Args:
        seed: 0 to 2⁶⁴ − 1. Row i has the path of the seed and its id, ``first`` + i, in every batch.
        start: one end of the times that may be asked.
        stop: the other end; the order of the two does not matter.
        depth: 1 to 30; the interval is resolved to its 2^depth-th part.
        first: the id of the first row, from 0 to 2³² − 1.
        ids: an id for each row instead, where they do not count up.

    Raises:
        TypeError: a seed, depth or id that is no whole number.
        ValueError: one out of range; ends that are equal or not finite. A time outside when it is asked for.

    References: Gaines & Lyons, SIAM J. Appl. Math. 57 (1997); Li, Wong, Chen & Duvenaud (2020), arXiv 2001.01328;
    Jelinčič, Foster & Kidger (2024), arXiv 2405.06464.
    """

    seed: int
    start: float = 1.0
    stop: float = 0.0
    depth: int = 24
    first: int = 0
    ids: Any = None
    by_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_ids(self.first, self.ids)
        host_times([self.start, self.stop])
        if check_count("depth: how often the interval is halved", self.depth) > _DEEPEST:
            wanted = f"depth: at most {_DEEPEST}"
            raise ValueError(explain(wanted, repr(self.depth), "a shorter interval has shorter leaves"))

    @property
    def interval(self) -> tuple[float, float]:
        """The lowest and the highest time."""
        return min(self.start, self.stop), max(self.start, self.stop)

    @property
    def resolution(self) -> float:
        """The length of a leaf."""
        low, high = self.interval
        return math.ldexp(high - low, -self.depth)

    def increments(self, x: Array) -> Increment:
        """Return ``noise(t0, t1)`` for states like ``x``."""
        low, high = self.interval
        rows = streams(check_seed(self.seed), PATH, *check_ids(self.first, self.ids), x)
        return _Increments(Tree(rows, high - low, self.depth, math.prod(x.shape)), low, high, x.dtype)


class _Increments:
    """Increments and areas of a tree over times."""

    __slots__ = ("dtype", "high", "low", "tree")

    def __init__(self, tree: Tree, low: float, high: float, dtype: Any) -> None:
        self.tree = tree
        self.low = low
        self.high = high
        self.dtype = dtype

    def _at(self, time: float) -> Point:
        if not self.low <= time <= self.high:
            wanted = f"times of the path, {self.low!r} to {self.high!r}"
            raise ValueError(explain(wanted, repr(time), "make the BrownianPath for the whole grid: start and stop"))
        # Times that differ by their rounding alone are one time.
        fraction = math.ldexp((time - self.low) / (self.high - self.low), _BITS)
        return self.tree.at(math.ldexp(round(fraction), -_BITS))

    def __call__(self, t0: float, t1: float) -> Array:
        """Return the increment from t0 to t1."""
        return cast(self._at(t1).value - self._at(t0).value, self.dtype)

    def with_area(self, t0: float, t1: float) -> tuple[Array, Array]:
        """Return the increment and the area, which is the same in both directions."""
        if t1 < t0:
            increment, area = self.with_area(t1, t0)
            return -increment, area
        start, end, h = self._at(t0), self._at(t1), t1 - t0
        moved = end.value - start.value
        mean = (end.integral - start.integral - h * start.value) * (1.0 / h if h else 0.0)
        return cast(moved, self.dtype), cast(mean - 0.5 * moved, self.dtype)
