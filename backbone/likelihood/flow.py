r"""The probability flow of a network: data to noise, noise to data, and the density that it gives to data.

.. math:: \log p(x|y) = \log N(X_1; 0, \sigma_1^2 I) + \int_0^1 \nabla\cdot v(t, X_t, y)\,dt, \qquad
          \dot X = v(t, X, y), \quad X_0 = x

The two terms are called the prior and the change of variables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from backbone.field import bind
from backbone.model import SiT
from solvers.errors import explain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from interpolants import Schedule
    from interpolants.guidance import Guidance
    from solvers import ODE, Solution
    from solvers.likelihood import LogLikelihood

__all__ = ["ModelFlow", "RoundTrip", "log_marginal"]

STEPS = 20


class RoundTrip(NamedTuple):
    """Data, encoded and decoded.

    Args:
        noise: what the data became at the last time.
        x: what the noise became at the first time.
        error: root mean square of the difference between x and the data, over the dimensions of each sample, (N,).
        nfe: evaluations of the network, both ways together.
    """

    noise: Tensor
    x: Tensor
    error: Tensor
    nfe: int


@dataclass(frozen=True)
class ModelFlow:
    r"""The probability flow of a network under a schedule, solved by one method on one grid.

    The density is that of what :func:`backbone.sample` draws with this schedule on the same grid reversed, up to the
    error of the steps: the noise that it starts from is :math:`N(0, \sigma_1^2 I)`, with the :math:`\sigma_1` of the
    schedule, so no approximation is made at t = 1. Where :math:`\alpha_1 \ne 0`, as in VP, the marginal of the noised
    *data* is another law, from which a perfect network would have to start; its mean is :math:`\alpha_1 x`.

    At t = 0 a velocity network is evaluated as it is, and the density is that of data without noise. Other predictions
    may have a pole at an end, where the solve is refused: a data prediction at t = 0, a noise prediction where
    :math:`\alpha_1 = 0`. A grid that begins at :math:`t_0 > 0` gives the density of :math:`x_{t_0}`: data scaled by
    :math:`\alpha_{t_0}` and with noise.

    No gradient is kept. Give x in float64, and a network in float64, for errors below about 1e-5.

    Args:
        model: the network; its mode does not matter.
        schedule: the one that it was trained with.
        ts: times from data to noise; None is 20 equal steps over the schedule's domain.
        method: a deterministic method of ``solvers``; None is ``RK4()``.
        prediction: what the network predicts, of ``interpolants``; None is ``Velocity``.
        guidance: as for :func:`backbone.bind`; a guided flow has a density as well, that of its own samples.

    References: Chen et al. (2018), arXiv:1806.07366; Song et al. (2021), arXiv:2011.13456, section 4.3.
    """

    model: SiT
    schedule: Schedule
    ts: Sequence[float] | NDArray[np.float64] | None = None
    method: Any = None
    prediction: Any = None
    guidance: Guidance | float | None = None

    def encode(self, x: Tensor, y: Tensor | int | None = None) -> Solution:
        """Follow data (N, …) to noise, which is ``.x`` of the result.

        Args:
            x: the data, at the first time of the grid.
            y: labels (N,), one label for all, or None for the null class.

        Raises:
            ValueError: labels or shapes that do not fit, or a grid that the method cannot take.
        """
        return self._solve(x, y, self._times())

    def decode(self, noise: Tensor, y: Tensor | int | None = None) -> Solution:
        """Follow noise (N, …) to data on the grid reversed; arguments as for :meth:`encode`."""
        return self._solve(noise, y, self._times()[::-1])

    def round_trip(self, x: Tensor, y: Tensor | int | None = None) -> RoundTrip:
        """Encode and decode; the error that is left is of both solves.

        On one grid a method of even order gains an order, for the leading errors of the two ways cancel.
        """
        there = self.encode(x, y)
        back = self.decode(there.x, y)
        error = (back.x - x).flatten(1).square().mean(1).sqrt()
        return RoundTrip(there.x, back.x, error, there.nfe + back.nfe)

    def log_prior(self, noise: Tensor) -> Tensor:
        r"""Return :math:`\log N(x; 0, \sigma_1^2 I)`, shape (N,), in nats."""
        scale, flat = self.schedule.prior_scale, noise.flatten(1)
        constant = 0.5 * flat.shape[1] * math.log(2 * math.pi * scale**2)
        return -0.5 * (flat / scale).square().sum(1) - constant

    def log_likelihood(
        self,
        x: Tensor,
        y: Tensor | int | None = None,
        *,
        probes: Tensor | None = None,
        together: int | None = None,
    ) -> LogLikelihood:
        r"""Return :math:`\log p(x|y)` in nats, with the points moved to noise and what is known of the error.

        Args:
            x: points (N, …), at the first time of the grid.
            y: labels (N,), one label for all, or None for the null class, the unconditional density.
            probes: directions for Hutchinson's estimate, from :func:`solvers.likelihood.rademacher_probes`; None takes
                the divergence exactly, by one derivative for each dimension.
            together: how many derivatives are taken at once; more than one needs a network with
                ``attention="math"`` on the CPU.

        Raises:
            ValueError: labels, shapes or probes that do not fit, or a grid that the method cannot take.
        """
        from solvers.likelihood import divergence, hutchinson, log_likelihood

        flow = self._flow(y)
        trace = divergence(flow.drift, together) if probes is None else hutchinson(flow.drift, probes, together)
        with torch.no_grad():
            return log_likelihood(flow, x, self._times(), self._method(), self.log_prior, trace)

    def log_likelihood_by_class(self, x: Tensor, *, probes: Tensor | None = None) -> Tensor:
        r"""Return :math:`\log p(x|y)` for every label, shape (N, classes).

        The largest tells the label, where all are equally likely. With probes the same directions serve every class, so
        that most of their error cancels in a comparison.

        Args:
            x: points (N, …).
            probes: as for :meth:`log_likelihood`.

        Raises:
            ValueError: a network without labels.
        """
        classes = self.model.config.num_classes
        if not classes:
            remedy = "call log_likelihood(x): its density has no condition"
            raise ValueError(explain("a network with labels", "num_classes=0", remedy))
        return torch.stack([self.log_likelihood(x, label, probes=probes).value for label in range(classes)], dim=1)

    def _times(self) -> NDArray[np.float64]:
        from solvers import uniform

        start, stop = self.schedule.domain
        return np.asarray(uniform(STEPS, start, stop) if self.ts is None else self.ts)

    def _method(self) -> Any:
        from solvers import RK4

        return RK4() if self.method is None else self.method

    def _flow(self, y: Tensor | int | None) -> ODE:
        from interpolants import Velocity, probability_flow

        prediction = Velocity if self.prediction is None else self.prediction
        return probability_flow(self.schedule, bind(self.model, y, self.guidance), prediction=prediction)

    def _solve(self, x: Tensor, y: Tensor | int | None, times: NDArray[np.float64]) -> Solution:
        from solvers import solve

        with torch.no_grad():
            return solve(self._flow(y), x, times, self._method())


def log_marginal(by_class: Tensor, weights: Tensor | None = None) -> Tensor:
    r"""Return :math:`\log p(x) = \log\sum_y p(y)\,p(x|y)` from the log-densities of all classes.

    It is the density of samples whose label was drawn first. The network's null class is a model of its own, with a
    density of its own. Estimates with probes are unbiased in :math:`\log p(x|y)`, but not in this sum.

    Args:
        by_class: :math:`\log p(x|y)`, shape (…, classes), from :meth:`ModelFlow.log_likelihood_by_class`.
        weights: :math:`p(y)`, shape (classes,), summing to 1; None for equal weights.

    Returns:
        shape (…,).

    Raises:
        ValueError: weights of another length, negative, or with another sum.
    """
    classes = by_class.shape[-1]
    shares = by_class.new_full((classes,), 1 / classes) if weights is None else weights.to(by_class)
    if shares.shape != (classes,) or bool((shares < 0).any()) or abs(float(shares.sum()) - 1) > 1e-5:
        received = f"shape {tuple(shares.shape)}, from {float(shares.min()):g}, with the sum {float(shares.sum()):g}"
        remedy = "divide the counts of the labels by their sum"
        raise ValueError(explain(f"{classes} probabilities that sum to 1", received, remedy))
    return torch.logsumexp(by_class + shares.log(), dim=-1)
