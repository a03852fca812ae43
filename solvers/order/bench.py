"""The runs behind a report: a sampler at doubled numbers of steps, on every problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from solvers.order.draws import Draws
from solvers.order.fitting import Fit, fit
from solvers.order.law import Law, law
from solvers.order.report import EQUAL, SHORTFALL, Endpoint, Marginal, OrderReport
from solvers.order.sampler import Drive, Sampler
from solvers.order.trials import Manufactured, Mixture, Model, Trial

__all__ = ["Bench"]

_SHOWN = 64
_WHOLE = (16, 256)
# Slopes that have not settled are followed to this many times the largest number of steps.
_FURTHER = 4


class Bench:
    """A sampler on the bench.

    Args:
        target: the sampler.
        counts: numbers of steps, each twice the last.
        dtype: of its states.
    """

    def __init__(self, target: Sampler, counts: Sequence[int], dtype: type[np.floating[Any]]) -> None:
        self.target, self.counts, self.dtype = target, list(counts), dtype
        self.unit = 2.0 * float(np.finfo(dtype).eps)

    def report(self) -> OrderReport:
        """Run everything."""
        first = law(self._inside(self.counts[0]), self.dtype)
        noisy = first.noise
        laws = {n: law(self._inside(n), self.dtype) for n in self.counts if noisy or n <= _SHOWN}
        fits = self._weak(laws) if noisy else self._orders()
        lowest = min(fits.values(), key=_rank)
        floors = [item.floor for item in fits.values() if item.floor is not None]
        rounding = self._rounding()
        return OrderReport(
            name=self.target.name,
            claimed=self.target.claimed,
            observed=lowest.order,
            constant=lowest.constant,
            stochastic=noisy,
            fits=fits if noisy else fits | self._equal(lowest),
            evaluations=self._evaluations(first.evaluations),
            marginal=_marginal(laws, self.unit),
            endpoint=self._endpoint(noisy),
            roundoff=max(floors, default=None) if rounding is None else rounding,
            precision=np.dtype(self.dtype).name,
        )

    def _inside(self, n: int) -> Drive:
        return self._as_released(self.target.interior(n))

    def _as_released(self, drive: Drive) -> Drive:
        """Return the drive for states of the dtype: in float32 that of the release."""
        if drive.released is None or self.dtype is np.float64:
            return drive
        return replace(drive, run=drive.released, released=None)

    def _distance(self, drive: Drive, trial: Trial) -> float:
        """Return the root mean square distance of the answer to the exact state."""
        found = drive.answer(Model(trial), trial.exact(drive.start).astype(self.dtype), Draws())
        with np.errstate(all="ignore"):
            return float(np.sqrt(np.mean((np.asarray(found, dtype=np.float64) - trial.exact(drive.stop)) ** 2)))

    def _followed(self, error: Callable[[int], float], known: Sequence[float] = ()) -> Fit:
        """Return the fit of the errors, with more steps while the slopes have not settled."""
        counts, errors = list(self.counts), list(known) or [error(n) for n in self.counts]
        found = fit(counts, errors, self.unit)
        while not found.settled and found.floor is None and counts[-1] < _FURTHER * self.counts[-1]:
            if not math.isfinite(errors[-1]):
                break
            counts.append(2 * counts[-1])
            errors.append(error(counts[-1]))
            found = fit(counts, errors, self.unit)
        return found

    def _orders(self) -> dict[str, Fit]:
        trials: tuple[Trial, ...] = (Manufactured(), Mixture())
        return {trial.name: self._followed(partial(self._error, trial)) for trial in trials}

    def _error(self, trial: Trial, n: int) -> float:
        return self._distance(self._inside(n), trial)

    def _weak(self, laws: dict[int, Law]) -> dict[str, Fit]:
        known = [item.error for item in laws.values()]
        return {"gaussians, weak": self._followed(lambda n: law(self._inside(n), self.dtype).error, known)}

    def _equal(self, lowest: Fit) -> dict[str, Fit]:
        """Return, below a claim, the order on equal steps: is the claim one about those?"""
        claimed, trial = self.target.claimed, Mixture()
        if claimed is None or lowest.order >= claimed - SHORTFALL or not self.target.takes_steps:
            return {}
        drives = (self._as_released(self.target.interior(n, equal=True)) for n in self.counts)
        return {EQUAL: fit(self.counts, [self._distance(drive, trial) for drive in drives], self.unit)}

    def _evaluations(self, calls: int) -> tuple[float, float]:
        """Return (a, b) of a·n + b calls for n steps, from the two smallest n."""
        n, m = self.counts[:2]
        rate = (law(self._inside(m), self.dtype).evaluations - calls) / (m - n)
        return rate, calls - rate * n

    def _rounding(self) -> float | None:
        """Return how far the release's own precision takes the answer from that in float64."""
        drive = self._inside(self.counts[-1])
        if drive.released is None:
            return None
        trial = Mixture()
        x = trial.exact(drive.start)
        away = drive.released(Model(trial), x.astype(np.float32), Draws()) - drive.run(Model(trial), x, Draws())
        return float(np.sqrt(np.mean(away**2)))

    def _endpoint(self, noisy: bool) -> Endpoint | None:
        """Run its own schedule: on the mixture, or for the law of a stochastic sampler on Gaussian data."""
        counts = [n for k in range(10) if _WHOLE[0] <= (n := self.target.coarsest * 2**k) <= _WHOLE[1]]
        try:
            whole = [drive for n in counts if (drive := self.target.whole(n)) is not None]
            if not whole:
                return None
            drives, trial = [self._as_released(drive) for drive in whole], Mixture()
            errors = [law(item, self.dtype).error if noisy else self._distance(item, trial) for item in drives]
        except (ValueError, RuntimeError, IndexError) as error:
            return Endpoint(refused=str(error).splitlines()[0] if str(error) else type(error).__name__)
        found = fit(counts, errors, self.unit)
        finite = all(math.isfinite(error) for error in errors)
        return Endpoint("", finite, drives[-1].stop.sigma, found.order, errors[-1], counts[-1])


def _rank(found: Fit) -> float:
    """Order fits: those without a finite answer first, then by order, those that are exact to rounding last."""
    if math.isnan(found.order):
        return math.inf if found.floor is not None else -math.inf
    return found.order


def _marginal(laws: dict[int, Law], unit: float) -> Marginal:
    shown = max(n for n in laws if n <= _SHOWN)
    found = fit(list(laws), [item.error for item in laws.values()], 4.0 * unit)
    affine = all(item.affine for item in laws.values())
    return Marginal(shown, laws[shown].mean, laws[shown].variance, found, affine)
