"""Densities of the time itself, or of the fraction of the domain that has passed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy

from interpolants.schedule import Schedule
from interpolants.symbols import t
from interpolants.times.law import Function, Law, Times, mass, support
from interpolants.times.shapes import Normal, exact

__all__ = ["CosMap", "LogitNormal", "Uniform"]


@dataclass(frozen=True)
class Uniform(Times):
    """Times uniform between ``lo`` and ``hi``, by default the ends of the domain.

    SiT's ``train_eps`` is ``Uniform(1e-3, 1 - 1e-3)`` for noise and score models under Linear and GVP, and
    ``Uniform(1e-5, 1)`` under VP.
    """

    lo: float | None = None
    hi: float | None = None

    def of(self, schedule: Schedule | None = None) -> Law:
        """Return the law under ``schedule``."""
        lo, hi = support(schedule, self.lo, self.hi)
        expression = exact(1 / (sympy.Float(hi) - sympy.Float(lo))) if hi - lo != 1 else sympy.Integer(1)
        return Law(
            repr(self),
            (lo, hi),
            expression,
            lambda xp, time: xp.full_like(time, 1 / (hi - lo)),
            lambda xp, u: lo + (hi - lo) * u,
        )


@dataclass(frozen=True)
class LogitNormal(Times):
    r"""Times whose logit :math:`\log\frac{s}{1-s}` is normal, s the fraction of the domain that has passed.

    .. math:: p(s) = \frac{1}{std\,\sqrt{2\pi}}\,\frac{1}{s(1-s)}
              \exp\Bigl(-\frac{(\operatorname{logit}s - mean)^2}{2\,std^2}\Bigr)

    A mean > 0 prefers noise. Under ``Linear`` the log-SNR is N(−2 mean, (2 std)²).

    Args:
        mean, std: of the logit, std > 0.
        lo, hi: the law is truncated to (and renormalised on) times between them.

    References: Esser et al. (2024), Stable Diffusion 3, arXiv 2403.03206, §3.1.
    """

    mean: float = 0.0
    std: float = 1.0
    lo: float | None = None
    hi: float | None = None

    def __post_init__(self) -> None:
        Normal(self.mean, self.std)

    def of(self, schedule: Schedule | None = None) -> Law:
        """Return the law under ``schedule``."""
        shape = Normal(self.mean, self.std)
        return _law(
            self,
            schedule,
            lambda xp, s: shape.density(xp, xp.log(s / (1 - s))) / (s * (1 - s)),
            lambda xp, s: shape.cdf(xp, xp.log(s / (1 - s))),
            lambda xp, u: 1 / (1 + xp.exp(-shape.quantile(xp, u))),
        )


@dataclass(frozen=True)
class CosMap(Times):
    r"""Times at which ``Linear`` has the log-SNRs that uniform times have under ``GVP``.

    .. math:: p(s) = \frac{2}{\pi}\,\frac{1}{1 - 2s + 2s^2}

    with s the fraction of the domain that has passed.

    Args:
        lo, hi: the law is truncated to (and renormalised on) times between them.

    References: Esser et al. (2024), arXiv 2403.03206, §3.1.
    """

    lo: float | None = None
    hi: float | None = None

    def of(self, schedule: Schedule | None = None) -> Law:
        """Return the law under ``schedule``."""
        return _law(
            self,
            schedule,
            lambda xp, s: 2 / (xp.pi * (1 - 2 * s + 2 * s * s)),
            lambda xp, s: 2 / xp.pi * xp.arctan(s / (1 - s)),
            lambda xp, u: xp.sin(xp.pi * u / 2) / (xp.sin(xp.pi * u / 2) + xp.cos(xp.pi * u / 2)),
        )


def _law(
    times: LogitNormal | CosMap, schedule: Schedule | None, density: Function, cdf: Function, quantile: Function
) -> Law:
    """Return the law of a time whose fraction of the domain has this density, truncated to its ends."""
    lo, hi = support(schedule, times.lo, times.hi)
    first, last = (sympy.Integer(0), sympy.Integer(1)) if schedule is None else schedule.exact_domain
    start, length = float(first), float(last - first)
    below, size = mass(times, lambda end: cdf(np, np.float64((end - start) / length)), lo, hi)
    formula = density(sympy, (t - first) / (last - first)) / ((last - first) * (1 if size == 1 else size))
    return Law(
        repr(times),
        (lo, hi),
        exact(formula),
        lambda xp, time: density(xp, (time - start) / length) / (length * size),
        lambda xp, u: start + length * quantile(xp, below + u * size),
    )
