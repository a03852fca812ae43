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
from solvers.arrays import Array, all_finite, check_state
from solvers.check import check_adaptive
from solvers.errors import NonFiniteError, explain
from solvers.problem import Problem


def solve_adaptively(problem: Problem, x: Array, ts: Any, settings: Adaptive, save: bool) -> AdaptiveSolution:
    """Return what ``solve`` returns with an :class:`Adaptive` method."""
    times = check_adaptive(problem, ts, settings.method)
    check_state(x)
    if settings.per_sample and x.ndim == 0:
        remedy = "give x a batch axis, or leave per_sample out"
        raise ValueError(explain("x of shape (B, …) for per_sample=True", "shape ()", remedy))
    if 0 in x.shape:
        raise ValueError(explain("a state with entries, for their error is measured", f"{x.shape}", "skip the solve"))
    run = _Run(problem, x, np.array(times), settings, save)
    if not all_finite(x):
        run.record.finish(run.alive, run.t, x, np.full(run.alive.size, "non-finite"))
        where = f"NaN or infinity in the initial state x, at time {times[0]!r}"
        remedy = "look at where x comes from; the problem is not to blame"
        raise NonFiniteError(explain("a finite state after every step", where, remedy), run.solution())
    # Trial steps may overflow: the estimate sees it and the step is refused, so numpy need not say it as well.
    with np.errstate(over="ignore", invalid="ignore"):
        run.begin()
        while run.alive.size:
            run.advance()
    return run.solution_or_error()


class _Run:
    """The lanes that have not finished: their times, states, slopes and step lengths."""

    def __init__(self, problem: Problem, x: Array, times: Numbers, settings: Adaptive, save: bool) -> None:
        self.settings = settings
        self.tableau = settings.method.tableau
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

    def begin(self) -> None:
        """Find the first slope and the first lengths."""
        self.slope = self.drift(self.lanes.time(self.t, self.x), self.x)
        span = abs(self.stop - self.start)
        self.length = first_lengths(self.settings, self.lanes, self.drift, self.t, self.x, self.slope, span, self.sign)
        self.watch.start(self.t, self.x)

    def advance(self) -> None:
        """Try a step in every lane and let those go that have finished."""
        length, t1 = self._ends()
        trial = Trial(self.lanes, self.tableau, self.t, t1, self.x, [self.slope])
        trial.run(self.drift)
        error = trial.error(self.settings.rtol, self.settings.atol)
        accepted: Mask = error <= 1.0
        choose = self.lanes.choose
        reached, x = np.where(accepted, t1, self.t), choose(accepted, trial.x1, self.x)
        slope = choose(accepted, trial.slopes[-1], self.slope)
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
        power = self.tableau.error_order + 1
        length = length * factors(error, self.before, accepted, self.refused, power)
        status = self._status(accepted, stopped, reached, length, np.isfinite(error), t1)
        self.before = np.where(accepted, np.maximum(error, REMEMBERED), self.before)
        self.refused = ~accepted
        self.t, self.x, self.slope, self.length = reached, x, slope, length
        if status is not None:
            self._drop(status)

    def _ends(self) -> tuple[Numbers, Numbers]:
        """Return the lengths of the next steps and their ends; two equal steps where one would leave a sliver."""
        left = abs(self.stop - self.t)
        length = np.minimum(self.length, self.settings.max_step)
        length = np.where((length < left) & (2.0 * length > left), 0.5 * left, length)
        last = length >= left
        return np.where(last, left, length), np.where(last, self.stop, self.t + self.sign * length)

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
        shortest = np.maximum(self.settings.min_step, 10.0 * np.spacing(scale))
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
            self.x, self.slope = take(self.x, rest), take(self.slope, rest)
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
