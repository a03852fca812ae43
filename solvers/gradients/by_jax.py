"""The continuous adjoint as a rule of jax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax

from solvers.arrays import Array
from solvers.grid import host_times
from solvers.problem import ODE
from solvers.solution import Solution
from solvers.solve import solve
from solvers.trees import Tree


def adjoint(make: Callable[[Tree], ODE], x: Array, ts: Any, method: Any, way_back: Any, parameters: Tree) -> Solution:
    """Solve forward, and give jax the way back as the derivative."""
    backwards = host_times(ts)[::-1]
    found: list[Solution] = []

    @jax.custom_vjp
    def flow(x: Array, parameters: Tree) -> Array:
        found.append(solve(make(parameters), x, ts, method))
        return found[-1].x

    def forward(x: Array, parameters: Tree) -> tuple[Array, Any]:
        end = flow(x, parameters)
        return end, (end, parameters)

    def backward(kept: Any, slope: Array) -> tuple[Array, Tree]:
        end, parameters = kept

        def field(time: Any, state: Tree) -> Tree:
            value, pull = jax.vjp(lambda x, parameters: make(parameters).drift(time, x), state[0], parameters)
            return value, *jax.tree.map(lambda leaf: -leaf, pull(state[1]))

        start = (end, slope, jax.tree.map(lambda leaf: 0.0 * leaf, parameters))
        _, at_start, of_parameters = solve(replace(make(parameters), drift=field), start, backwards, way_back).x
        return at_start, of_parameters

    flow.defvjp(forward, backward)
    end = flow(x, parameters)
    return replace(found[-1], x=end)
