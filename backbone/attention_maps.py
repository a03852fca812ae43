r"""What each token of a network reads: the attention weights of every block, and how far away it reads.

Shapes: L blocks, N batch, K heads, T tokens, S tokens attended to.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from backbone.config import SiTConfig
from backbone.embeddings import coordinates
from backbone.field import bind
from backbone.inputs import Time
from backbone.layers import Attention, CrossAttention, attention_weights
from backbone.model import SiT
from solvers.errors import explain

__all__ = ["attention_distance", "attention_maps", "uniform_distance"]


def attention_maps(model: SiT, x: Tensor, time: Time, y: Tensor | int | None = None, *, cross: bool = False) -> Tensor:
    r"""Return the attention weights of every block, :math:`\mathrm{softmax}(qk^⊤/\sqrt E)`, in one pass of the network.

    They are computed beside the pass from the queries and keys of each block, after QK-norm and rotary positions; the
    network is not changed and answers as it does without. Tokens are patches in row-major order; with in-context
    conditioning the tokens of time and label come last.

    Args:
        model: the network; its mode does not matter, no label is dropped and no gradient is kept.
        x: :math:`x_t`, (N, C, H, W), (N, C, L) or (N, C).
        time: :math:`t`, a number, a 0-d tensor or (N,).
        y: labels (N,), one label for all, or None for the null class.
        cross: the attention to the condition, tokens of time and label, in place of that among the tokens.

    Returns:
        shape (L, N, K, T, S), float32 or better; the last axis sums to 1.

    Raises:
        ValueError: shapes or labels that do not fit; ``cross`` without ``conditioning="cross-attention"``.
    """
    if cross and model.config.conditioning != "cross-attention":
        received, remedy = f"conditioning={model.config.conditioning!r}", "leave cross out"
        raise ValueError(explain('a network with conditioning="cross-attention"', received, remedy))
    found: list[Tensor] = []

    def read(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        q_NKTE, k_NKSE, _ = module.heads(*inputs)
        wide = torch.promote_types(q_NKTE.dtype, torch.float32)
        found.append(attention_weights(q_NKTE.to(wide), k_NKSE.to(wide)))

    kind = CrossAttention if cross else Attention
    handles = [part.register_forward_hook(read) for part in model.modules() if isinstance(part, kind)]
    try:
        with torch.no_grad():
            bind(model, y)(time, x)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(found)


def attention_distance(maps: Tensor, config: SiTConfig) -> Tensor:
    r"""Return how far a head reads on average, in pixels.

    .. math:: d = \frac1T\sum_{q}\sum_s A_{qs}\,|r_q - r_s|

    with :math:`r` the centres of the patches. Tokens without a place, of in-context conditioning, are left out and the
    other weights of a row made to sum to one.

    Args:
        maps: self-attention weights (…, T, S), from :func:`attention_maps`.
        config: that of the network.

    Returns:
        shape (…).

    Raises:
        ValueError: a network of vectors, whose one token has no neighbours; maps of another size.

    References: Dosovitskiy et al. (2021), arXiv:2010.11929, figure 7; Raghu et al. (2021), arXiv:2108.08810, figure 3.
    """
    apart, count = _apart(config, maps), config.tokens
    if maps.shape[-1] < count or maps.shape[-2] != maps.shape[-1]:
        wanted = f"maps of self-attention, (…, S, S) with S at least {count}"
        raise ValueError(explain(wanted, f"shape {tuple(maps.shape)}", "pass attention_maps(model, x, time, y)"))
    patches = maps[..., :count, :count]
    shares = patches / patches.sum(-1, keepdim=True)
    return (shares * apart).sum(-1).mean(-1)


def uniform_distance(config: SiTConfig) -> float:
    """Return the attention distance of a head that reads all patches alike, in pixels."""
    return float(_apart(config, torch.zeros(())).mean())


def _apart(config: SiTConfig, like: Tensor) -> Tensor:
    """Return the distances between the patches, (T, T), in pixels."""
    if not config.grid:
        remedy = "pass a network of images or sequences"
        raise ValueError(explain("a network with a grid of patches", "a network of vectors, one token", remedy))
    places = config.patch_size * torch.stack(coordinates(config.grid, like.device), dim=1)
    return torch.cdist(places, places).to(like.dtype)
