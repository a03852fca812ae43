r"""Bits per dimension of images of whole numbers, of which a network models a continuous version.

A pixel of level y has the value :math:`c_y`, the centre of a bin of width Δ. Noise u, uniform over the bin, makes the
data continuous, and the probability of the whole image is the mass of its cell of d bins:

.. math:: P(y) = \int_{\mathrm{cell}} p(x)\,dx = \Delta^d\,\mathbb E_u\,p(c_y + u)

By Jensen's inequality, with K draws of u,

.. math:: -\log_2 P(y) \;\le\; -\mathbb E\log_2\Bigl(\frac{\Delta^d}{K}\sum_{k=1}^K p(c_y + u_k)\Bigr)
          \;\le\; -\mathbb E\log_2 p(c_y + u) - d\log_2\Delta

for any p; the first bound does not rise with K, and is met as K grows. Divided by d the last has three terms:

.. math:: \underbrace{-\tfrac1d\log_2 N(X_1; 0, \sigma_1^2I)}_{\text{prior}}
          \underbrace{-\tfrac1d\int_0^1\nabla\cdot v\,dt\,/\log 2}_{\text{change of variables}}
          \underbrace{-\log_2\Delta}_{\text{bins}}
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from backbone.checks import check_count
from backbone.likelihood.flow import ModelFlow
from solvers.errors import explain
from solvers.likelihood import LogLikelihood, bits_per_dimension, dequantise

__all__ = ["Bits", "Levels", "dequantised_bits"]


@dataclass(frozen=True)
class Levels:
    r"""The levels of a pixel as numbers: L values, equally spaced, each the centre of a bin of width Δ.

    .. math:: c_y = \mathrm{first} + y\,\Delta, \qquad \Delta = \frac{\mathrm{last} - \mathrm{first}}{L - 1}

    The bins are centred because networks are trained on the values; bins that begin at them hold the same levels,
    shifted by Δ/2.

    Args:
        count: L, 256 for bytes and 17 for the digits of scikit-learn.
        first: the value of level 0.
        last: the value of level L − 1.

    Raises:
        ValueError: fewer than two levels, or values that are not finite and rising.
    """

    count: int
    first: float = -1.0
    last: float = 1.0

    def __post_init__(self) -> None:
        check_count("count", self.count, 2)
        if not 0 < self.last - self.first < math.inf:
            received = f"first = {self.first}, last = {self.last}"
            raise ValueError(explain("first < last, both finite", received, "pass -1.0 and 1.0, or 0.0 and 1.0"))

    @property
    def width(self) -> float:
        """The width Δ of a bin."""
        return (self.last - self.first) / (self.count - 1)

    @property
    def interval(self) -> tuple[float, float]:
        """The interval that all bins fill, half a bin more than the values on either side."""
        return self.first - self.width / 2, self.last + self.width / 2

    def whole(self, x: Tensor) -> Tensor:
        """Return the levels of pixels, int64.

        Raises:
            ValueError: a pixel is not one of the values.
        """
        places = (x.double() - self.first) / self.width
        levels = places.round()
        if bool(((places - levels).abs() > 1e-3).any()) or bool((levels < 0).any() | (levels >= self.count).any()):
            wanted = f"pixels among {self.count} values from {self.first:g} to {self.last:g}"
            remedy = "pass the data before noise is added, and the levels that they have"
            raise ValueError(explain(wanted, f"others, from {float(x.min()):g} to {float(x.max()):g}", remedy))
        return levels.long()

    def dequantise(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Return pixels with noise that is uniform over the bin of each, like x.

        Raises:
            ValueError: a pixel is not one of the values, or the generator is on another device.
        """
        if rng.device.type != x.device.type:
            remedy = f"torch.Generator({str(x.device)!r}).manual_seed(0)"
            raise ValueError(explain(f"a generator on {x.device}", f"one on {rng.device}", remedy))
        uniforms = torch.rand(x.shape, generator=rng, dtype=x.dtype, device=x.device)
        drawn: Tensor = dequantise(self.whole(x), uniforms, self.count, self.interval)
        return drawn


@dataclass(frozen=True)
class Bits:
    """Bits per dimension of images, each dequantised K times.

    Args:
        found: the log-likelihoods of all images, in nats of the continuous density, for each draw of the noise.
        log_prior: their terms of the prior, in nats, shape (K, N).
        levels: the levels of the images.
        dimensions: d, pixels times channels.
    """

    found: tuple[LogLikelihood, ...]
    log_prior: Tensor
    levels: Levels
    dimensions: int

    @property
    def log_p(self) -> Tensor:
        """The log-densities of all draws, shape (K, N), in nats."""
        return torch.stack([draw.value for draw in self.found])

    @property
    def single(self) -> Tensor:
        """The bound with one draw, shape (N,), as the mean over the draws of what each gives."""
        return self._bits(self.log_p.mean(0))

    @property
    def bound(self) -> Tensor:
        """The bound with K draws, shape (N,), from the logarithm of their mean density."""
        return self._bits(self.log_p)

    @property
    def terms(self) -> dict[str, Tensor]:
        """The prior, the change of variables and the bins, shape (N,) each, whose sum is :attr:`single`."""
        prior = self.log_prior.mean(0)
        unit = -1 / (self.dimensions * math.log(2.0))
        bins = torch.full_like(prior, -math.log2(self.levels.width))
        return {"prior": unit * prior, "change of variables": unit * (self.log_p.mean(0) - prior), "bins": bins}

    def _bits(self, log_p: Tensor) -> Tensor:
        bits: Tensor = bits_per_dimension(log_p, self.dimensions, self.levels.count, self.levels.interval)
        return bits


def dequantised_bits(
    flow: ModelFlow,
    x: Tensor,
    y: Tensor | int | None = None,
    *,
    levels: Levels,
    rng: torch.Generator,
    draws: int = 1,
    probes: Tensor | None = None,
) -> Bits:
    r"""Return the bits per dimension that a network's flow needs for images, an upper bound.

    The network should have been trained on dequantised images: one that was trained on the values themselves puts its
    mass near them and not over their bins, and needs many more bits.

    Args:
        flow: the flow, whose grid begins at the data.
        x: images (N, …) as they were before noise, each pixel one of the values of ``levels``.
        y: labels (N,), one label for all, or None for the null class.
        levels: the levels of the pixels.
        rng: a torch Generator on the device of x, for the noise within the bins.
        draws: K; more cost as many times and make the bound tighter.
        probes: directions for Hutchinson's estimate; None takes the divergence exactly.

    Raises:
        ValueError: pixels that are not levels; labels or probes that do not fit; probes with several draws, for the
            mean of densities from estimated logarithms is biased upwards, and no bound.

    References: Theis, van den Oord & Bethge (2016), arXiv:1511.01844, section 3.1; Ho et al., Flow++ (2019),
    arXiv:1902.00275, section 3.1; Burda, Grosse & Salakhutdinov (2016), arXiv:1509.00519, for several draws.
    """
    check_count("draws", draws)
    if draws > 1 and probes is not None:
        remedy = "leave probes out, or pass draws=1"
        raise ValueError(explain("an exact divergence with several draws", f"probes and draws={draws}", remedy))
    found = [flow.log_likelihood(levels.dequantise(x, rng), y, probes=probes) for _ in range(draws)]
    log_prior = torch.stack([flow.log_prior(draw.x) for draw in found])
    return Bits(tuple(found), log_prior, levels, x[0].numel())
