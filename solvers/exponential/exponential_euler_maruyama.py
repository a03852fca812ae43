"""Exponential Euler–Maruyama: the reverse or forward SDE with any w, the data prediction held over a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.exponential.transition import transition
from solvers.method import Planned
from solvers.noise import Increment


@dataclass(frozen=True, slots=True)
class ExponentialEulerMaruyama(Planned):
    r"""Exponential Euler–Maruyama for the SDEs of a denoising problem, reverse or forward, with any :math:`w_t \ge 0`.

    .. math:: x_s = C x_t + (\alpha_s - \alpha_t C)\,\hat x(t, x_t) + \sigma_s\sqrt{1 - e^{-\Theta}}\,\xi, \qquad
              C = \frac{\sigma_s}{\sigma_t} e^{-\Theta/2}, \qquad \Theta = \int_s^t \frac{w_u}{\sigma_u^2}\,du

    Every step is exact but for :math:`\hat x`, which is held. Θ = ∞ is allowed: with wKL the first step from t = 1
    draws the noise anew. A step to σ = 0 returns :math:`\alpha_s\hat x` and adds no noise. With w = 0 this is
    :class:`DDIM`; with wKL it is the first-order SDE-DPM-Solver++, which is :class:`Ancestral` with the small variance.

    Weak order 1, strong order 1 on an interval inside (0, 1), one evaluation per step, at its start. Down to t = 0 the
    weak order is 1 where :math:`w/\kappa` stays bounded; otherwise it is about ½, because late steps draw x anew around
    the posterior mean, whose variance is too small.

    Rising times solve the forward SDE, :math:`dX = [v + \tfrac12 ws]dt + \sqrt w\,dW`, which has the same law of pairs
    (x_s, x_t). With :math:`\hat x` held, :math:`\varepsilon = (x - \alpha\hat x)/\sigma` obeys :math:`d\varepsilon =
    -\tfrac12\varepsilon\,d\Theta + dB_\Theta` in both directions, so the formula is the same, with Θ ≥ 0 from the
    earlier time to the later. It cannot start at σ = 0; a step to α = 0 with Θ = ∞ returns :math:`\sigma_s\xi`. With
    wKL this is the noising process :math:`dX = (\dot\alpha/\alpha)X\,dt + \sqrt w\,dW`, exactly, whatever x̂ is.

    The normal ξ is the Wiener increment of the step over :math:`\sqrt{|h|}`, so a refinable path of noise can be used.

    References: Lu et al. (2022), DPM-Solver++, arXiv 2211.01095, §5 (w = wKL); Zhang & Chen (2023), arXiv 2204.13902.
    """

    order: ClassVar[int] = 1
    weak_order: ClassVar[int] = 1
    strong_order: ClassVar[float] = 1.0
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = True
    reads_clock: ClassVar[bool] = True
    rising: ClassVar[bool] = True
    solves: ClassVar[type[Denoising]] = Denoising

    def init(self, problem: Denoising, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(
        self, problem: Denoising, t0: float, t1: float, x: Array, state: None, noise: Increment
    ) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        step = transition(problem, t0, t1)
        if step.sigma_s == 0.0:
            return step.alpha_s * problem.data(t0, x), None
        theta = problem.clock(max(t0, t1), min(t0, t1))
        keep, gain = step.factors(math.exp(-0.5 * theta), -math.expm1(-0.5 * theta))
        spread = step.sigma_s * math.sqrt(-math.expm1(-theta)) / math.sqrt(abs(t1 - t0))
        return keep * x + gain * problem.data(t0, x) + spread * noise(t0, t1), None
