r"""What the predictor–corrector methods in λ share: a multistep predictor, and a corrector that costs no evaluation.

With λ = log(α/σ), :math:`h = \lambda_s - \lambda_t`, the clock Θ of the step's noise (0 for a deterministic method) and
P a polynomial in λ through data predictions, a step is that of :mod:`solvers.exponential.form`. The predictor has the
prediction at t and those before it for P; the corrector takes the step again, with the same noise, and with
:math:`\hat x(s, x_s)` at the predicted state among them, which the next step needs anyway. The last state is not
corrected, for that would cost an evaluation at the last time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.exponential.form import DATA, hold, renewed, spread
from solvers.exponential.past import Known, Past, kept
from solvers.exponential.place import Place, distance, elapsed, place, without_signal
from solvers.exponential.singlestep import singlestep, visited_by_steps
from solvers.method import Planned
from solvers.multistep.lagrange import difference_weights


class Predicted(NamedTuple):
    """What a predictor used: the length of the kernel, and of each past prediction its place, value and weight.

    Places are in units of the step from its start.
    """

    length: float
    held: Array
    past: list[tuple[float, Array, float]]


class State(NamedTuple):
    """Where the last step ended, what is known from earlier, and the step that is to be corrected."""

    here: Place
    past: Past = ()
    predicted: Predicted | None = None


class Correcting(Planned, ABC):
    """A multistep method in λ in the data prediction, with or without a corrector."""

    __slots__ = ()

    stochastic: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    solves: ClassVar[type[Denoising]] = Denoising

    @property
    @abstractmethod
    def predicting(self) -> int:
        """The data predictions that the predictor uses."""

    @property
    @abstractmethod
    def correcting(self) -> int:
        """Those that the corrector uses beside the new one; 0 where there is none."""

    @property
    @abstractmethod
    def starting(self) -> int:
        """The order of the singlestep step with which a solve starts."""

    @property
    def half(self) -> bool:
        """Whether a single difference has half of the zeroth moment for its weight, not the first."""
        return False

    @property
    def points(self) -> int:
        """The data predictions that a step needs."""
        return max(self.predicting, self.correcting)

    def init(self, problem: Denoising, t0: float, x0: Array) -> State:
        """Start without a past."""
        return State(place(problem, t0))

    def step(self, problem: Denoising, t0: float, t1: float, x: Array, state: State, noise: Any) -> tuple[Array, State]:
        """Correct ``x`` at t0, and go from there to t1."""
        start, end = state.here, place(problem, t1)
        theta = elapsed(problem, start, end) if self.reads_clock else 0.0
        data = problem.data(t0, x)
        if state.predicted is not None:
            x = x + self._correction(state.predicted, start, data)
        moved, reached = self._predicted(problem, start, end, theta, x, data, state.past)
        if self.stochastic and end.sigma:
            moved = moved + spread(end, theta) / math.sqrt(abs(t1 - t0)) * noise(t0, t1)
        return moved, reached

    def _predicted(
        self, problem: Denoising, start: Place, end: Place, theta: float, x: Array, data: Array, known: Past
    ) -> tuple[Array, State]:
        """Return the state that the predictor reaches, without the noise of the step, and what to carry."""
        if end.sigma == 0.0:
            return hold(start, end, x, data), State(end)
        past = (Known(start.half_log_snr, data, inside=False), *known) if start.alpha else ()
        if renewed(start, end, theta) or self._starts(len(known), start, end):
            moved, inner = singlestep(problem, DATA, self.starting, start, end, x, data, theta=theta)
            within = [Known(at.half_log_snr, found, inside=True) for at, found in reversed(inner)]
            return moved, State(end, kept((*within, *past), self.points - 1))
        h = distance(start, end)
        ratios = [(earlier.where - start.half_log_snr) / h for earlier in known]
        weights = self._weights(ratios[: self.predicting - 1], h + 0.5 * theta)
        moved = hold(start, end, x, data, theta)
        for weight, earlier in zip(weights, known):
            moved = moved + (end.alpha * weight) * (earlier.prediction - data)
        weights += [0.0] * (len(known) - len(weights))
        used = [(ratio, earlier.prediction, weight) for ratio, earlier, weight in zip(ratios, known, weights)]
        predicted = Predicted(h + 0.5 * theta, data, used) if self.correcting else None
        return moved, State(end, kept(past, self.points - 1), predicted)

    def _starts(self, known: int, start: Place, end: Place) -> bool:
        """Whether a step is a singlestep one, with so many predictions known of earlier times."""
        return known < self.points - 1 or without_signal(start, end)

    def _weights(self, nodes: list[float], length: float) -> list[float]:
        """Return the weights of the differences to predictions at ``nodes``, in units of h from the held one."""
        if self.half and len(nodes) == 1:
            return [0.5 * DATA.moment(0, length) / nodes[0]]
        return difference_weights(nodes, [DATA.moment(k, length) for k in range(1, len(nodes) + 1)])

    def _correction(self, step: Predicted, end: Place, data: Array) -> Array:
        """Return what the point at the end of a step adds to the state predicted there."""
        ratios = [ratio for ratio, _, _ in step.past[: self.correcting - 1]]
        newest, *weights = self._weights([1.0, *ratios], step.length)
        weights += [0.0] * (len(step.past) - len(weights))
        change = newest * (data - step.held)
        for weight, (_, earlier, old) in zip(weights, step.past):
            if weight != old:
                change = change + (weight - old) * (earlier - step.held)
        return end.alpha * change

    def visits(self, problem: Denoising, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        return visited_by_steps(problem, ts, self.starting, self._starts, noisy=self.reads_clock)
