"""The noise that a run is given: zeros, or units that show what the sampler does with it."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from solvers.order.trials import Floats

# Ends of intervals that differ by rounding alone are one end.
_SAME = 1e-9


class Draws:
    """The standard normals that a run asks for; this one returns zeros and writes down what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, float] | None] = []

    def normal(self, shape: tuple[int, ...]) -> Floats:
        """Return a standard normal of its own."""
        self.asked.append(None)
        return self._value(shape)

    def between(self, start: float, stop: float, shape: tuple[int, ...]) -> Floats:
        """Return the increment of one Brownian path over an interval, scaled to variance 1."""
        self.asked.append((min(start, stop), max(start, stop)))
        return self._value(shape)

    def _value(self, shape: tuple[int, ...]) -> Floats:
        return np.zeros(shape)


class Units(Draws):
    """Draws that are unit vectors: request k is the sum over b of ``shares[k, b]`` times the unit of row 2 + b."""

    def __init__(self, shares: Floats) -> None:
        super().__init__()
        self.shares = shares

    def _value(self, shape: tuple[int, ...]) -> Floats:
        value = np.zeros(shape)
        share = self.shares[len(self.asked) - 1]
        value[2 : 2 + len(share)] = share[:, None]
        value[-1] = 0.5 * share.sum()
        return value


def basis(asked: list[tuple[float, float] | None]) -> Floats:
    """Return how each request is made of independent normals, shape (requests, normals).

    A plain request is a normal of its own. Requests on one Brownian path share the increments between all the ends
    that occur: a request over two of them is their sum, weighted by the roots of their lengths.
    """
    ends = sorted({end for pair in asked if pair is not None for end in pair})
    cuts = [end for last, end in zip([-math.inf, *ends], ends) if end - last > _SAME * abs(end)]
    plain = sum(pair is None for pair in asked)
    pieces = list(pairwise(cuts))
    shares = np.zeros((len(asked), plain + len(pieces)))
    free = 0
    for row, pair in zip(shares, asked):
        if pair is None:
            row[free] = 1.0
            free += 1
            continue
        slack = _SAME * abs(pair[1])
        inside = [low >= pair[0] - slack and high <= pair[1] + slack for low, high in pieces]
        lengths = np.array([high - low if held else 0.0 for held, (low, high) in zip(inside, pieces)])
        row[plain:] = np.sqrt(lengths / lengths.sum())
    return shares
