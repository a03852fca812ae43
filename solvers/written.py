r"""A solve as a list of steps, each step a list of sums, their weights known.

Every method here is linear in the states, the evaluations and the normals that it draws:

.. math:: y_i = \sum_j w_{ij} z_j, \qquad z \in \{x,\ \text{what was carried},\ f(\tau_1, y_1), f(\tau_2, y_2), \dots,
          \Delta W\}.

So its own ``step`` is run once on symbols instead of arrays. What it does to them are the weights; all that it computes
on the host (schedules, quadratures, φ-functions) happens then, and no more when the plan is followed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

from solvers.arrays import Array
from solvers.method import Method, on_grid
from solvers.noise import Increment, with_area
from solvers.problem import Field, Problem
from solvers.trace import STATE, Draw, DrawnNoise, Operation, Program, Terms, Trace

__all__ = ["Draw", "Operation", "Program", "Terms", "combined", "drawn", "written"]


def combined(terms: Terms, values: list[Array]) -> Array:
    """Return the sum of values with weights."""
    total = None
    for weight, index in terms:
        part = values[index] if weight == 1.0 else weight * values[index]
        total = part if total is None else total + part
    return total


def drawn(draw: Draw, noise: Increment) -> tuple[Array, ...]:
    """Return what a draw adds to the values of a step."""
    if draw.area:
        return with_area(noise, draw.since, draw.time)
    return (noise(draw.since, draw.time),)


def written(
    method: Method, pose: Callable[[Field], Problem], times: list[float], *, once: bool = False
) -> tuple[tuple[Program, ...], tuple[Any, ...]]:
    """Return the steps and the constants of a solve; nothing is checked.

    Args:
        method: a method that is linear.
        pose: the problem of a field. Each call of that field becomes an operation: where it is a network from which the
            problem is made, the weights are those of what the network returns.
        times: the grid.
        once: each step evaluates the problem once, and takes what it found for every evaluation that it would make
            after that one. So a multistep method starts with steps of order 1.
    """
    trace, taking = Trace(), on_grid(method, times)
    problem: Any = pose(trace.evaluate)
    if once:
        problem = replace(problem, **{problem.evaluated: trace.held(getattr(problem, problem.evaluated))})
    noise = DrawnNoise(trace) if method.stochastic else None
    state, x = taking.init(problem, times[0], trace.symbol(STATE)), trace.symbol(STATE)
    for t0, t1 in pairwise(times):
        x, state = taking.step(problem, t0, t1, x, state, noise)
        x, state = trace.close(t0, t1, x, state)
    return trace.finished()
