r"""A model trained under one schedule, used under another.

Times of equal log-SNR hold the same noisy data on two scales. With the target's quantities barred,

.. math::
   r(t) = \bar r(\bar t), \qquad \bar x = k x, \qquad k = \sqrt{\bar N / N}, \qquad
   \dot t = \frac{dt}{d\bar t} = \frac{\bar W}{k^2 W},

where :math:`N = \alpha^2 + \sigma^2`, so that k is :math:`\bar\alpha/\alpha = \bar\sigma/\sigma` without a division by
a vanishing α or σ. The posterior means of data and noise do not change; :math:`\bar s = s/k`; the v-prediction becomes
k times itself; and, because :math:`\dot k/k = \bar M/\bar N - \dot t M/N` with :math:`M = \tfrac12\dot N`,

.. math:: \bar v(\bar t, \bar x) = k\dot t\,v(t, \bar x/k) + \Bigl(\frac{\bar M}{\bar N} - \dot t\frac MN\Bigr)\bar x.

References: Karras et al. (2022), arXiv 2206.00364, §2 and appendix B (a schedule as a change of time and of scale).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sympy import Expr, Rational

from interpolants.coefficient import Array, Coefficient, namespace, pad
from interpolants.combination import expect_model, expect_shape
from interpolants.diffusion import DiffusionCoefficient
from interpolants.prediction import PREDICTIONS, Data, Noise, Prediction, Score, Velocity, expect_prediction
from interpolants.schedule import Schedule
from interpolants.symbols import t
from solvers.errors import PoleError, explain

__all__ = ["Transferred", "TransferredDiffusion", "transfer", "transfer_diffusion"]

Model = Callable[[Any, Array], Array]


def transfer(
    model: Model, from_schedule: Schedule, to_schedule: Schedule, prediction: Prediction = Velocity
) -> Transferred:
    """Return the model as a function of the times and points of another schedule.

    Args:
        model: ``model(time, x)`` → prediction, trained under ``from_schedule``.
        from_schedule: the schedule of the training.
        to_schedule: the schedule under which the result is used.
        prediction: what the model predicts and the result predicts, one of the five.

    Returns:
        A model for ``to_schedule``; its attribute ``valid`` is the interval of times that it answers for.

    Raises:
        TypeError, ValueError: an argument of the wrong kind; no log-SNR that both schedules reach.
    """
    expect_model(model)
    if expect_prediction(prediction, "prediction") not in PREDICTIONS.values():
        raise ValueError(explain(f"one of {', '.join(PREDICTIONS)}", repr(prediction), "convert the output to one"))
    change = _Change(from_schedule, to_schedule)
    limits = {which: change.velocity_at_end(which) for which in change.ends} if prediction is Velocity else {}
    poles = tuple(change.ends[which][0] for which, factors in limits.items() if factors is None)
    return Transferred(model, prediction, change.valid, poles, change, limits)


def transfer_diffusion(w: DiffusionCoefficient, from_schedule: Schedule, to_schedule: Schedule) -> TransferredDiffusion:
    r"""Return :math:`\bar w = k^2\dot t\,w`, whose reverse SDE is that of ``w`` seen through the other schedule.

    :math:`\bar\kappa = k^2\dot t\,\kappa`, so KL() becomes KL() under every schedule; Sigma(), SinSquared() and all
    that is tied to the clock become something else.

    Raises:
        TypeError, ValueError: an argument of the wrong kind; no log-SNR that both schedules reach; a negative w.
    """
    if not isinstance(w, DiffusionCoefficient):
        raise TypeError(explain("a diffusion coefficient w", repr(w), "pass a choice such as diffusion.Sigma()"))
    change, rate = _Change(from_schedule, to_schedule), w.of(from_schedule)
    ours, theirs = (s.expressions["sigma"] * s.expressions["wronskian"] for s in (from_schedule, to_schedule))
    factors = from_schedule.coefficient(rate.expression / ours), to_schedule.coefficient(theirs)
    limits = {
        which: change.product_at_end(which, *(factor.expression for factor in factors)) / float(change.scale(*times))
        for which, times in change.ends.items()
    }
    poles = tuple(change.ends[which][0] for which, limit in limits.items() if not math.isfinite(limit))
    return TransferredDiffusion(f"{w}", change.valid, poles, change, factors, limits)


@dataclass(frozen=True)
class _Change:
    """The map of times from ``target`` to ``source``, and its limits at ends that both reach at log-SNR ±∞."""

    source: Schedule
    target: Schedule

    def __post_init__(self) -> None:
        for schedule in self.pair:
            if not isinstance(schedule, Schedule):
                raise TypeError(explain("a Schedule", repr(schedule), "pass Linear(), GVP(), VP() or Schedule(...)"))
        ranges = _range(self.source), _range(self.target)
        if not min(ranges[0][0], ranges[1][0]) > max(ranges[0][1], ranges[1][1]):
            received = f"{ranges[0]} for {self.source.name}, {ranges[1]} for {self.target.name}"
            raise ValueError(explain("log-SNR ranges that overlap", received, "choose schedules of like noise levels"))

    @property
    def pair(self) -> tuple[Schedule, Schedule]:
        return self.source, self.target

    @cached_property
    def valid(self) -> tuple[float, float]:
        (top, bottom), (top_bar, bottom_bar) = _range(self.source), _range(self.target)
        (lo, hi), time_of = self.target.domain, self.target.time_of_log_snr
        return lo if top_bar <= top else max(lo, time_of(top)), hi if bottom_bar >= bottom else min(hi, time_of(bottom))

    @cached_property
    def ends(self) -> dict[int, tuple[float, float]]:
        """The data end (0) and the noise end (1) where both log-SNRs are infinite: times of target and source."""
        infinite = np.isinf(_range(self.source)) & np.isinf(_range(self.target))
        return {k: pair for k, pair in enumerate(zip(self.target.domain, self.source.domain)) if infinite[k]}

    def scale(self, time_bar: Any, time: Any) -> Any:
        return (_square(self.target, time_bar) / _square(self.source, time)) ** 0.5

    def velocity(self, time_bar: Any, time: Any, speed: Any = None) -> tuple[Any, Any]:
        """Return the factors of x̄ and v in v̄."""
        k = self.scale(time_bar, time)
        if speed is None:
            rates = [s.coefficient(s.expressions["wronskian"]) for s in self.pair]
            speed = rates[1](time_bar) / rates[0](time) / (k * k)
        return _growth(self.target, time_bar) - speed * _growth(self.source, time), k * speed

    def product_at_end(self, which: int, first: Expr, second: Expr) -> float:
        r"""Return the limit of first(t)·second(t̄); NaN where neither r nor 1/r is like a power of the distance d.

        Equal r is :math:`c\,d^p = \bar c\,\bar d^{\bar p}`.
        """
        ratios = ((s, (s.expressions["sigma"] / s.expressions["alpha"]) ** (1 - 2 * which)) for s in self.pair)
        (c, p), (c_bar, p_bar) = (_power_law(*ratio, which) for ratio in ratios)
        (a, m), (b, n) = _power_law(self.source, first, which), _power_law(self.target, second, which)
        if not (p > 0 and p_bar > 0):
            return math.nan
        order = m * p_bar / p + n
        if abs(order) > 1e-9:
            return 0.0 if order > 0 else math.inf
        return float(a * b * (c_bar / c) ** (m / p))

    def velocity_at_end(self, which: int) -> tuple[float, float] | None:
        r"""Return the factors of x̄ and v, or None where v does not determine v̄.

        Where ṫ is infinite, v no longer holds ε̂ (data end) or x̂ (noise end). The answer is known where v̄ does not
        hold it either: :math:`(\dot{\bar\alpha}/\bar\alpha)\bar x` where :math:`\bar\kappa = 0`, since the score is
        finite, and :math:`(\dot{\bar\sigma}/\bar\sigma)\bar x` where :math:`\bar W = 0`.
        """
        times, rates = self.ends[which], [s.expressions["wronskian"] for s in self.pair]
        speed = self.product_at_end(which, 1 / rates[0], rates[1]) / self.scale(*times) ** 2
        finite = (("d_alpha", "kappa"), ("d_alpha", "d_sigma"))[which]  # of which both velocities are made
        limits = [_limit(s, s.expressions[name], which) for s in self.pair for name in finite]
        if math.isnan(speed) or not np.isfinite(limits).all():
            return None
        if math.isfinite(speed):
            return self.velocity(*times, speed)
        kept, lost = (("alpha", "kappa"), ("sigma", "wronskian"))[which]
        row = self.target.expressions
        if _limit(self.target, row[lost], which) != 0:
            return None
        return _limit(self.target, row[f"d_{kept}"] / row[kept], which), 0.0


@dataclass(frozen=True)
class Transferred:
    """A model in the time and scale of another schedule; made by :func:`interpolants.transfer`.

    ``valid`` is the interval of its times; ``poles`` are those ends of it at which the model's velocity does not
    determine the one that is wanted.
    """

    model: Model
    prediction: Prediction
    valid: tuple[float, float]
    poles: tuple[float, ...]
    change: _Change
    limits: dict[int, tuple[float, float] | None]

    def __call__(self, time: Any, x: Array) -> Array:
        """Evaluate at a number or at times of shape (B,), for x of shape (B, …).

        Raises:
            PoleError: a time among ``poles``.
            ValueError: a time outside ``valid``; shapes that do not fit.
        """
        clock = _Clock(self.change, time, f"the transferred {self.prediction}", self.poles)
        k = clock.factor(clock.scale, x)
        given = self.model(clock.give(clock.source_time), x / k)
        expect_shape(given, x)
        if self.prediction in (Data, Noise):
            return given
        if self.prediction is not Velocity:
            return given / k if self.prediction is Score else k * given
        at_x, at_v = (
            clock.factor(clock.with_ends(value, {end: pair[k] for end, pair in self.limits.items() if pair}), x)
            for k, value in enumerate(self.change.velocity(clock.inside, clock.found))
        )
        return at_x * x + at_v * given


@dataclass(frozen=True)
class TransferredDiffusion:
    r"""The coefficient :math:`\bar w(\bar t) = k^2\dot t\,w(t)`; made by :func:`interpolants.transfer_diffusion`.

    Computed as :math:`(w/\sigma W)(t)\cdot(\bar\sigma\bar W)(\bar t)/k`. ``valid`` is the interval of its times;
    ``poles`` are those ends of it at which it is infinite.
    """

    name: str
    valid: tuple[float, float]
    poles: tuple[float, ...]
    change: _Change
    factors: tuple[Coefficient, Coefficient]
    limits: dict[int, float]

    def __call__(self, time: Any) -> Any:
        """Evaluate at a number or an array; PoleError at ``poles``, ValueError outside ``valid``."""
        clock = _Clock(self.change, time, f"the transferred w = {self.name}", self.poles)
        value = self.factors[0](clock.found) * self.factors[1](clock.inside) / clock.scale
        return clock.give(clock.with_ends(value, self.limits))


class _Clock:
    """The times of one call: checked, in float64, matched; and the way back to the caller's kind of number."""

    def __init__(self, change: _Change, time: Any, label: str, poles: tuple[float, ...]):
        self.change, self._is_number = change, namespace(time) is None
        self._given = np.asarray([time], np.float64) if self._is_number else time
        xp: Any = namespace(self._given)
        self._xp, self.time = xp, self._given if xp.__name__.startswith("jax") else _cast(self._given, xp.float64)
        lo, hi = change.valid
        if not bool(((self.time >= lo) & (self.time <= hi)).all()):
            expected = f"t in [{lo:.17g}, {hi:.17g}] for {label} from {change.source.name} to {change.target.name}"
            received = f"{time:.17g}" if self._is_number else f"{float(time.min()):.17g} to {float(time.max()):.17g}"
            raise ValueError(explain(expected, received, "stay where both schedules have the log-SNR"))
        for pole in poles:
            if bool((self.time == pole).any()):
                remedy = "stay away from that end; of a velocity model, transfer the noise or the data prediction"
                raise PoleError(explain(f"a time where {label} is known and finite", f"t = {pole:g}", remedy))
        self.inside = self.with_ends(self.time, dict.fromkeys(change.ends, 0.5 * (lo + hi)))
        # No time inside may be rounded to an end of infinite log-SNR.
        (lo, hi), open_ends = change.source.domain, change.ends
        inner = (math.nextafter(lo, hi) if 0 in open_ends else lo, math.nextafter(hi, lo) if 1 in open_ends else hi)
        self.found = xp.clip(change.source.time_of_log_snr(change.target.log_snr(self.inside)), *inner)
        self.source_time = self.with_ends(self.found, {which: ends[1] for which, ends in change.ends.items()})
        self.scale = change.scale(self.time, self.source_time)

    def with_ends(self, value: Any, limits: dict[int, float]) -> Any:
        for which, limit in limits.items():
            value = self._xp.where(self.time == self.change.ends[which][0], limit, value)
        return value

    def give(self, value: Any) -> Any:
        """Return a float for a number; for an array its own type, or float32 where that is half or whole numbers."""
        if self._is_number:
            return float(value[0])
        return _cast(value, self._xp.promote_types(self._given.dtype, self._xp.float32))

    def factor(self, value: Any, x: Array) -> Any:
        """Return a factor of x, of x's own type."""
        return float(value[0]) if self._is_number else pad(_cast(value, x.dtype), x)


