"""Ancestral sampling: the posterior of the noising chain, with the data prediction in place of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.errors import explain
from solvers.exponential.transition import transition
from solvers.method import Planned
from solvers.noise import Increment


@dataclass(frozen=True, slots=True)
class Ancestral(Planned):
    r"""DDPM's sampler and DDIM's family between it and DDIM, for any schedule.

    With :math:`\varrho = r_s/r_t`, :math:`r = \sigma/\alpha`, a step from t to s < t is

    .. math:: x_s = \alpha_s\hat x + \sqrt{\sigma_s^2 - \sigma_\uparrow^2}\;\frac{x_t - \alpha_t\hat x}{\sigma_t}
              + \tau\xi, \qquad \sigma_\uparrow = \eta\,\sigma_s\sqrt{(1 - \varrho)(1 + \varrho)}.

    :math:`\eta = 1` is the posterior :math:`q(x_s|x_t, \hat x)` of DDPM. Its variance τ² is the posterior's own,
    :math:`\tilde\beta = \sigma_\uparrow^2` ("small"), or that of the noising step, :math:`\beta = \sigma_t^2(1 -
    \varrho^2)` ("large"), except in a step to σ = 0, which adds no noise, as in DDPM's algorithm 2. :math:`\eta = 0` is
    :class:`DDIM`.

    Weak order 1, strong order 1 on an interval inside (0, 1), one evaluation per step, at its start. The sampler
    brings its own noise, that of wKL for η = 1, and refuses a problem built with a w.

    Args:
        variance: "small" or "large".
        eta: :math:`\eta \in [0, 1]`; 1 with the large variance.

    Raises:
        ValueError: another variance; η outside [0, 1]; the large variance with η ≠ 1.

    References: Ho, Jain & Abbeel (2020), arXiv 2006.11239, eq. 6–7 and §3.2; Song, Meng & Ermon (2021), arXiv
    2010.02502, eq. 12 and 16.
    """

    variance: Literal["small", "large"] = "small"
    eta: float = 1.0
    order: ClassVar[int] = 1
    weak_order: ClassVar[int] = 1
    strong_order: ClassVar[float] = 1.0
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = True
    reads_clock: ClassVar[bool] = False
    solves: ClassVar[type[Denoising]] = Denoising

    def __post_init__(self) -> None:
        if self.variance not in ("small", "large"):
            raise ValueError(explain('variance: "small" or "large"', repr(self.variance), 'pass variance="small"'))
        if not isinstance(self.eta, (int, float)) or not 0.0 <= self.eta <= 1.0:
            raise ValueError(explain("eta: a number in [0, 1]", repr(self.eta), "1 is DDPM and 0 is DDIM"))
        if self.variance == "large" and self.eta != 1.0:
            remedy = 'pass eta=1.0, or variance="small"'
            raise ValueError(explain("eta = 1 with the large variance", repr(self.eta), remedy))

    def init(self, problem: Denoising, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(
        self, problem: Denoising, t0: float, t1: float, x: Array, state: None, noise: Increment
    ) -> tuple[Array, None]:
        """Go from ``x`` at t0 down to t1."""
        step = transition(problem, t0, t1)
        fresh = (1.0 - step.ratio) * (1.0 + step.ratio)
        drawn = self.eta * self.eta * fresh
        # √(1 − drawn), which cancels where most of the noise is drawn anew.
        shrink = math.hypot(step.ratio, math.sqrt((1.0 - self.eta) * (1.0 + self.eta) * fresh))
        keep, gain = step.factors(shrink, drawn / (1.0 + shrink))
        if step.sigma_s == 0.0:
            return keep * x + gain * problem.data(t0, x), None
        scale = step.sigma_t if self.variance == "large" else self.eta * step.sigma_s
        spread = scale * math.sqrt(fresh) / math.sqrt(abs(t1 - t0))
        return keep * x + gain * problem.data(t0, x) + spread * noise(t0, t1), None
