"""How much arithmetic a network takes, counted on the operations themselves and without computing."""

from __future__ import annotations

import dataclasses

import torch
from torch.utils.flop_counter import FlopCounterMode

from backbone.config import SiTConfig
from backbone.model import SiT

__all__ = ["forward_flops"]


def forward_flops(config: SiTConfig) -> int:
    """Return the floating-point operations of a forward pass on one input, two for each product and sum.

    Matrix products, convolutions and attention are counted, as is usual; what a new option costs is counted too. A
    training step takes three times as many: a forward pass, and twice as much backwards.

    Args:
        config: the shape of the network.
    """
    # Attention written out counts the same as the fused kernels, which the meta device does not have.
    plain = dataclasses.replace(config, attention="math", checkpoint_every=0)
    with torch.device("meta"):
        model = SiT(plain).eval()
        x = torch.empty(1, config.in_channels, *config.size)
        y = torch.zeros(1, dtype=torch.int64) if config.num_classes else None
        time = torch.zeros(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x, time, y)
    return int(counter.get_total_flops())
