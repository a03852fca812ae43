r"""Improved MeanFlow: a regression of the velocity, through an average.

.. math:: V = u + (t - r)\,\mathrm{sg}\bigl[(\partial_t + \hat v\cdot\nabla)u\bigr], \qquad \hat v = u(x, t, t)

is the velocity where u is exact. It is compared with the velocity of a sample, which enters nothing else: the target
does not depend on the network, and the tangent is what the network predicts, a function of :math:`x_t` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backbone.few_step.along import AverageVelocity, average_along
from backbone.few_step.intervals import IntervalLoss, sum_of_squares
from interpolants.coefficient import pad

__all__ = ["ImprovedMeanFlow", "compound_velocity"]


def compound_velocity(
    average: AverageVelocity, start: Tensor, time: Tensor, x: Tensor, tangent: Tensor | None = None
) -> Tensor:
    r"""Return :math:`V = u + (t - r)\,\mathrm{sg}[(\partial_t + \hat v\cdot\nabla)u]`, equal to v for an exact u.

    Args:
        average: ``u(start, time, x)``.
        start: r, (N,).
        time: t ≥ r, (N,).
        x: :math:`x_t`, (N, …).
        tangent: :math:`\hat v`; None is u(x, t, t), without a gradient.

    References: Geng et al. (2025), arXiv 2512.02012, eq. 9–12.
    """
    if tangent is None:
        with torch.no_grad():
            tangent = average(time, time, x)
    value, derivative = average_along(average, start, time, x, tangent)
    found: Tensor = value + pad(time - start, x) * derivative.detach()
    return found


@dataclass(frozen=True)
class ImprovedMeanFlow(IntervalLoss):
    r"""The Improved MeanFlow loss :math:`w\,|V_\theta - v|^2` with the velocity v of a sample.

    Of the published variants this is the one in which :math:`\hat v = u_\theta(x, t, t)`, without an auxiliary head,
    and with guidance of a fixed scale. Options, and what they raise, are those of :class:`MeanFlow`, with half of the
    samples at r = t as published.

    References: Geng, Lu, Wu, Shechtman, Kolter & He, Improved Mean Flows (2025), arXiv 2512.02012, algorithm 1.
    """

    equal: float = 0.5

    def squares(self, average: AverageVelocity, start: Tensor, time: Tensor, x: Tensor, velocity: Tensor) -> Tensor:
        """Return :math:`|V - v|^2` for each sample, (N,)."""
        return sum_of_squares(compound_velocity(average, start, time, x) - velocity)
