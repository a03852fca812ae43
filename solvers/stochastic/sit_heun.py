"""The sampler that SiT's code calls Heun: a negative example, kept so that its numbers can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.method import Planned
from solvers.noise import Increment
from solvers.problem import SDE


@dataclass(frozen=True, slots=True)
class SiTHeun(Planned):
    r"""The noise of the step first, then a deterministic step of Heun from the noisy point.

    .. math:: \hat x = x + g(t_0)\,\Delta W, \quad k_1 = f(t_0, \hat x), \quad k_2 = f(t_1, \hat x + h k_1), \quad
              x_1 = \hat x + \tfrac h2 (k_1 + k_2)

    Weak order 1, strong order 1, two evaluations per step, one of them at its end: it costs what
    :class:`StochasticHeun` costs and has the order of :class:`EulerMaruyama`. Both slopes see all of the noise of the
    step, where the exact drift sees on average half of it. It is here to reproduce samples and figures that were made
    with it.

    References: the published code of Ma et al. (2024), SiT, arXiv 2401.08740, SDE sampler "Heun".
    """

    order: ClassVar[int] = 1
    weak_order: ClassVar[int] = 1
    strong_order: ClassVar[float] = 1.0
    evaluations: ClassVar[int] = 2
    nodes: ClassVar[tuple[float, ...]] = (0.0, 1.0)
    stochastic: ClassVar[bool] = True
    solves: ClassVar[type[SDE]] = SDE

    def init(self, problem: SDE, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(self, problem: SDE, t0: float, t1: float, x: Array, state: None, noise: Increment) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        h = t1 - t0
        noisy = x + problem.diffusion(t0) * noise(t0, t1)
        k1 = problem.drift(t0, noisy)
        k2 = problem.drift(t1, noisy + h * k1)
        return noisy + (0.5 * h) * (k1 + k2), None
