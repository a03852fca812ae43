"""Problems whose solution is known without any solver of ours.

Deterministic fields are nonlinear and depend on time, for a linear or autonomous one hides errors in the nodes. Their
references come from a closed form or from scipy's DOP853 at its finest tolerance. The stochastic problem is linear
with additive noise, so its mean and variance follow two ordinary equations that scipy solves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

Vector = Any


@dataclass(frozen=True)
class Field:
    """A field with a start, an interval and a way to know the end."""

    name: str
    drift: Callable[[float, Vector], Vector]
    x0: np.ndarray
    start: float
    stop: float
    closed_form: Callable[[float, np.ndarray, float], np.ndarray] | None = None

    def exact(self) -> np.ndarray:
        """Return the state at ``stop`` to about 1e-13."""
        if self.closed_form is not None:
            return self.closed_form(self.start, self.x0, self.stop)
        span = (self.start, self.stop)
        found = solve_ivp(self.drift, span, self.x0, method="DOP853", rtol=1e-13, atol=1e-14)
        return found.y[:, -1]


def _logistic(time: float, x: Vector) -> Vector:
    """x' = e^t x (1 − x): separable."""
    return math.exp(time) * x * (1.0 - x)


def _logistic_exact(start: float, x0: np.ndarray, stop: float) -> np.ndarray:
    growth = math.exp(math.exp(stop) - math.exp(start))
    return x0 * growth / (1.0 - x0 + x0 * growth)


def _riccati(time: float, x: Vector) -> Vector:
    """x' = −2t x²: 1/x grows as t²."""
    return -2.0 * time * x * x


def _riccati_exact(start: float, x0: np.ndarray, stop: float) -> np.ndarray:
    return 1.0 / (1.0 / x0 + stop**2 - start**2)


def _swing(time: float, x: Vector) -> Vector:
    """A driven, damped pendulum: (angle, speed)."""
    angle, speed = x[0], x[1]
    parts = [speed, -2.0 * np.sin(angle) - 0.3 * speed * speed * speed + math.cos(2.0 * time)]
    return np.stack(parts)


def _both_ways(name, drift, x0, closed_form=None) -> list[Field]:
    x0 = np.asarray(x0, dtype=np.float64)
    return [
        Field(f"{name}-rising", drift, x0, 0.0, 1.0, closed_form),
        Field(f"{name}-falling", drift, x0, 1.0, 0.0, closed_form),
    ]


FIELDS: list[Field] = [
    *_both_ways("logistic", _logistic, [0.3, 0.8], _logistic_exact),
    *_both_ways("riccati", _riccati, [0.5, 0.8], _riccati_exact),
    *_both_ways("swing", _swing, [0.7, -0.4]),
]


@dataclass(frozen=True)
class LinearSDE:
    """dX = (a(t) X + b(t)) dt + g(t) dW in one dimension; ``integral_a`` is a primitive of a."""

    name: str
    a: Callable[[float], float]
    integral_a: Callable[[float], float]
    b: Callable[[float], float]
    g: Callable[[float], float]
    mean: float = 0.8
    variance: float = 0.5

    def drift(self, time: float, x: Vector) -> Vector:
        return self.a(time) * x + self.b(time)

    def moments(self, start: float, stop: float) -> tuple[float, float]:
        """Return mean and variance at ``stop``, from the equations of the moments in the direction of travel."""
        sign = math.copysign(1.0, stop - start)

        def rates(time: float, y: np.ndarray) -> list[float]:
            return [self.a(time) * y[0] + self.b(time), 2.0 * self.a(time) * y[1] + sign * self.g(time) ** 2]

        span, y0 = (start, stop), [self.mean, self.variance]
        found = solve_ivp(rates, span, y0, method="DOP853", rtol=1e-13, atol=1e-14)
        return float(found.y[0, -1]), float(found.y[1, -1])


LINEAR_SDES: list[LinearSDE] = [
    LinearSDE(
        "relaxing",
        a=lambda t: -1.0 - math.cos(3.0 * t),
        integral_a=lambda t: -t - math.sin(3.0 * t) / 3.0,
        b=lambda t: math.sin(2.0 * t),
        g=lambda t: 1.0 + 0.5 * math.sin(4.0 * t),
    ),
    LinearSDE(
        "growing",
        a=lambda t: 1.0 + t * t,
        integral_a=lambda t: t + t**3 / 3.0,
        b=lambda t: 0.5 - t,
        g=lambda t: math.exp(-t),
    ),
]


def slope(steps: list[int], errors: list[float]) -> float:
    """Return the order that a least-squares line through (log n, log error) shows."""
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])
