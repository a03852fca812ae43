r"""Schedules that are optimal for one Gaussian, N(0, c).

Any path with :math:`\rho^2 = \alpha^2 c + \sigma^2` prescribed is a choice of angle; here
:math:`\alpha\sqrt c = \rho\cos(\pi t/2)`, :math:`\sigma = \rho\sin(\pi t/2)`.
"""

from sympy import Expr, cos, expand, pi, sin, sqrt

from interpolants.schedule import Schedule
from interpolants.schedules.parameters import positive
from interpolants.symbols import t

__all__ = ["KineticOptimal", "LipschitzOptimal"]


class KineticOptimal(Schedule):
    r"""Kinetic-optimal for N(0, c): :math:`\rho_t = (1-t)\sqrt c + t`, so the transport cost is :math:`W_2^2`.

    Args:
        variance: c > 0.

    References: Shaul et al. (2023), On Kinetic Optimal Probability Paths for Generative Models, arXiv 2306.06626.
    """

    def __init__(self, variance: float = 0.25) -> None:
        root = sqrt(positive(variance, "variance"))
        alpha, sigma = _turn((1 - t) * root + t, root)
        super().__init__("kinetic-optimal", alpha=alpha, sigma=sigma)


class LipschitzOptimal(Schedule):
    r"""Lipschitz-optimal for N(0, c): :math:`\rho_t = c^{(1-t)/2}`.

    :math:`|\nabla v| = \tfrac12|\log c|` at all times, the least possible maximum.

    Args:
        variance: c > 0.

    References: arXiv 2509.01629.
    """

    def __init__(self, variance: float = 0.25) -> None:
        c = positive(variance, "variance")
        alpha, sigma = _turn(c ** ((1 - t) / 2), sqrt(c))
        super().__init__("lipschitz-optimal", alpha=alpha, sigma=sigma)


def _turn(rho: Expr, root: Expr) -> tuple[Expr, Expr]:
    return expand(rho / root) * cos(pi * t / 2), rho * sin(pi * t / 2)
