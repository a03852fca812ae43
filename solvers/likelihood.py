r"""The density that a flow gives to its points, by the change of variables along the trajectory.

.. math:: \log p_{t_0}(x) = \log p_{t_1}(X_{t_1}) + \int_{t_0}^{t_1} \nabla\cdot f(s, X_s)\,ds

for :math:`\dot X = f(t, X)`, :math:`X_{t_0} = x`. State and integral are solved together, with one method on one grid.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from solvers.adaptive import Adaptive
from solvers.arrays import Array, is_numpy, is_torch, like, namespace
from solvers.errors import explain
from solvers.method import Method
from solvers.problem import ODE, Field
from solvers.solve import solve

__all__ = ["LogLikelihood", "divergence", "hutchinson", "log_likelihood"]


@dataclass(frozen=True)
class LogLikelihood:
    """Log-densities of points under a flow.

    Args:
        value: the log-densities, shape (B,).
        x: the points moved to the last time, shaped as they came.
        nfe: how often drift and divergence were evaluated, each evaluation being of both.
    """

    value: Array
    x: Array
    nfe: int


def log_likelihood(
    problem: ODE,
    x: Array,
    ts: Any,
    method: Method | Adaptive,
    log_prior: Callable[[Array], Array],
    trace: Field | None = None,
) -> LogLikelihood:
    r"""Return :math:`\log p(x)` at the first time of the grid, from the density at its last.

    Args:
        problem: the ODE of the flow.
        x: points, shape (B, …), at the first time of ``ts``.
        ts: times from the points to the prior, such as ``uniform(100, start=0.0, stop=1.0)``.
        method: a deterministic method, such as ``RK4()`` or ``Adaptive(Dopri5())``; the error of the integral is then
            controlled with that of the state.
        log_prior: the log-density at the last time: (B, …) → (B,).
        trace: :math:`\nabla\cdot f`: (time, x) → (B,). When absent, :func:`divergence` of the drift, exact; or
            :func:`hutchinson` of it for an estimate.

    Raises:
        TypeError: no ODE; numpy arrays without a trace.
        ValueError: x without a batch axis; and all that :func:`solvers.solve` raises.

    References: Chen et al. (2018), arXiv 1806.07366, eq. 8; Song et al. (2021), arXiv 2011.13456, eq. 39.
    """
    if not isinstance(problem, ODE):
        raise TypeError(explain("an ODE", type(problem).__name__, "pass probability_flow(schedule, model)"))
    if getattr(x, "ndim", 0) < 2:
        raise ValueError(explain("points of shape (B, …)", f"shape {np.shape(x)}", "give x a batch axis: x[None]"))
    shape = x.shape
    trace = divergence(problem.drift) if trace is None else trace

    def joined(points: Array, numbers: Array) -> Array:
        flat = points.reshape(shape[0], -1)
        return namespace(flat).concat([flat, numbers.reshape(-1, 1)], axis=1)

    def drift(time: float, state: Array) -> Array:
        points = state[:, :-1].reshape(shape)
        return joined(problem.drift(time, points), trace(time, points))

    start = joined(x, x.reshape(shape[0], -1)[:, 0] * 0)
    solution = solve(replace(problem, drift=drift), start, ts, method)
    moved = solution.x[:, :-1].reshape(shape)
    return LogLikelihood(log_prior(moved) + solution.x[:, -1], moved, solution.nfe)


def divergence(drift: Field) -> Field:
    r"""Return :math:`\nabla\cdot f` of a drift on torch or jax arrays by automatic differentiation: d derivatives.

    The drift must treat the rows of a batch one by one.
    """

    def exact(time: float, x: Array) -> Array:
        flat = x.reshape(x.shape[0], -1)
        total = flat[:, 0] * 0
        for k in range(flat.shape[1]):
            unit = np.zeros((1, *x.shape[1:]))
            unit.flat[k] = 1.0
            total = total + _along(drift, time, x, like(unit, x))
        return total

    return exact


def hutchinson(drift: Field, probes: Array) -> Field:
    r"""Return the estimate :math:`\frac1m\sum_j \epsilon_j^\top(\nabla f)\epsilon_j` of the divergence.

    Unbiased for probes with :math:`\mathbb E\,\epsilon\epsilon^\top = I`; the probes stay the same for the whole solve,
    so that the integrand is smooth in time.

    Args:
        drift: the field, on torch or jax arrays.
        probes: shape (m, …), m directions for all points alike, or (m, B, …), m for each; ±1 has the least variance
            among independent entries.

    References: Hutchinson (1989); Grathwohl et al. (2019), arXiv 1810.01367, §3.1.
    """

    def estimate(time: float, x: Array) -> Array:
        directions = probes if probes.ndim == x.ndim + 1 else probes[:, None]
        return sum(_along(drift, time, x, direction) for direction in directions) / len(directions)

    return estimate


def _along(drift: Field, time: float, x: Array, direction: Array) -> Array:
    r"""Return :math:`\epsilon^\top(\nabla f)\epsilon` for every row, shape (B,)."""
    if is_torch(x):
        torch = sys.modules["torch"]
        with torch.enable_grad():
            inputs = x if x.requires_grad else x.detach().requires_grad_()
            product = (drift(time, inputs) * direction).sum()
            (slope,) = torch.autograd.grad(product, inputs, create_graph=x.requires_grad)
    elif is_numpy(x):
        remedy = "pass trace=path.divergence, or torch or jax arrays"
        raise TypeError(explain("a library with derivatives, or a trace", "numpy arrays", remedy))
    else:
        jax = sys.modules["jax"]
        slope = jax.grad(lambda points: (drift(time, points) * direction).sum())(x)
    return (slope * direction).reshape(x.shape[0], -1).sum(1)
