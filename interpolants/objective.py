r"""What a network is trained on: points :math:`x_t`, targets, weights and times.

.. math::
   \min_\theta\; \mathbb E_{t, x_{\mathrm{data}}, \varepsilon}\; w(t)\,|p_\theta(x_t, t) - p|^2, \qquad
   x_t = \alpha_t x_{\mathrm{data}} + \sigma_t\varepsilon, \qquad p = a_t x_{\mathrm{data}} + b_t\varepsilon

with the row (a, b) of the prediction. The score's loss is :math:`|\sigma_t s_\theta + \varepsilon|^2`, with
:math:`-\varepsilon` as the target: the score itself, −ε/σ, is infinite at t = 0, this is not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from interpolants.coefficient import Array, Coefficient, namespace, pad
from interpolants.combination import expect_array
from interpolants.prediction import Prediction, Velocity, expect_prediction
from interpolants.prior import standard_normal
from interpolants.schedule import Schedule
from interpolants.times.law import Law, Times
from interpolants.times.plain import Uniform
from interpolants.weights import Uniform as Plain
from interpolants.weights import Weight, expect_weight, scale
from solvers.errors import explain

__all__ = ["Batch", "Objective"]


class Batch(NamedTuple):
    """What one step trains on; all but ``time`` have shape (B, …)."""

    time: Array
    x_t: Array
    target: Array
    x_data: Array
    noise: Array


@dataclass(frozen=True)
class Objective:
    r"""A training objective: :meth:`sample` makes the batch, :meth:`loss` compares the output with the target.

    >>> import numpy as np
    >>> from interpolants import Linear, Objective
    >>> objective, rng = Objective(Linear()), np.random.default_rng(0)
    >>> batch = objective.sample(np.ones((4, 2)), rng)
    >>> float(objective.loss(batch.noise - 1, batch.target, batch.time))
    0.0

    Args:
        schedule: any :class:`Schedule`.
        prediction: what the network predicts.
        weight: a choice of :mod:`interpolants.weights`.
        times: a choice of :mod:`interpolants.times`, the density from which times are drawn.
        measure: the density over which the loss is averaged. Where it differs from that of ``times`` every loss is
            multiplied by the ratio of the two, and its mean does not depend on ``times``. Absent, it is ``times``
            itself (whose density then acts as a weight), and for ``Importance`` uniform.
        check: look for NaN and infinity in the data and for times outside the domain: one pass over the batch and, for
            tensors on a device, one synchronisation a step.

    numpy in, numpy out; torch in, torch out. Times, :math:`x_t`, targets and losses are float32 or better, whatever the
    network computes in.

    Raises:
        TypeError: something else than a schedule, a prediction, a weight or times.
        ValueError: a weight that is negative somewhere; times whose expected loss is infinite, because a weight or a
            target grows too fast towards an end (velocity under VP at t = 0, whose remedy is
            ``times.Uniform(1e-5, 1)``); a measure that ``times`` does not cover.

    References: Ma et al. (2024), arXiv 2401.08740, §2.2; the weights and times name their own.
    """

    schedule: Schedule
    prediction: Prediction = Velocity
    weight: Weight = field(default_factory=Plain)
    times: Times = field(default_factory=Uniform)
    measure: Times | None = None
    check: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            raise TypeError(explain("a Schedule", repr(self.schedule), "pass Linear(), GVP(), VP() or Schedule(...)"))
        expect_prediction(self.prediction, "prediction")
        expect_weight(self.weight)
        for value in (self.times, self.measure or self.times):
            if not isinstance(value, Times):
                raise TypeError(
                    explain("times", repr(value), "pass a choice from interpolants.times: LogitNormal(0, 1)")
                )
        self._expect_covered()
        self._expect_integrable()

    @cached_property
    def row(self) -> tuple[Coefficient, Coefficient]:
        """The factors of the data and of the noise in the target."""
        size = scale(self.schedule, self.prediction)
        a, b = (self.schedule.coefficient(size * part) for part in self.prediction.row(self.schedule))
        return a, b

    @cached_property
    def weighting(self) -> Coefficient:
        """The weight of the prediction's own loss as a function of time."""
        return self.weight.of(self.schedule, self.prediction)

    @property
    def law(self) -> Law:
        """The law from which times are drawn now."""
        return self.times.of(self.schedule)

    @property
    def averaged(self) -> Law | None:
        """The law over which the loss is averaged; None where it is that of the times."""
        measure = self.measure or self.times.measure
        return None if measure is None else measure.of(self.schedule)

    def sample(self, x_data: Array, rng: Any) -> Batch:
        """Draw times and noise for a batch of data.

        Args:
            x_data: shape (B, …).
            rng: a numpy or torch generator, or a jax key, of the library of ``x_data``. A torch generator of the host
                serves data on any device.
        """
        self._expect_data(x_data)
        draws = _split(rng)
        x_data = _at_least_float32(x_data)
        noise = _like(_normal(tuple(x_data.shape), draws[0], x_data), x_data)
        time = _like(self.law.sample(x_data.shape[0], draws[1], x_data.dtype), x_data)
        return self.at(x_data, noise, time)

    def at(self, x_data: Array, noise: Array, time: Any) -> Batch:
        """Return the batch of given data and noise, such as those of :func:`couple`, at given times (B,)."""
        self._expect_data(x_data)
        x_data, noise = _at_least_float32(x_data), _at_least_float32(noise)
        if tuple(noise.shape) != tuple(x_data.shape):
            received = f"shape {tuple(noise.shape)}"
            raise ValueError(explain(f"noise of the shape {tuple(x_data.shape)} of the data", received, "draw it so"))
        if not isinstance(time, (float, int)):
            time = _at_least_float32(time)
            self._expect_times(time)
        alpha, sigma = self.schedule.quantity("alpha"), self.schedule.quantity("sigma")
        x_t = _combine(alpha, sigma, time, x_data, noise)
        return Batch(time, x_t, _combine(*self.row, time, x_data, noise), x_data, noise)

    def integrand(self, output: Array, target: Array, time: Any) -> Array:
        """Return the weighted squared error of every sample, the mean over its own axes; shape (B,).

        Args:
            output: what the network returned, shape (B, …).
            target: ``batch.target``, of the same shape.
            time: ``batch.time``.

        Raises:
            TypeError: an output that is no array, such as a tuple.
            ValueError: shapes that differ.
        """
        expect_array(output)
        if tuple(output.shape) != tuple(target.shape) or output.ndim < 1:
            remedy = "return one prediction of the shape of x_t (for learned variances, its first half)"
            received = f"{tuple(output.shape)} for a target of {tuple(target.shape)}"
            raise ValueError(explain(f"an output of shape {tuple(target.shape)}", received, remedy))
        size = scale(self.schedule, self.prediction)
        if size != 1:
            output = pad(self.schedule.coefficient(size)(time), output) * output
        squares = ((output - target) ** 2).reshape(output.shape[0], -1).mean(1)
        weighting = self.weighting
        return squares if weighting.expression == 1 else weighting(time) * squares

    def losses(self, output: Array, target: Array, time: Any) -> Array:
        """Return :meth:`integrand`, each divided by its density where that is due; shape (B,)."""
        losses, averaged = self.integrand(output, target, time), self.averaged
        return losses if averaged is None else losses * averaged.pdf(time) / self.law.pdf(time)

    def loss(self, output: Array, target: Array, time: Any) -> Array:
        """Return the mean of :meth:`losses` over the batch."""
        return self.losses(output, target, time).mean()

    def __call__(self, model: Callable[[Any, Any], Any], x_data: Array, rng: Any) -> Array:
        """Return the loss of ``model(time, x)`` on a batch of data."""
        batch = self.sample(x_data, rng)
        return self.loss(model(batch.time, batch.x_t), batch.target, batch.time)

    def _expect_covered(self) -> None:
        drawn, averaged = self.law.support, self.averaged
        if averaged is not None and not drawn[0] <= averaged.support[0] < averaged.support[1] <= drawn[1]:
            remedy = "draw from all times that the loss is averaged over"
            raise ValueError(explain(f"times that cover {averaged!r}", repr(self.law), remedy))

    def _expect_integrable(self) -> None:
        """Refuse weights and targets that make the mean loss of a bounded network infinite."""
        law = self.averaged or self.law
        lo, hi = law.support
        steps = (hi - lo) * np.asarray([1e-5, 1e-7])
        for end, times in ((lo, lo + steps), (hi, hi - steps)):
            if end not in self.schedule.domain:
                continue
            with np.errstate(all="ignore"):
                sizes = sum((part(times) ** 2 for part in self.row), np.ones(2))
                values = law.pdf(times) * self.weighting(times) * sizes
                growth = np.log(values[1] / values[0]) / np.log(100.0)
            if growth > 0.98 and values[1] > 1:
                received = f"{self.prediction} with {self.weight}, growing like |t - {end:g}|^{-growth:.2g}"
                ends = f"Uniform({max(lo, 1e-5 if end == lo else lo):g}, {hi if end == lo else hi - 1e-3:g})"
                remedy = f"leave the end out, say times={ends}, or choose another prediction or weight"
                raise ValueError(explain(f"a finite mean loss under {self.schedule.name}", received, remedy))

    def _expect_data(self, x_data: Array) -> None:
        module = namespace(x_data)
        if module is None or x_data.ndim < 1 or not len(x_data):
            received = type(x_data).__name__ if module is None else f"shape {tuple(x_data.shape)}"
            raise ValueError(explain("data of shape (B, …) with B >= 1", received, "add a batch axis"))
        if self.check and not bool(module.isfinite(x_data).all()):
            raise ValueError(explain("finite data", "NaN or infinity", "look at the batch"))

    def _expect_times(self, time: Array) -> None:
        lo, hi = self.schedule.domain
        if self.check and not bool(((time >= lo) & (time <= hi)).all()):
            received = f"times from {float(time.min()):g} to {float(time.max()):g}"
            raise ValueError(explain(f"times in [{lo:g}, {hi:g}]", received, "use the schedule's own clock"))


