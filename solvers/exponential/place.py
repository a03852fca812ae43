r"""A time of a denoising problem with its numbers, and the times between two of them.

Exponential methods of higher order run in :math:`\lambda = \log(\alpha/\sigma)`, half of the log-SNR, in which
:math:`\tfrac{d}{d\lambda}(x/\sigma) = e^\lambda\hat x` and :math:`\tfrac{d}{d\lambda}(x/\alpha) = -e^{-\lambda}
\hat\varepsilon`. It is infinite where α or σ vanishes, and no polynomial in λ reaches there. Where α vanishes
:math:`e^\lambda = \alpha/\sigma` is regular, with :math:`\tfrac{d}{de^\lambda}(x/\sigma) = \hat x`, and a
singlestep step in it has the error of its order. A step to σ = 0 is one of :class:`solvers.DDIM`, the limit that every
method shares.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from solvers.denoising import Denoising
from solvers.errors import explain
from solvers.exponential.transition import Transition


class Place(NamedTuple):
    """A time, with α, σ and λ."""

    time: float
    alpha: float
    sigma: float
    half_log_snr: float

    def to(self, other: Place) -> Transition:
        """Return the numbers of the step to ``other``."""
        return Transition(self.alpha, self.sigma, other.alpha, other.sigma)


def place(problem: Denoising, time: float) -> Place:
    """Return the place of a time. λ is a difference of logarithms: accurate to an ulp of the larger of them."""
    alpha, sigma = float(problem.alpha(time)), float(problem.sigma(time))
    if sigma == 0.0:
        return Place(time, alpha, sigma, math.inf)
    return Place(time, alpha, sigma, math.log(alpha) - math.log(sigma) if alpha else -math.inf)


def distance(start: Place, end: Place) -> float:
    """Return h = λ_end − λ_start; infinite where one of them is."""
    return end.half_log_snr - start.half_log_snr


def place_of_ratio(problem: Denoising, ratio: float) -> Place:
    """Return the place at which r = σ/α has a value above 0."""
    return place(problem, float(problem.time_of_log_snr(-2.0 * math.log(ratio))))


def noised(start: Place, end: Place) -> tuple[float, float]:
    r"""Return the factor of the state and that of a standard normal which add the noise from a place to one of more.

    .. math:: x_s = \frac{\alpha_s}{\alpha_t}x_t + \sqrt{\sigma_s^2 - (\alpha_s/\alpha_t)^2\sigma_t^2}\;\xi
    """
    keep = end.alpha / start.alpha
    share = keep * start.sigma / end.sigma
    return keep, end.sigma * math.sqrt(max(0.0, (1.0 - share) * (1.0 + share)))


def elapsed(problem: Denoising, start: Place, end: Place) -> float:
    """Return the clock Θ of the noise over a step; 0 for one to σ = 0, where nobody asks for it."""
    return problem.clock(start.time, end.time) if end.sigma else 0.0


def without_signal(start: Place, end: Place) -> bool:
    """Whether a step begins or ends at α = 0, where λ = −∞."""
    return start.alpha == 0.0 or end.alpha == 0.0


def between(problem: Denoising, start: Place, end: Place, fraction: float) -> Place:
    """Return the place at a fraction of the step in λ; in exp(λ) where λ is infinite at an end, whose σ > 0.

    Raises:
        ValueError: the problem's ``time_of_log_snr`` leads out of the step, so it is not the inverse it should be.
    """
    if math.isinf(distance(start, end)):
        middle = math.log((1.0 - fraction) * start.alpha / start.sigma + fraction * end.alpha / end.sigma)
    else:
        middle = start.half_log_snr + fraction * distance(start, end)
    time = float(problem.time_of_log_snr(2.0 * middle))
    if not min(start.time, end.time) <= time <= max(start.time, end.time):
        wanted = f"time_of_log_snr: a time between {start.time!r} and {end.time!r} for a log-SNR between theirs"
        remedy = "give the problem the inverse of log(alpha**2 / sigma**2)"
        raise ValueError(explain(wanted, f"{time!r} for {2.0 * middle!r}", remedy))
    return place(problem, time)
