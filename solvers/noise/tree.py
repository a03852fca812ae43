r"""A Brownian path as a binary tree, of which only the branch last visited is held.

The path over an interval determines, with the normals of the interval, the path over its halves; so a path is a
function of the time alone, whatever was asked before. At the leaves the law of one time inside is drawn in the same
manner. So the law of the path at any times is exact as long as no two of them lie inside one leaf; there it is
continuous, but as smooth as :math:`\sqrt{a(1-a)}` in the fraction a of the leaf.

References: Gaines & Lyons, Variable step size control in the numerical solution of stochastic differential equations,
SIAM J. Appl. Math. 57 (1997); Li, Wong, Chen & Duvenaud (2020), arXiv 2001.01328, §4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from solvers.arrays import Array
from solvers.noise.bridge import Piece, split
from solvers.noise.streams import Streams

# How many normals are made at once: enough to spare calls for small states, few enough to spare memory for large ones.
_AT_ONCE = 2**16
# The times remembered: a step and its two halves ask for three.
_REMEMBERED = 4


class Point(NamedTuple):
    """The path at a time: its value and its integral since the start of the interval."""

    value: Array
    integral: Array


class Node(NamedTuple):
    """An interval of the tree: its number (1 for the whole, 2n and 2n + 1 for the halves of n), path and start."""

    number: int
    piece: Piece
    start: Point


class Tree:
    """A path over an interval of length ``span``.

    Args:
        streams: the normals.
        span: the length.
        depth: how often the interval is halved.
        size: the number of entries of the state.
    """

    def __init__(self, streams: Streams, span: float, depth: int, size: int) -> None:
        self.streams = streams
        self.span = span
        self.depth = depth
        self.at_once = max(1, _AT_ONCE // max(1, size))
        first, second = (drawn[0] for drawn in streams.branch(0, 1))
        whole = Piece(math.sqrt(span) * first, math.sqrt(span / 12.0) * second)
        zero = 0.0 * whole.increment
        self.branch = [Node(1, whole, Point(zero, zero))]
        self.known: dict[float, Point] = {}

    def at(self, fraction: float) -> Point:
        """Return the path at a fraction of the interval, from 0 to 1."""
        found = self.known.get(fraction)
        if found is None:
            found = self._found(fraction)
            if len(self.known) == _REMEMBERED:
                del self.known[next(iter(self.known))]
            self.known[fraction] = found
        return found

    def _found(self, fraction: float) -> Point:
        if fraction == 1.0:
            whole = self.branch[0].piece
            return Point(whole.increment, whole.integral(self.span))
        scaled = math.ldexp(fraction, self.depth)
        inside = scaled - int(scaled)
        deepest = (1 << self.depth) + int(scaled)
        # A time between two nodes of a coarse level is the start of one there: the branch need not go further.
        spare = 0 if inside else (deepest & -deepest).bit_length() - 1
        level = self.depth - spare
        numbers = [deepest >> (self.depth - k) for k in range(level + 1)]
        shared = sum(node.number == number for node, number in zip(self.branch, numbers))
        if shared > level and not inside:
            return self.branch[level].start
        del self.branch[shared:]
        for first, second in self._draws(numbers[shared - 1 :] if inside else numbers[shared - 1 : -1]):
            if len(self.branch) > level:
                return self._inside(inside, first, second)
            self.branch.append(self._child(numbers[len(self.branch)], first, second))
        return self.branch[-1].start

    def _draws(self, numbers: list[int]) -> Iterator[tuple[Array, Array]]:
        for k in range(0, len(numbers), self.at_once):
            part = numbers[k : k + self.at_once]
            yield from zip(*self.streams.branch(part[-1], len(part)))

    def _child(self, number: int, first: Array, second: Array) -> Node:
        """Return the half of the last node of the branch that has a number."""
        parent, level = self.branch[-1], len(self.branch)
        left, right = split(parent.piece, math.ldexp(self.span, 1 - level), 0.5, first, second)
        if number % 2 == 0:
            return Node(number, left, parent.start)
        return Node(number, right, _after(parent.start, left, math.ldexp(self.span, -level)))

    def _inside(self, fraction: float, first: Array, second: Array) -> Point:
        """Return the path inside the last node of the branch, a leaf."""
        leaf, length = self.branch[-1], math.ldexp(self.span, -self.depth)
        left, _ = split(leaf.piece, length, fraction, first, second)
        return _after(leaf.start, left, fraction * length)


def _after(start: Point, piece: Piece, h: float) -> Point:
    """Return the path at the end of an interval of length h, from its start and what it does there."""
    return Point(start.value + piece.increment, start.integral + h * start.value + piece.integral(h))
