"""DDIM: the probability flow with the data prediction held over a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.exponential.transition import transition
from solvers.method import Planned


@dataclass(frozen=True, slots=True)
class DDIM(Planned):
    r"""Exponential Euler for the probability flow, with :math:`\hat x = \mathbb E[x_{\mathrm{data}}|x_t]` held.

    .. math:: x_s = \frac{\sigma_s}{\sigma_t} x_t
              + \Bigl(\alpha_s - \alpha_t\frac{\sigma_s}{\sigma_t}\Bigr)\hat x(t, x_t)

    Order 1 on an interval inside (0, 1), one evaluation per step, at its start. One step is exact where the data is a
    point. Holding the noise prediction instead gives the same map, so this is also DPM-Solver-1, DPM-Solver++-1, and
    Euler's method for :math:`x/\alpha` in the variable :math:`\sigma/\alpha`. Both directions of time are allowed, but
    no start where :math:`\sigma = 0`. For DDIM's noisy variants see :class:`Ancestral`.

    References: Song, Meng & Ermon (2021), Denoising Diffusion Implicit Models, arXiv 2010.02502, eq. 13; Lu et al.
    (2022), DPM-Solver, arXiv 2206.00927, §4.1.
    """

    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    solves: ClassVar[type[Denoising]] = Denoising

    def init(self, problem: Denoising, t0: float, x0: Array) -> None:
        """Carry nothing between steps."""

    def step(self, problem: Denoising, t0: float, t1: float, x: Array, state: None, noise: None) -> tuple[Array, None]:
        """Go from ``x`` at t0 to t1."""
        keep, gain = transition(problem, t0, t1).factors(1.0, 0.0)
        return keep * x + gain * problem.data(t0, x), None
