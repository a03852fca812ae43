r"""Products :math:`v^\top\nabla f` of a field with many directions, from one evaluation of the field."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from solvers.arrays import Array, is_numpy, is_torch, namespace
from solvers.errors import explain
from solvers.problem import Field

Pull: TypeAlias = Callable[[Array], Array]

TOGETHER = {"torch": 1, "jax": 16}
"""How many directions go through the derivative at once: one in torch, since vmap does not know every operation."""


class Linearised(NamedTuple):
    r"""A field at a point: its value, the map from directions (c, B, …) to :math:`v^\top\nabla f`, how many at once."""

    value: Array
    pull: Pull
    together: int


def linearise(drift: Field, time: Any, x: Array, together: int | None) -> Linearised:
    r"""Evaluate a field once, for its value and its derivative.

    Derivatives of the results by x and by the parameters of the field are kept where the caller would keep those of
    :math:`f(t, x)`: not under ``torch.no_grad()``.

    Raises:
        TypeError: numpy arrays, which know no derivatives.
    """
    if is_numpy(x):
        remedy = "pass trace=path.divergence, or torch or jax arrays"
        raise TypeError(explain("a library with derivatives, or a trace", "numpy arrays", remedy))
    if is_torch(x):
        together = together or TOGETHER["torch"]
        value, pull = _in_torch(drift, time, x, batched=together > 1)
    else:
        together = together or TOGETHER["jax"]
        value, pull = _in_jax(drift, time, x)

    def chunked(directions: Array) -> Array:
        parts = [pull(directions[first : first + together]) for first in range(0, len(directions), together)]
        return parts[0] if len(parts) == 1 else namespace(x).concat(parts)

    return Linearised(value, chunked, together)


def _in_jax(drift: Field, time: Any, x: Array) -> tuple[Array, Pull]:
    jax = sys.modules["jax"]
    value, pull = jax.vjp(lambda points: drift(time, points), x)
    return value, jax.vmap(lambda direction: pull(direction)[0])


def _in_torch(drift: Field, time: Any, x: Array, *, batched: bool) -> tuple[Array, Pull]:
    torch = sys.modules["torch"]
    wanted = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        if x.requires_grad and wanted:
            inputs = x
        else:
            # A tensor of inference mode takes no part in derivatives; a copy of it does.
            inputs = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        value = drift(time, inputs)
        kept = wanted and (inputs is x or _depends_on_others(value, inputs))

    def pull(directions: Array) -> Array:
        if not value.requires_grad:
            return torch.zeros_like(directions)
        (found,) = torch.autograd.grad(
            value,
            inputs,
            directions if batched else directions[0],
            retain_graph=True,
            create_graph=kept,
            allow_unused=True,
            is_grads_batched=batched,
        )
        if found is None:
            return torch.zeros_like(directions)
        return found if batched else found[None]

    return value if kept else value.detach(), pull


def _depends_on_others(value: Any, leaf: Any) -> bool:
    """Whether a tensor has a derivative by anything but ``leaf``: parameters that are being trained."""
    waiting, seen = [value.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if getattr(node, "variable", leaf) is not leaf:
            return True
        waiting += [before for before, _ in node.next_functions]
    return False
