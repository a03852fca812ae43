r"""Layers of a SiT network: patches, norms, attention, MLPs and the last layer.

Shapes: N batch, T tokens, S tokens attended to, D width, K heads, E width of a head, P outputs per token.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch users expect

from backbone.config import SiTConfig
from backbone.embeddings import Float32Linear
from backbone.rotary import rotate

__all__ = [
    "MLP",
    "Attention",
    "CrossAttention",
    "FinalLayer",
    "PatchEmbedding",
    "RMSNorm",
    "SwiGLU",
    "attend",
    "attention_weights",
    "make_norm",
    "modulate",
    "patchify",
]


class PatchEmbedding(nn.Module):
    """Linear map of each patch of p pixels along every axis to a token.

    The weights are those of a convolution with kernel = stride = p, as published. It is computed as one product of
    matrices, which is faster (``benchmarks/network.py``) and leaves the tokens contiguous: a convolution's have the
    width before the place, and every norm of the residual stream would copy them.

    Args:
        config: gives the axes of the input, p, the channels and the width.
    """

    def __init__(self, config: SiTConfig) -> None:
        super().__init__()
        channels, width, patch = config.in_channels, config.hidden_size, config.patch_size
        self.patch_size = patch
        self.proj: nn.Conv2d | nn.Conv1d | nn.Linear
        if len(config.size) == 2:
            self.proj = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        elif config.size:
            self.proj = nn.Conv1d(channels, width, kernel_size=patch, stride=patch)
        else:
            self.proj = nn.Linear(channels, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (N, T, D) of x (N, C, H, W), in row-major order; of (N, C, L); or of (N, C), one token."""
        return F.linear(patchify(x, self.patch_size), self.proj.weight.flatten(1), self.proj.bias)


