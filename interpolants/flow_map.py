r"""What few-step models learn, exact for every target whose flow is known.

.. math::
   u(z, r, t) = \frac{1}{t - r}\int_r^t v(\Psi_{t\to s}(z), s)\,ds = \frac{z - \Psi_{t\to r}(z)}{t - r}, \qquad
   f(z, t) = \Psi_{t\to 0}(z)

are the average velocity and the consistency function of the flow :math:`\Psi` of :math:`\dot x = v`. They satisfy
:math:`u = v - (t - r)(\partial_t + v\cdot\nabla)u` and :math:`(\partial_t + v\cdot\nabla)f = 0`.
"""

from __future__ import annotations

from interpolants.coefficient import Array
from interpolants.path import Path

__all__ = ["average_velocity", "consistency_function"]


def average_velocity(path: Path, start: float, stop: float, x: Array) -> Array:
    r"""Return :math:`u(x, r, t)`, the mean of the velocity over [r, t] along the trajectory that is at x at time t.

    Args:
        path: a schedule and a target.
        start: r, a number; where it equals t, the velocity.
        stop: t, a number; the time of ``x``.
        x: points, shape (B, d).

    References: Geng et al. (2025), arXiv 2505.13447, eq. 3.
    """
    if start == stop:
        return path.velocity(float(stop), x)
    return (x - path.flow(stop, start, x)) * (1.0 / (stop - start))


def consistency_function(path: Path, time: float, x: Array) -> Array:
    r"""Return :math:`f(x, t)`, where the trajectory through x at time t ends: its data, shape (B, d).

    References: Song et al. (2023), arXiv 2303.01469, §3.
    """
    return path.flow(time, path.schedule.domain[0], x)