def _cast(value: Any, dtype: Any) -> Any:
    return value.to(dtype) if hasattr(value, "to") and not isinstance(value, np.ndarray) else value.astype(dtype)


def _range(schedule: Schedule) -> tuple[float, ...]:
    """Return the log-SNR at the data end and at the noise end."""
    return tuple(end.limit for end in schedule.coefficient(schedule.expressions["log_snr"]).ends)


def _limit(schedule: Schedule, expression: Expr, which: int) -> float:
    return schedule.coefficient(expression).ends[which].limit


def _square(schedule: Schedule, time: Any) -> Any:
    return schedule.alpha(time) ** 2 + schedule.sigma(time) ** 2


def _growth(schedule: Schedule, time: Any) -> Any:
    """Return M/N = (αα̇ + σσ̇)/N; the product σσ̇ is finite where σ̇ is not."""
    products = (schedule.expressions[name] * schedule.expressions[f"d_{name}"] for name in ("alpha", "sigma"))
    return sum(schedule.coefficient(product)(time) for product in products) / _square(schedule, time)


def _power_law(schedule: Schedule, expression: Expr, which: int) -> tuple[float, float]:
    """Return (c, p) where the expression is like c·dᵖ at distance d from the end."""
    order = schedule.coefficient(expression).ends[which].order
    distance = (t - schedule.exact_domain[0], schedule.exact_domain[1] - t)[which]
    return _limit(schedule, expression / distance ** Rational(round(12 * order), 12), which), order
