"""DEIS: the noise prediction as a polynomial in time, integrated exactly against the schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.errors import expect_order
from solvers.exponential.form import NOISE, hold
from solvers.exponential.past import Known, kept
from solvers.exponential.place import Place, place, without_signal
from solvers.exponential.ratio_moments import ratio_moments
from solvers.exponential.remembering import Memory
from solvers.exponential.singlestep import singlestep, visited_by_steps
from solvers.method import Planned
from solvers.multistep.lagrange import difference_weights


@dataclass(frozen=True, slots=True)
class DEIS(Planned):
    r"""DEIS with Adams–Bashforth in time: tAB0, tAB1 and tAB2 for orders 1, 2 and 3.

    .. math:: \frac{x_s}{\alpha_s} = \frac{x_t}{\alpha_t} + \int_t^s P(u)\,d\frac{\sigma_u}{\alpha_u}, \qquad
              P(t_{-j}) = \hat\varepsilon(t_{-j}, x_{-j}), \quad j = 0 \dots p - 1

    The polynomial is in time, not in λ, so the last step, to σ = 0, is of the same kind as the others. The integrals
    come from adaptive quadrature of σ/α. One evaluation per step, at its start, but for the first: it is a singlestep
    :class:`DPMSolver` step of order p with p evaluations, for with a lower order there the order of the whole would be
    lower, and what is found inside it is the past of the next. The order is that on an interval inside (0, 1).

    Args:
        order: p, the order achieved; the paper names these methods by p − 1. 1 is :class:`DDIM`.

    Raises:
        TypeError, ValueError: an order that is not 1, 2 or 3.

    References: Zhang & Chen (2023), Fast sampling of diffusion models with exponential integrator, arXiv 2204.13902,
    eq. 14–15.
    """

    order: int = 2
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    solves: ClassVar[type[Denoising]] = Denoising

    def __post_init__(self) -> None:
        expect_order(self.order, (1, 2, 3), "DEIS")

    def init(self, problem: Denoising, t0: float, x0: Array) -> Memory:
        """Start without a past."""
        return Memory(place(problem, t0), ())

    def step(
        self, problem: Denoising, t0: float, t1: float, x: Array, state: Memory, noise: None
    ) -> tuple[Array, Memory]:
        """Go from ``x`` at t0 to t1."""
        start, end = state.here, place(problem, t1)
        data = problem.data(t0, x)
        held = NOISE.read(start, x, data)
        past = (Known(t0, held, inside=False), *state.past)
        if self._starts(len(state.past), start, end):
            moved, inner = singlestep(problem, NOISE, self.order, start, end, x, data)
            within = [Known(at.time, found, inside=True) for at, found in reversed(inner)]
            return moved, Memory(end, kept((*within, *past), self.order - 1))
        moved = hold(start, end, x, data)
        if not state.past:
            return moved, Memory(end, kept(past, self.order - 1))
        ratios = [(earlier.where - t0) / (t1 - t0) for earlier in state.past]
        moments = ratio_moments(problem, start, end, len(ratios))
        for weight, earlier in zip(difference_weights(ratios, moments), state.past):
            moved = moved + (end.alpha * weight) * (earlier.prediction - held)
        return moved, Memory(end, kept(past, self.order - 1))

    def _starts(self, known: int, start: Place, end: Place) -> bool:
        """Whether a step is a singlestep one, with so many predictions known of earlier times."""
        return known < self.order - 1 or without_signal(start, end)

    def visits(self, problem: Denoising, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        return visited_by_steps(problem, ts, self.order, self._starts)
