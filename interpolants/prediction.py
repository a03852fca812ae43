r"""What a network predicts, and how to turn any prediction into any other.

Every prediction is a row :math:`(a, b)`: :math:`p = a\,x_{\mathrm{data}} + b\,\varepsilon`. Beside
:math:`x_t = \alpha x_{\mathrm{data}} + \sigma\varepsilon` that is one 2×2 system, so any linear quantity
:math:`c\,x_{\mathrm{data}} + d\,\varepsilon` is :math:`A x_t + B p` with

.. math:: A = \frac{bc - ad}{D}, \qquad B = \frac{\alpha d - \sigma c}{D}, \qquad D = \alpha b - \sigma a.

The determinant :math:`D` says where a conversion is singular. Taking conditional expectations, the same holds for the
predictions of the optimal network (Ma et al. 2024, arXiv 2401.08740, eq. 8–10).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sympy import Expr, Integer

from interpolants.coefficient import Array
from interpolants.combination import Combination, solve_row
from interpolants.schedule import Schedule
from solvers.errors import explain

__all__ = ["PREDICTIONS", "Data", "Noise", "Prediction", "Score", "VPrediction", "Velocity", "conversion", "convert"]

Row = tuple[Expr, Expr]


@dataclass(frozen=True)
class Prediction:
    """A quantity that is linear in data and noise: its name and its row (a, b) under a schedule."""

    name: str
    row: Callable[[Schedule], Row]

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Copy and pickle a prediction of this module as what it is, for its row is a function without a name."""
        return self.name if PREDICTIONS.get(self.name) is self else (type(self), (self.name, self.row))


Velocity = Prediction("Velocity", lambda s: (s.expressions["d_alpha"], s.expressions["d_sigma"]))
r"""The velocity :math:`v = \dot\alpha x_{\mathrm{data}} + \dot\sigma\varepsilon`, what SiT predicts."""

Score = Prediction("Score", lambda s: (Integer(0), -1 / s.expressions["sigma"]))
r"""The score :math:`s = \nabla\log p_t = -\mathbb E[\varepsilon|x]/\sigma`."""

Noise = Prediction("Noise", lambda s: (Integer(0), Integer(1)))
r"""The noise :math:`\varepsilon`, what DDPM and DiT predict."""

Data = Prediction("Data", lambda s: (Integer(1), Integer(0)))
r"""The data :math:`x_{\mathrm{data}}`, the denoiser."""

VPrediction = Prediction("VPrediction", lambda s: (-s.expressions["sigma"], s.expressions["alpha"]))
r"""The v-prediction :math:`\alpha\varepsilon - \sigma x_{\mathrm{data}}` (Salimans & Ho 2022, arXiv 2202.00512)."""

PREDICTIONS = {p.name: p for p in (Velocity, Score, Noise, Data, VPrediction)}


def expect_prediction(value: object, argument: str) -> Prediction:
    """Return ``value`` if it is a prediction; a string or a class is answered with the list of choices."""
    if isinstance(value, Prediction):
        return value
    choices = ", ".join(PREDICTIONS)
    remedy = f"pass {argument}={next(iter(PREDICTIONS))} (imported from interpolants), not its name"
    raise TypeError(explain(f"a prediction, one of {choices}", repr(value), remedy))


def conversion(schedule: Schedule, source: Prediction, to: Prediction) -> Combination:
    """Return the combination A(t)·x + B(t)·prediction that turns ``source`` into ``to``."""
    return _conversion(schedule, expect_prediction(source, "source"), expect_prediction(to, "to"))


@lru_cache(maxsize=1024)
def _conversion(schedule: Schedule, source: Prediction, to: Prediction) -> Combination:
    return solve_row(schedule, to.row(schedule), source.row(schedule), f"{source} to {to}")


def convert(prediction: Array, time: Any, x: Array, schedule: Schedule, *, source: Prediction, to: Prediction) -> Array:
    """Turn one prediction into another.

    Args:
        prediction: the network's output, shape (B, …).
        time: a number, or an array of shape (B,); padded on the right.
        x: the point x_t at which the prediction was made, shape (B, …).
        schedule: the schedule of x_t.
        source: what ``prediction`` is.
        to: what is wanted.

    Returns:
        ``to`` at the same points, shape (B, …).

    Raises:
        PoleError: a number as time at which the conversion is singular (an array of times gives ±inf).
        TypeError: ``source`` or ``to`` is not a prediction.
        ValueError: the shapes do not fit.
    """
    return conversion(schedule, source, to)(time, x, prediction)
