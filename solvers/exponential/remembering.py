r"""What the exponential methods in λ with ``order`` and ``variant`` share: places, the past, and the start.

A multistep method needs ``order − 1`` earlier predictions. Its first step is a singlestep step of the same order: a
start of lower order would lower the order of the whole. The predictions inside that step are the past of the next, as
far as it is short of one, so that no further step is one of a start. A prediction at α = 0 is no part of the past,
for λ is infinite there; a step to σ = 0 is DDIM's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.errors import expect_order, explain
from solvers.exponential.form import Form, hold, renewed, spread
from solvers.exponential.past import Known, Past, kept
from solvers.exponential.place import Place, distance, elapsed, place, without_signal
from solvers.exponential.singlestep import FRACTIONS, singlestep, visited_by_steps
from solvers.method import Planned

Variant = Literal["multistep", "singlestep"]


class Memory(NamedTuple):
    """Where the last step ended, and what is known from earlier, the last first."""

    here: Place
    past: Past


class Remembering(Planned, ABC):
    """An exponential method in λ, singlestep or multistep, in one of the two forms."""

    __slots__ = ()

    order: int
    form: ClassVar[Form]
    orders: ClassVar[tuple[int, ...]] = (1, 2, 3)
    refined: ClassVar[bool] = False
    stochastic: ClassVar[bool] = False
    reads_clock: ClassVar[bool] = False
    solves: ClassVar[type[Denoising]] = Denoising

    def __post_init__(self) -> None:
        expect_order(self.order, self.orders, type(self).__name__)
        if self.variant not in ("multistep", "singlestep"):
            wanted = 'variant: "multistep" or "singlestep"'
            raise ValueError(explain(wanted, repr(self.variant), 'pass variant="multistep"'))

    @property
    def variant(self) -> Variant:
        """Multistep or singlestep; multistep where there is no choice."""
        return "multistep"

    @property
    def evaluations(self) -> int:
        """Evaluations of a step that is neither a start nor an end."""
        return len(self.nodes)

    @property
    def nodes(self) -> tuple[float, ...]:
        """Fractions of the step in λ at which it evaluates."""
        return FRACTIONS[1 if self.variant == "multistep" else self.order]

    @abstractmethod
    def weights(self, ratios: Sequence[float], length: float) -> Sequence[float]:
        """Return the weights of the differences to the past predictions, which lie at ``ratios``·h < 0 in λ.

        ``length`` is h, or with noise h + Θ/2: that of the kernel (:mod:`solvers.exponential.form`).
        """

    def init(self, problem: Denoising, t0: float, x0: Array) -> Memory:
        """Start without a past."""
        return Memory(place(problem, t0), ())

    def step(
        self, problem: Denoising, t0: float, t1: float, x: Array, state: Memory, noise: Any
    ) -> tuple[Array, Memory]:
        """Go from ``x`` at t0 to t1."""
        start, end = state.here, place(problem, t1)
        theta = elapsed(problem, start, end) if self.reads_clock else 0.0
        moved, past = self._moved(problem, start, end, theta, x, state.past)
        if self.stochastic and end.sigma:
            moved = moved + spread(end, theta) / math.sqrt(abs(t1 - t0)) * noise(t0, t1)
        return moved, Memory(end, past)

    def _moved(
        self, problem: Denoising, start: Place, end: Place, theta: float, x: Array, known: Past
    ) -> tuple[Array, Past]:
        """Return the state at the end of a step, without the noise of the step, and the past of the next."""
        data = problem.data(start.time, x)
        if end.sigma == 0.0:
            return hold(start, end, x, data), ()
        held = self.form.read(start, x, data)
        past = (Known(start.half_log_snr, held, inside=False), *known) if start.alpha else ()
        if renewed(start, end, theta) or self._starts(len(known), start, end):
            moved, inner = singlestep(
                problem, self.form, self.order, start, end, x, data, refined=self.refined, theta=theta
            )
            within = [Known(at.half_log_snr, found, inside=True) for at, found in reversed(inner)]
            return moved, kept((*within, *past), self.order - 1)
        h, moved = distance(start, end), hold(start, end, x, data, theta)
        ratios = [(earlier.where - start.half_log_snr) / h for earlier in known]
        for weight, earlier in zip(self.weights(ratios, h + 0.5 * theta), known):
            moved = moved + (self.form.scale(end) * weight) * (earlier.prediction - held)
        return moved, kept(past, self.order - 1)

    def _starts(self, known: int, start: Place, end: Place) -> bool:
        """Whether a step is a singlestep one, with so many predictions known of earlier times."""
        return self.variant == "singlestep" or known < self.order - 1 or without_signal(start, end)

    def visits(self, problem: Denoising, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        return visited_by_steps(problem, ts, self.order, self._starts, noisy=self.reads_clock)
