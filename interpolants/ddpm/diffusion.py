r"""A discrete diffusion: the noising chain, its posterior, and the way to continuous time."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpolants.combination import expect_model
from interpolants.ddpm.network import Network, filled, first_half, one_index, place
from interpolants.ddpm.rates import Floats, entry, merged, rates, rates_of, running_sums
from interpolants.ddpm.respacing import Steps, spaced
from interpolants.prediction import Data, Noise, Prediction, expect_prediction
from interpolants.schedules.discrete import Discrete
from solvers.arrays import Array, is_torch, namespace
from solvers.errors import explain

__all__ = ["DiscreteDiffusion", "expect_chain"]


class DiscreteDiffusion:
    r"""The noising chain of T rates, by the indices i = 0 … T − 1 that a network knows.

    .. math:: q(x_i|x_{\mathrm{data}}) = N(\alpha_i x_{\mathrm{data}}, \sigma_i^2 I), \qquad
              \alpha_i^2 = \bar\alpha_i = \prod_{j \le i}(1 - \beta_j), \qquad \sigma_i^2 = 1 - \bar\alpha_i

    Index −1 is the data, :math:`\bar\alpha_{-1} = 1`. All is computed from :math:`\sum\log(1 - \beta_j)`, so that
    neither :math:`\bar\alpha` nor :math:`1 - \bar\alpha` loses digits.

    >>> from interpolants import DiscreteDiffusion
    >>> from interpolants.schedules import DDPMLinear
    >>> chain = DiscreteDiffusion(DDPMLinear())
    >>> len(chain), float(chain.betas[0]), round(float(chain.alpha[-1]), 6)
    (1000, 0.0001, 0.006353)
    >>> chain.respaced(250).timesteps[[0, 1, 2, -2, -1]].tolist()
    [0, 4, 8, 995, 999]

    Args:
        betas: the rates, shape (T,), each between 0 and 1, the last up to 1; or a
            :class:`~interpolants.schedules.Discrete` schedule such as ``DDPMLinear()``.

    Attributes:
        betas: the rates, float64, shape (K,); K = T but for a respaced chain.
        timesteps: the numbers by which the network knows them, shape (K,).
        num_train_timesteps: T.
        log_signal: :math:`\log\bar\alpha_i`, shape (K,), as the next two.
        alpha: the factor of the data.
        sigma: the factor of the noise.

    Raises:
        TypeError, ValueError: not a row of numbers between 0 and 1.

    References: Sohl-Dickstein et al. (2015), arXiv 1503.03585; Ho, Jain & Abbeel (2020), arXiv 2006.11239, §2.
    """

    def __init__(self, betas: Any) -> None:
        values = rates_of(betas) if isinstance(betas, Discrete) else rates(betas)
        self._source = betas if isinstance(betas, Discrete) else np.asarray(betas).copy()
        self.num_train_timesteps = len(values)
        self.timesteps: NDArray[np.int64] = np.arange(len(values))
        self._tabulate(values)

    def _tabulate(self, betas: Floats) -> None:
        with np.errstate(divide="ignore"):
            self._logarithms = np.log1p(-betas)
        sums = running_sums(self._logarithms)
        self.betas, self.log_signal = betas, sums[1:]
        levels = np.exp(0.5 * sums), np.sqrt(-np.expm1(sums))
        self.alpha, self.sigma = levels[0][1:], levels[1][1:]
        self._before = levels[0][:-1], levels[1][:-1]
        self._large = self._small = np.log(betas)
        if len(betas) > 1:
            rest = self._large[1:] + 2.0 * np.log(self._before[1][1:] / self.sigma[1:])
            self._small = np.append(rest[:1], rest)

    def __len__(self) -> int:
        return len(self.betas)

    def __repr__(self) -> str:
        return f"DiscreteDiffusion({len(self)} of {self.num_train_timesteps} timesteps)"

    def respaced(self, steps: Steps) -> DiscreteDiffusion:
        r"""Return the chain of fewer, longer steps through some of the same states.

        .. math:: \beta'_j = 1 - \bar\alpha_{k_j} / \bar\alpha_{k_{j-1}}

        The network is still called with its own numbers, ``timesteps``.

        Args:
            steps: how many, 250; of each section, "10,15,20"; with a whole stride, "ddim50"; or indices. See
                :func:`interpolants.ddpm.spaced`.

        Raises:
            TypeError, ValueError: as :func:`interpolants.ddpm.spaced` does.
        """
        kept, part = spaced(steps, len(self)), copy(self)
        part.timesteps = self.timesteps[kept]
        part._tabulate(merged(self._logarithms, kept))
        return part

    @cached_property
    def schedule(self) -> Discrete:
        """The schedule in continuous time that passes through all T steps, as given or interpolated."""
        return self._source if isinstance(self._source, Discrete) else Discrete.from_betas(self._source)

    @property
    def times(self) -> Floats:
        """The times :math:`(i + 1)/T` of the steps from the last to the first, and 0: a grid for ``solve``."""
        return np.append((self.timesteps[::-1] + 1) / self.num_train_timesteps, 0.0)

    def noised(self, index: Any, x_data: Array, noise: Array) -> Array:
        """Return :math:`x_i = α_i x_{data} + σ_i ε`, for an index or one per sample."""
        return entry(self.alpha, index, x_data) * x_data + entry(self.sigma, index, x_data) * noise

    def backward(self, eta: float = 1.0) -> tuple[Floats, Floats]:
        r"""Return the factors of :math:`x_i` and :math:`\hat x` in the mean of the step from i to i − 1.

        .. math:: \mu = \alpha_{i-1}\hat x + \sqrt{\sigma_{i-1}^2 - \eta^2\tilde\beta_i}\;
                  \frac{x_i - \alpha_i\hat x}{\sigma_i}

        :math:`\eta = 1` is the mean of the posterior :math:`q(x_{i-1}|x_i, \hat x)`, :math:`\eta = 0` is DDIM. Both
        factors are sums of positive terms.

        References: Ho, Jain & Abbeel (2020), arXiv 2006.11239, eq. 7; Song, Meng & Ermon (2021), arXiv 2010.02502,
        eq. 12.
        """
        alpha_s, sigma_s = self._before
        shrunk = sigma_s / self.sigma
        # 1 − ϱ² is β/σ², so that it need not be a difference.
        ratio, fresh = shrunk * np.sqrt(1.0 - self.betas), self.betas / self.sigma**2
        shrink = np.sqrt(ratio**2 + (1.0 - eta) * (1.0 + eta) * fresh)
        gain = alpha_s * fresh / (1.0 + ratio) + self.alpha * shrunk * (eta * eta * fresh) / (1.0 + shrink)
        return shrunk * shrink, gain

    @property
    def log_variances(self) -> dict[str, Floats]:
        r"""The logarithms of the posterior's variance and of the noising step's, each of shape (K,).

        .. math:: \text{small: } \tilde\beta_i = \frac{1 - \bar\alpha_{i-1}}{1 - \bar\alpha_i}\beta_i, \qquad
                  \text{large: } \beta_i

        :math:`\tilde\beta_0 = 0` has no logarithm: "small" has that of index 1 in its place, as published, and that of
        :math:`\beta_0` where there is no index 1.

        References: Ho, Jain & Abbeel (2020), arXiv 2006.11239, eq. 7 and §3.2; Nichol & Dhariwal (2021), arXiv
        2102.09672, §3.1.
        """
        return {"small": self._small, "large": self._large}

    def posterior(self, index: Any, x_data: Array, x: Array) -> tuple[Array, Any]:
        r"""Return mean and variance of :math:`q(x_{i-1}|x_i, x_{\mathrm{data}})`; at index 0 that is the data itself.

        Args:
            index: i, or one per sample, shape (B,).
            x_data: the data, shape (B, …).
            x: :math:`x_i`, likewise.
        """
        keep, gain = (entry(part, index, x) for part in self.backward())
        variance = self.betas * (self._before[1] / self.sigma) ** 2
        return keep * x + gain * x_data, entry(variance, index, x)

    def conversion(self, source: Prediction, to: Prediction = Data) -> tuple[Floats, Floats]:
        """Return the factors A of :math:`x_i` and B of a prediction that make another, each of shape (K,).

        Infinite where a last rate of 1 leaves no signal to tell the data from.
        """
        (a, b), (c, d) = self.row(source), self.row(to)
        with np.errstate(divide="ignore", invalid="ignore"):
            determinant = self.alpha * b - self.sigma * a
            if source == to:
                return np.zeros(len(self)), np.ones(len(self))
            return (b * c - a * d) / determinant, (self.alpha * d - self.sigma * c) / determinant

    def convert(
        self, index: Any, x: Array, prediction: Array, *, source: Prediction = Noise, to: Prediction = Data
    ) -> Array:
        """Turn one prediction at :math:`x_i` into another; by default that of the noise into that of the data."""
        own, others = (entry(part, index, x) for part in self.conversion(source, to))
        return own * x + others * prediction

    def row(self, prediction: Prediction) -> tuple[Floats, Floats]:
        """Return what a prediction has of data and noise, from its formula with numbers in the place of symbols."""
        levels = _Levels(self)
        a, b = expect_prediction(prediction, "prediction").row(SimpleNamespace(expressions=levels))  # type: ignore[arg-type]
        return tuple(np.zeros(len(self)) + np.asarray(part, dtype=np.float64) for part in (a, b))  # type: ignore[return-value]

    def network_timesteps(self, index: Any, x: Array) -> Array:
        """Return what the network is called with for samples ``x`` at an index: whole numbers of shape (B,)."""
        if isinstance(index, (int, np.integer)):
            return filled(int(self.timesteps[index]), x)
        return namespace(x).asarray(self.timesteps, **place(x))[index]

    def model_of_time(self, model: Network, *, fractional: bool = False) -> Callable[[Any, Array], Array]:
        r"""Return ``model(time, x)`` for the problems of continuous time: the network at the index :math:`Tt - 1`.

        A network that learned variances, with twice the channels of x, is read for the first half of them.

        >>> from interpolants import DiscreteDiffusion, Noise, denoising
        >>> from interpolants.schedules import DDPMLinear
        >>> from solvers import DDIM, solve
        >>> chain = DiscreteDiffusion(DDPMLinear()).respaced(10)
        >>> model = chain.model_of_time(lambda timesteps, x: 0.1 * x)
        >>> problem = denoising(chain.schedule, model, Noise)
        >>> solve(problem, np.ones((2, 3)), chain.times, DDIM()).nfe
        10

        Args:
            model: ``model(timesteps, x)``.
            fractional: call it with floats of any value, not only with whole numbers: for networks that embed the
                timestep by sines, and for methods that evaluate between the grid's times.

        Raises:
            ValueError: (on a call) a time that is no (i + 1)/T, unless ``fractional``. Arrays of times are rounded.
        """
        expect_model(model)
        count = self.num_train_timesteps

        def of_time(time: Any, x: Array) -> Array:
            index = time * count - 1.0
            if isinstance(index, float):
                index = one_index(index, count, x, fractional)
            elif not fractional:
                index = (index + 0.5).long() if is_torch(index) else (index + 0.5).astype(int)
            return first_half(model(index, x), x)

        return of_time


class _Levels:
    """What the formula of a prediction asks of a schedule, in numbers."""

    def __init__(self, chain: DiscreteDiffusion) -> None:
        self._chain = chain

    def __getitem__(self, name: str) -> Floats:
        if name in ("alpha", "sigma"):
            found: Floats = getattr(self._chain, name)
            return found
        times = (self._chain.timesteps + 1) / self._chain.num_train_timesteps
        return np.asarray(self._chain.schedule.quantity(name)(times))


def expect_chain(value: object) -> DiscreteDiffusion:
    """Return ``value`` if it is a noising chain."""
    if not isinstance(value, DiscreteDiffusion):
        remedy = "pass DiscreteDiffusion(betas), or DiscreteDiffusion(DDPMLinear())"
        raise TypeError(explain("a DiscreteDiffusion", type(value).__name__, remedy))
    return value
