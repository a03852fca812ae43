"""A tableau as the arrays that a compiled loop reads, so that one loop serves all methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.runge_kutta.tableau import Tableau, Term

Numbers = NDArray[np.float64]


class Weights(NamedTuple):
    """The slopes of a step as rows of weights: its stages, the slope at its end, those of dense output.

    Attributes:
        lower: row i has the weights of the state at which slope i is evaluated; row ``last`` is the step itself.
        nodes: where in the step each slope is evaluated.
        estimates: weights of the estimates of the error, shape (0, …) without any.
        nested: the polynomials of dense output by their coefficients of ``shapes``.
        last: the index of the slope at the end, which is the number of stages.
    """

    lower: Numbers
    nodes: Numbers
    estimates: Numbers
    nested: Numbers
    last: int


_KNOWN: dict[int, tuple[Tableau, Weights]] = {}


def weights(tableau: Tableau) -> Weights:
    """Return the arrays of a tableau, made once: its fractions are slow to compare."""
    if id(tableau) not in _KNOWN:
        _KNOWN[id(tableau)] = (tableau, _made(tableau))
    return _KNOWN[id(tableau)][1]


def _made(tableau: Tableau) -> Weights:
    last = len(tableau.b)
    size = last + 1 + len(tableau.extra)
    lower, nodes, estimates = np.zeros((size, size)), np.zeros(size), np.zeros((len(tableau.estimates), size))
    rows = [*tableau.stages, (1.0, tableau.step), *tableau.extra_stages]
    for index, (node, row) in enumerate(rows, start=1):
        nodes[index] = node
        _fill(lower[index], row)
    for line, row in zip(estimates, tableau.estimates):
        _fill(line, row)
    return Weights(lower, nodes, estimates, tableau.nested, last)


def _fill(line: Numbers, row: Sequence[Term]) -> None:
    for weight, first, others in row:
        line[[first, *others]] = weight
