"""A small network with every branch switched on."""

import torch

from backbone import SiTConfig

TINY = SiTConfig(input_size=8, patch_size=2, in_channels=3, hidden_size=16, depth=2, num_heads=2, num_classes=5)


def perturb(model, scale=0.1, seed=1):
    """Move every trainable weight, so that no branch is switched off by its zero start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += scale * torch.randn(parameter.shape, generator=generator)
    return model
