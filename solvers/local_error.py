"""The error of each step of a solve, measured by halving it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from solvers.check import expect_method
from solvers.errors import explain
from solvers.grid import Grid, check_grid
from solvers.method import Method
from solvers.problem import Problem
from solvers.solve import solve
from solvers.trees import Layout, Tree, is_tree


def local_errors(problem: Problem, x: Tree, ts: Any, method: Method) -> Grid:
    r"""Return the root mean square error that each step of a grid makes by itself.

    A step is compared with two of half its length in time, from the same state. For order p their difference is
    :math:`1 - 2^{-p}` of the error of the one, to leading order. The two carry the state on.
    :func:`equidistributed` makes a better grid of these numbers. A multistep method begins anew in all of them.

    Args:
        problem: the problem, evaluated some four times as often as in a solve.
        x: states at the first time, representative ones: a batch of noise, or a tree of arrays.
        ts: the grid, n + 1 times.
        method: a deterministic method for the problem.

    Returns:
        n errors, not negative.

    Raises:
        TypeError: a stochastic method, whose two answers differ by their noise.
        ValueError, PoleError: what :func:`solve` refuses.

    References: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), II.4, eq. 4.4.
    """
    if expect_method(method).stochastic:
        remedy = "measure with a deterministic method of the same kind"
        raise TypeError(explain("a deterministic method", type(method).__name__, remedy))
    if is_tree(x):
        layout = Layout(x)
        problem, x = layout.problem(problem), layout.x
    errors = []
    for t0, t1 in pairwise(check_grid(ts).tolist()):
        once = solve(problem, x, [t0, t1], method).x
        middle = 0.5 * (t0 + t1)
        x = solve(problem, solve(problem, x, [t0, middle], method).x, [middle, t1], method).x
        errors.append(float(((once - x) ** 2).mean()) ** 0.5 / (1.0 - 0.5**method.order))
    return np.array(errors)
