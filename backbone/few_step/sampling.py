r"""Samples in one step or a few: along a flow map, or by consistency functions and new noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from backbone.few_step.intervals import expect_exact_ends
from backbone.few_step.network import average_field
from backbone.field import bind
from backbone.model import SiT
from interpolants import Schedule, denoising
from solvers import Denoising, ExponentialEulerMaruyama, Solution, solve
from solvers.noise import PerSample
from solvers.noise.streams import SAMPLE, check_ids, check_seed, streams
from solvers.problem import Problem, check_callable, check_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FlowMap", "Jump", "consistency_problem", "sample_consistency", "sample_flow_map"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class FlowMap(Problem):
    r"""What :class:`Jump` solves: the average velocity :math:`u(x, r, t)` of a flow.

    Args:
        average: called as ``average((t, r), x)`` with two floats, t first, and x at t; returns an array like x.
        poles: times t at which it is not finite.
        domain: the lowest and highest time.
    """

    evaluated: ClassVar[str] = "average"
    average: Callable[[Interval, Any], Any]
    poles: tuple[Any, ...] = ()
    domain: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        check_callable("average", self.average, "((t, r), x) -> array like x")
        check_limits(self)


@dataclass(frozen=True, slots=True)
class Jump:
    r"""A step along a flow map, :math:`x_r = x_t - (t - r)\,u(x_t, r, t)`: exact for any length where u is.

    Where u does not depend on r it is Euler's step, of order 1. One evaluation per step.

    References: Geng et al. (2025), arXiv 2505.13447, eq. 12; Boffi et al. (2025), arXiv 2505.18825.
    """

    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = False
    solves: ClassVar[type[FlowMap]] = FlowMap

    def init(self, problem: FlowMap, t0: float, x0: Any) -> None:
        """Carry nothing between steps."""

    def step(self, problem: FlowMap, t0: float, t1: float, x: Any, state: None, noise: None) -> tuple[Any, None]:
        """Go from ``x`` at t0 to t1."""
        return x + (t1 - t0) * problem.average((t0, t1), x), None


def sample_flow_map(
    model: SiT,
    labels: Tensor,
    *,
    schedule: Schedule,
    rng: torch.Generator | PerSample,
    ts: Sequence[float] | NDArray[np.float64] | None = None,
    progress: bool = False,
) -> Solution:
    r"""Draw one image for each label with a network of an interval: MeanFlow, Improved MeanFlow, shortcut.

    Args:
        model: a network with ``flow_map=True``; its mode does not matter and no gradient is kept.
        labels: (N,), int64, 0 … num_classes, on any device; null classes for a network without labels.
        schedule: the one that the network was trained with.
        rng: a torch Generator on the device of the network, or :class:`solvers.noise.PerSample`, with which a sample
            does not depend on its batch.
        ts: times that begin at the noise; None is one step. A shortcut model knows ``uniform(n)`` for n = 1, 2, 4, ….
        progress: show a progress bar on stderr.

    Returns:
        the solution; ``.x`` are the images and ``.nfe`` counts the evaluations of the network.

    Raises:
        ValueError: a network without ``flow_map``, a schedule without exact ends, labels out of range.
        NonFiniteError: the images are not finite.
    """
    expect_exact_ends(schedule)
    device = next(model.parameters()).device
    average = average_field(model, labels.to(device))
    problem = FlowMap(lambda interval, x: average(interval[1], interval[0], x), domain=schedule.domain)
    with torch.no_grad():
        noise = _noise(model, len(labels), schedule, rng)
        return solve(problem, noise, _grid(schedule, ts), Jump(), progress=progress)


def consistency_problem(schedule: Schedule, model: Callable[[Any, Any], Any]) -> Denoising:
    r"""Return the problem of multistep consistency sampling for a velocity prediction F(t, x).

    .. math:: x_s = \alpha_s f(x_t, t) + \sigma_s\xi

    is a reverse SDE whose noise is infinite, :math:`\Theta = \infty`: of :math:`x_t` a step keeps f alone. It is what
    :class:`~solvers.ExponentialEulerMaruyama` does with it.

    References: Song et al. (2023), arXiv 2303.01469, algorithm 1.
    """
    return replace(denoising(schedule, model), clock=lambda t, s: math.inf if t > s else 0.0)


def sample_consistency(
    model: SiT,
    labels: Tensor,
    *,
    schedule: Schedule,
    rng: torch.Generator | PerSample,
    ts: Sequence[float] | NDArray[np.float64] | None = None,
    progress: bool = False,
) -> Solution:
    r"""Draw one image for each label with a consistency model; between steps the noise is drawn anew.

    Arguments, result and errors are those of :func:`sample_flow_map`, for an ordinary velocity network.
    """
    expect_exact_ends(schedule)
    device = next(model.parameters()).device
    problem = consistency_problem(schedule, bind(model, labels.to(device)))
    with torch.no_grad():
        noise = _noise(model, len(labels), schedule, rng)
        return solve(problem, noise, _grid(schedule, ts), ExponentialEulerMaruyama(), rng=rng, progress=progress)


def _grid(schedule: Schedule, ts: Any) -> Any:
    first, last = schedule.domain
    return [last, first] if ts is None else ts


def _noise(model: SiT, count: int, schedule: Schedule, rng: torch.Generator | PerSample) -> Tensor:
    """Return the first noise, (N, C, …), float32, on the device of the network."""
    config, device = model.config, next(model.parameters()).device
    shape = (count, config.in_channels, *config.size)
    if not isinstance(rng, PerSample):
        drawn: Tensor = schedule.prior(shape, rng).to(device, torch.float32)
        return drawn
    # A solve draws number 1 of each stream and on; number 0 is free.
    like = torch.empty(shape, device=device)
    first: Tensor = streams(check_seed(rng.seed), SAMPLE, *check_ids(rng.first, rng.ids), like).single(0)
    return schedule.prior_scale * first.to(torch.float32)
