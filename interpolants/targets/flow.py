r"""The probability flow between two times, integrated to about 1e-10 where it has no closed form.

All schedules share their trajectories: with :math:`r = \sqrt{\alpha^2 + \sigma^2}` the point :math:`y = x/r` moves, in
the clock :math:`\theta = \operatorname{atan2}(\sigma, \alpha) \in [0, \pi/2]`, along the flow of
:math:`\cos\theta\,x_{\mathrm{data}} + \sin\theta\,\varepsilon`,

.. math:: \frac{dy}{d\theta} = \cos\theta\,\mathbb E[\varepsilon|y] - \sin\theta\,\mathbb E[x_{\mathrm{data}}|y],

which is smooth at both ends whatever :math:`\dot\alpha` and :math:`\dot\sigma` are: VP's
:math:`\dot\sigma_0 = \infty` is in the clock. Where a law has zero variance in some direction, θ = 0 is a pole.

References: Dormand & Prince's method of order 8 in Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I
(1993), II.5; Karras et al. (2022), arXiv 2206.00364, for the equivalence of schedules.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interpolants.coefficient import Array
from interpolants.targets.limits import cast, check_batch, constant
from solvers.errors import PoleError, explain

if TYPE_CHECKING:
    from interpolants.targets.target import Target

__all__ = ["integrate"]

TOLERANCE = 1e-13
NUMBERS = 1024
"""The integrator's norm is a mean over all its numbers: no sample of so many errs by more than 32 times the mean."""


def integrate(target: Target, x: Array, start: tuple[float, float], stop: tuple[float, float]) -> Array:
    """Move points between (α, σ) at two times by DOP853 in float64 on the host.

    Raises:
        PoleError: an end with σ = 0 at which the target has zero variance in some direction.
        TypeError: a tensor whose gradient is wanted: it would be lost.
        ValueError: an integration that fails.
    """
    check_batch(x, target.dimension)
    if getattr(x, "requires_grad", False):
        remedy = "pass x.detach(), or solve(probability_flow(schedule, path.velocity), x, uniform(n), RK4())"
        raise TypeError(explain("points without gradient: the flow is integrated by scipy", "requires_grad", remedy))
    (alpha_0, sigma_0), (alpha_1, sigma_1) = start, stop
    least = min(target.least_deviation(alpha, sigma) / math.hypot(alpha, sigma) for alpha, sigma in (start, stop))
    if not least > 0:
        remedy = "stop or start where σ > 0: the velocity is infinite there"
        raise PoleError(explain("ends of the flow at which the law has a density", "σ = 0 and zero variance", remedy))
    angles = (math.atan2(sigma_0, alpha_0), math.atan2(sigma_1, alpha_1))
    points = (x if isinstance(x, np.ndarray) else x.cpu().numpy()).astype(np.float64) / math.hypot(alpha_0, sigma_0)
    if start == stop:
        return x * 1.0
    moved = points.copy()
    step = max(1, NUMBERS // target.dimension)
    for first in range(0, len(points) if angles[0] != angles[1] else 0, step):
        part = slice(first, first + step)
        moved[part] = _solve(target, points[part], angles, TOLERANCE * min(1.0, least))
    return cast(constant(moved * math.hypot(alpha_1, sigma_1), x), x)


def _solve(
    target: Target, points: NDArray[np.float64], angles: tuple[float, float], smallest: float
) -> NDArray[np.float64]:
    from scipy.integrate import solve_ivp  # slow to import, and only flows need it

    def slope(angle: float, state: NDArray[np.float64]) -> Any:
        alpha, sigma = math.cos(angle), math.sin(angle)
        products: Any = target.products
        coefficients = products(-sigma, alpha, alpha, sigma)
        return target.expectation(state.reshape(points.shape), **coefficients).ravel()

    solution = solve_ivp(slope, angles, points.ravel(), method="DOP853", rtol=TOLERANCE, atol=smallest)
    if not solution.success or not np.isfinite(solution.y[:, -1]).all():
        remedy = "stop further from σ = 0"
        raise ValueError(explain("a flow that can be integrated", solution.message, remedy))
    return np.asarray(solution.y[:, -1]).reshape(points.shape)
