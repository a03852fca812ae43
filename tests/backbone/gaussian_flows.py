"""Exact flows of a Gaussian as torch functions of batched times, written out by hand for four schedules."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from interpolants import GVP, Linear, Schedule
from interpolants import t as time_symbol
from interpolants.schedules import TrigFlow

MEAN, VARIANCE = (
    torch.tensor([0.7, -0.4, 1.1], dtype=torch.float64),
    torch.tensor([0.3, 1.7, 0.05], dtype=torch.float64),
)


@dataclass(frozen=True)
class Exact:
    """A schedule and, by hand, α, σ and their derivatives as functions of a tensor."""

    schedule: Schedule
    alpha: object
    sigma: object
    d_alpha: object
    d_sigma: object
    span: float = 1.0

    def column(self, part, time):
        return getattr(self, part)(time).reshape(-1, 1)

    def spread(self, time):
        """Return ρ, with ρ² = α² c + σ²."""
        return (self.column("alpha", time) ** 2 * VARIANCE + self.column("sigma", time) ** 2).sqrt()

    def flow(self, time, stop, x):
        moved = self.spread(stop) / self.spread(time) * (x - self.column("alpha", time) * MEAN)
        return self.column("alpha", stop) * MEAN + moved

    def velocity(self, time, x):
        a, s, da, ds = (self.column(part, time) for part in ("alpha", "sigma", "d_alpha", "d_sigma"))
        return da * MEAN + (a * da * VARIANCE + s * ds) / self.spread(time) ** 2 * (x - a * MEAN)

    def average(self, start, time, x):
        """Return (x − Ψ(x)) / (t − r), and the velocity where r = t."""
        length = (time - start).reshape(-1, 1)
        still = length == 0
        mean = (x - self.flow(time, start, x)) / torch.where(still, 1.0, length)
        return torch.where(still, self.velocity(time, x), mean)

    def end(self, time, x):
        """Return the consistency function."""
        return MEAN + VARIANCE.sqrt() / self.spread(time) * (x - self.column("alpha", time) * MEAN)

    def predicting(self, time, x):
        """Return the velocity prediction F whose data prediction is :meth:`end`: with f for x_data, solved for ε."""
        a, s, da, ds = (self.column(part, time) for part in ("alpha", "sigma", "d_alpha", "d_sigma"))
        f = self.end(time, x)
        return da * f + ds * (x - a * f) / s


HALF = math.pi / 2
FLOWS = [
    Exact(Linear(), lambda t: 1 - t, lambda t: t, lambda t: 0 * t - 1, lambda t: 0 * t + 1),
    Exact(
        GVP(),
        lambda t: torch.cos(HALF * t),
        lambda t: torch.sin(HALF * t),
        lambda t: -HALF * torch.sin(HALF * t),
        lambda t: HALF * torch.cos(HALF * t),
    ),
    Exact(
        TrigFlow(0.5),
        torch.cos,
        lambda t: 0.5 * torch.sin(t),
        lambda t: -torch.sin(t),
        lambda t: 0.5 * torch.cos(t),
        span=HALF,
    ),
    Exact(
        Schedule("odd", 1 - time_symbol**2, time_symbol**2 * (2 - time_symbol)),
        lambda t: 1 - t**2,
        lambda t: t**2 * (2 - t),
        lambda t: -2 * t,
        lambda t: 4 * t - 3 * t**2,
    ),
]


def batch(flow, count=64, seed=0):
    """Return starts, times (r < t) and points at them from the marginals."""
    generator = torch.Generator().manual_seed(seed)
    pair = 0.02 + 0.96 * torch.rand(2, count, generator=generator, dtype=torch.float64)
    start, time = flow.span * pair.min(0).values, flow.span * pair.max(0).values
    z = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return start, time, flow.column("alpha", time) * MEAN + flow.spread(time) * z


def over_samples(flow, time):
    """Return times, x_t, velocities and weights of E over data and noise of a coordinate, exact up to degree 9."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    nodes = torch.tensor(nodes)
    weights = torch.tensor(weights / weights.sum())
    xi, eps = (part.reshape(-1, 1) for part in torch.meshgrid(nodes, nodes, indexing="ij"))
    data = MEAN + VARIANCE.sqrt() * xi
    times = torch.full((25,), time, dtype=torch.float64)
    a, s, da, ds = (flow.column(part, times) for part in ("alpha", "sigma", "d_alpha", "d_sigma"))
    return times, a * data + s * eps, da * data + ds * eps, torch.outer(weights, weights).reshape(-1)
