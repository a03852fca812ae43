"""A log-SNR with the quantiles of a Laplace distribution."""

from sympy import Piecewise, Rational, exp, sqrt

from interpolants.schedule import Schedule
from interpolants.schedules.parameters import positive
from interpolants.symbols import canonical, t

__all__ = ["Laplace"]


class Laplace(Schedule):
    r"""Variance preserving, :math:`\log\mathrm{SNR} = \mu - b\,\mathrm{sgn}(\tfrac12 - t)\log(1 - 2|t - \tfrac12|)`.

    Times drawn uniformly then give log-SNRs with the Laplace density of location μ and scale b, concentrated where
    training is hardest. Once continuously differentiable at t = ½.

    Args:
        location: μ.
        scale: b > 0.

    References: Hang et al. (2024), Improved Noise Schedule for Diffusion Training, arXiv 2407.03297.
    """

    def __init__(self, location: float = 0.0, scale: float = 0.5) -> None:
        mu, b = canonical(location, "location"), positive(scale, "scale")
        # q = sigma²/alpha², as a power of the distance to the nearer end, so no exponential of a logarithm is taken.
        early = exp(-mu) * (2 * t) ** b
        late = exp(mu) * (2 * (1 - t)) ** b
        middle = t <= Rational(1, 2)
        alpha = Piecewise(
            (1 / sqrt(1 + early), middle), (exp(mu / 2) * (2 * (1 - t)) ** (b / 2) / sqrt(1 + late), True)
        )
        sigma = Piecewise((exp(-mu / 2) * (2 * t) ** (b / 2) / sqrt(1 + early), middle), (1 / sqrt(1 + late), True))
        super().__init__("laplace", alpha=alpha, sigma=sigma)
