"""A small network on a path that drifts and wanders, its weights all kept, and averages of them by direct summation."""

import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from backbone import EMA, Averages, PowerEMA, SiT, save_snapshot
from backbone.config import SiTConfig

CONFIG = SiTConfig(
    input_size=4, patch_size=2, in_channels=1, hidden_size=4, depth=1, num_heads=1, num_classes=0, learn_sigma=False
)
STEPS, EVERY = 320, 10
STILL = "blocks.0.mlp.fc1.bias"  # never moved, and not zero


def flat(model):
    """All weights that are trained, as one vector in float64."""
    return parameters_to_vector([p.detach() for p in model.parameters() if p.numel()]).double()


def train(folder, *, steps=STEPS, dtype=torch.float32, extra=None):
    """Move a network at random, save snapshots of its averages, and return them with every network on the way."""
    torch.manual_seed(0)
    model = SiT(CONFIG)
    moved = [p for name, p in model.named_parameters() if p.requires_grad and name != STILL]
    torch.nn.init.normal_(model.get_parameter(STILL))
    start = parameters_to_vector(moved).detach()
    averages = Averages(PowerEMA(model, 0.05), EMA(model, 0.9), PowerEMA(model, 0.10))
    generator = torch.Generator().manual_seed(1)
    speed = torch.randn(start.shape, generator=generator) / STEPS
    wander, history = torch.zeros_like(start), []
    for n in range(1, steps + 1):
        wander += torch.randn(start.shape, generator=generator) / STEPS**0.5
        vector_to_parameters(start + n * speed + wander, moved)
        averages.update(model)
        history.append(flat(model))
        if n % EVERY == 0:
            kind = dtype(n) if callable(dtype) else dtype
            save_snapshot(folder, averages, dtype=kind, extra=extra)
    return averages, torch.stack(history)


def direct(history, gamma, steps):
    """Σ_k θ_k (k^(γ+1) − (k−1)^(γ+1)) / n^(γ+1), in float64."""
    edges = (torch.arange(steps + 1, dtype=torch.float64) / steps) ** (gamma + 1)
    return edges.diff() @ history[:steps]
