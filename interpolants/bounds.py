r"""How far the samples of a wrong model can be from the data.

The reverse SDE of a model whose velocity is wrong by :math:`v_\theta - v` has a drift that is wrong by
:math:`(1 + w/2\kappa)` times as much, because the score is converted from the same network. By Girsanov's theorem,

.. math::
   \mathrm{KL}(p_0\|\hat p_0) \le \tfrac12\int \frac{1}{w_t}\Bigl(1 + \frac{w_t}{2\kappa_t}\Bigr)^2
   \mathbb E|v - v_\theta|^2\,dt + \mathrm{KL}\bigl(p_1\|N(0, \sigma_1^2 I)\bigr)

with the *excess* loss, against the exact velocity; the training loss has a floor that makes it infinite. At every time
:math:`w = 2\kappa` is best and leaves :math:`\mathbb E|v - v_\theta|^2/\kappa`. The truth, where everything stays
Gaussian, is :func:`exact_kl`. References: Ma et al. (2024), arXiv 2401.08740, §2.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sympy import Expr

from interpolants.coefficient import Coefficient
from interpolants.combination import expect_model, expect_shape
from interpolants.diffusion import DiffusionCoefficient, expect_diffusion
from interpolants.divergence import exact_kl, gap, growth, inside
from interpolants.path import Path, expect_path
from interpolants.prediction import Prediction, Velocity, conversion, expect_prediction
from interpolants.prior import generator_or_default
from interpolants.schedule import Schedule
from interpolants.symbols import canonical
from interpolants.targets import Empirical, GaussianMixture, Product, Target
from interpolants.transport import BREAKS
from solvers.errors import explain

__all__ = ["Bound", "exact_kl", "kl_bound"]

Floats = NDArray[np.float64]
Loss = Callable[[float], Floats]
"""A time → the mean square of an error and the standard error of that mean."""


@dataclass(frozen=True)
class Bound:
    r"""An upper bound of :math:`\mathrm{KL}(p_0\|\hat p_0)`; ``float(bound)`` is its value.

    Attributes:
        value: the bound, possibly infinite.
        integrand: time → :math:`\tfrac12 w^{-1}(1 + w/2\kappa)^2\,\mathbb E|v - v_\theta|^2`, inside the domain.
        terminal: the part of ``value`` that is :math:`\mathrm{KL}(p_1\|N(0, \sigma_1^2 I))`.
        reason: why the bound is infinite; empty where it is finite.
        standard_error: of ``value``, where the loss was sampled; 0 where it was given.
    """

    value: float
    integrand: Callable[[float], float] = field(repr=False)
    terminal: float
    reason: str = ""
    standard_error: float = 0.0

    def __float__(self) -> float:
        return self.value


def kl_bound(
    path: Path,
    model: Callable[[Any, Any], Any] | None,
    w: DiffusionCoefficient,
    prediction: Prediction = Velocity,
    *,
    excess_loss: object = None,
    n: int = 4096,
    rng: Any = None,
) -> Bound:
    r"""Bound the divergence from the data to the samples of the reverse SDE with diffusion coefficient ``w``.

    >>> from interpolants import Gaussian, Path, VP, diffusion, kl_bound
    >>> path = Path(VP(), Gaussian([0.5], 0.25))
    >>> f"{float(kl_bound(path, None, diffusion.KL(), excess_loss='t**2/100')):.6f}"
    '0.000503'

    Args:
        path: the schedule and the target.
        model: ``model(time, x)`` → prediction, shapes (n, d); None where ``excess_loss`` is given.
        w: the diffusion coefficient of the sampler.
        prediction: what the model predicts.
        excess_loss: :math:`\mathbb E|v - v_\theta|^2` in place of a model: a number, an expression or text, or any
            function of a float. The integral is right to 1e-9 of its size (1e-8 where the loss is infinite at t = 1,
            beside which floats are sparse).
        n: the number of points (x_data, ε) at which a model meets the exact prediction, the same at all times.
        rng: the numpy or torch generator that draws them; ``numpy.random.default_rng(0)`` if absent.

    Returns:
        A :class:`Bound`. For a mixture whose α₁ ≠ 0 the terminal part is :math:`\sum_k\pi_k\mathrm{KL}(p_{1,k}\|N)`, an
        upper bound because the divergence is convex. The standard error of a sampled bound is itself an upper bound: it
        integrates those at every time.

    Raises:
        TypeError: neither a model nor a loss, or something else than a path, a w or a prediction.
        ValueError: both a model and a loss; a loss that is negative or not a number; n < 2.

    References: Ma et al. (2024), arXiv 2401.08740, §2.4; Song, Durkan, Murray & Ermon (2021), arXiv 2101.09258,
    theorem 1.
    """
    _check(path, model, excess_loss, n)
    schedule, variance = path.schedule, expect_diffusion(w).of(path.schedule).expression
    terminal = _terminal(path)
    if variance == 0:
        reason = "w = 0: without noise the bound has 1/w and says nothing; exact_kl covers the probability flow"
        return Bound(math.inf, lambda time: math.inf, terminal, reason)
    source = Velocity if model is None else expect_prediction(prediction, "prediction")
    loss = _given(schedule, excess_loss) if model is None else _sampled(path, model, source, n, rng)
    factor = conversion(schedule, source, Velocity).B
    error = factor * (1 + variance / (2 * schedule.expressions["kappa"]))
    weight = schedule.coefficient(error**2 / (2 * variance), f"the weight of the KL bound with w = {w}")

    def integrand(time: float) -> Floats:
        time = inside(schedule, time)
        return float(weight(time)) * loss(time)

    reason = _divergence(schedule, weight, factor, loss, w)
    if not reason:
        total, spread, reason = _integrate(schedule, integrand, exact=model is None)
    if reason:
        return Bound(math.inf, lambda time: float(integrand(time)[0]), terminal, reason)
    return Bound(total + terminal, lambda time: float(integrand(time)[0]), terminal, "", spread)


def _check(path: object, model: object, excess_loss: object, n: object) -> None:
    expect_path(path)
    if model is not None:
        expect_model(model)
    if model is None and excess_loss is None:
        raise TypeError(explain("a model or an excess loss", "neither", "pass model, or None and excess_loss=…"))
    if model is not None and excess_loss is not None:
        raise ValueError(explain("a model or an excess loss", "both", "pass None as the model beside excess_loss"))
    if not isinstance(n, int) or n < 2:
        raise ValueError(explain("n >= 2 points", repr(n), "a standard error needs at least two"))


def _terminal(path: Path) -> float:
    """Return Σ π_k KL(N(αm_k, α²C_k + σ²I) ‖ N(0, σ²I)) at the noise end; the factors of a product add up."""
    end = path.schedule.domain[1]
    ratio = (path.schedule.alpha(end) / path.schedule.sigma(end)) ** 2
    factors = path.target.factors if isinstance(path.target, Product) else (path.target,)
    return sum(_from_prior(factor, ratio) for factor in factors)


def _from_prior(target: Target, ratio: float) -> float:
    if isinstance(target, GaussianMixture):
        shifts = ratio * (target.means**2).sum(1)
        return float(target.weights @ [gap(ratio * c, shift) for c, shift in zip(target.eigenvalues, shifts)])
    if isinstance(target, Empirical):
        points = np.asarray(target.points, np.float64)
        return float(np.asarray(target.weights) @ (ratio * (points**2).sum(1)) / 2)
    raise TypeError(
        explain("a Gaussian, a mixture, finite data or a product", type(target).__name__, "use one of these")
    )


def _given(schedule: Schedule, excess_loss: object) -> Loss:
    if not callable(excess_loss) or isinstance(excess_loss, Expr):
        excess_loss = schedule.coefficient(canonical(excess_loss, "the excess loss"), "the excess loss")

    def loss(time: float) -> Floats:
        value = float(excess_loss(time))
        if not value >= 0:
            raise ValueError(explain("an excess loss >= 0", f"{value} at t = {time:g}", "it is a mean of squares"))
        return np.asarray([value, 0.0])

    return loss


def _sampled(path: Path, model: Callable[[Any, Any], Any], prediction: Prediction, n: int, rng: Any) -> Loss:
    """Compare with the exact prediction at n points that move with time; differences of round-off are none."""
    _, x_data, noise = path.sample_joint(path.schedule.domain[1], n, generator_or_default(rng))

    def loss(time: float) -> Floats:
        x = path.schedule.alpha(time) * x_data + path.schedule.sigma(time) * noise
        truth, found = path.predict(prediction, time, x), model(time, x)
        expect_shape(found, x)
        squares = ((found - truth) ** 2).sum(1)
        mean, size = float(squares.mean()), float((truth**2).sum(1).mean())
        spread = math.sqrt(max(float((squares**2).mean()) - mean**2, 0.0) / (n - 1))
        return np.asarray([mean, spread]) * (mean > (64 * np.finfo(np.float64).eps) ** 2 * size)

    return loss


def _divergence(schedule: Schedule, weight: Coefficient, factor: Expr, loss: Loss, w: DiffusionCoefficient) -> str:
    """Say at which end the integrand is not integrable, and whether another w would help; empty if it is."""
    for which, (end, conversion_end, kappa) in enumerate(
        zip(weight.ends, schedule.coefficient(factor).ends, schedule.quantity("kappa").ends)
    ):
        order = growth(schedule, which, lambda time: float(loss(time)[0]))
        if order + end.order > -0.99:
            continue
        place = f"t = {schedule.domain[which]:g}"
        if order + 2 * conversion_end.order - kappa.order > -0.99:
            return (
                f"w = {w}: w^-1 (1 + w/2 kappa)^2 E|v - v_theta|^2 is not integrable at {place}; KL() is finite there"
            )
        return (
            f"kappa = {kappa.limit:g} at {place}, where the velocity error does not vanish fast enough: "
            "for every w the integrand is at least E|v - v_theta|^2 / kappa, which is not integrable"
        )
    return ""


def _integrate(schedule: Schedule, integrand: Loss, exact: bool) -> tuple[float, float, str]:
    """Return the integral, the standard error and, where they do not converge, the reason."""
    from scipy.integrate import quad_vec  # slow to import, and only quadrature needs it

    lo, hi = schedule.domain
    points = [lo + (hi - lo) * fraction for fraction in BREAKS[1:-1]]
    accuracy = {"epsabs": 1e-15, "epsrel": 1e-10, "limit": 2000} if exact else {"epsrel": 1e-4, "limit": 100}
    with np.errstate(divide="ignore", invalid="ignore"):  # 1/w may be infinite inside; the result then says so
        (total, spread), error = quad_vec(integrand, lo, hi, points=points, **accuracy)
    if not math.isfinite(total) or (exact and error > 1e-9 * total + 1e-15):
        return math.inf, 0.0, "the integral does not converge: w vanishes, or the loss is singular, inside the domain"
    return float(total), float(spread + (0.0 if exact else error)), ""
