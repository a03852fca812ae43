"""The continuous adjoint as a function of torch's autograd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from solvers.errors import explain
from solvers.grid import host_times
from solvers.problem import ODE, Field
from solvers.solution import Solution
from solvers.solve import solve
from solvers.trees import leaves

Tensors = tuple[torch.Tensor, ...]


def adjoint(problem: ODE, x: torch.Tensor, ts: Any, method: Any, way_back: Any, parameters: Any) -> Solution:
    """Solve forward without a graph, and register the way back."""
    given = [leaf for _, leaf in leaves(parameters, parameters, "")]
    if not all(isinstance(leaf, torch.Tensor) for leaf in given):
        kinds = ", ".join(sorted({type(leaf).__name__ for leaf in given}))
        raise TypeError(explain("parameters: tensors", kinds, "pass model.parameters()"))
    followed = tuple(leaf for leaf in given if leaf.requires_grad)
    looked_at = replace(problem, drift=_all_named(problem.drift, followed))
    backwards = host_times(ts)[::-1]
    found: list[Solution] = []

    class Flow(torch.autograd.Function):
        """From the start to the end; back from the derivative at the end to those at the start."""

        @staticmethod
        def forward(ctx: Any, x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
            found.append(solve(looked_at, x, ts, method))
            end: torch.Tensor = found[-1].x
            ctx.save_for_backward(end, *parameters)
            return end

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, slope: torch.Tensor) -> Tensors:
            # The parameters are saved so that torch notices a change of them; the drift uses its own.
            end, *_ = ctx.saved_tensors
            augmented = replace(problem, drift=_augmented(problem.drift, followed))
            start = (end, slope, *(torch.zeros_like(parameter) for parameter in followed))
            _, *slopes = solve(augmented, start, backwards, way_back).x
            return tuple(slopes)

    end = Flow.apply(x, *followed)  # type: ignore[no-untyped-call]
    return replace(found[-1], x=end)


def _augmented(drift: Field, parameters: Tensors) -> Any:
    """Return the field of state, adjoint and derivatives of the parameters, as one."""

    def field(time: Any, state: Tensors) -> Tensors:
        value, inputs = _followed(drift, time, state[0], parameters)
        slopes: Sequence[torch.Tensor | None] = [None] * len(inputs)
        if value.requires_grad:
            slopes = torch.autograd.grad(value, inputs, state[1], allow_unused=True)
        minus = (torch.zeros_like(x) if slope is None else -slope for x, slope in zip(inputs, slopes))
        return (value.detach(), *minus)

    return field


def _followed(drift: Field, time: Any, x: torch.Tensor, parameters: Tensors) -> tuple[Any, Tensors]:
    """Return the drift with its graph, and the leaves of that graph."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return drift(time, x), (x, *parameters)


def _all_named(drift: Field, parameters: Tensors) -> Field:
    """Return the same drift, but for its first evaluation, which looks for tensors that nobody named."""
    waiting = [True]

    def first(time: Any, x: torch.Tensor) -> Any:
        if not waiting:
            return drift(time, x)
        waiting.clear()
        value, known = _followed(drift, time, x, parameters)
        if isinstance(value, torch.Tensor):
            _refuse_strangers(value, known)
            return value.detach()
        return value

    return first


def _refuse_strangers(value: torch.Tensor, known: Tensors) -> None:
    """Follow the graph of a value to its leaves and refuse one that is not known."""
    ends = {tensor.grad_fn for tensor in known}
    names = {id(tensor) for tensor in known}
    queue: list[Any] = [value.grad_fn]
    seen: set[Any] = {None}
    while queue:
        node = queue.pop()
        if node in seen or node in ends:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in names:
            wanted = "parameters: every tensor with derivatives that the drift uses"
            received = f"a drift with another one, of shape {tuple(leaf.shape)}, that would get no derivative"
            raise TypeError(explain(wanted, received, "pass parameters=model.parameters(), or detach it"))
        queue += [parent for parent, _ in node.next_functions]
