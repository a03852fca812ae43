"""EDM's sampler: Heun's method in the variables of Karras et al., for any schedule."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.exponential.form import NOISE, hold
from solvers.exponential.place import Place, place, without_signal
from solvers.method import Planned


@dataclass(frozen=True, slots=True)
class EDMHeun(Planned):
    r"""Heun's method for :math:`y = x/\alpha` in :math:`r = \sigma/\alpha`, with :math:`y' = \hat\varepsilon`.

    .. math::
       y_s = y_t + \frac{r_s - r_t}{2}\bigl[\hat\varepsilon(t, x_t) + \hat\varepsilon(s, x'_s)\bigr], \qquad
       y'_s = y_t + (r_s - r_t)\,\hat\varepsilon(t, x_t)

    The predictor is :class:`DDIM`. Order 2, two evaluations per step, at its ends; a step to σ = 0 is the predictor
    alone and evaluates once, as in the paper. From and to α = 0, where r is infinite, the step is Heun's for
    :math:`x/\sigma` in :math:`\alpha/\sigma`, with :math:`\hat x` for the slope.

    References: Karras, Aittala, Aila & Laine (2022), Elucidating the design space of diffusion-based generative
    models, arXiv 2206.00364, algorithm 1.
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    nodes: ClassVar[tuple[float, ...]] = (0.0, 1.0)
    stochastic: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    solves: ClassVar[type[Denoising]] = Denoising

    def init(self, problem: Denoising, t0: float, x0: Array) -> Place:
        """Carry the place reached."""
        return place(problem, t0)

    def step(
        self, problem: Denoising, t0: float, t1: float, x: Array, state: Place, noise: None
    ) -> tuple[Array, Place]:
        """Go from ``x`` at t0 to t1."""
        end, data = place(problem, t1), problem.data(t0, x)
        moved = hold(state, end, x, data)
        if end.sigma == 0.0:
            return moved, end
        if without_signal(state, end):
            length = end.alpha / end.sigma - state.alpha / state.sigma
            return moved + (0.5 * end.sigma * length) * (problem.data(t1, moved) - data), end
        slope = NOISE.read(end, moved, problem.data(t1, moved)) - NOISE.read(state, x, data)
        # α_s (r_s − r_t) / 2, in α and σ.
        return moved + 0.5 * (end.sigma - end.alpha * (state.sigma / state.alpha)) * slope, end

    def visits(self, problem: Denoising, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        places = [place(problem, time) for time in ts]
        return [[start.time] if end.sigma == 0.0 else [start.time, end.time] for start, end in pairwise(places)]
