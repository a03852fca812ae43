r"""MeanFlow: an average velocity learned from its own derivative along the trajectory.

The average :math:`u(x, r, t) = \frac{1}{t - r}\int_r^t v` of the velocity over [r, t] satisfies, for every schedule,

.. math:: u = v - (t - r)\,(\partial_t + v\cdot\nabla)u,

because the derivative of :math:`(t - r)u = x_t - x_r` along the trajectory is v. The right side is linear in v, which
may therefore be the velocity :math:`\dot\alpha x_{\mathrm{data}} + \dot\sigma\varepsilon` of one sample.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from backbone.few_step.along import AverageVelocity, average_along
from backbone.few_step.intervals import IntervalLoss, sum_of_squares
from interpolants.coefficient import pad

__all__ = ["MeanFlow", "meanflow_target"]


def meanflow_target(
    average: AverageVelocity, start: Tensor, time: Tensor, x: Tensor, velocity: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return u(x, r, t) and the target :math:`v - (t - r)(\partial_t + v\cdot\nabla)u`, which is equal to an exact u.

    Args:
        average: ``u(start, time, x)``.
        start: r, (N,).
        time: t ≥ r, (N,).
        x: :math:`x_t`, (N, …).
        velocity: v at x: the marginal one for the identity, that of a sample in training.

    References: Geng et al. (2025), arXiv 2505.13447, eq. 6 and 10.
    """
    value, derivative = average_along(average, start, time, x, velocity)
    return value, velocity - pad(time - start, x) * derivative


@dataclass(frozen=True)
class MeanFlow(IntervalLoss):
    r"""The MeanFlow loss :math:`w\,|u_\theta - \mathrm{sg}[v - (t - r)(\partial_t + v\cdot\nabla)u_\theta]|^2`.

    :math:`w = 1/\mathrm{sg}(\Delta^2 + c)^p` with the squared error :math:`\Delta^2`, summed over the pixels. Pass it
    to :func:`backbone.train` as ``objective=`` for a network with ``flow_map=True, attention="math"``.

    Args:
        schedule: any with exact ends; published for :class:`~interpolants.Linear`.
        times: of the two draws of which the larger is t and the smaller r; published are ``LogitNormal(-0.4, 1.0)``
            and ``Uniform()``.
        equal: share of samples with r = t, which learn the velocity; published 0.75.
        power: p; 0 is the plain squared error.
        offset: c > 0; 0.01 in the published code, 0.001 in the text.
        omega: ω of built-in classifier-free guidance; 1 is none. The guided velocity :math:`\omega v +
            \kappa u(x, t, t|y) + (1 - \omega - \kappa)u(x, t, t|\emptyset)` takes the place of v, in the tangent too,
            where the label is kept.
        kappa: κ in [0, 1); the scale of what is learned is ω/(1 − κ).

    Raises:
        TypeError, ValueError: no schedule, one without exact ends, or an option out of range. When called: a network
            without ``flow_map``, or with fused attention.

    References: Geng, Deng, Bai, Kolter & He, Mean Flows for One-step Generative Modeling (2025), arXiv 2505.13447,
    algorithm 1, eq. 20–22 and appendix A.
    """

    def squares(self, average: AverageVelocity, start: Tensor, time: Tensor, x: Tensor, velocity: Tensor) -> Tensor:
        """Return :math:`|u - u_{tgt}|^2` for each sample, (N,)."""
        value, target = meanflow_target(average, start, time, x, velocity)
        return sum_of_squares(value - target.detach())
