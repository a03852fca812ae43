"""The network of a training spread over processes, and the precision that it computes in."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from backbone.draws import Draws
from backbone.losses import Loss
from backbone.model import SiT
from backbone.train.config import TrainConfig
from backbone.train.world import World

__all__ = ["Spread", "arithmetic", "shard"]

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Spread:
    """The losses of a share of the batch, with gradients that are averaged over the processes.

    Args:
        model: the network, on the device of this process.
        loss: what it learns.
        config: precision, compilation and kind of parallelism.
        here: the processes.
    """

    def __init__(self, model: SiT, loss: Loss, config: TrainConfig, here: World) -> None:
        self.model, self.here, self.config = model, here, config
        # The wrapper goes round the loss and not the network, so that a loss may call the network more than once, or
        # differentiate through it, and the gradients still meet in one backward pass.
        self.net: nn.Module = _Losses(torch.compile(model) if config.compile else model, loss)
        if here.size > 1 and config.parallel == "ddp":
            devices = [here.device] if here.device.type == "cuda" else None
            self.net = DistributedDataParallel(self.net, device_ids=devices, gradient_as_bucket_view=True)

    def losses(self, x_data: Tensor, y: Tensor | None, draws: Draws) -> Tensor:
        """Return the loss of each sample, (N,), float32."""
        dtype = _AUTOCAST.get(self.config.precision)
        with torch.autocast(self.here.device.type, dtype=dtype, enabled=dtype is not None):
            losses: Tensor = self.net(x_data, y, draws)
        return losses.float()

    @contextmanager
    def backward(self, *, last: bool) -> Iterator[None]:
        """Let the gradients of the block stay in this process, unless it is the last of the step."""
        if isinstance(self.net, DistributedDataParallel):
            with nullcontext() if last else self.net.no_sync():
                yield
            return
        if self.here.size > 1:
            sharded: Any = self.model
            sharded.set_requires_gradient_sync(last)
        yield

    def close(self) -> None:
        """Let go of the wrapper while its processes are still a group.

        Last to hold the group, it would end the group's threads with Python's lock in its hand, which one of them may
        be waiting for.
        """
        if isinstance(self.net, DistributedDataParallel):
            self.net = self.net.module
            gc.collect()


class _Losses(nn.Module):
    def __init__(self, model: Any, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, x_data: Tensor, y: Tensor | None, draws: Draws) -> Tensor:
        return self.loss(self.model, x_data, y, draws)


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Let CUDA devices round the factors of float32 products to 10 bits, or not, for as long as the block lasts.

    Without this torch multiplies matrices in full and convolves with rounded factors.

    Args:
        precision: one of :data:`backbone.train.config.PRECISIONS`; all but ``"float32"`` round.
    """
    rounded, convolutions = precision != "float32", torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), convolutions.allow_tf32
    torch.set_float32_matmul_precision("high" if rounded else "highest")
    convolutions.allow_tf32 = rounded
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        convolutions.allow_tf32 = before[1]


def shard(model: SiT) -> None:
    """Split the weights of a network over the processes, block by block, in place.

    Gradients are summed and divided by the number of processes, written out because gloo does not know the average.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    # Losses make new tensors of the output and change none in place, which is what torch warns against in every step.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    for part in [*model.blocks, model]:
        # By default the last part stays whole until a backward pass, which the average never makes.
        fully_shard(part, reshard_after_forward=True)
    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.set_force_sum_reduction_for_comms(True)
