r"""The numbers that a step from t to s needs, in forms that keep their digits.

A factor of x of :math:`(\sigma_s/\sigma_t) D` goes with a factor of x̂ of :math:`\alpha_s - aD`,
:math:`a = \alpha_t\sigma_s/\sigma_t`. Written as :math:`(\alpha_s - a) + a(1 - D)` it is, for s < t, a sum of positive
terms: nothing cancels beyond what the rounding of α and σ costs, and :math:`\alpha_t = 0` needs no limit.
"""

from __future__ import annotations

from typing import NamedTuple

from solvers.denoising import Denoising


class Transition(NamedTuple):
    """α and σ at both times of a step."""

    alpha_t: float
    sigma_t: float
    alpha_s: float
    sigma_s: float

    @property
    def ratio(self) -> float:
        """ϱ = r_s/r_t with r = σ/α; 0 where α_t = 0."""
        return (self.sigma_s / self.sigma_t) * (self.alpha_t / self.alpha_s)

    def factors(self, shrink: float, lost: float) -> tuple[float, float]:
        """Return the factors of x and x̂ for D = ``shrink``, with 1 − D given as ``lost``."""
        carried = self.alpha_t * (self.sigma_s / self.sigma_t)
        return self.sigma_s / self.sigma_t * shrink, (self.alpha_s - carried) + carried * lost


def transition(problem: Denoising, t: float, s: float) -> Transition:
    """Return the numbers of a step from t, where σ > 0, to s."""
    return Transition(problem.alpha(t), problem.sigma(t), problem.alpha(s), problem.sigma(s))
