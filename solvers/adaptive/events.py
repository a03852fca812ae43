"""Zeros of functions along the solution: seen at the end of a step, located by bisection of its dense output."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.adaptive.lanes import Indices, Lanes, Mask, Numbers
from solvers.adaptive.settings import Event
from solvers.adaptive.solution import Occurrence
from solvers.adaptive.trial import Drift, Trial
from solvers.arrays import Array, describe
from solvers.errors import explain

# The bracket is halved until it is a few roundings of the fraction wide.
BISECTIONS = 50


class Watch:
    """The events of a solve and their values at the end of the last accepted step."""

    def __init__(self, events: tuple[Event, ...], lanes: Lanes, per_sample: bool) -> None:
        self.events = events
        self.lanes = lanes
        self.per_sample = per_sample
        self.before: list[Numbers] = []
        self.found: list[Occurrence] = []

    def start(self, t: Numbers, x: Array) -> None:
        """Look at the initial state."""
        self.before = [self._values(event, t, x) for event in self.events]

    def keep(self, lanes: Indices) -> None:
        """Forget all lanes but these."""
        self.before = [values[lanes] for values in self.before]

    def _values(self, event: Event, t: Numbers, x: Array) -> Numbers:
        value = event.function(self.lanes.time(t, x), x)
        try:
            numbers = self.lanes.answers(value, x)
        except (TypeError, ValueError):
            numbers = np.empty(0)
        if numbers.shape != t.shape or np.isnan(numbers).any():
            shape = (
                f"numbers of shape {t.shape}, one for each row" if self.per_sample else "one number for the whole state"
            )
            wanted = f"event(time, x): {shape}, not NaN"
            raise ValueError(explain(wanted, describe(value), "reduce over the other axes, or change per_sample"))
        return numbers

    def look(self, trial: Trial, accepted: Mask, t: Numbers, x: Array, drift: Drift, alive: Indices) -> Numbers:
        """Record the crossings of a step; return the fraction of the step at which each lane is stopped, or infinity.

        Args:
            trial: the step.
            accepted: the lanes in which it counts.
            t: the times reached; those at which the step began where it was refused.
            x: the states reached.
            drift: for the slopes that dense output may need.
            alive: the place of each lane in the batch.
        """
        stops = np.full(t.size, np.inf)
        crossings: list[tuple[int, int, float, Array]] = []
        for place, event in enumerate(self.events):
            before, after = self.before[place], self._values(event, t, x)
            # A zero at the end of a step is found there, and the next step, which starts from it, finds none.
            crossed = accepted & (before != 0.0) & ((after == 0.0) | (np.sign(before) == -np.sign(after)))
            if event.direction:
                crossed &= np.sign(before) == -event.direction
            self.before[place] = after
            indices = np.flatnonzero(crossed)
            if indices.size:
                part = trial.take(indices)
                part.prepare(drift)
                fractions = self._locate(event, part, before[indices])
                rows = self.lanes.rows(part.dense(fractions))
                crossings += [(place, int(i), float(f), row) for i, f, row in zip(indices, fractions, rows)]
                if event.terminal:
                    stops[indices] = np.minimum(stops[indices], fractions)
        for place, i, fraction, row in sorted(crossings, key=lambda crossing: crossing[2]):
            if fraction <= stops[i]:
                time = float(trial.t0[i] + fraction * trial.h[i])
                sample = int(alive[i]) if self.per_sample else None
                self.found.append(Occurrence(place, sample, time, row))
        return stops

    def _locate(self, event: Event, part: Trial, before: Numbers) -> Numbers:
        """Return the fractions of the step at which the sign has changed, as early as bisection can tell."""
        low, high = np.zeros(before.size), np.ones(before.size)
        for _ in range(BISECTIONS):
            middle = 0.5 * (low + high)
            values = self._values(event, part.t0 + middle * part.h, part.dense(middle))
            same: NDArray[Any] = np.sign(values) == np.sign(before)
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        return high
