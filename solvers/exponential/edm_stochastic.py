"""EDM's stochastic sampler: a little noise is added, then Heun's step goes down from there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.errors import explain
from solvers.exponential.edm_heun import EDMHeun
from solvers.exponential.place import Place, noised, place, place_of_ratio
from solvers.method import Planned
from solvers.noise import Increment

_HEUN = EDMHeun()
_MOST = math.sqrt(2.0) - 1.0


@dataclass(frozen=True, slots=True)
class EDMStochastic(Planned):
    r"""Karras et al.'s stochastic sampler ("churn") for any schedule, in :math:`r = \sigma/\alpha`.

    Before each of the N steps, where :math:`s_{\min} \le r_t \le s_{\max}`, noise is added up to :math:`\hat t`:

    .. math:: \hat r = (1 + \gamma) r_t, \qquad \gamma = \min(S_{\mathrm{churn}}/N, \sqrt2 - 1), \qquad
              \frac{\hat x}{\hat\alpha} = \frac{x}{\alpha_t} + S_{\mathrm{noise}}\sqrt{\hat r^2 - r_t^2}\;\xi,

    and :class:`EDMHeun` goes from :math:`\hat t` to s. Without churn it is EDMHeun to the last bit. Where the r of the
    schedule is bounded, as that of VP is, noise is added as far as the end of its domain; at α = 0, where r is
    infinite, none is.

    Weak order 2 for the marginals on an interval inside (0, 1): noise that is added leads from the exact marginal to
    the exact marginal, so that every error is Heun's, if :math:`S_{\mathrm{noise}} = 1`. For finer grids the paths
    become those of the reverse SDE whose clock Θ advances by :math:`2 S_{\mathrm{churn}}/N` a step: the covariance
    between times goes there with order 1, and so do the paths themselves.
    :math:`S_{\mathrm{noise}} \ne 1` is a correction of the model's error, and has no limit that is a marginal. Two
    evaluations per step, one in a step to σ = 0. The method brings its own noise and refuses a problem with a w.

    Args:
        churn: :math:`S_{\mathrm{churn}} \ge 0`.
        s_min: the lowest r at which noise is added.
        s_max: the highest.
        s_noise: :math:`S_{\mathrm{noise}} > 0`, the factor of the noise.

    Raises:
        ValueError: a number outside its range.

    References: Karras, Aittala, Aila & Laine (2022), Elucidating the design space of diffusion-based generative
    models, arXiv 2206.00364, algorithm 2.
    """

    churn: float = 40.0
    s_min: float = 0.0
    s_max: float = math.inf
    s_noise: float = 1.0
    order: ClassVar[int] = 2
    weak_order: ClassVar[int] = 2
    strong_order: ClassVar[float] = 1.0
    evaluations: ClassVar[int] = 2
    nodes: ClassVar[tuple[float, ...]] = (0.0, 1.0)
    stochastic: ClassVar[bool] = True
    reads_clock: ClassVar[bool] = False
    solves: ClassVar[type[Denoising]] = Denoising

    def __post_init__(self) -> None:
        for name in ("churn", "s_min", "s_max", "s_noise"):
            value, positive = getattr(self, name), name == "s_noise"
            number = isinstance(value, (int, float)) and (value > 0.0 if positive else value >= 0.0)
            if not number or (math.isinf(value) and name != "s_max"):
                wanted = f"{name}: a number {'above' if positive else 'of at least'} 0"
                raise ValueError(explain(wanted, repr(value), "churn=0 is EDMHeun, s_noise=1 keeps the marginals"))

    def on(self, times: Sequence[float]) -> EDMStochastic:
        """Return the method that takes the steps of a grid, with its γ."""
        return _Churned(self.churn, self.s_min, self.s_max, self.s_noise, self._gamma(len(times) - 1))

    def _gamma(self, count: int) -> float:
        return min(self.churn / count, _MOST)

    def init(self, problem: Denoising, t0: float, x0: Array) -> Place:
        """Carry the place reached."""
        return place(problem, t0)

    def step(
        self, problem: Denoising, t0: float, t1: float, x: Array, state: Place, noise: Increment
    ) -> tuple[Array, Place]:
        """Go from ``x`` at t0 to t1; by itself, a step is a grid of one."""
        return self.on((t0, t1)).step(problem, t0, t1, x, state, noise)

    def _raised(self, problem: Denoising, start: Place, gamma: float) -> Place:
        """Return the place from which the step goes down: the start itself where no noise is added."""
        if not gamma or not start.alpha or not self.s_min <= start.sigma / start.alpha <= self.s_max:
            return start
        highest, ratio = problem.domain[1], (1.0 + gamma) * start.sigma / start.alpha
        if math.isfinite(highest) and 2.0 * math.log(ratio) >= -problem.log_snr(highest):
            return place(problem, highest)
        found = place_of_ratio(problem, ratio)
        return found if start.time < found.time <= highest else start

    def visits(self, problem: Denoising, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        found, gamma = [], self._gamma(len(ts) - 1)
        for start, end in pairwise([place(problem, time) for time in ts]):
            top = self._raised(problem, start, gamma)
            found.append([top.time] if end.sigma == 0.0 else [top.time, end.time])
        return found


@dataclass(frozen=True, slots=True)
class _Churned(EDMStochastic):
    """The method on a grid."""

    gamma: float = 0.0

    def on(self, times: Sequence[float]) -> EDMStochastic:
        """Return itself: γ is that of the whole grid on a part of it too."""
        return self

    def _gamma(self, count: int) -> float:
        return self.gamma

    def step(self, problem: Denoising, t0: float, t1: float, x: Array, state: Place, noise: Any) -> tuple[Array, Place]:
        """Add noise, and go down."""
        top = self._raised(problem, state, self.gamma)
        if top.time != state.time:
            keep, fresh = noised(state, top)
            x = keep * x + self.s_noise * fresh / math.sqrt(abs(t1 - t0)) * noise(t0, t1)
        return _HEUN.step(problem, top.time, t1, x, top, None)
