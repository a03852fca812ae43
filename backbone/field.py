r"""A network with its labels fixed: the callable ``field(time, x)`` that schedules and solvers take."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from backbone.inputs import Time, check_labels, time_vector
from backbone.model import SiT
from solvers.errors import explain

__all__ = ["Field", "bind"]

Field: TypeAlias = Callable[[Time, Tensor], Tensor]


def bind(model: SiT, y: Tensor | int | None = None, guidance: float | None = None) -> Field:
    r"""Fix the labels of a network: :math:`(t, x) \mapsto v(x, t, y)`, the order of arguments of the mathematics.

    With a guidance scale :math:`g` the field is :math:`v_u + g\,(v_y - v_u)` over all channels, :math:`v_u` being the
    prediction for the null class; both come from one evaluation of a doubled batch. :math:`g = 1` is the conditional
    field and costs nothing extra.

    No label is ever dropped and no gradient is stopped; the mode of the model does not matter.

    Args:
        model: the network.
        y: labels (N,), int64, or one label for every image; None is the null class.
        guidance: :math:`g`, finite; None is no guidance.

    Returns:
        ``field(time, x)`` with time a number, a 0-d tensor or (N,), and x (N, C, H, W); a number becomes a float32
        tensor (N,) on the device of x.

    Raises:
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
    if guidance is not None and not math.isfinite(guidance):
        raise ValueError(explain("a finite guidance scale", str(guidance), "1.0 is no guidance, SiT reports with 1.5"))

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

    def guided(time: Time, x: Tensor) -> Tensor:
        y_N, time_N = labels(x), time_vector(time, x, index=index)
        both = torch.cat([y_N, torch.full_like(y_N, null)])
        out = model(torch.cat([x, x]), torch.cat([time_N, time_N]), both, drop_labels=keep(2 * x.shape[0], x))
        v_y, v_u = out.chunk(2)
        return torch.lerp(v_u, v_y, float(guidance or 0.0))

    return conditional if guidance is None or guidance == 1 else guided