def patchify(x: Tensor, patch_size: int) -> Tensor:
    """Return the patches (N, T, C·p·p) of x (N, C, H, W), tokens in row-major order, pixels in the order (C, p, p).

    Args:
        x: (N, C, H, W), (N, C, L) or, as one token, (N, C).
        patch_size: p.
    """
    n, channels, *size = x.shape
    grid = [side // patch_size for side in size]
    split = x.reshape(n, channels, *(part for side in grid for part in (side, patch_size)))
    axes = range(2, split.ndim)
    features = channels * patch_size ** len(size)
    return split.permute(0, *axes[::2], 1, *axes[1::2]).reshape(n, math.prod(grid), features)


class RMSNorm(nn.Module):
    r"""Division by the root mean square of the last axis, in float32 or better.

    .. math:: y = g ⊙ x / \sqrt{\mathrm{mean}(x^2) + ε}, \qquad ε = 10^{-6}

    Args:
        width: size of the last axis.
        affine: learn the gain :math:`g`, which starts at 1; without, it is 1.

    References: Zhang & Sennrich (2019), arXiv:1910.07467, equation 4.
    """

    def __init__(self, width: int, affine: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normed x, in the dtype of x."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        out = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + 1e-6)
        return (out if self.weight is None else out * self.weight).to(x.dtype)


def make_norm(config: SiTConfig, width: int, *, affine: bool) -> nn.Module:
    """Return the norm of the config over an axis of ``width``."""
    if config.norm == "rms":
        return RMSNorm(width, affine)
    return nn.LayerNorm(width, eps=1e-6, elementwise_affine=affine)


def attention_weights(q_NKTE: Tensor, k_NKSE: Tensor) -> Tensor:
    r"""Return :math:`\mathrm{softmax}(qk^⊤/\sqrt E)`, (N, K, T, S): the share of each token in what a query reads."""
    scores = q_NKTE @ k_NKSE.transpose(-2, -1) / math.sqrt(q_NKTE.shape[-1])
    return scores.softmax(dim=-1)


def attend(q_NKTE: Tensor, k_NKSE: Tensor, v_NKSE: Tensor, kind: str) -> Tensor:
    r"""Return :math:`\mathrm{softmax}(qk^⊤/\sqrt E)\,v`, (N, T, D) with the heads one after the other.

    The fused kernels lack forward-mode derivatives; ``"math"`` writes the formula out, for them.
    """
    if kind == "fused":
        out_NKTE = F.scaled_dot_product_attention(q_NKTE, k_NKSE, v_NKSE)
    else:
        out_NKTE = attention_weights(q_NKTE, k_NKSE).to(v_NKSE.dtype) @ v_NKSE
    return out_NKTE.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens, with biases.

    Args:
        config: gives the width, the heads, QK-norm and how attention is computed.
    """

    def __init__(self, config: SiTConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads, self.kind = config.num_heads, config.attention
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm, self.k_norm = _head_norms(config)
        self.proj = nn.Linear(width, width)

    def forward(self, x_NTD: Tensor, angles_TF: Tensor | None = None) -> Tensor:
        """Return the attended tokens (N, T, D); with angles, queries and keys are turned by them."""
        out: Tensor = self.proj(attend(*self.heads(x_NTD, angles_TF), self.kind))
        return out

    def heads(self, x_NTD: Tensor, angles_TF: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of every head, (N, K, T, E) each."""
        # Split before the heads: backwards the three gradients are then laid side by side in one copy.
        q_NKTE, k_NKTE, v_NKTE = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.qkv(x_NTD).chunk(3, dim=-1)
        )
        q_NKTE, k_NKTE = self.q_norm(q_NKTE).to(v_NKTE.dtype), self.k_norm(k_NKTE).to(v_NKTE.dtype)
        if angles_TF is not None:
            q_NKTE, k_NKTE = rotate(q_NKTE, angles_TF), rotate(k_NKTE, angles_TF)
        return q_NKTE, k_NKTE, v_NKTE


class CrossAttention(nn.Module):
    """Multi-head attention of all tokens to the tokens of the condition, with biases.

    Args:
        config: gives the width, the heads, QK-norm and how attention is computed.
    """

    def __init__(self, config: SiTConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads, self.kind = config.num_heads, config.attention
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.q_norm, self.k_norm = _head_norms(config)
        self.proj = nn.Linear(width, width)

    def forward(self, x_NTD: Tensor, c_NSD: Tensor) -> Tensor:
        """Return what the tokens (N, T, D) read from the tokens c (N, S, D) of the condition."""
        out: Tensor = self.proj(attend(*self.heads(x_NTD, c_NSD), self.kind))
        return out

    def heads(self, x_NTD: Tensor, c_NSD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries (N, K, T, E) of the tokens, and the keys and values (N, K, S, E) of the condition."""
        n, s, d = c_NSD.shape
        q_NKTE = self.q(x_NTD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        kv = self.kv(c_NSD.to(x_NTD.dtype)).view(n, s, 2, self.num_heads, d // self.num_heads)
        k_NKSE, v_NKSE = kv.permute(2, 0, 3, 1, 4).unbind(0)
        return self.q_norm(q_NKTE).to(v_NKSE.dtype), self.k_norm(k_NKSE).to(v_NKSE.dtype), v_NKSE


def _head_norms(config: SiTConfig) -> tuple[nn.Module, nn.Module]:
    if not config.qk_norm:
        return nn.Identity(), nn.Identity()
    return make_norm(config, config.head_size, affine=True), make_norm(config, config.head_size, affine=True)


class MLP(nn.Module):
    """Linear–GELU–Linear on each token, with the tanh form of GELU that the published weights were trained with.

    Args:
        width: :math:`D`.
        hidden: width of the hidden layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x_NTD: Tensor) -> Tensor:
        """Return the mapped tokens (N, T, D)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x_NTD), approximate="tanh"))
        return out


class SwiGLU(nn.Module):
    r"""Gated MLP on each token: :math:`W_3(\mathrm{SiLU}(W_1 x) ⊙ W_2 x)`, with biases.

    Args:
        width: :math:`D`.
        hidden: width of each half of ``w12``, which holds :math:`W_1` and then :math:`W_2`.

    References: Shazeer (2020), arXiv:2002.05202, equation 6.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x_NTD: Tensor) -> Tensor:
        """Return the mapped tokens (N, T, D)."""
        gate, value = self.w12(x_NTD).chunk(2, dim=-1)
        out: Tensor = self.w3(F.silu(gate) * value)
        return out


def modulate(x_NTD: Tensor, shift_ND: Tensor, scale_ND: Tensor) -> Tensor:
    """Return ``(1 + scale) x + shift`` in the dtype of x; the modulation itself may be float32."""
    return torch.addcmul(shift_ND.unsqueeze(1), x_NTD, 1 + scale_ND.unsqueeze(1)).to(x_NTD.dtype)


class FinalLayer(nn.Module):
    """Norm, modulated with adaLN, and the linear map of each token to its patch, in float32 or better.

    Args:
        config: gives the width, the conditioning and the output channels.
    """

    def __init__(self, config: SiTConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.norm_final = make_norm(config, width, affine=not config.modulated)
        self.linear = Float32Linear(width, config.patch_size ** len(config.size) * config.out_channels)
        self.adaLN_modulation = (
            nn.Sequential(nn.SiLU(), Float32Linear(config.condition_size, 2 * width)) if config.modulated else None
        )

    def forward(self, x_NTD: Tensor, c_ND: Tensor) -> Tensor:
        """Return the patches (N, T, P), given the condition c (N, D) in float32."""
        x_NTD = self.norm_final(x_NTD)
        if self.adaLN_modulation is not None:
            shift_ND, scale_ND = self.adaLN_modulation(c_ND).chunk(2, dim=1)
            x_NTD = modulate(x_NTD, shift_ND, scale_ND)
        out: Tensor = self.linear(x_NTD)
        return out
