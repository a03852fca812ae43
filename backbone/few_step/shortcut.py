r"""Shortcut models: one step of 2d is two steps of d.

With the direction :math:`s(x, t, d) = u(x, t - d, t)` of a step from t to t − d,

.. math:: s(x, t, 2d) = \tfrac12 s(x, t, d) + \tfrac12 s(x', t - d, d), \qquad x' = x - d\,s(x, t, d),

and :math:`s(x, t, 0) = v(x, t)`: the semigroup of the flow, without derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from backbone.draws import Draws
from backbone.few_step.along import AverageVelocity
from backbone.few_step.intervals import at_least_float32, expect_exact_ends
from backbone.few_step.network import average_field, expect_flow_map
from backbone.losses import dropped
from backbone.model import SiT
from interpolants import Objective, Schedule
from interpolants.coefficient import pad
from interpolants.times import Times, Uniform
from solvers.errors import explain

__all__ = ["Shortcut", "two_steps"]


def two_steps(average: AverageVelocity, start: Tensor, time: Tensor, x: Tensor, finest: Tensor | None = None) -> Tensor:
    r"""Return the mean of the directions of two equal steps, :math:`\tfrac12 s(x, t, d) + \tfrac12 s(x', t - d, d)`.

    Args:
        average: ``u(start, time, x)``.
        start: r = t − 2d, (N,).
        time: t, (N,).
        x: :math:`x_t`, (N, …).
        finest: where true, (N,), the two steps are Euler's, along u(x, t, t); None is nowhere.

    References: Frans et al. (2024), arXiv 2410.12557, eq. 4 (there with t = 1 as data).
    """
    half = 0.5 * (time - start)
    middle = time - half
    ends = (
        (middle, start) if finest is None else (torch.where(finest, time, middle), torch.where(finest, middle, start))
    )
    first = average(ends[0], time, x)
    second = average(ends[1], middle, x - pad(half, x) * first)
    return 0.5 * (first + second)


@dataclass(frozen=True)
class Shortcut:
    r"""The shortcut loss: velocities for a part of the samples, self-consistency for the others.

    .. math:: |s_\theta(x, t, 0) - v|^2 \quad\text{or}\quad
              |s_\theta(x, t, 2d) - \mathrm{sg}[\tfrac12 s_\theta(x, t, d) + \tfrac12 s_\theta(x', t - d, d)]|^2

    with :math:`2d = 2^{-k}` of the domain, k uniform in 0 … ``levels`` − 1, and t uniform among the multiples of 2d.
    The two steps of the smallest d follow the velocity. Targets come from the same network, not from an average of its
    weights; d enters as a number through the embedding of t − r, not as an index.

    Args:
        schedule: any with exact ends; published for :class:`~interpolants.Linear`.
        times: of the samples that learn the velocity.
        share: part of the samples that learn self-consistency; published 0.25.
        levels: number of step sizes 2d; the smallest d is :math:`2^{-levels}`, published 7.

    Raises:
        TypeError, ValueError: no schedule, one without exact ends, or an option out of range. When called: a network
            without ``flow_map``.

    References: Frans, Hafner, Levine & Abbeel, One Step Diffusion via Shortcut Models (2024), arXiv 2410.12557,
    algorithm 1.
    """

    schedule: Schedule
    times: Times = field(default_factory=Uniform)
    share: float = 0.25
    levels: int = 7

    def __post_init__(self) -> None:
        self.objective  # noqa: B018 - refuses what is no schedule, no times, and times of infinite loss
        expect_exact_ends(self.schedule)
        if not 0 <= self.share <= 1:
            raise ValueError(explain("a share in [0, 1]", str(self.share), "the published one is 0.25"))
        if not isinstance(self.levels, int) or not 1 <= self.levels <= 20:
            raise ValueError(explain("levels: a whole number from 1 to 20", repr(self.levels), "published: 7"))

    @cached_property
    def objective(self) -> Objective:
        """The points and velocities that the loss is made of."""
        return Objective(self.schedule, times=self.times)

    def __call__(self, model: SiT, x_data: Tensor, y: Tensor | None, draws: Draws) -> Tensor:
        """Return the loss of each sample, (N,)."""
        expect_flow_map(model)
        consistent = draws.below("choice", self.share)
        start, time, finest = self._interval(draws, consistent, x_data.dtype)
        batch = self.objective.at(x_data, draws.normal("noise", tuple(x_data.shape[1:])), time)
        average = average_field(model, y, dropped(model, draws))
        with torch.no_grad():
            mean = at_least_float32(two_steps(average, start, time, batch.x_t, finest))
        target = torch.where(pad(consistent, mean), mean, batch.target)
        return (at_least_float32(average(start, time, batch.x_t)) - target).square().flatten(1).mean(dim=1)

    def _interval(self, draws: Draws, consistent: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return r, t, and whether the half step is the smallest: on the grids of 2d, or r = t elsewhere."""
        first, last = self.schedule.domain
        continuous = self.objective.law.at(draws.uniform("time"), dtype)
        level = torch.floor(draws.uniform("second time") * self.levels)
        count = 2.0**level
        place = torch.floor(draws.uniform("time") * count) + 1
        on_grid = (first + (last - first) * part for part in ((place - 1) / count, place / count))
        start, time = (torch.where(consistent, part.to(dtype), continuous) for part in on_grid)
        return start, time, level == self.levels - 1
