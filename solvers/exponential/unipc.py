"""UniPC: a multistep predictor, and a corrector that costs no evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.errors import expect_order
from solvers.exponential.form import DATA, hold
from solvers.exponential.past import Known, Past, kept
from solvers.exponential.place import Place, distance, place, without_signal
from solvers.exponential.singlestep import singlestep, visited_by_steps
from solvers.method import Planned
from solvers.multistep.lagrange import difference_weights


class Predicted(NamedTuple):
    """What a predictor step used: h, and of each past prediction its place in units of h, value and weight."""

    h: float
    held: Array
    past: list[tuple[float, Array, float]]


class State(NamedTuple):
    """Where the last step ended, what is known from earlier, and the step that is to be corrected."""

    here: Place
    past: Past = ()
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

    The weights solve eq. 7 of the paper exactly, so that its function B(h) drops out. With one difference alone the
    published code takes ½ of :math:`\int e^{-(\lambda_s - \lambda)}d\lambda` for its weight, which is enough for the
    order: ``half=True``.

    One evaluation per step, at its start, but for the first: where p > 1 or α = 0 it is a singlestep
    :class:`DPMSolverPP` step of order min(order, 3), with as many evaluations, and the predictions inside it are the
    past of the next. For order 4, third order there is enough. A step to σ = 0 is :class:`DDIM`'s. The order is that
    on an interval inside (0, 1).

    Args:
        order: 2, 3 or 4 with the corrector, 1, 2 or 3 without.
        corrector: whether states are corrected.
        half: whether a single difference has the weight ½, as in the published code with :math:`B(h) = e^h - 1`.

    Raises:
        TypeError, ValueError: another order.

    References: Zhao, Bai, Rao, Zhou & Lu (2023), UniPC, arXiv 2302.04867, algorithms 1 and 2.
    """

    order: int = 3
    corrector: bool = True
    half: bool = False
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
        data = problem.data(t0, x)
        if state.predicted is not None:
            x = x + self._correction(state.predicted, start, data)
        if end.sigma == 0.0:
            return hold(start, end, x, data), State(end)
        past = (Known(start.half_log_snr, data, inside=False), *state.past) if start.alpha else ()
        if self._starts(len(state.past), start, end):
            moved, inner = singlestep(problem, DATA, min(self.order, 3), start, end, x, data)
            within = [Known(at.half_log_snr, found, inside=True) for at, found in reversed(inner)]
            return moved, State(end, kept((*within, *past), self.points - 1))
        h = distance(start, end)
        ratios = [(earlier.where - start.half_log_snr) / h for earlier in state.past]
        weights = self._weights(ratios, h)
        moved = hold(start, end, x, data)
        for weight, earlier in zip(weights, state.past):
            moved = moved + (end.alpha * weight) * (earlier.prediction - data)
        used = [(ratio, earlier.prediction, weight) for ratio, earlier, weight in zip(ratios, state.past, weights)]
        return moved, State(end, kept(past, self.points - 1), Predicted(h, data, used) if self.corrector else None)

    def _starts(self, known: int, start: Place, end: Place) -> bool:
        """Whether a step is a singlestep one, with so many predictions known of earlier times."""
        return known < self.points - 1 or without_signal(start, end)

    def _weights(self, nodes: list[float], h: float) -> list[float]:
        """Return the weights of the differences to predictions at ``nodes``, in units of h from the held one."""
        if self.half and len(nodes) == 1:
            return [0.5 * DATA.moment(0, h) / nodes[0]]
        return difference_weights(nodes, [DATA.moment(k, h) for k in range(1, len(nodes) + 1)])

    def _correction(self, step: Predicted, end: Place, data: Array) -> Array:
        """Return what the point at the end of a step adds to the state predicted there."""
        newest, *weights = self._weights([1.0, *(ratio for ratio, _, _ in step.past)], step.h)
        change = newest * (data - step.held)
        for weight, (_, earlier, old) in zip(weights, step.past):
            change = change + (weight - old) * (earlier - step.held)
        return end.alpha * change

    def visits(self, problem: Denoising, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        return visited_by_steps(problem, ts, min(self.order, 3), self._starts)
