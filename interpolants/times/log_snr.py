r"""Times whose log-SNR has a given density.

With :math:`\ell = \log\mathrm{SNR}(t)` and a density f of ℓ, the density of the time is

.. math::
   p(t) = \frac{f(\ell(t))}{Z}\Bigl|\frac{d\ell}{dt}\Bigr|, \qquad
   \Bigl|\frac{d\ell}{dt}\Bigr| = \frac{2W}{\alpha\sigma}, \qquad Z = F(\ell_{\max}) - F(\ell_{\min}),

truncated to the log-SNRs that the schedule has between two times.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import sympy
from sympy import Integer

from interpolants.schedule import Schedule
from interpolants.times.law import Law, Times, mass, strictly_inside, support
from interpolants.times.shapes import Normal, Shape, exact
from solvers.errors import explain

__all__ = ["LogNormalSigma", "LogSNR"]


@dataclass(frozen=True)
class LogSNR(Times):
    r"""Times whose log-SNR :math:`\log(\alpha^2/\sigma^2)` has the density ``shape``, truncated to the schedule's own.

    Args:
        shape: a density of a real number: ``Normal(mean, std)``, ``Laplace(0, 0.5)``, ``Cauchy(0, 1)``,
            ``Logistic(0, 2)`` or ``Box(0, 4)``.
        lo, hi: the first and last time; by default the ends of the domain.

    Raises:
        TypeError: no shape; no schedule (the log-SNR is the schedule's).
        ValueError: (almost) no mass of the shape between the log-SNRs of the two times; more than 0.001 of it nearer to
            an end than float32 can tell (a Cauchy density up to t = 1 under Linear has a hundredth there).

    References: Hang, Gu, Geng & Guo (2024), arXiv 2407.03297, for the densities of the log-SNR and their names.
    """

    shape: Shape
    lo: float | None = None
    hi: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.shape, Shape):
            raise TypeError(explain("a density of the log-SNR", repr(self.shape), "pass Normal(mean, std), say"))

    def of(self, schedule: Schedule | None = None) -> Law:
        """Return the law of the time under ``schedule``."""
        if schedule is None:
            raise TypeError(explain("a schedule", "None", f"call {self}.of(schedule), or pass it to an Objective"))
        ends = support(schedule, self.lo, self.hi)
        rate = schedule.coefficient(
            2 * schedule.expressions["wronskian"] / (schedule.expressions["alpha"] * schedule.expressions["sigma"]),
            f"the rate of the log-SNR of {schedule.name}",
        )
        most, least = (float(schedule.log_snr(np.asarray(end))) for end in ends)
        most, least = min(most, self.shape.edges[1]), max(least, self.shape.edges[0])
        self._expect_floats(schedule, ends, least, most)
        low, size = mass(self, lambda end: self.shape.cdf(np, np.float64(end)), least, most)
        reached = tuple(float(schedule.time_of_log_snr(np.asarray(end))) for end in (most, least))

        def density(xp: ModuleType, time: Any) -> Any:
            return self.shape.density(xp, schedule.log_snr(time)) * rate(time) / size

        def quantile(xp: ModuleType, u: Any) -> Any:
            return schedule.time_of_log_snr(self.shape.quantile(xp, low + (1 - u) * size))

        formula = self.shape.density(sympy, schedule.expressions["log_snr"]) * rate.expression
        ends = max(ends[0], reached[0]), min(ends[1], reached[1])
        return Law(repr(self), ends, exact(formula / (Integer(1) if size == 1 else size)), density, quantile)

    def _expect_floats(self, schedule: Schedule, ends: tuple[float, float], least: float, most: float) -> None:
        """Refuse a law that would put many draws on the last float32 before an end."""
        inner = strictly_inside(ends, "float32")
        high, low = (float(schedule.log_snr(np.asarray(end))) for end in inner)
        with np.errstate(all="ignore"):
            cdf = [float(self.shape.cdf(np, np.float64(x))) for x in (least, min(max(low, least), most), high, most)]
        for end, share, hint in ((ends[1], cdf[1] - cdf[0], "hi"), (ends[0], cdf[3] - min(cdf[2], cdf[3]), "lo")):
            if share > 1e-3 * (cdf[3] - cdf[0]):
                received = (
                    f"{share:.2g} of {self.shape} nearer to t = {end:g} than float32 can tell under {schedule.name}"
                )
                remedy = f"pass {hint}, the end of the times, or choose lighter tails"
                raise ValueError(explain("a density of the log-SNR that times can follow", received, remedy))


def LogNormalSigma(mean: float = -1.2, std: float = 1.2, lo: float | None = None, hi: float | None = None) -> LogSNR:  # noqa: N802
    r"""Return the times at which :math:`\log(\sigma/\alpha)` is normal: EDM's training noise levels.

    :math:`\log\mathrm{SNR} = -2\log(\sigma/\alpha)` is N(−2 mean, (2 std)²). Under ``Linear`` it is
    ``LogitNormal(mean, std)``, REPA's ``weighting="lognormal"``.

    References: Karras, Aittala, Aila & Laine (2022), arXiv 2206.00364, table 1 (P_mean = −1.2, P_std = 1.2).
    """
    return LogSNR(Normal(-2 * mean, 2 * std), lo, hi)
