"""From two models and a guidance to one model that a solver integrates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interpolants.coefficient import Array
from interpolants.combination import expect_model
from interpolants.guidance.linear import ClassifierFree
from interpolants.guidance.rule import Guidance, Scale
from solvers.errors import explain

__all__ = ["as_guidance", "classifier_free", "guided"]

Model = Callable[[Any, Array], Array]


def guided(conditional: Model, unconditional: Model, guidance: Guidance | float) -> Model:
    """Return ``model(time, x)`` of a guidance, with the prediction of the models that it combines.

    Where the guidance is not active only the conditional model is evaluated.

    Args:
        conditional: ``model(time, x)``, any of the five predictions unless the guidance says which.
        unconditional: the same prediction without the condition, or of a weaker model.
        guidance: how to combine the two; a number is the scale of :class:`ClassifierFree`.

    Raises:
        TypeError: a model that cannot be called; not a guidance.
    """
    expect_model(conditional)
    expect_model(unconditional)
    rule = as_guidance(guidance).started()

    def model(time: Any, x: Array) -> Array:
        prediction = conditional(time, x)
        if not rule.active(time):
            return prediction
        return rule.combine(time, x, prediction, unconditional(time, x))

    return model


def classifier_free(conditional: Model, unconditional: Model, scale: Scale) -> Model:
    r"""Return :math:`v^\zeta = v_u + \zeta(v_c - v_u)` as a model of the same prediction: :class:`ClassifierFree`.

    A scale of 1 is the conditional model and 0 the unconditional one, each without a call of the other.

    Args:
        conditional: ``model(time, x)``, any of the five predictions.
        unconditional: the same prediction without the condition.
        scale: :math:`\zeta`, a finite number, or a function of time.

    Raises:
        TypeError: a model that cannot be called.
        ValueError: a scale that is not finite.

    References: Ho & Salimans (2022), arXiv 2207.12598, eq. 6; Ma et al. (2024), arXiv 2401.08740, §2.5.
    """
    model = guided(conditional, unconditional, ClassifierFree(scale))
    return unconditional if scale == 0 else model


def as_guidance(guidance: object) -> Guidance:
    """Return a guidance; a number is the scale of :class:`ClassifierFree`."""
    if isinstance(guidance, Guidance):
        return guidance
    if isinstance(guidance, (int, float)):
        return ClassifierFree(guidance)
    remedy = "pass a number, or ClassifierFree(...), APG(...), ... of interpolants.guidance"
    raise TypeError(explain("a guidance, or a finite number as scale", repr(guidance), remedy))
