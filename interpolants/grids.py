r"""Time grids that are best for a Gaussian.

In the angle :math:`\varphi = \arctan(\sigma/\alpha\sqrt c)` a DDIM step multiplies the ratio of the standard deviation
to the exact one by the cosine of its length. A product of cosines of angles with a given sum is largest where they are
equal: for one variance the best grid is known. For several, and for other samplers, it is found from exact laws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from interpolants.diffusion import DiffusionCoefficient, Zero
from interpolants.laws import Sampler
from interpolants.path import Path
from interpolants.prediction import Prediction, Velocity
from interpolants.schedule import Schedule
from interpolants.transport import expect_gaussian
from solvers import DDIM, uniform
from solvers.errors import explain
from solvers.grid import Grid, check_count, check_grid
from solvers.method import Method

__all__ = ["cosine_optimal", "optimal_grid"]

Objective = Literal["kl", "w2"]
_DDIM = DDIM()
_ZERO = Zero()


def cosine_optimal(
    schedule: Schedule, n: int, variance: float, *, start: float | None = None, stop: float | None = None
) -> Grid:
    r"""Return the grid of n steps on which DDIM loses least of the variance of :math:`N(m, cI)`.

    .. math:: \frac{\sigma}{\alpha} = \sqrt c\,\tan\varphi_k, \qquad
              \varphi_k = \frac{(n - k)\,\varphi_{\mathrm{start}} + k\,\varphi_{\mathrm{stop}}}{n}

    From :math:`\alpha_1 = 0` to :math:`\sigma_0 = 0` the angles are :math:`\tfrac\pi2(1 - k/n)` and the ratio of the
    standard deviations is :math:`\cos^n(\pi/2n)`.

    >>> from interpolants import GVP, cosine_optimal
    >>> cosine_optimal(GVP(), 4, 1.0).tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]

    Args:
        schedule: the schedule; its log-SNR is inverted.
        n: number of steps.
        variance: c > 0.
        start: the first time, the noise end if absent.
        stop: the last time, the data end if absent.

    Returns:
        n + 1 times.

    Raises:
        ValueError: n < 1, c that is not a positive number, a start that is not after the stop.
    """
    count, (first, last) = check_count("n: the number of steps", n), ends(schedule, start, stop)
    if not 0.0 < variance < math.inf:
        raise ValueError(explain("variance: a positive number", repr(variance), "pass an eigenvalue of the covariance"))
    chart = _Chart(schedule, math.sqrt(variance), first, last)
    return chart.grid(np.arange(1, count) / count)


def optimal_grid(
    path: Path,
    n: int,
    method: Method = _DDIM,
    objective: Objective = "kl",
    w: DiffusionCoefficient = _ZERO,
    prediction: Prediction = Velocity,
    *,
    start: float | None = None,
    stop: float | None = None,
    initial: Any = None,
) -> Grid:
    r"""Return the grid of n steps on which a sampler's exact law is nearest to the exact marginal at the last time.

    The lengths of the steps, in the angle of :func:`cosine_optimal` for the geometric mean of the eigenvalues, are
    found by BFGS from the best of these: uniform in time, uniform in log-SNR where that is finite, and the closed form
    for the smallest, the mean and the largest eigenvalue. The result is a local minimum, no worse than any of them.
    Errors that can have both signs can cancel: with more steps than eigenvalues a second-order method may be made
    nearly exact for this Gaussian, which says little about other data.

    >>> from interpolants import Gaussian, Linear, Path, optimal_grid, sampler_law
    >>> from solvers import DDIM, uniform
    >>> path = Path(Linear(), Gaussian([0.0, 0.0], [0.01, 1.0]))
    >>> sampler_law(path, DDIM(), optimal_grid(path, 5)).kl() < 0.2 * sampler_law(path, DDIM(), uniform(5)).kl()
    True

    Args:
        path: a path with a Gaussian target.
        n: number of steps.
        method: any method that is affine in state and noise.
        objective: "kl" for :math:`\mathrm{KL}(p\|\hat p)`, "w2" for the Wasserstein distance.
        w: the diffusion coefficient, as in :func:`sampler_law`.
        prediction: what the model predicts.
        start: the first time, the noise end if absent.
        stop: the last time, the data end if absent.
        initial: a grid to begin from in place of these, with its own ends.

    Returns:
        n + 1 times.

    Raises:
        ValueError: another objective; no grid with a finite divergence; what :func:`sampler_law` refuses.

    References: the objective of Sabour, Fidler & Kreis (2024), Align Your Steps, arXiv 2404.14507, is a bound of the
    same divergence; here the divergence itself is known.
    """
    values, count = expect_gaussian(path).eigenvalues[0], check_count("n: the number of steps", n)
    if objective not in ("kl", "w2"):
        raise ValueError(explain('objective: "kl" or "w2"', repr(objective), 'pass objective="kl"'))
    sampler, mean = Sampler(path, method, w, prediction), float(np.exp(np.log(values).mean()))

    def loss(ts: Grid) -> float:
        law = sampler.law(ts)
        return law.kl() if objective == "kl" else law.wasserstein2() ** 2

    if initial is None:
        first, last = ends(path.schedule, start, stop)
        candidates = [uniform(count, first, last), *uniform_in_log_snr(path.schedule, count, first, last)]
        for c in (float(values[0]), mean, float(values[-1])):
            candidates.append(cosine_optimal(path.schedule, count, c, start=first, stop=last))
    else:
        candidates = [_expect_steps(check_grid(initial), count)]
        first, last = ends(path.schedule, float(candidates[0][0]), float(candidates[0][-1]))
    best = min(candidates, key=loss)
    if not math.isfinite(loss(best)):
        remedy = 'take more steps, or objective="w2": a single step may lose all variance'
        raise ValueError(explain("a grid with a finite divergence", "none among the usual grids", remedy))
    return best if count == 1 else _descend(_Chart(path.schedule, math.sqrt(mean), first, last), loss, best)


def _expect_steps(ts: Grid, n: int) -> Grid:
    if len(ts) != n + 1:
        raise ValueError(explain(f"an initial grid of {n} steps", f"{len(ts) - 1} of them", "pass n + 1 times"))
    return ts


class _Chart:
    """Times as fractions of the way from start to stop in the angle φ = arctan(σ / α·scale)."""

    def __init__(self, schedule: Schedule, scale: float, first: float, last: float) -> None:
        self.schedule, self.scale, self.first, self.last = schedule, scale, first, last
        self.start, self.stop = self.angle(first), self.angle(last)

    def angle(self, time: float) -> float:
        """Return φ at a time; ½π where α = 0."""
        return math.atan2(float(self.schedule.sigma(time)), self.scale * float(self.schedule.alpha(time)))

    def grid(self, fractions: Any) -> Grid:
        """Return the times at rising fractions between 0 and 1, with both ends exact."""
        angles = (1.0 - fractions) * self.start + fractions * self.stop
        inner = self.schedule.time_of_log_snr(-2.0 * np.log(self.scale * np.tan(angles)))
        return check_grid(np.concatenate([[self.first], inner, [self.last]]))

    def fractions(self, ts: Grid) -> Any:
        """Return what ``grid`` takes."""
        angles = np.array([self.angle(float(time)) for time in ts[1:-1]])
        return (angles - self.start) / (self.stop - self.start)


def _descend(chart: _Chart, loss: Callable[[Grid], float], best: Grid) -> Grid:
    """Minimise over the logarithms of the relative lengths of the steps, the first of which is fixed."""
    from scipy.optimize import minimize  # slow to import, and only the search needs it

    def grid(logits: Any) -> Grid:
        lengths = np.exp(np.concatenate([[0.0], logits]))
        return chart.grid(np.cumsum(lengths)[:-1] / lengths.sum())

    scale = loss(best)
    if scale == 0.0:
        return best

    def objective(logits: Any) -> float:
        # The search may propose steps too short for floats, which is no minimum.
        try:
            return loss(grid(logits)) / scale
        except ValueError:
            return math.inf

    steps = np.diff(np.concatenate([[0.0], chart.fractions(best), [1.0]]))
    options = {"gtol": 1e-8, "maxiter": 200}
    with np.errstate(all="ignore"):
        found = minimize(objective, np.log(steps[1:] / steps[0]), method="BFGS", jac="3-point", options=options)
    better = grid(found.x)
    return better if loss(better) < loss(best) else best


def ends(schedule: Schedule, start: float | None, stop: float | None) -> tuple[float, float]:
    """Return the first and the last time of a grid, the ends of the domain where they are absent."""
    lo, hi = schedule.domain
    first, last = hi if start is None else float(start), lo if stop is None else float(stop)
    if not lo <= last < first <= hi:
        wanted = f"a start after the stop, both in [{lo:g}, {hi:g}]"
        raise ValueError(explain(wanted, f"start {first!r} and stop {last!r}", "sampling goes from noise to data"))
    return first, last


def uniform_in_log_snr(schedule: Schedule, n: int, first: float, last: float) -> list[Grid]:
    """Return the grid uniform in log-SNR, or none where it is infinite at an end."""
    poles = schedule.quantity("log_snr").poles
    if first in poles or last in poles:
        return []
    ends = float(schedule.log_snr(first)), float(schedule.log_snr(last))
    inner = schedule.time_of_log_snr(np.linspace(*ends, n + 1)[1:-1])
    return [check_grid(np.concatenate([[first], inner, [last]]))]
