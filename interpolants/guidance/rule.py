"""What every guidance has, and the scale that most of them share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from interpolants.coefficient import Array, pad
from interpolants.combination import expect_shape
from solvers.arrays import cast
from solvers.errors import explain

__all__ = ["Guidance", "Scale", "check_scale", "is_number", "moves", "scale_at"]

Scale: TypeAlias = float | Callable[[Any], Any]


class Guidance:
    """A combination of a prediction with a weaker one, to be integrated in place of the first."""

    def active(self, time: Any) -> bool:
        """Whether the weaker prediction is needed at a time; of an array of times, always."""
        return True

    def combine(self, time: Any, x: Array, conditional: Array, unconditional: Array) -> Array:
        """Return the guided prediction.

        Args:
            time: a number, or one time per sample, shape (B,).
            x: the point, shape (B, …); channels come next after the samples.
            conditional: the prediction at x of the model that is wanted, of the shape of x.
            unconditional: that of the model without the condition, or of the weaker one.

        Returns:
            an array of the shape of x and the dtype of ``conditional``.

        Raises:
            ValueError: predictions of another shape than x.
        """
        expect_shape(conditional, x)
        expect_shape(unconditional, x)
        return cast(self._mix(time, x, conditional, unconditional), conditional.dtype)

    def started(self) -> Guidance:
        """Return the guidance for one solve: itself, unless it remembers earlier evaluations."""
        return self

    def _mix(self, time: Any, x: Array, conditional: Array, unconditional: Array) -> Array:
        raise NotImplementedError


def is_number(time: Any) -> bool:
    """Whether a time is one number on the host, of which questions can be asked without waiting for a device."""
    return isinstance(time, (int, float))


def check_scale(scale: object) -> None:
    """Refuse what is neither a finite number nor a function of time."""
    finite = isinstance(scale, (int, float)) and not isinstance(scale, bool) and math.isfinite(scale)
    if not finite and not callable(scale):
        wanted = "a finite number as scale, or a function of time"
        raise ValueError(explain(wanted, repr(scale), "1 is no guidance, 1.5 to 4 are common"))


def moves(scale: Scale, time: Any) -> bool:
    """Whether a scale is not 1 at a time; of a function and an array of times, always."""
    return (callable(scale) and not is_number(time)) or bool(scale_at(scale, time, None) != 1.0)


def scale_at(scale: Scale, time: Any, x: Array) -> Any:
    """Return the scale at a time: a float, or for an array of times one value per sample, ready to multiply x."""
    value = scale(time) if callable(scale) else scale
    if is_number(time) or is_number(value):
        # A Python float, for a numpy scalar would turn float32 into float64.
        value = float(value)
        if not math.isfinite(value):
            remedy = "choose a scale that is finite where the solver evaluates"
            raise ValueError(explain("a finite number as scale at every time", f"{value} at {time!r}", remedy))
        return value
    return pad(value, x)
