r"""Transformer blocks: self-attention and MLP, with one of DiT's four ways of conditioning.

A branch :math:`f` with adaptive layer norm adds :math:`g ⊙ f((1 + s) ⊙ \mathrm{norm}(x) + b)` to the residual stream,
with shift :math:`b`, scale :math:`s` and gate :math:`g` linear in the condition :math:`c`. All three start at zero, so
every block starts as the identity (adaLN-Zero); plain adaLN has no gates. In-context and cross-attention blocks add
:math:`f(\mathrm{norm}(x))` with learned norms; the latter attend to the tokens of the condition between the two.

Shapes: N batch, T tokens, S tokens of the condition, D width, F pairs of features.

References: Peebles & Xie (2023), arXiv:2212.09748, section 3.2 and figure 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbone.config import SiTConfig
from backbone.embeddings import Float32Linear
from backbone.layers import MLP, Attention, CrossAttention, SwiGLU, make_norm, modulate

__all__ = ["Block", "TokenBlock", "make_block"]


def make_block(config: SiTConfig) -> nn.Module:
    """Return a block of the config, called as ``block(x_NTD, c, angles_TF)``."""
    return Block(config) if config.modulated else TokenBlock(config)


class Block(nn.Module):
    """Attention and MLP, each with shift and scale, and with adaLN-Zero a gate, from the condition.

    Args:
        config: the shape of the network.
    """

    def __init__(self, config: SiTConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.gated = config.conditioning == "adaln-zero"
        self.norm1 = make_norm(config, width, affine=False)
        self.attn = Attention(config)
        self.norm2 = make_norm(config, width, affine=False)
        self.mlp = _mlp(config)
        parts = 6 if self.gated else 4
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Float32Linear(config.condition_size, parts * width))

    def forward(self, x_NTD: Tensor, c_ND: Tensor, angles_TF: Tensor | None = None) -> Tensor:
        """Return the tokens (N, T, D) after the block, given the condition c (N, D) in float32."""
        parts = self.adaLN_modulation(c_ND).chunk(6 if self.gated else 4, dim=1)
        half = len(parts) // 2
        branch = self.attn(modulate(self.norm1(x_NTD), *parts[:2]), angles_TF)
        x_NTD = _add(x_NTD, branch, *parts[2:half])
        branch = self.mlp(modulate(self.norm2(x_NTD), *parts[half : half + 2]))
        return _add(x_NTD, branch, *parts[half + 2 :])


class TokenBlock(nn.Module):
    """Attention and MLP with learned norms; with cross-attention, attention to the condition between them.

    Args:
        config: the shape of the network.
    """

    def __init__(self, config: SiTConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.norm1 = make_norm(config, width, affine=True)
        self.attn = Attention(config)
        crosses = config.conditioning == "cross-attention"
        self.norm_cross = make_norm(config, width, affine=True) if crosses else None
        self.cross = CrossAttention(config) if crosses else None
        self.norm2 = make_norm(config, width, affine=True)
        self.mlp = _mlp(config)

    def forward(self, x_NTD: Tensor, c_NSD: Tensor, angles_TF: Tensor | None = None) -> Tensor:
        """Return the tokens (N, T, D) after the block, given the tokens c (N, S, D) of the condition."""
        x_NTD = _add(x_NTD, self.attn(self.norm1(x_NTD), angles_TF))
        if self.norm_cross is not None and self.cross is not None:
            x_NTD = _add(x_NTD, self.cross(self.norm_cross(x_NTD), c_NSD))
        return _add(x_NTD, self.mlp(self.norm2(x_NTD)))


def _add(x_NTD: Tensor, branch_NTD: Tensor, gate_ND: Tensor | None = None) -> Tensor:
    """Return ``x + gate · branch`` in the dtype of x, which autocast keeps in float32."""
    branch_NTD = branch_NTD.to(x_NTD.dtype)
    if gate_ND is None:
        return x_NTD + branch_NTD
    return torch.addcmul(x_NTD, gate_ND.unsqueeze(1).to(x_NTD.dtype), branch_NTD)


def _mlp(config: SiTConfig) -> nn.Module:
    width, hidden = config.hidden_size, int(config.hidden_size * config.mlp_ratio)
    # Three maps in place of two: two thirds of the width keep the number of weights.
    return SwiGLU(width, max(1, 2 * hidden // 3)) if config.mlp == "swiglu" else MLP(width, hidden)
