"""The continuous adjoint: the derivative of the flow, by an ODE that is solved backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from solvers.adaptive import Adaptive
from solvers.arrays import is_numpy, is_torch
from solvers.check import check_adaptive, check_solve
from solvers.errors import explain
from solvers.grid import host_times
from solvers.method import Method
from solvers.problem import ODE, Problem
from solvers.solution import Solution
from solvers.trees import Layout, Tree, is_tree


def adjoint(
    problem: ODE | Callable[[Any], ODE],
    x: Tree,
    ts: Any,
    method: Method | Adaptive,
    parameters: Any = (),
    *,
    backward: Method | Adaptive | None = None,
) -> Solution:
    r"""Solve as :func:`solvers.solve` does; derivatives come from the adjoint ODE and keep nothing but the end.

    With :math:`\dot x = f(t, x, \theta)` and :math:`a = \partial L/\partial x`, known at the last time,

    .. math:: \dot a = -a^\top\frac{\partial f}{\partial x}, \qquad
              \frac{dL}{d\theta} = -\int_{t_1}^{t_0} a^\top\frac{\partial f}{\partial\theta}\,dt

    are solved from the last time to the first together with x itself, which is reconstructed on the way.

    This derivative is **not** that of the numbers returned. It belongs to the continuous flow, and differs from the
    derivative of the discrete map, which ``solve`` and :func:`solvers.gradients.checkpointed` give, by the errors of
    both solves: :math:`O(h^p)`. Where the flow contracts, x cannot be reconstructed: errors grow backwards like
    :math:`e^{\int\|\partial f/\partial x\|}`, and the derivative is wrong without a sign of it. It is here for
    comparison, and for solves so fine that both derivatives agree.

    Args:
        problem: an ODE; or a function of ``parameters`` that returns one, which jax needs if there are parameters.
        x: torch or jax arrays, or a tree of them.
        ts: times, as for ``solve``; only the first and the last matter to :class:`solvers.Adaptive`.
        method: a method for ODEs.
        parameters: :math:`\theta`: tensors, such as ``model.parameters()``, or a tree of arrays.
        backward: the method for the adjoint ODE; that of the solve if absent.

    Returns:
        The solution; its ``nfe`` are the evaluations forward.

    Raises:
        TypeError: no ODE; numpy arrays; parameters of another kind; a tensor with derivatives that the drift uses and
            ``parameters`` does not name, found at the first evaluation.
        PoleError: the way back would evaluate at a pole; raised before the first evaluation.
        ValueError: all that ``solve`` raises.

    References: Pontryagin et al., The Mathematical Theory of Optimal Processes (1962); Chen et al. (2018), arXiv
    1806.07366, §2 and algorithm 1; Gholami, Keutzer & Biros (2019), ANODE, arXiv 1902.10298, §3, for where it fails.
    """
    way_back = method if backward is None else backward
    if not is_tree(parameters):
        if is_torch(parameters):
            raise TypeError(explain("parameters: several tensors", "one Tensor", "write parameters=(tensor,)"))
        parameters = tuple(parameters)
    make = None if isinstance(problem, Problem) or not callable(problem) else problem
    made = problem if make is None else make(parameters)
    if not isinstance(made, ODE):
        remedy = "pass probability_flow(schedule, model), or a function of the parameters that returns an ODE"
        raise TypeError(explain("an ODE", type(made).__name__, remedy))
    _check_way_back(made, ts, way_back)
    if is_tree(x):
        layout = Layout(x)
        joined = layout.problem(made) if make is None else lambda values: layout.problem(make(values))
        return layout.solution(adjoint(joined, layout.x, ts, method, parameters, backward=backward))
    if is_numpy(x):
        raise TypeError(explain("torch or jax arrays", "numpy arrays, which have no derivatives", "call solve"))
    if is_torch(x):
        from solvers.gradients import by_torch

        return by_torch.adjoint(made, x, ts, method, way_back, parameters)
    if make is None and parameters:
        remedy = "write adjoint(lambda parameters: ODE(…), x, ts, method, parameters)"
        raise TypeError(explain("a function of the parameters that returns the ODE, for jax", "an ODE", remedy))
    from solvers.gradients import by_jax

    return by_jax.adjoint(make or (lambda _: made), x, ts, method, way_back, parameters)


def _check_way_back(problem: ODE, ts: Any, method: Any) -> None:
    """Refuse a pole that only the way back would meet."""
    times = host_times(ts)[::-1]
    if isinstance(method, Adaptive):
        check_adaptive(problem, times, method.method)
    else:
        check_solve(problem, times, method)
