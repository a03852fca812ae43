r"""The order of a sampler, measured on problems whose exact solutions are known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from solvers.errors import explain
from solvers.grid import check_count
from solvers.order.adapters.function import Function
from solvers.order.adapters.ours import Ours
from solvers.order.draws import Draws
from solvers.order.fitting import Fit, fit
from solvers.order.law import Law, law
from solvers.order.report import EQUAL, SHORTFALL, Endpoint, Marginal, OrderReport
from solvers.order.sampler import Drive, Sampler
from solvers.order.trials import Manufactured, Mixture, Model, Trial

__all__ = ["measure_order"]

_DTYPES: dict[str, type[np.floating[Any]]] = {"float64": np.float64, "float32": np.float32}
_SHOWN = 64
_FINEST = 256


def measure_order(
    sampler: Any,
    *,
    claimed: float | None = None,
    prediction: str = "velocity",
    schedule: str = "linear",
    stochastic: bool = False,
    dtype: str = "float64",
    finest: int = _FINEST,
) -> OrderReport:
    r"""Measure the order of a sampler, with its error constant, evaluations, marginals and behaviour at the ends.

    It is run with n, 2n, 4n, … steps from :math:`\sigma/\alpha = 4` to ¼ on unequal, smoothly varying steps, or on its
    own grid there: on a manufactured data prediction, on a mixture of Gaussians, and on Gaussian data, where the exact
    law of its answer is read off its own code. A deterministic sampler has the lower of the first two orders, a
    stochastic one the weak order of mean and variance on the third. Then it runs its own schedule up to the end.
    Results do not depend on a random number.

    >>> from solvers import Heun
    >>> from solvers.order import measure_order
    >>> report = measure_order(Heun())
    >>> round(report.observed, 1), report.evaluations, report.ok
    (2.0, (2.0, 0.0), True)

    Args:
        sampler: a method of this library; an adapter of ``solvers.order.find``; or a function (model, x, times) → x,
            that goes from times[0] to times[-1] by calling ``model(time, x)``. x has shape (rows, d).
        claimed: the order that a function claims; methods and adapters bring their own.
        prediction: what ``model`` predicts for a function: "velocity" :math:`\dot x`, "data" :math:`\hat x` or "noise"
            :math:`\hat\varepsilon`.
        schedule: its times: "linear", :math:`\alpha = 1 - t, \sigma = t`, or "edm", :math:`\alpha = 1, \sigma = t`.
        stochastic: the function is called with a fourth argument, ``noise(x)`` → standard normals like x, and draws
            all its noise there.
        dtype: "float64" or "float32", of the states.
        finest: the largest number of steps.

    Raises:
        TypeError: something else than a sampler; a function that returns no array like x.
        ValueError: a prediction, schedule, dtype or number of steps that is none.
    """
    if dtype not in _DTYPES:
        raise ValueError(explain("dtype: 'float64' or 'float32'", repr(dtype), "pass dtype='float64'"))
    target = _sampler(sampler, claimed, prediction, schedule, stochastic)
    least = 8 * target.coarsest
    if check_count("finest: the largest number of steps", finest) < least:
        wanted = f"finest: at least {least}, three halvings from the coarsest {target.coarsest} steps of this sampler"
        raise ValueError(explain(wanted, repr(finest), f"pass finest={least} or more"))
    counts = [target.coarsest * 2**k for k in range(int(math.log2(finest / target.coarsest)) + 1)]
    return _measured(target, counts, _DTYPES[dtype])


def _sampler(sampler: Any, claimed: float | None, prediction: str, schedule: str, stochastic: bool) -> Sampler:
    known = isinstance(sampler, Sampler)
    if known or hasattr(sampler, "solves") or isinstance(sampler, type):
        if (claimed, prediction, schedule, stochastic) != (None, "velocity", "linear", False):
            wanted = "claimed, prediction, schedule and stochastic with a function alone"
            raise ValueError(explain(wanted, f"one of them with {sampler!r:.60}", "leave them out: it brings its own"))
        found: Sampler = sampler if known else Ours(sampler)
        return found
    if callable(sampler):
        return Function(sampler, claimed, prediction, schedule, stochastic)
    remedy = "pass Heun(), a function (model, x, times) -> x, or find('diffusers:DDIMScheduler')"
    raise TypeError(explain("sampler: a method, an adapter or a function", type(sampler).__name__, remedy))


def _measured(target: Sampler, counts: list[int], dtype: type[np.floating[Any]]) -> OrderReport:
    drives = {n: _in_precision(drive, dtype) for n in counts if (drive := target.interior(n)) is not None}
    unit = 2.0 * float(np.finfo(dtype).eps)
    noisy = law(drives[counts[0]], dtype).noise
    laws = {n: law(drive, dtype) for n, drive in drives.items() if noisy or n <= _SHOWN}
    marginal = _marginal(laws, unit)
    if noisy:
        fits, calls = {"gaussians, weak": marginal.fit}, [item.evaluations for item in laws.values()]
    else:
        flows = {trial.name: _flow(trial, drives, dtype, unit) for trial in (Manufactured(), Mixture())}
        fits, calls = {name: found for name, (found, _) in flows.items()}, flows["mixture"][1]
    lowest = min(fits.values(), key=_rank)
    floors = [item.floor for item in fits.values() if item.floor is not None]
    if not noisy and target.claimed is not None and not lowest.order >= target.claimed - SHORTFALL:
        fits |= _equal(target, counts, dtype, unit)
    rounding = _rounding(drives[counts[-1]])
    return OrderReport(
        name=target.name,
        claimed=target.claimed,
        observed=lowest.order,
        constant=lowest.constant,
        stochastic=noisy,
        fits=fits,
        evaluations=_linear(counts[0], calls[0], counts[1], calls[1]),
        marginal=marginal,
        endpoint=_endpoint(target, dtype, unit, noisy),
        roundoff=max(floors, default=None) if rounding is None else rounding,
        precision=np.dtype(dtype).name,
    )


def _in_precision(drive: Drive, dtype: type[np.floating[Any]]) -> Drive:
    """Return the drive that runs states of a dtype: in float32 that of the release."""
    if drive.released is None or dtype is np.float64:
        return drive
    return replace(drive, run=drive.released, released=None)


def _rank(found: Fit) -> float:
    """Order fits: those without a finite answer first, then by order, those that are exact to rounding last."""
    if math.isnan(found.order):
        return math.inf if found.floor is not None else -math.inf
    return found.order


def _equal(target: Sampler, counts: list[int], dtype: type[np.floating[Any]], unit: float) -> dict[str, Fit]:
    """Return the order on equal steps, where a sampler can be given them: is the claim one about those?"""
    drives = {n: _in_precision(drive, dtype) for n in counts if (drive := target.interior(n, equal=True)) is not None}
    return {EQUAL: _flow(Mixture(), drives, dtype, unit)[0]} if drives else {}


def _distance(drive: Drive, trial: Trial, dtype: type[np.floating[Any]]) -> tuple[float, int]:
    """Return the root mean square distance of the answer to the exact state, and the calls of the model."""
    model = Model(trial)
    found = drive.answer(model, trial.exact(drive.start).astype(dtype), Draws())
    with np.errstate(all="ignore"):
        away = np.asarray(found, dtype=np.float64) - trial.exact(drive.stop)
        return float(np.sqrt(np.mean(away**2))), model.evaluations


def _flow(trial: Trial, drives: dict[int, Drive], dtype: type[np.floating[Any]], unit: float) -> tuple[Fit, list[int]]:
    found = [_distance(drive, trial, dtype) for drive in drives.values()]
    return fit(list(drives), [error for error, _ in found], unit), [count for _, count in found]


def _marginal(laws: dict[int, Law], unit: float) -> Marginal:
    shown = max(n for n in laws if n <= _SHOWN)
    found = fit(list(laws), [item.error for item in laws.values()], 4.0 * unit)
    affine = all(item.affine for item in laws.values())
    return Marginal(shown, laws[shown].mean, laws[shown].variance, found, affine)


def _rounding(drive: Drive) -> float | None:
    """Return how far the release's own precision takes the answer from that in float64."""
    if drive.released is None:
        return None
    trial = Mixture()
    x = trial.exact(drive.start)
    away = drive.released(Model(trial), x.astype(np.float32), Draws()) - drive.run(Model(trial), x, Draws())
    return float(np.sqrt(np.mean(away**2)))


def _linear(n0: int, calls0: int, n1: int, calls1: int) -> tuple[float, float]:
    """Return (a, b) of a·n + b calls for n steps."""
    rate = (calls1 - calls0) / (n1 - n0)
    return rate, calls0 - rate * n0


def _endpoint(target: Sampler, dtype: type[np.floating[Any]], unit: float, noisy: bool) -> Endpoint | None:
    """Run its own schedule: on the mixture, or for the law of a stochastic sampler on Gaussian data."""
    counts = [n for k in range(10) if 16 <= (n := target.coarsest * 2**k) <= _FINEST]
    try:
        drives = {n: _in_precision(drive, dtype) for n in counts if (drive := target.whole(n)) is not None}
        if not drives:
            return None
        if noisy:
            found = fit(counts, [law(drive, dtype).error for drive in drives.values()], unit)
        else:
            found, _ = _flow(Mixture(), drives, dtype, unit)
    except (ValueError, RuntimeError, IndexError) as error:
        return Endpoint(refused=str(error).splitlines()[0] if str(error) else type(error).__name__)
    finite = all(math.isfinite(error) for error in found.errors)
    sigma = drives[counts[-1]].stop.sigma
    return Endpoint("", finite, sigma, found.order, found.errors[-1], counts[-1])
