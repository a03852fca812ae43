"""The loop of steps that choose their own length.

Refused steps, limits and events end in a status with what was reached, not in an exception; numbers that are not finite
end in a NonFiniteError, as everywhere, when all other samples have finished.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from solvers.adaptive.control import REMEMBERED, factors, first_lengths
from solvers.adaptive.events import Watch
from solvers.adaptive.lanes import Lanes, Mask, Numbers, PerSample, Shared
from solvers.adaptive.record import Record
from solvers.adaptive.settings import Adaptive
from solvers.adaptive.solution import STATUSES, AdaptiveSolution
from solvers.adaptive.trial import Evaluated, Trial
from solvers.arrays import Array
from solvers.errors import NonFiniteError, explain
from solvers.problem import Problem


class Run:
    """The lanes that have not finished: their times, states, slopes and step lengths."""

    def __init__(self, problem: Problem, x: Array, times: Numbers, settings: Adaptive, save: bool) -> None:
        self.settings = settings
        self.lanes: Lanes = PerSample() if settings.per_sample else Shared()
        self.drift = Evaluated(getattr(problem, problem.evaluated), problem.evaluated, x)
        self.record = Record(self.lanes, times, x, save)
        self.watch = Watch(settings.events, self.lanes, settings.per_sample)
        self.start, self.stop = float(times[0]), float(times[-1])
        self.sign = 1.0 if self.stop > self.start else -1.0
        count = self.lanes.count(x)
        self.alive = np.arange(count)
        self.t = np.full(count, self.start)
        self.x = x
        self.before = np.ones(count)
        self.refused = np.zeros(count, dtype=bool)
        self.failures: list[str] = []
        self.shortest = settings.min_step
        self.power = self._power()

    def begin(self) -> None:
        """Find the first slope and the first lengths."""
        self.carried = self.drift(self.lanes.time(self.t, self.x), self.x)
        span = abs(self.stop - self.start)
        self.length = first_lengths(
            self.settings, self.lanes, self.drift, self.t, self.x, self.carried, span, self.sign
        )
        self.watch.start(self.t, self.x)

    def _power(self) -> float:
        """Return the power of the step in its error."""
        return float(self.settings.method.tableau.error_order + 1)

    def _tried(self, t1: Numbers) -> Any:
        """Return a step to t1 in every lane."""
        trial = Trial(self.lanes, self.settings.method.tableau, self.t, t1, self.x, [self.carried])
        trial.run(self.drift)
        return trial

    def _next_stop(self) -> float:
        """Return the time at which the next steps must end at the latest."""
        return self.stop

    def advance(self) -> None:
        """Try a step in every lane and let those go that have finished."""
        length, t1 = self._ends()
        trial = self._tried(t1)
        error = trial.error(self.settings.rtol, self.settings.atol)
        accepted: Mask = error <= 1.0
        choose = self.lanes.choose
        reached, x = np.where(accepted, t1, self.t), choose(accepted, trial.x1, self.x)
        carried = choose(accepted, trial.carried, self.carried)
        self.record.accepted[self.alive] += accepted
        self.record.rejected[self.alive] += ~accepted
        stopped = np.zeros(accepted.size, dtype=bool)
        if self.settings.events:
            fractions = self.watch.look(trial, accepted, reached, x, self.drift, self.alive)
            stopped = np.isfinite(fractions)
            if stopped.any():
                trial.prepare(self.drift)
                x = choose(stopped, trial.dense(np.where(stopped, fractions, 0.0)), x)
                reached = np.where(stopped, self.t + np.where(stopped, fractions, 0.0) * trial.h, reached)
        self.record.keep(trial, accepted, reached, self.drift, self.alive)
        length = length * factors(error, self.before, accepted, self.refused, self.power)
        status = self._status(accepted, stopped, reached, length, np.isfinite(error), t1)
        self.before = np.where(accepted, np.maximum(error, REMEMBERED), self.before)
        self.refused = ~accepted
        self.t, self.x, self.carried, self.length = reached, x, carried, length
        if status is not None:
            self._drop(status)

    def _ends(self) -> tuple[Numbers, Numbers]:
        """Return the lengths of the next steps and their ends; two equal steps where one would leave a sliver."""
        stop = self._next_stop()
        left = abs(stop - self.t)
        length = np.minimum(self.length, self.settings.max_step)
        length = np.where((length < left) & (2.0 * length > left), 0.5 * left, length)
        last = length >= left
        return np.where(last, left, length), np.where(last, stop, self.t + self.sign * length)

    def _status(
        self, accepted: Mask, stopped: Mask, reached: Numbers, length: Numbers, finite: Mask, t1: Numbers
    ) -> np.ndarray[Any, Any] | None:
        """Return why each lane ends with this step, "" where it goes on; nothing where all lanes do."""
        tried = (self.record.accepted + self.record.rejected)[self.alive]
        arrived = accepted & (reached == self.stop)
        if accepted.all() and not (arrived | stopped | (tried >= self.settings.max_steps)).any():
            return None
        # Steps below the rounding of time lead nowhere. Where numbers are not finite the scale is that of the whole
        # interval, for steps towards a bad time at 0 would go on shrinking with the time itself.
        scale = np.where(finite, abs(self.t), max(abs(self.start), abs(self.stop)))
        shortest = np.maximum(self.shortest, 10.0 * np.spacing(scale))
        short = ~accepted & (length < shortest)
        reasons = [stopped, arrived, short & ~finite, short, tried >= self.settings.max_steps]
        status = np.select(reasons, ["event", "success", "non-finite", "min-step", "max-steps"], "")
        for i in np.flatnonzero(status == "non-finite"):
            sample = f" of sample {self.alive[i]}" if self.settings.per_sample else ""
            span = f"from time {float(self.t[i])!r} to {float(t1[i])!r}"
            self.failures.append(f"NaN or infinity in step {tried[i]}{sample}, {span}")
        return status

    def _drop(self, status: np.ndarray[Any, Any]) -> None:
        """Let the lanes go that have a status."""
        done, rest = np.flatnonzero(status != ""), np.flatnonzero(status == "")
        if not done.size:
            return
        take = self.lanes.take
        self.record.finish(self.alive[done], self.t[done], take(self.x, done), status[done])
        self.alive, self.t, self.length = self.alive[rest], self.t[rest], self.length[rest]
        self.before, self.refused = self.before[rest], self.refused[rest]
        if rest.size:
            self.x, self.carried = take(self.x, rest), take(self.carried, rest)
            self.watch.keep(rest)

    def solution(self) -> AdaptiveSolution:
        """Return what was reached."""
        record, per_sample = self.record, self.settings.per_sample
        xs, ts = record.states() if record.save else None, record.times
        time: Any = record.time
        if not per_sample:
            time = float(record.time[0])
            if time != self.stop:
                got = int((self.sign * ts < self.sign * time).sum())
                xs = xs if xs is None else xs[: got + 1]
                ts = np.append(ts[:got], time)
        status = max(record.status.tolist(), key=STATUSES.index)
        counts = (record.accepted, record.rejected, self.drift.rows)
        events = tuple(sorted(self.watch.found, key=lambda found: self.sign * found.time))
        return AdaptiveSolution(record.last(), xs, ts, self.drift.count, status, time, record.status, *counts, events)

    def solution_or_error(self) -> AdaptiveSolution:
        """Return what was reached, or raise where numbers were not finite."""
        solution = self.solution()
        if not self.failures:
            return solution
        remedy = "look at the problem there; keep the grid away from times where it diverges"
        raise NonFiniteError(explain("a finite state after every step", "; ".join(self.failures[:3]), remedy), solution)
