"""The copy of a network that holds an average, and the one operation on it."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from solvers.errors import explain

__all__ = ["M", "averaging_copy", "move", "whole"]

M = TypeVar("M", bound=nn.Module)


def averaging_copy(model: M) -> M:
    """Return a copy in evaluation mode, without gradients, and in float32 or better."""
    average = copy.deepcopy(model).eval().requires_grad_(False)
    if any(p.is_floating_point() and p.element_size() < 4 for p in average.parameters()):
        average.float()
    return average


@torch.no_grad()
def move(average: nn.Module, model: nn.Module, weight: float) -> None:
    r"""Move an average towards a network, :math:`\bar\theta \leftarrow \bar\theta + w(\theta - \bar\theta)`, in place.

    Buffers and integer parameters are copied. Of sharded parameters each process moves its own part.

    Raises:
        ValueError: the average is sharded otherwise than the network.
    """
    averages: list[Tensor] = []
    values: list[Tensor] = []
    for target, source in zip(average.parameters(), model.parameters(), strict=True):
        if getattr(target, "placements", None) != getattr(source, "placements", None):
            remedy = "shard both networks with the same calls, before the first update"
            raise ValueError(explain("an average that is sharded as its network is", "one that is not", remedy))
        if target.is_floating_point():
            averages.append(_own_part(target))
            values.append(_own_part(source).to(target.dtype))
        else:
            target.copy_(source)
    # One fused call over all tensors: a loop of lerp_ costs a kernel launch per tensor.
    torch._foreach_lerp_(averages, values, weight)
    for buffer, value in zip(average.buffers(), model.buffers(), strict=True):
        buffer.copy_(value)


# A sharded tensor is known by its methods: importing its class, DTensor, loads all of torch.distributed.
def _own_part(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor, as plain memory that can be written."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part.detach()


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor with the parts of all processes; each of them has to call this."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full.detach()
