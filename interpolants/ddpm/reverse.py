"""The chain from noise to data: a network's mean and variance, one step after the other."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from interpolants.combination import expect_model
from interpolants.ddpm.diffusion import DiscreteDiffusion, expect_chain
from interpolants.ddpm.network import Network, first_half
from interpolants.ddpm.rates import Floats, entry
from interpolants.prediction import Data, Noise, Prediction
from solvers import Ancestral, NonFiniteError, Solution
from solvers.arrays import Array, check_state, looks_finite, namespace
from solvers.errors import explain
from solvers.noise import Increment, increments

__all__ = ["Predicted", "ReverseChain", "Reversed"]

Variance = Literal["small", "large", "learned"]


class Predicted(NamedTuple):
    """What a network says of a step: x̂, shape (B, …), and the logarithm of the variance, a number or like x̂."""

    data: Array
    log_variance: Any


@dataclass(frozen=True, slots=True, eq=False)
class Reversed:
    """A step taken: the index it began at, the state x it came to, and the x̂ it went by."""

    index: int
    x: Array
    data: Array


@dataclass(frozen=True, eq=False)
class ReverseChain:
    r"""The reverse chain of a network, DDPM's and, for :math:`\eta < 1`, DDIM's.

    .. math:: x_{i-1} = \alpha_{i-1}\hat x + \sqrt{\sigma_{i-1}^2 - \eta^2\tilde\beta_i}\;
              \frac{x_i - \alpha_i\hat x}{\sigma_i} + \eta s_i\xi, \qquad
              s_i^2 = \tilde\beta_i \text{ ("small")}, \quad \beta_i \text{ ("large")}, \quad
              \beta_i^f\,\tilde\beta_i^{1 - f} \text{ ("learned")}

    With learned variances the network returns twice the channels of x on axis 1, the second half v giving
    :math:`f = (v + 1)/2`; the other choices read the first half of such a network. The step to the data, of index 0,
    adds no noise.

    >>> from interpolants import DiscreteDiffusion, ReverseChain
    >>> from interpolants.schedules import DDPMLinear
    >>> short = DiscreteDiffusion(DDPMLinear()).respaced(25)
    >>> sampler, rng = ReverseChain(short, lambda timesteps, x: 0.9 * x), np.random.default_rng(0)
    >>> sampler.sample(rng.standard_normal((4, 3)), rng).nfe
    25

    Args:
        diffusion: the noising chain, whole or respaced.
        model: ``model(timesteps, x)`` → prediction; timesteps are whole numbers of shape (B,).
        prediction: what the network predicts.
        variance: "small", "large" or "learned".
        eta: 1 is DDPM, 0 is DDIM; other than 1 with the small variance only.
        clip: where given, x̂ is clipped to [−clip, clip], and the noise is what is then left of x, as in DDPM's and
            improved DDPM's code. 1 for images; none for latents.

    Raises:
        TypeError: not a diffusion, a model or a prediction.
        ValueError: another variance or η; a prediction that does not tell the data where no signal is left.

    References: Ho, Jain & Abbeel (2020), arXiv 2006.11239, algorithm 2; Song, Meng & Ermon (2021), arXiv 2010.02502,
    eq. 12 and 16; Nichol & Dhariwal (2021), arXiv 2102.09672, eq. 15; Peebles & Xie (2023), arXiv 2212.09748.
    """

    diffusion: DiscreteDiffusion
    model: Network
    prediction: Prediction = Noise
    variance: Variance = "small"
    eta: float = 1.0
    clip: float | None = None

    def __post_init__(self) -> None:
        expect_chain(self.diffusion)
        expect_model(self.model)
        if self.variance not in ("small", "large", "learned"):
            wanted = 'variance: "small", "large" or "learned"'
            raise ValueError(explain(wanted, repr(self.variance), 'pass variance="small"'))
        Ancestral(eta=self.eta)  # which knows what η may be
        if self.variance != "small" and self.eta != 1.0:
            remedy = 'pass eta=1.0, or variance="small"'
            raise ValueError(explain(f"eta = 1 with the {self.variance} variance", repr(self.eta), remedy))
        if self.clip is not None and not self.clip > 0.0:
            raise ValueError(explain("clip > 0, or None", repr(self.clip), "pass clip=1.0 for images in [-1, 1]"))
        if not all(math.isfinite(part[-1]) for part in self._to_data):
            remedy = "train with VPrediction, Data or Velocity, or respace the chain without its last timestep"
            expected = "a prediction from which the data follows where no signal is left"
            raise ValueError(explain(expected, str(self.prediction), remedy))

    @cached_property
    def _to_data(self) -> tuple[Floats, Floats]:
        return self.diffusion.conversion(self.prediction, Data)

    @cached_property
    def _mean(self) -> tuple[Floats, Floats]:
        return self.diffusion.backward(self.eta)

    def predict(self, index: Any, x: Array) -> Predicted:
        """Call the network at an index, or one per sample, and read its answer."""
        return self.read(index, x, self.model(self.diffusion.network_timesteps(index, x), x))

    def read(self, index: Any, x: Array, output: Array) -> Predicted:
        r"""Return x̂ and :math:`\log s_i^2` of what the network returned at :math:`x_i`.

        At index 0, where sampling adds no noise but a likelihood needs a variance, the small and the large one are
        :math:`\tilde\beta_1`, as published.

        Raises:
            ValueError: neither the channels of x nor twice as many; or not twice as many with learned variances.
        """
        own, given = (entry(part, index, x) for part in self._to_data)
        data = own * x + given * first_half(output, x)
        if self.clip is not None:
            data = namespace(data).clip(data, -self.clip, self.clip)
        return Predicted(data, self._log_variance(index, x, output))

    def _log_variance(self, index: Any, x: Array, output: Array) -> Any:
        tables = self.diffusion.log_variances
        if self.variance == "small":
            return entry(tables["small"], index, x)
        if self.variance == "large":
            table = tables["large"].copy()
            table[0] = tables["small"][0]
            return entry(table, index, x)
        if output.shape == x.shape:
            wanted = f"{2 * x.shape[1]} channels on axis 1, a prediction and its variances"
            received = f"shape {tuple(output.shape)} for x of shape {tuple(x.shape)}"
            raise ValueError(explain(wanted, received, 'pass variance="small" or "large" for a network without them'))
        fraction = 0.5 * (output[:, x.shape[1] :] + 1.0)
        low, high = entry(tables["small"], index, x), entry(tables["large"], index, x)
        return fraction * high + (1.0 - fraction) * low

    def steps(self, x: Array, rng: Any = None, start: int | None = None) -> Generator[Reversed, None, None]:
        """Go from noise to data one step at a time, for previews; nothing is kept between steps but the state.

        Args:
            x: the state at the index ``start``, shape (B, …); :math:`N(0, I)` at the last.
            rng: as in :func:`solvers.solve`; each draw is an increment over a unit of time. None with η = 0.
            start: where to begin, K − 1 by default. A run that stopped after ``step`` goes on as
                ``steps(step.x, rng, step.index - 1)`` (with a jax key, a new one).

        Yields:
            Reversed(index, x, data).

        Raises:
            TypeError, ValueError: a state, a generator, a start or an answer of the network that does not fit.
        """
        check_state(x)
        first = len(self.diffusion) - 1 if start is None else start
        entry(self.diffusion.betas, first, x)
        return self._run(x, increments(rng, x) if self.eta else None, first)

    def _run(self, x: Array, noise: Increment | None, first: int) -> Generator[Reversed, None, None]:
        for index in range(first, -1, -1):
            data, log_variance = self.predict(index, x)
            keep, gain = (entry(part, index, x) for part in self._mean)
            moved = keep * x + gain * data
            if noise is not None and index > 0:
                moved = moved + self.eta * _exp(0.5 * log_variance) * noise(index + 1.0, float(index))
            if moved.dtype != x.dtype:
                remedy = "cast inside the model, or give x the dtype in which it computes"
                raise TypeError(explain(f"a model that answers in {x.dtype}, as x is", f"{moved.dtype}", remedy))
            x = moved
            yield Reversed(index, x, data)

    def sample(self, x: Array, rng: Any = None) -> Solution:
        """Go from noise to data; the solution's ``x`` are the samples and its ``ts`` the times in [0, 1].

        Raises:
            TypeError, ValueError: as :meth:`steps` does.
            NonFiniteError: the samples are not finite.
        """
        for step in self.steps(x, rng):
            x = step.x
        finite = looks_finite(x)
        solution = Solution(x, None, self.diffusion.times, len(self.diffusion), "success" if finite else "non-finite")
        if not finite:
            remedy = "look at the states of steps(), and at the prediction and variance the network was trained for"
            raise NonFiniteError(explain("finite samples", "NaN or infinity", remedy), solution)
        return solution


def _exp(value: Any) -> Any:
    return math.exp(value) if isinstance(value, float) else namespace(value).exp(value)
