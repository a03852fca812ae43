"""UniPC: a multistep predictor, and a corrector that costs no evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.errors import expect_order
from solvers.exponential.form import DATA, hold
from solvers.exponential.place import Place, distance, place
from solvers.exponential.singlestep import singlestep, visited
from solvers.method import Planned
from solvers.multistep.lagrange import difference_weights


class Predicted(NamedTuple):
    """What a predictor step used: h, and of each past prediction its place in units of h, value and weight."""

    h: float
    held: Array
    past: list[tuple[float, Array, float]]


class State(NamedTuple):
    """Where the last step ended, λ and x̂ at the starts of earlier ones, and the step that is to be corrected."""

    here: Place
    past: tuple[tuple[float, Array], ...] = ()
    predicted: Predicted | None = None


@dataclass(frozen=True, slots=True)
class UniPC(Planned):
    r"""UniP-p, and with the corrector UniC-p after it, in the data prediction; ``order`` is the order of the whole.

    With λ = log(α/σ), :math:`h = \lambda_s - \lambda_t`, and P the polynomial in λ through p data predictions, that
    at t and p − 1 before it,

    .. math:: x_s = \frac{\sigma_s}{\sigma_t}x_t + \alpha_s\int_{\lambda_t}^{\lambda_s}
              e^{-(\lambda_s - \lambda)}P(\lambda)\,d\lambda.

    The corrector takes the step again with one point more, :math:`\hat x(s, x_s)` at the predicted state, which the
    next step needs anyway: p becomes p + 1 at no cost. With the corrector p = order − 1, so order 2 corrects DDIM;
    without, p = order. The last state is not corrected, for that would cost an evaluation at the last time.

    The weights solve eq. 7 of the paper exactly, so that its function B(h) drops out. The published code fixes them
    to ½ where there is one difference alone.

    One evaluation per step, at its start, but for the first p − 1 steps, which are singlestep :class:`DPMSolverPP`
    steps of order min(order, 3): for order 4, third order there is enough. A step from α = 0 or to σ = 0 is
    :class:`DDIM`'s. The order is that on an interval inside (0, 1).

    Args:
        order: 2, 3 or 4 with the corrector, 1, 2 or 3 without.
        corrector: whether states are corrected.

    Raises:
        TypeError, ValueError: another order.

    References: Zhao, Bai, Rao, Zhou & Lu (2023), UniPC, arXiv 2302.04867, algorithms 1 and 2.
    """

    order: int = 3
    corrector: bool = True
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    solves: ClassVar[type[Denoising]] = Denoising

    def __post_init__(self) -> None:
        with_or_without = "with" if self.corrector else "without"
        expect_order(self.order, (2, 3, 4) if self.corrector else (1, 2, 3), f"UniPC {with_or_without} the corrector")

    @property
    def points(self) -> int:
        """P, the data predictions that the predictor uses."""
        return self.order - 1 if self.corrector else self.order

    def init(self, problem: Denoising, t0: float, x0: Array) -> State:
        """Start without a past."""
        return State(place(problem, t0))

    def step(
        self, problem: Denoising, t0: float, t1: float, x: Array, state: State, noise: None
    ) -> tuple[Array, State]:
        """Correct ``x`` at t0, and go from there to t1."""
        start, end = state.here, place(problem, t1)
        data, h = problem.data(t0, x), distance(start, end)
        if state.predicted is not None:
            x = x + _correction(state.predicted, start, data)
        if math.isinf(h):
            return hold(start, end, x, data), State(end)
        past = ((start.half_log_snr, data), *state.past)[: self.points - 1]
        if len(state.past) < self.points - 1:
            return singlestep(problem, DATA, min(self.order, 3), start, end, x, data), State(end, past)
        ratios = [(half_log_snr - start.half_log_snr) / h for half_log_snr, _ in state.past]
        weights = difference_weights(ratios, [DATA.moment(k, h) for k in range(1, self.points)])
        moved = hold(start, end, x, data)
        for weight, (_, earlier) in zip(weights, state.past):
            moved = moved + (end.alpha * weight) * (earlier - data)
        used = [(ratio, earlier, weight) for ratio, (_, earlier), weight in zip(ratios, state.past, weights)]
        return moved, State(end, past, Predicted(h, data, used) if self.corrector else None)

    def visits(self, problem: Denoising, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        found: list[list[float]] = []
        known = 0
        for start, end in pairwise([place(problem, time) for time in ts]):
            if math.isinf(distance(start, end)):
                found, known = [*found, [start.time]], 0
                continue
            starts = known < self.points - 1
            found.append(visited(problem, min(self.order, 3), start, end) if starts else [start.time])
            known += 1
        return found


def _correction(step: Predicted, end: Place, data: Array) -> Array:
    """Return what the point at the end of a step adds to the state predicted there."""
    nodes = [1.0, *(ratio for ratio, _, _ in step.past)]
    newest, *weights = difference_weights(nodes, [DATA.moment(k, step.h) for k in range(1, len(nodes) + 1)])
    change = newest * (data - step.held)
    for weight, (_, earlier, old) in zip(weights, step.past):
        change = change + (weight - old) * (earlier - step.held)
    return end.alpha * change
