"""What a likelihood along a flow returns: log-densities, and how far the probes leave them uncertain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from solvers.arrays import Array, host
from solvers.errors import explain

__all__ = ["LogLikelihood", "MeanLogLikelihood"]


class MeanLogLikelihood(NamedTuple):
    """The mean log-density of a batch, in floats.

    Args:
        value: the mean over the points.
        probe_error: its standard error from the probes, for these points; 0 where the divergence is exact, None where
            there is one probe, which cannot tell.
        point_error: its standard error as the mean over all data, of which the points are a sample; with probes of its
            own for each point it has theirs in it.
    """

    value: float
    probe_error: float | None
    point_error: float


@dataclass(frozen=True)
class LogLikelihood:
    r"""Log-densities of points under a flow.

    Args:
        value: the log-densities, shape (B,): the mean of ``estimates``.
        x: the points moved to the last time, shaped as they came.
        nfe: how often drift and divergence were evaluated, each evaluation being of both. The model is called once for
            each, whatever the number of probes, where the trace is of the problem's own drift.
        estimates: the log-densities by each probe alone, shape (B, m); m = 1 where the divergence is exact.
        probes: m, or 0 where the divergence is exact.
        shared: whether all points have the same probes, so that their errors go together.
    """

    value: Array
    x: Array
    nfe: int
    estimates: Array
    probes: int = 0
    shared: bool = False

    @property
    def standard_error(self) -> Array:
        r"""The standard error of each value, :math:`s/\sqrt m` with s that of its m estimates, shape (B,).

        The integrals of the probes are independent, each with its own error over the whole trajectory. 0 where the
        divergence is exact. The error of the method's steps is not in it.

        Raises:
            ValueError: m = 1.
        """
        if not self.probes:
            return self.value * 0
        if self.probes == 1:
            remedy = "draw two or more: rademacher_probes(x, 2, rng)"
            raise ValueError(explain("at least two probes for a standard error", "one", remedy))
        deviations = self.estimates - self.value[:, None]
        return ((deviations * deviations).sum(1) / (self.probes * (self.probes - 1))) ** 0.5

    def mean(self) -> MeanLogLikelihood:
        """Return the mean over the batch with its standard errors. Waits for the device.

        Raises:
            ValueError: one point.
        """
        values, count = host(self.value), len(self.value)
        if count < 2:
            raise ValueError(explain("at least two points for a standard error", "one", "pass more points"))
        probe_error = None
        if self.shared and self.probes > 1:
            # One estimate of the mean for each probe: the errors of the points do not average out.
            probe_error = float(host(self.estimates).mean(0).std(ddof=1)) / math.sqrt(self.probes)
        elif self.probes != 1:
            probe_error = float((host(self.standard_error) ** 2).sum() ** 0.5) / count
        return MeanLogLikelihood(float(values.mean()), probe_error, float(values.std(ddof=1)) / math.sqrt(count))
