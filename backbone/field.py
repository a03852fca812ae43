r"""A network with its labels fixed: the callable ``field(time, x)`` that schedules and solvers take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from backbone.inputs import Time, check_labels, time_vector
from backbone.model import SiT
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants.guidance import Guidance

__all__ = ["Field", "bind"]

Field: TypeAlias = Callable[[Time, Tensor], Tensor]


def bind(model: SiT, y: Tensor | int | None = None, guidance: Guidance | float | None = None) -> Field:
    r"""Fix the labels of a network: :math:`(t, x) \mapsto v(x, t, y)`, the order of arguments of the mathematics.

    With guidance the prediction for the labels is combined with that for the null class; both come from one evaluation
    of a doubled batch. At a number as time where the guidance is not active (a scale of 1, outside an interval) it is
    the conditional field, and costs nothing extra.

    No label is ever dropped and no gradient is stopped; the mode of the model does not matter.

    Args:
        model: the network.
        y: labels (N,), int64, or one label for every image; None is the null class.
        guidance: one of :mod:`interpolants.guidance`; a finite number :math:`g` is classifier-free guidance over all
            channels, :math:`v_u + g\,(v_y - v_u)`; None is none. With momentum the field is for one solve.

    Returns:
        ``field(time, x)`` with time a number, a 0-d tensor or (N,), and x (N, C, H, W); a number becomes a float32
        tensor (N,) on the device of x.

    Raises:
        TypeError: not a guidance; :class:`interpolants.guidance.Autoguidance`, for which a second network is needed.
        ValueError: labels out of range or of another length than the batch, or a guidance scale that is not finite.

    References: Ho & Salimans, Classifier-Free Diffusion Guidance (2022), arXiv:2207.12598, equation 6 with
    g = w + 1.
    """
    null, index = model.config.null_class, model.config.timesteps is not None
    y = null if y is None else y
    if isinstance(y, int):
        check_labels(torch.tensor([y]), 1, null, values=True)
    else:
        # Once per solve, so a device may synchronise here: out of range would be an unreadable assertion in a kernel.
        check_labels(y, None, null, values=True)

    def labels(x: Tensor) -> Tensor:
        if isinstance(y, int):
            return torch.full((x.shape[0],), y, dtype=torch.int64, device=x.device)
        if y.shape[0] != x.shape[0]:
            raise ValueError(
                explain(
                    f"a batch of {y.shape[0]} images, as many as the labels given to bind",
                    f"x of shape {tuple(x.shape)}",
                    "bind the labels of this batch, or one int for a batch of any size",
                )
            )
        return y.to(x.device)

    def keep(count: int, x: Tensor) -> Tensor:
        return torch.zeros(count, dtype=torch.bool, device=x.device)

    def conditional(time: Time, x: Tensor) -> Tensor:
        out: Tensor = model(x, time_vector(time, x, index=index), labels(x), drop_labels=keep(x.shape[0], x))
        return out

    if guidance is None:
        return conditional
    rule = _expect_null(guidance)

    def guided(time: Time, x: Tensor) -> Tensor:
        if not rule.active(time):
            return conditional(time, x)
        y_N, time_N = labels(x), time_vector(time, x, index=index)
        both = torch.cat([y_N, torch.full_like(y_N, null)])
        out = model(torch.cat([x, x]), torch.cat([time_N, time_N]), both, drop_labels=keep(2 * x.shape[0], x))
        combined: Tensor = rule.combine(time_N if isinstance(time, Tensor) else time, x, *out.chunk(2))
        return combined

    return guided


def _expect_null(guidance: object) -> Guidance:
    """Return a guidance, started for one solve, that asks for the null class and not for another network."""
    from interpolants.guidance import Autoguidance, as_guidance

    rule = as_guidance(guidance)
    if isinstance(rule, Autoguidance):
        remedy = "guided(bind(model, y), bind(worse, y), guidance), or ClassifierFree for the null class"
        raise TypeError(explain("a guidance by the null class", repr(guidance), remedy))
    return rule.started()
