r"""The derivative along a trajectory, by forward mode: what every continuous few-step identity is made of.

.. math:: \frac{d}{dt}u(x_t, r, t) = \partial_t u + \dot x\cdot\nabla u

with the start r held. Tangents are in the dtype of x and t, float32 or better, whatever autocast says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.func import jvp

from backbone.inputs import Time

__all__ = ["AverageVelocity", "Velocity", "along", "average_along"]

AverageVelocity: TypeAlias = Callable[[Time, Time, Tensor], Tensor]
"""``u(start, time, x)`` with start r and time t of shape (N,) and x of shape (N, …)."""
Velocity: TypeAlias = Callable[[Time, Tensor], Tensor]
"""``v(time, x)``."""


def along(velocity: Velocity, time: Tensor, x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return v(t, x) and :math:`(\partial_t + \dot x\cdot\nabla)v`, for :math:`\dot x` = ``direction``.

    Args:
        velocity: any function of time and state, of independent samples.
        time: t, (N,).
        x: (N, …).
        direction: :math:`\dot x`, like x.
    """
    found = jvp(velocity, (time, x), (torch.ones_like(time), direction))
    return found[0], found[1]


def average_along(
    average: AverageVelocity, start: Tensor, time: Tensor, x: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return u(r, t, x) and :math:`(\partial_t + \dot x\cdot\nabla)u`, the start r held."""
    return along(lambda t, z: average(start, t, z), time, x, direction)
