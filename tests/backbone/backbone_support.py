"""A small network with every branch switched on."""

import torch

from backbone import SiT, SiTConfig

TINY = SiTConfig(input_size=8, patch_size=2, in_channels=3, hidden_size=16, depth=2, num_heads=2, num_classes=5)


def perturb(model, scale=0.1, seed=1):
    """Move every trainable weight, so that no branch is switched off by its zero start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += scale * torch.randn(parameter.shape, generator=generator)
    return model


class ExactNetwork(SiT):
    """A network whose weights do nothing: its velocity is that of a path for each label, with known densities."""

    def __init__(self, paths, features):
        super().__init__(SiT.for_vectors(features, num_classes=len(paths), hidden_size=16, num_heads=2, depth=1).config)
        self.paths = paths

    def forward(self, x, time, y=None, *, drop_labels=None):
        (now,) = set(time.tolist())
        return sum((y == k).to(x)[:, None] * path.velocity(now, x) for k, path in enumerate(self.paths))
