"""What DiT is trained on: the error of the prediction, and the bound as a lesson for the variances alone."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from interpolants.combination import expect_model
from interpolants.ddpm.bound import mean_of_sample, term
from interpolants.ddpm.diffusion import DiscreteDiffusion, expect_chain
from interpolants.ddpm.network import Network, first_half
from interpolants.ddpm.rates import entry
from interpolants.ddpm.reverse import ReverseChain
from interpolants.prediction import Noise, Prediction
from solvers.arrays import Array, concat, detached

__all__ = ["Losses", "training_losses"]


class Losses(NamedTuple):
    """The loss of each sample and its two parts, all of shape (B,)."""

    loss: Array
    simple: Array
    bound: Array


def training_losses(
    diffusion: DiscreteDiffusion,
    model: Network,
    x_data: Array,
    index: Array,
    noise: Array,
    prediction: Prediction = Noise,
    levels: int | None = 256,
) -> Losses:
    r"""Return the loss of a network that learns its variances, with the mean's gradient from the first part alone.

    .. math:: L = |p_\theta(x_i) - p|^2 + \frac{K}{1000}\,L_i\bigl(\mathrm{sg}[p_\theta], v_\theta\bigr)

    with means over the entries of a sample and :math:`L_i` the term of the variational bound in bits per dimension.
    With i uniform the mean of the second part is :math:`L_{\mathrm{vlb}}/1000`.

    >>> import torch
    >>> from interpolants import DiscreteDiffusion, training_losses
    >>> from interpolants.schedules import DDPMLinear
    >>> chain, x_data = DiscreteDiffusion(DDPMLinear()), torch.zeros(4, 3, 8, 8)
    >>> network = torch.nn.Conv2d(3, 6, 1)
    >>> losses = training_losses(
    ...     chain, lambda timesteps, x: network(x), x_data, torch.randint(0, len(chain), (4,)), torch.randn_like(x_data)
    ... )
    >>> losses.loss.mean().backward()

    Args:
        diffusion: the noising chain; K is its length.
        model: ``model(timesteps, x)`` → twice the channels of x: a prediction, and v.
        x_data: shape (B, C, …).
        index: i, whole numbers of shape (B,), uniform on 0 … K − 1.
        noise: ε, like ``x_data``.
        prediction: what the first half is.
        levels: as in :func:`vlb_terms`. DiT has 256 for its latents too, though they have no levels.

    Raises:
        ValueError: the network does not return twice the channels.

    References: Nichol & Dhariwal (2021), arXiv 2102.09672, eq. 16 with λ = 0.001; Peebles & Xie (2023), arXiv
    2212.09748, §3.1.
    """
    expect_model(model)
    x = expect_chain(diffusion).noised(index, x_data, noise)
    output = model(diffusion.network_timesteps(index, x), x)
    guess = first_half(output, x)
    of_data, of_noise = (entry(part, index, x) for part in diffusion.row(prediction))
    simple = mean_of_sample((guess - of_data * x_data - of_noise * noise) ** 2)
    frozen = concat([_frozen(guess), output[:, x.shape[1] :]], 1)
    predicted = ReverseChain(diffusion, model, prediction, "learned").read(index, x, frozen)
    bound = term(diffusion, index, x_data, predicted, levels)
    return Losses(simple + len(diffusion) / 1000.0 * bound, simple, bound)


def _frozen(values: Any) -> Any:
    """Return the same numbers without their derivatives."""
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(values, jax.Array):
        return jax.lax.stop_gradient(values)
    return detached(values)
