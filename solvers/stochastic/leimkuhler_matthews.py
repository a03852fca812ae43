"""Leimkuhler–Matthews: Euler's step with the mean of two successive normals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.method import Planned
from solvers.noise import Increment, with_area
from solvers.problem import SDE


@dataclass(frozen=True, slots=True)
class LeimkuhlerMatthews(Planned):
    r"""The limit method of Leimkuhler & Matthews for :math:`dX = f(t, X)\,dt + g(t)\,dW`.

    .. math:: x_1 = x + h f(t_0, x) + \tfrac12 (n_0 + n_1), \qquad n_1 = g(t_0)\,\Delta W,

    with :math:`n_0` the :math:`n_1` of the step before; in the first step it is drawn, with the same variance.

    Its merit is one number: for :math:`f = -\tfrac12 g^2 \nabla U` with a constant ``g``, the law that a long run with
    steps of one length settles to is that of :math:`e^{-U}` up to :math:`O(h^2)`, with one evaluation per step (for a
    Gaussian exactly). **For an SDE whose coefficients depend on time, as every reverse SDE's do, it has weak order 1**
    like :class:`EulerMaruyama`, for the same price; and, since half of the last increment is missing from every state,
    strong order ½ only. Use it for Langevin dynamics at a fixed time.

    One evaluation per step, never at the last time of the grid.

    References: Leimkuhler & Matthews, Rational construction of stochastic numerical methods for molecular sampling,
    Appl. Math. Res. Express 2013, eq. 1.3; Leimkuhler, Matthews & Tretyakov (2014), arXiv 1308.5814, on its order.
    """

    order: ClassVar[int] = 1
    weak_order: ClassVar[int] = 1
    strong_order: ClassVar[float] = 0.5
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = True
    solves: ClassVar[type[SDE]] = SDE

    def init(self, problem: SDE, t0: float, x0: Array) -> None:
        """Carry no noise yet."""

    def step(
        self, problem: SDE, t0: float, t1: float, x: Array, state: Array | None, noise: Increment
    ) -> tuple[Array, Array]:
        """Go from ``x`` at t0 to t1."""
        g = problem.diffusion(t0)
        if state is None:
            # The area of a step is independent of its increment: the one more normal that a path can give.
            dW, area = with_area(noise, t0, t1)
            state = (g * math.sqrt(12.0)) * area
        else:
            dW = noise(t0, t1)
        kick = g * dW
        return x + (t1 - t0) * problem.drift(t0, x) + 0.5 * (state + kick), kick
