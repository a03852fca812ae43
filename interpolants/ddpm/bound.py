r"""The variational bound of a reverse chain, term by term, in bits per dimension.

.. math::
   -\log p_\theta(x_{\mathrm{data}}) \le
   \underbrace{-\mathbb E\log p_\theta(x_{\mathrm{data}}|x_0)}_{L_0}
   + \sum_{i=1}^{K-1}\underbrace{\mathbb E\,\mathrm{KL}\bigl(q(x_{i-1}|x_i, x_{\mathrm{data}})\,\|\,
   p_\theta(x_{i-1}|x_i)\bigr)}_{L_i}
   + \underbrace{\mathrm{KL}\bigl(q(x_{K-1}|x_{\mathrm{data}})\,\|\,N(0, I)\bigr)}_{L_{\mathrm{prior}}}
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from interpolants.ddpm.decoder import discretised_log_likelihood
from interpolants.ddpm.diffusion import DiscreteDiffusion
from interpolants.ddpm.rates import entry
from interpolants.ddpm.reverse import Predicted, ReverseChain
from interpolants.prediction import Data, Noise
from solvers.arrays import Array, check_state, namespace, stack
from solvers.errors import explain
from solvers.noise import increments

__all__ = ["VariationalBound", "mean_of_sample", "term", "vlb_terms"]

_BITS = 1.0 / math.log(2.0)


class VariationalBound(NamedTuple):
    """The terms of the bound for each sample, by index, and the errors of the network there.

    Args:
        terms: shape (B, K): the first column is that of the data's likelihood, the others are divergences.
        prior: shape (B,).
        data_error: mean squares of x̂ − x_data, shape (B, K).
        noise_error: mean squares of ε̂ − ε, likewise.
    """

    terms: Array
    prior: Array
    data_error: Array
    noise_error: Array

    @property
    def total(self) -> Array:
        """The bound, shape (B,)."""
        return self.terms.sum(1) + self.prior


def vlb_terms(chain: ReverseChain, x_data: Array, rng: Any, levels: int | None = 256) -> VariationalBound:
    r"""Return every term of the variational bound on some data, with one draw of :math:`x_i` for each.

    >>> from interpolants import DiscreteDiffusion, ReverseChain, vlb_terms
    >>> chain = ReverseChain(DiscreteDiffusion(np.linspace(0.01, 0.3, 20)), lambda timesteps, x: 0.5 * x)
    >>> vlb_terms(chain, np.zeros((4, 3)), np.random.default_rng(0)).terms.shape
    (4, 20)

    Args:
        chain: the reverse chain of a network; η = 1, for with another it is no distribution of this form.
        x_data: data, shape (B, …); for whole levels of 0 … L − 1, scaled to [−1, 1].
        rng: as in :func:`solvers.solve`.
        levels: L; None for continuous data, whose :math:`L_0` is a density and may be negative.

    Raises:
        ValueError: η ≠ 1, or fewer levels than two.

    References: Ho, Jain & Abbeel (2020), arXiv 2006.11239, eq. 5 and 13; Nichol & Dhariwal (2021), arXiv 2102.09672.
    """
    if chain.eta != 1.0:
        raise ValueError(explain("a chain with eta = 1", repr(chain.eta), "pass eta=1.0, the default"))
    check_state(x_data, "x_data")
    draw, diffusion = increments(rng, x_data), chain.diffusion
    terms, data_error, noise_error = [], [], []
    for index in range(len(diffusion)):
        noise = draw(index + 1.0, float(index))
        x = diffusion.noised(index, x_data, noise)
        predicted = chain.predict(index, x)
        terms.append(term(diffusion, index, x_data, predicted, levels))
        data_error.append(mean_of_sample((predicted.data - x_data) ** 2))
        guess = diffusion.convert(index, x, predicted.data, source=Data, to=Noise)
        noise_error.append(mean_of_sample((guess - noise) ** 2))
    columns = (stack(rows).T for rows in (terms, data_error, noise_error))
    by_index, of_data, of_noise = columns
    return VariationalBound(by_index, _prior(diffusion, x_data), of_data, of_noise)


def term(diffusion: DiscreteDiffusion, index: Any, x_data: Array, predicted: Predicted, levels: int | None) -> Array:
    """Return the term of an index, or of one index per sample: bits per dimension, shape (B,)."""
    if isinstance(index, int):
        part = _divergence if index else _decoder
        return mean_of_sample(part(diffusion, index, x_data, predicted, levels))
    both = (mean_of_sample(part(diffusion, index, x_data, predicted, levels)) for part in (_decoder, _divergence))
    return namespace(x_data).where(index == 0, *both)


def _divergence(
    diffusion: DiscreteDiffusion, index: Any, x_data: Array, predicted: Predicted, levels: int | None
) -> Array:
    """Return KL(q‖p) of every entry. The means share their part of x_i, so they differ by a multiple of x̂ − x_data."""
    library = namespace(x_data)
    low = entry(diffusion.log_variances["small"], index, x_data)
    gain = entry(diffusion.backward()[1], index, x_data)
    # As an array, that one function serves numbers and arrays.
    shift = low - predicted.log_variance + 0.0 * predicted.data
    squares = (gain * (x_data - predicted.data)) ** 2 * library.exp(shift - low)
    return 0.5 * _BITS * (library.expm1(shift) - shift + squares)


def _decoder(
    diffusion: DiscreteDiffusion, index: Any, x_data: Array, predicted: Predicted, levels: int | None
) -> Array:
    """Return −log p(x_data|x_0) of every entry, whose mean is x̂."""
    spread = predicted.log_variance
    if levels is not None:
        return -_BITS * discretised_log_likelihood(x_data, predicted.data, spread, levels)
    spread = spread + 0.0 * predicted.data
    squares = (x_data - predicted.data) ** 2 * namespace(x_data).exp(-spread)
    return 0.5 * _BITS * (math.log(2.0 * math.pi) + spread + squares)


def _prior(diffusion: DiscreteDiffusion, x_data: Array) -> Array:
    """Return KL(N(αx, σ²)‖N(0, 1)) = ½(α²x² − α² − log(1 − α²)) of the last index."""
    signal = math.exp(diffusion.log_signal[-1])
    return 0.5 * _BITS * (signal * mean_of_sample(x_data**2) - signal - math.log1p(-signal))


def mean_of_sample(values: Array) -> Array:
    """Return the mean over all axes but the first."""
    return values.reshape(values.shape[0], -1).mean(1)
