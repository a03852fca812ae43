r"""Blocks of a SiT network: attention, MLP and their modulation by time and label.

A branch :math:`f` with adaptive layer norm adds :math:`g ⊙ f((1 + s) ⊙ \mathrm{LN}(x) + b)` to the residual stream,
with shift :math:`b`, scale :math:`s` and gate :math:`g` linear in the condition :math:`c`. All three start at zero, so
every block starts as the identity (Peebles & Xie 2023, arXiv:2212.09748, section 3.2, adaLN-Zero).

Shapes: N batch, T tokens, D width, K heads, E width of a head, P outputs per token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch users expect

from backbone.embeddings import Float32Linear

__all__ = ["MLP", "Attention", "Block", "FinalLayer", "PatchEmbedding"]


class PatchEmbedding(nn.Module):
    """Linear map of each non-overlapping p × p patch to a token, as a convolution with kernel = stride = p.

    Args:
        channels: :math:`C`.
        patch_size: :math:`p`.
        width: :math:`D`.
    """

    def __init__(self, channels: int, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (N, T, D) of x (N, C, H, W), in row-major order."""
        tokens: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return tokens


class Attention(nn.Module):
    """Multi-head self-attention over all tokens, with biases.

    Args:
        width: :math:`D`.
        num_heads: :math:`K`, a divisor of D.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_NTD: Tensor) -> Tensor:
        """Return the attended tokens (N, T, D)."""
        n, t, d = x_NTD.shape
        q_NKTE, k_NKTE, v_NKTE = (
            self.qkv(x_NTD).view(n, t, 3, self.num_heads, d // self.num_heads).permute(2, 0, 3, 1, 4).unbind(0)
        )
        out_NKTE = F.scaled_dot_product_attention(q_NKTE, k_NKTE, v_NKTE)
        out: Tensor = self.proj(out_NKTE.transpose(1, 2).reshape(n, t, d))
        return out


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


def modulate(x_NTD: Tensor, shift_ND: Tensor, scale_ND: Tensor) -> Tensor:
    """Return ``(1 + scale) x + shift`` in the dtype of x; the modulation itself may be float32."""
    return torch.addcmul(shift_ND.unsqueeze(1), x_NTD, 1 + scale_ND.unsqueeze(1)).to(x_NTD.dtype)


class Block(nn.Module):
    """Transformer block: attention and MLP, each with shift, scale and gate from the condition.

    Args:
        width: :math:`D`.
        num_heads: :math:`K`.
        mlp_hidden: width of the MLP's hidden layer.
    """

    def __init__(self, width: int, num_heads: int, mlp_hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attn = Attention(width, num_heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.mlp = MLP(width, mlp_hidden)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Float32Linear(width, 6 * width))

    def forward(self, x_NTD: Tensor, c_ND: Tensor) -> Tensor:
        """Return the tokens (N, T, D) after the block, given the condition c (N, D) in float32."""
        shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp = self.adaLN_modulation(c_ND).chunk(6, dim=1)
        branch = self.attn(modulate(self.norm1(x_NTD), shift_msa, scale_msa))
        x_NTD = torch.addcmul(x_NTD, gate_msa.unsqueeze(1).to(x_NTD.dtype), branch.to(x_NTD.dtype))
        branch = self.mlp(modulate(self.norm2(x_NTD), shift_mlp, scale_mlp))
        return torch.addcmul(x_NTD, gate_mlp.unsqueeze(1).to(x_NTD.dtype), branch.to(x_NTD.dtype))


class FinalLayer(nn.Module):
    """Modulated layer norm and the linear map of each token to its patch.

    Args:
        width: :math:`D`.
        outputs: P = p² times the output channels.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(width, outputs)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), Float32Linear(width, 2 * width))

    def forward(self, x_NTD: Tensor, c_ND: Tensor) -> Tensor:
        """Return the patches (N, T, P), given the condition c (N, D) in float32."""
        shift_ND, scale_ND = self.adaLN_modulation(c_ND).chunk(2, dim=1)
        out: Tensor = self.linear(modulate(self.norm_final(x_NTD), shift_ND, scale_ND))
        return out
