r"""How far the samples of a wrong model are from the data, where everything stays Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from interpolants.diffusion import DiffusionCoefficient, Zero, expect_diffusion
from interpolants.path import Path
from interpolants.schedule import Schedule
from interpolants.targets import Gaussian
from solvers.errors import explain

__all__ = ["exact_kl", "exact_moments", "gap", "growth", "inside"]

Floats = NDArray[np.float64]

_NEAR = (1e-6, 1e-8)
_ZERO = Zero()


def gap(excess: Floats, shift: float) -> float:
    """Return a divergence of Gaussians from the relative excesses of variance and the squared whitened shift."""
    return 0.5 * float(np.sum(excess - np.log1p(excess)) + shift)


def inside(schedule: Schedule, time: float) -> float:
    """Keep a time that was rounded onto an end off it."""
    lo, hi = schedule.domain
    return min(max(float(time), math.nextafter(lo, hi)), math.nextafter(hi, lo))


def growth(schedule: Schedule, which: int, value: Callable[[float], float]) -> float:
    """Return the exponent of the distance to an end with which ``value`` grows there; inf where it is 0."""
    lo, hi = schedule.domain
    far, near = (value((lo, hi)[which] + (1 - 2 * which) * (hi - lo) * distance) for distance in _NEAR)
    return math.log(far / near) / math.log(_NEAR[0] / _NEAR[1]) if far > 0 and near > 0 else math.inf


def exact_kl(path: Path, delta: object, shift: object = 0.0, w: DiffusionCoefficient = _ZERO) -> float:
    r"""Return :math:`\mathrm{KL}(p_0\|\hat p_0)` for the model :math:`v_\theta = v + \delta_t(x - \alpha_t m) + e_t`.

    The samples of the reverse SDE (of the probability flow where w = 0), started from the prior N(0, σ₁²I), stay
    Gaussian. In coordinates that whiten :math:`p_t`, with :math:`f = 1 + w/2\kappa` and
    :math:`A = w/2\rho^2 + f\delta`,

    .. math:: \dot M = AM + f e, \qquad \dot R = AR + RA^\top - w/\rho^2, \qquad \mathrm{KL}
              = \tfrac12\bigl[\operatorname{tr}R^{-1} + M^\top R^{-1}M - d + \log\det R\bigr]_{t=0}

    is integrated from t = 1 to 0 with a relative tolerance of 1e-12.

    Args:
        path: a path with a Gaussian target of dimension d.
        delta: :math:`\delta_t`: a number, a (d, d) matrix, or a function of a float that returns either.
        shift: :math:`e_t`: a number (for all coordinates), shape (d,), or a function that returns either.
        w: the diffusion coefficient of the sampler.

    Returns:
        The divergence; infinite where the error of the drift is not integrable at t = 0.

    Raises:
        TypeError: not a path with a Gaussian target.
        ValueError: other shapes, values that are not finite, or an integration that fails.

    References: Särkkä & Solin, Applied Stochastic Differential Equations (2019), §6.2, for the moment equations.
    """
    found = _whitened(path, delta, shift, w)
    if found is None:
        return math.inf
    mean, cov = found
    scales, axes = np.linalg.eigh(cov)
    return gap((1 - scales) / scales, float(np.sum((axes.T @ mean) ** 2 / scales)))


def exact_moments(
    path: Path, delta: object, shift: object = 0.0, w: DiffusionCoefficient = _ZERO
) -> tuple[Floats, Floats]:
    r"""Return mean and covariance of :math:`\hat p_0`, whose divergence :func:`exact_kl` is; the same arguments.

    >>> from interpolants import Gaussian, Linear, Path, diffusion
    >>> from interpolants.divergence import exact_moments
    >>> path = Path(Linear(), Gaussian([0.5], 0.25))
    >>> mean, cov = exact_moments(path, 0.0, 0.0, diffusion.Sigma())
    >>> mean.round(9), cov.round(9)
    (array([0.5]), array([[0.25]]))

    Raises:
        ValueError: as :func:`exact_kl` does, and where the error of the drift is not integrable at t = 0.
    """
    found = _whitened(path, delta, shift, w)
    if found is None:
        remedy = "let the error vanish at the data, or choose a w that does"
        raise ValueError(
            explain("an error of the drift that is integrable at t = 0", f"one that is not, w = {w}", remedy)
        )
    mean, cov = found
    lo, target = path.schedule.domain[0], _gaussian(path)
    alpha, sigma = float(path.schedule.alpha(lo)), float(path.schedule.sigma(lo))
    basis, values = target.eigenvectors[0], target.eigenvalues[0]
    spread = np.sqrt(alpha**2 * values + sigma**2)
    return alpha * target.mean + basis @ (spread * mean), basis @ (spread * cov * spread[:, None]) @ basis.T


def _gaussian(path: Path) -> Gaussian:
    if not isinstance(path, Path) or not isinstance(path.target, Gaussian):
        remedy = "pass Path(schedule, Gaussian(mean, cov))"
        raise TypeError(explain("a Path with a Gaussian target", repr(path), remedy))
    return path.target


def _whitened(path: Path, delta: object, shift: object, w: DiffusionCoefficient) -> tuple[Floats, Floats] | None:
    """Return mean and covariance at t = 0 in coordinates that whiten p₀; None where the error is not integrable."""
    target, schedule = _gaussian(path), path.schedule
    d = target.dimension
    matrix = _of_time(delta, (d, d), "delta", np.eye(d))
    vector = _of_time(shift, (d,), "shift", np.ones(d))
    variance = expect_diffusion(w).of(schedule)
    factor = schedule.coefficient(1 + variance.expression / (2 * schedule.expressions["kappa"]), f"1 + w/2κ, w = {w}")
    order = growth(schedule, 0, lambda time: float(np.sum(matrix(time) ** 2) + np.sum(vector(time) ** 2)) ** 0.5)
    if order + factor.ends[0].order < -0.99:
        return None
    basis, values = target.eigenvectors[0], target.eigenvalues[0]

    def rates(time: float) -> tuple[Floats, Floats, Floats]:
        """Return A, f·e and w/ρ² in whitened coordinates."""
        spread = np.sqrt(schedule.alpha(time) ** 2 * values + schedule.sigma(time) ** 2)
        noise, f = variance(time) / spread**2, factor(time)
        drift = f * (basis.T @ matrix(time) @ basis) * spread / spread[:, None]
        return drift + np.diag(noise / 2), f * (basis.T @ vector(time)) / spread, noise

    alpha, sigma = (float(value) for value in schedule(schedule.domain[1])[:2])
    spread = np.sqrt(alpha**2 * values + sigma**2)
    mean = -alpha * (basis.T @ target.mean) / spread
    return _moments(schedule, rates, mean, np.diag((sigma / spread) ** 2))


def _moments(
    schedule: Schedule, rates: Callable[[float], tuple[Floats, Floats, Floats]], mean: Floats, cov: Floats
) -> tuple[Floats, Floats]:
    """Integrate mean and covariance from noise to data, in the logit of time: both ends are far away and smooth."""
    from scipy.integrate import solve_ivp  # as above

    (lo, hi), d = schedule.domain, len(mean)

    def slope(logit: float, state: Floats) -> Floats:
        fraction = 1 / (1 + math.exp(-logit))
        clock = (hi - lo) * fraction / (1 + math.exp(logit))
        drift, push, noise = rates(inside(schedule, lo + (hi - lo) * fraction))
        flow = drift @ state[d:].reshape(d, d)
        return clock * np.concatenate([drift @ state[:d] + push, (flow + flow.T - np.diag(noise)).ravel()])

    start = np.concatenate([mean, cov.ravel()])
    solution = solve_ivp(slope, (30.0, -60.0), start, method="DOP853", rtol=1e-12, atol=1e-14)
    if not solution.success or not np.isfinite(solution.y[:, -1]).all():
        remedy = "check that delta and shift are bounded functions of time"
        raise ValueError(explain("moments that can be integrated", solution.message, remedy))
    return solution.y[:d, -1], solution.y[d:, -1].reshape(d, d)


def _of_time(value: object, shape: tuple[int, ...], what: str, unit: Floats) -> Callable[[float], Floats]:
    """Return a number, an array or a function of time as a function of time with values of one shape."""

    def function(time: float) -> Floats:
        found = np.asarray(value(time) if callable(value) else value, np.float64)
        if found.shape not in ((), shape) or not np.isfinite(found).all():
            received = f"shape {found.shape}" + ("" if np.isfinite(found).all() else ", not finite")
            raise ValueError(explain(f"{what} finite, a number or of shape {shape}", received, "one value per time"))
        return found * unit if found.shape == () else found

    return function
