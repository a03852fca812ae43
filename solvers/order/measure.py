r"""The order of a sampler, measured on problems whose exact solutions are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from solvers.errors import NonFiniteError, explain
from solvers.grid import check_count
from solvers.order.adapters.function import Function
from solvers.order.adapters.ours import Ours
from solvers.order.draws import Draws
from solvers.order.fitting import Fit, fit
from solvers.order.law import Law, law
from solvers.order.report import EQUAL, SHORTFALL, Endpoint, Marginal, OrderReport
from solvers.order.sampler import Drive, Sampler, States
from solvers.order.trials import Manufactured, Mixture, Model, Trial

__all__ = ["measure_order"]

_DTYPES: dict[str, type[np.floating[Any]]] = {"float64": np.float64, "float32": np.float32}
_SHOWN = 64
_LAST = 256
# Halvings of the interval below which the round-off of float64 is met by every method of order 3 and more.
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
    target = _sampler(sampler, claimed, prediction, schedule, stochastic)
    if dtype not in _DTYPES:
        raise ValueError(explain("dtype: 'float64' or 'float32'", repr(dtype), "pass dtype='float64'"))
    least = 8 * target.coarsest
    if check_count("finest: the largest number of steps", finest) < least:
        wanted = f"finest: at least {least}, three halvings above the coarsest {target.coarsest} steps"
        raise ValueError(explain(wanted, repr(finest), f"pass finest={least} or more"))
    return _measured(target, _DTYPES[dtype], finest)


def _sampler(sampler: Any, claimed: float | None, prediction: str, schedule: str, stochastic: bool) -> Sampler:
    if isinstance(sampler, Sampler):
        return sampler
    if hasattr(sampler, "solves") or isinstance(sampler, type):
        return Ours(sampler)
    if callable(sampler):
        return Function(sampler, claimed, prediction, schedule, stochastic)
    remedy = "pass Heun(), a function (model, x, times) -> x, or find('diffusers:DDIMScheduler')"
    raise TypeError(explain("sampler: a method, an adapter or a function", type(sampler).__name__, remedy))


def _measured(target: Sampler, dtype: type[np.floating[Any]], finest: int) -> OrderReport:
    counts = [target.coarsest]
    while 2 * counts[-1] <= finest:
        counts.append(2 * counts[-1])
    drives = {n: drive for n in counts if (drive := target.interior(n)) is not None}
    probe = law(drives[counts[0]], dtype)
    unit = 2.0 * float(np.finfo(dtype).eps)
    laws = [law(drives[n], dtype) for n in counts if probe.noise or n <= _SHOWN]
    marginal = _marginal([n for n in counts if probe.noise or n <= _SHOWN], laws, unit)
    roundoff = None
    if probe.noise:
        fits = {"gaussians, weak": marginal.fit}
        evaluations = _linear(counts[0], laws[0].evaluations, counts[1], laws[1].evaluations)
    else:
        fits, calls = {}, [0]
        for trial in (Manufactured(), Mixture()):
            fits[trial.name], calls = _flow(trial, drives, dtype, unit)
        evaluations = _linear(counts[0], calls[0], counts[1], calls[1])
        roundoff = _rounding(drives[counts[-1]])
    lowest = min(fits.values(), key=lambda item: math.inf if math.isnan(item.order) else item.order)
    if any(math.isnan(item.order) and item.floor is None for item in fits.values()):
        lowest = next(item for item in fits.values() if math.isnan(item.order))
    floors = [item.floor for item in fits.values() if item.floor is not None]
    if not probe.noise and target.claimed is not None and not lowest.order >= target.claimed - SHORTFALL:
        fits |= _equal(target, counts, dtype, unit)
    return OrderReport(
        name=target.name,
        claimed=target.claimed,
        observed=lowest.order,
        constant=lowest.constant,
        stochastic=probe.noise,
        fits=fits,
        evaluations=evaluations,
        marginal=marginal,
        endpoint=_endpoint(target, dtype, unit, probe.noise),
        roundoff=roundoff if roundoff is not None else max(floors, default=None),
        precision=np.dtype(dtype).name,
    )


def _run(drive: Drive, model: Model, x: States) -> States:
    """Return the answer of a drive, or NaN where it says that there is no finite one."""
    with np.errstate(all="ignore"):
        try:
            found = drive.run(model, x, Draws())
        except (NonFiniteError, ArithmeticError):
            return np.full_like(x, math.nan)
    if np.shape(found) != x.shape:
        remedy = "return the state at the last time"
        raise TypeError(explain(f"an answer of shape {x.shape}, that of x", f"shape {np.shape(found)}", remedy))
    return found


def _distance(drive: Drive, trial: Trial, dtype: type[np.floating[Any]]) -> tuple[float, int]:
    """Return the root mean square distance of the answer to the exact state, and the calls of the model."""
    model = Model(trial)
    found = _run(drive, model, trial.exact(drive.start).astype(dtype))
    away = np.asarray(found, dtype=np.float64) - trial.exact(drive.stop)
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(away**2))) / max(1.0, drive.stop.scale), model.evaluations


def _flow(trial: Trial, drives: dict[int, Drive], dtype: type[np.floating[Any]], unit: float) -> tuple[Fit, list[int]]:
    found = [_distance(drive, trial, dtype) for drive in drives.values()]
    return fit(list(drives), [error for error, _ in found], unit), [count for _, count in found]


def _equal(target: Sampler, counts: list[int], dtype: type[np.floating[Any]], unit: float) -> dict[str, Fit]:
    """Return the order on equal steps, where a sampler can be given them: is the claim one about those?"""
    drives = {n: drive for n in counts if (drive := target.interior(n, equal=True)) is not None}
    return {EQUAL: _flow(Mixture(), drives, dtype, unit)[0]} if drives else {}


def _marginal(counts: list[int], laws: list[Law], unit: float) -> Marginal:
    shown = max(k for k, n in enumerate(counts) if n <= _SHOWN)
    found = fit(counts, [item.error for item in laws], 4.0 * unit)
    affine = all(item.affine for item in laws)
    return Marginal(counts[shown], laws[shown].mean, laws[shown].variance, found, affine)


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
    counts = [n for k in range(10) if 16 <= (n := target.coarsest * 2**k) <= _LAST]
    try:
        drives = {n: drive for n in counts if (drive := target.whole(n)) is not None}
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
