"""What is kept while lanes finish one by one: last states, states at the times asked for, why each lane ended."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.adaptive.lanes import Indices, Lanes, Mask, Numbers
from solvers.adaptive.trial import Drift, Trial
from solvers.arrays import Array, namespace


class Record:
    """The states of a solve, by lane and by time; rows are appended and put in order once, at the end."""

    def __init__(self, lanes: Lanes, times: Numbers, x: Array, save: bool) -> None:
        self.lanes = lanes
        self.times = times
        self.x = x
        self.save = save
        count = lanes.count(x)
        self.time = np.full(count, times[0])
        self.status = np.full(count, "", dtype="<U10")
        self.accepted = np.zeros(count, dtype=np.int64)
        self.rejected = np.zeros(count, dtype=np.int64)
        self.due = np.ones(count, dtype=np.int64)
        self._last: list[tuple[Indices, Array]] = []
        self._between: list[tuple[Indices, Indices, Array]] = []

    def finish(self, alive: Indices, t: Numbers, x: Array, status: NDArray[Any]) -> None:
        """Keep the last state of some lanes."""
        self.time[alive] = t
        self.status[alive] = status
        self._last.append((alive, self.lanes.rows(x)))

    def keep(self, trial: Trial, accepted: Mask, reached: Numbers, drift: Drift, alive: Indices) -> None:
        """Keep the states at the times between the first and the last that a step has passed."""
        if not self.save:
            return
        sign = np.sign(self.times[-1] - self.times[0])
        chosen = np.flatnonzero(accepted & self._passed(alive, reached, sign))
        if not chosen.size:
            return
        part, alive, reached = trial.take(chosen), alive[chosen], reached[chosen]
        part.prepare(drift)
        while (passed := self._passed(alive, reached, sign)).any():
            due = self.due[alive]
            fraction = np.where(passed, (self.times[np.minimum(due, self.times.size - 1)] - part.t0) / part.h, 0.0)
            rows = self.lanes.rows(part.dense(fraction))
            places = np.flatnonzero(passed)
            self._between.append((due[places], alive[places], rows if passed.all() else rows[places]))
            self.due[alive[places]] += 1

    def _passed(self, alive: Indices, reached: Numbers, sign: float) -> Mask:
        due = self.due[alive]
        inside = due < self.times.size - 1
        return inside & (sign * self.times[np.minimum(due, self.times.size - 1)] <= sign * reached)

    def last(self) -> Array:
        """Return the last state of every lane."""
        rows = namespace(self.x).concat([rows for _, rows in self._last])
        order = np.argsort(np.concatenate([lanes for lanes, _ in self._last]))
        return rows[order].reshape(self.x.shape)

    def states(self) -> Array:
        """Return the states of all lanes at all times; the last state of a lane where it did not get there."""
        first = self.lanes.rows(self.x)
        count, size = self.time.size, self.times.size
        parts, places = [first], np.empty((size, count), dtype=np.int64)
        used = count
        for lanes, rows in self._last:
            places[:, lanes] = used + np.arange(lanes.size)
            parts.append(rows)
            used += lanes.size
        for moments, lanes, rows in self._between:
            places[moments, lanes] = used + np.arange(lanes.size)
            parts.append(rows)
            used += lanes.size
        places[0] = np.arange(count)
        rows = namespace(self.x).concat(parts)[places.ravel()]
        return rows.reshape((size, *self.x.shape))
