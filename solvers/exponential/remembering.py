r"""What the exponential methods in λ with ``order`` and ``variant`` share: places, the past, and the start.

A multistep method needs the predictions of ``order − 1`` earlier steps. Until it has them it takes singlestep steps of
the same order: a start of lower order would lower the order of the whole. A step from α = 0 or to σ = 0 is DDIM's, and
a prediction at α = 0 is no part of the past, for λ is infinite there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

from solvers.arrays import Array
from solvers.denoising import Denoising
from solvers.errors import expect_order, explain
from solvers.exponential.form import Form, hold
from solvers.exponential.place import Place, distance, place
from solvers.exponential.singlestep import FRACTIONS, singlestep, visited
from solvers.method import Planned

Variant = Literal["multistep", "singlestep"]


class Memory(NamedTuple):
    """Where the last step ended, and λ and prediction at the starts of earlier ones, the last first."""

    here: Place
    past: tuple[tuple[float, Array], ...]


class Remembering(Planned, ABC):
    """An exponential method in λ, singlestep or multistep, in one of the two forms."""

    __slots__ = ()

    order: int
    variant: Variant
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
    def evaluations(self) -> int:
        """Evaluations of a step that is neither a start nor an end."""
        return len(self.nodes)

    @property
    def nodes(self) -> tuple[float, ...]:
        """Fractions of the step in λ at which it evaluates."""
        return FRACTIONS[1 if self.variant == "multistep" else self.order]

    @abstractmethod
    def weights(self, ratios: Sequence[float], h: float) -> Sequence[float]:
        """Return the weights of the differences to the past predictions, which lie at ``ratios``·h < 0 in λ."""

    def init(self, problem: Denoising, t0: float, x0: Array) -> Memory:
        """Start without a past."""
        return Memory(place(problem, t0), ())

    def step(
        self, problem: Denoising, t0: float, t1: float, x: Array, state: Memory, noise: None
    ) -> tuple[Array, Memory]:
        """Go from ``x`` at t0 to t1."""
        start, end = state.here, place(problem, t1)
        data, h = problem.data(t0, x), distance(start, end)
        if math.isinf(h):
            return hold(start, end, x, data), Memory(end, ())
        held = self.form.read(start, x, data)
        past = ((start.half_log_snr, held), *state.past)[: self.order - 1]
        if self.variant == "singlestep" or len(state.past) < self.order - 1:
            moved = singlestep(problem, self.form, self.order, start, end, x, data, refined=self.refined)
            return moved, Memory(end, past if self.variant == "multistep" else ())
        moved = hold(start, end, x, data)
        ratios = [(half_log_snr - start.half_log_snr) / h for half_log_snr, _ in state.past]
        for weight, (_, earlier) in zip(self.weights(ratios, h), state.past):
            moved = moved + (self.form.scale(end) * weight) * (earlier - held)
        return moved, Memory(end, past)

    def visits(self, problem: Denoising, ts: list[float]) -> list[list[float]]:
        """Return the times at which each step evaluates."""
        found: list[list[float]] = []
        known = 0
        for start, end in pairwise([place(problem, time) for time in ts]):
            if math.isinf(distance(start, end)):
                known = 0
                found.append([start.time])
                continue
            ready = self.variant == "multistep" and known >= self.order - 1
            found.append([start.time] if ready else visited(problem, self.order, start, end))
            known += 1
        return found
