r"""Problems whose exact trajectories are known, for samplers of every schedule.

What a perfect network would predict is a function of the level and the state. Along the probability flow

.. math:: \frac{d}{d\lambda}\Bigl(\frac x\sigma\Bigr) = e^\lambda\,\hat x, \qquad \lambda = \log(\alpha/\sigma).
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from solvers.adaptive import Adaptive
from solvers.errors import explain
from solvers.order.levels import Level
from solvers.problem import ODE
from solvers.runge_kutta import DOP853
from solvers.solve import solve

Floats = NDArray[np.float64]


class Prediction(NamedTuple):
    r"""What a network says of a state: :math:`\hat x` and :math:`\hat\varepsilon`, :math:`\alpha\hat x +
    \sigma\hat\varepsilon = x`."""

    data: Floats
    noise: Floats


class Trial(Protocol):
    """A problem: what is predicted at a level, and the state of one exact trajectory at every level."""

    @property
    def name(self) -> str:
        """What to call it in a report."""

    def predict(self, alpha: float, sigma: float, x: Floats) -> Prediction:
        """Return the prediction at a level, for states of shape (rows, d)."""

    def exact(self, level: Level) -> Floats:
        """Return the exact state at a level."""


class Manufactured:
    r"""A data prediction that was chosen, :math:`\hat x_j = \sin(\omega_j\lambda + \phi_j)`, with its exact flow.

    .. math:: x_j = \sigma C_j + \alpha\,\frac{\sin(\omega_j\lambda + \phi_j)
              - \omega_j\cos(\omega_j\lambda + \phi_j)}{1 + \omega_j^2}

    It depends on the level alone, is no polynomial in λ, and needs no limit: levels with :math:`\alpha\sigma = 0` have
    none.
    """

    name = "manufactured"
    _omega = np.array([[1.0, 1.3], [1.6, 1.9], [2.2, 2.5]])
    _phase = np.array([[0.0, 1.1], [2.3, 3.1], [4.4, 5.2]])
    _start = np.array([[0.7, -0.4], [0.2, 1.1], [-0.9, 0.5]])

    def predict(self, alpha: float, sigma: float, x: Floats) -> Prediction:
        """Return the prediction at a level inside."""
        data = np.sin(self._omega * math.log(alpha / sigma) + self._phase)
        return Prediction(data, (x - alpha * data) / sigma)

    def exact(self, level: Level) -> Floats:
        """Return the state at a level inside."""
        angle = self._omega * math.log(level.alpha / level.sigma) + self._phase
        primitive = (np.sin(angle) - self._omega * np.cos(angle)) / (1.0 + self._omega**2)
        found: Floats = level.sigma * self._start + level.alpha * primitive
        return found


class Mixture:
    r"""The posterior mean of a mixture of three Gaussians in the plane: nonlinear, and coupled between coordinates.

    With :math:`s_k = \alpha^2 c_k + \sigma^2`, :math:`z_k = x - \alpha m_k` and the responsibilities γ,

    .. math:: \hat x = \sum_k \gamma_k\Bigl(m_k + \frac{\alpha c_k}{s_k}z_k\Bigr), \qquad
              \hat\varepsilon = \sum_k \gamma_k \frac{\sigma}{s_k}z_k,

    both finite at either end. The exact states solve the flow on the circle :math:`(\cos\varphi, \sin\varphi)`, where
    it is smooth up to both ends, with DOP853 at a tolerance of 1e-13.
    """

    name = "mixture"
    _weights = np.array([0.3, 0.45, 0.25])
    _means = np.array([[-2.0, 0.8], [1.8, 1.6], [0.4, -2.2]])
    _variances = np.array([0.4, 0.55, 0.3])
    _noise = np.array([[0.3, -0.2], [-1.1, 0.5], [0.9, 1.2], [-0.4, -1.4], [1.7, -0.6], [-0.1, 0.8]])

    def __init__(self) -> None:
        self._known = {math.pi / 2.0: self._noise}

    def predict(self, alpha: float, sigma: float, x: Floats) -> Prediction:
        """Return the prediction at any level."""
        spread = alpha * alpha * self._variances + sigma * sigma
        shifted = x[:, None] - alpha * self._means
        logits = np.log(self._weights) - np.log(spread) - 0.5 * (shifted**2).sum(-1) / spread
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        gains = alpha * self._variances / spread
        data = (shares[..., None] * (self._means + gains[:, None] * shifted)).sum(1)
        return Prediction(data, ((shares * (sigma / spread))[..., None] * shifted).sum(1))

    def exact(self, level: Level) -> Floats:
        """Return the state at any level: of the flow that starts in fixed points of the noise."""
        angle = level.angle
        if angle not in self._known:
            nearest = min(self._known, key=lambda known: abs(known - angle))
            self._known[angle] = _flow(self, nearest, angle, self._known[nearest])
        return level.scale * self._known[angle]


def _flow(trial: Trial, start: float, stop: float, x: Floats) -> Floats:
    """Carry states of scale 1 from one angle to another."""

    def drift(angle: float, x: Floats) -> Floats:
        alpha, sigma = math.cos(angle), math.sin(angle)
        data, noise = trial.predict(alpha, sigma, x)
        return alpha * noise - sigma * data

    return np.asarray(solve(ODE(drift), x, [start, stop], Adaptive(DOP853(), rtol=1e-13, atol=1e-14)).x)


class Gaussians:
    r"""Independent Gaussian data of several means and variances: every sampler that adds and scales is affine here.

    .. math:: \hat x = m + \frac{\alpha c}{\alpha^2 c + \sigma^2}(x - \alpha m), \qquad
              x_t \sim N(\alpha m,\ \alpha^2 c + \sigma^2)
    """

    name = "gaussians"
    means = np.array([0.5, -1.0, 0.3, 0.8])
    variances = np.array([0.05, 0.3, 1.0, 3.0])

    def predict(self, alpha: float, sigma: float, x: Floats) -> Prediction:
        """Return the prediction at any level, for states of shape (rows, 4)."""
        spread = alpha * alpha * self.variances + sigma * sigma
        shifted = x - alpha * self.means
        return Prediction(self.means + (alpha * self.variances / spread) * shifted, (sigma / spread) * shifted)

    def law(self, level: Level) -> tuple[Floats, Floats]:
        """Return means and variances at a level."""
        return level.alpha * self.means, level.alpha**2 * self.variances + level.sigma**2

    def exact(self, level: Level) -> Floats:
        """Return the state at a level whose noise was 1 in all coordinates: one deviation above the mean."""
        mean, variance = self.law(level)
        return (mean + np.sqrt(variance))[None]


class Model:
    """A trial as a network would be called: it counts its calls and keeps the dtype of the state."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.evaluations = 0

    def __call__(self, alpha: float, sigma: float, x: NDArray[np.floating]) -> Prediction:
        """Return the prediction for states ``x`` at a level.

        Raises:
            ValueError: a level outside the problem: the sampler evaluates beyond the interval it was given.
        """
        ends = isinstance(self.trial, Manufactured)
        if not (min(alpha, sigma) > 0.0 or (min(alpha, sigma) == 0.0 and not ends)):
            wanted = "evaluations inside the interval of the times that were given"
            received = f"one at alpha = {float(alpha)!r}, sigma = {float(sigma)!r}"
            raise ValueError(explain(wanted, received, "evaluate between the first and the last time"))
        self.evaluations += 1
        data, noise = self.trial.predict(float(alpha), float(sigma), np.asarray(x, dtype=np.float64))
        return Prediction(data.astype(x.dtype), noise.astype(x.dtype))