def _combine(first: Coefficient, second: Coefficient, time: Any, x_data: Array, noise: Array) -> Array:
    """Return first·x_data + second·noise without the terms that are zero."""
    terms = [pad(part(time), x) * x for part, x in ((first, x_data), (second, noise)) if part.expression != 0]
    return sum(terms[1:], terms[0])


def _split(rng: Any) -> tuple[Any, Any]:
    """Return a generator twice; a jax key in two."""
    jax = sys.modules.get("jax")
    return tuple(jax.random.split(rng)) if jax is not None and isinstance(rng, jax.Array) else (rng, rng)


def _normal(shape: tuple[int, ...], rng: Any, like: Array) -> Array:
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(rng, jax.Array):
        return jax.random.normal(rng, shape, like.dtype)
    noise = standard_normal(shape, rng)
    module = namespace(like)
    if module is not namespace(noise):
        received = f"{type(rng).__module__}.{type(rng).__name__} for {type(like).__name__}"
        raise TypeError(explain("a generator of the library of the data", received, "numpy, torch and jax keep apart"))
    return noise


def _like(values: Array, x: Array) -> Array:
    """Return ``values`` in the type and place of ``x``."""
    return values.to(x.device, x.dtype) if hasattr(x, "device") and hasattr(x, "to") else values.astype(x.dtype)


def _at_least_float32(values: Array) -> Array:
    """Return half precision and integers as float32."""
    module = namespace(values)
    if module is not None and module.__name__ == "torch":
        return values if values.dtype in (module.float32, module.float64) else values.to(module.float32)
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)
