r"""SiT: a transformer :math:`v(x_t, t, y)` on patches, conditioned by adaptive layer norm.

.. math:: c = \mathrm{time}(t) + \mathrm{label}(y), \qquad h_0 = \mathrm{patches}(x_t) + \mathrm{position},
          \qquad h_{l+1} = \mathrm{block}_l(h_l, c), \qquad v = \mathrm{unpatchify}(\mathrm{final}(h_L, c))

Time runs from data at :math:`t = 0` to noise at :math:`t = 1`. Parameter names and shapes are those of the published
checkpoints.

Shapes: N batch, C channels, H × W pixels, T tokens, D width, P outputs per token.

References: Ma, Goldstein, Albergo, Boffi, Vanden-Eijnden & Xie, SiT (2024), arXiv:2401.08740;
Peebles & Xie, Scalable Diffusion Models with Transformers (2023), arXiv:2212.09748.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from backbone.config import SiTConfig, named_config
from backbone.embeddings import LabelEmbedding, TimeEmbedding, position_embedding
from backbone.inputs import Time, check_image, check_labels, time_vector
from backbone.layers import Block, FinalLayer, PatchEmbedding
from solvers.errors import explain

__all__ = ["SiT", "sit", "unpatchify"]


class SiT(nn.Module):
    r"""Scalable interpolant transformer, a prediction :math:`v(x_t, t, y)` of the shape of :math:`x_t`.

    The output is exactly zero when the network is new: the modulation and the last linear map start at zero.

    The weights may be of any floating dtype and autocast may be on: time, condition and modulation stay in float32.

    Args:
        config: the shape of the network.

    Raises:
        TypeError: ``config`` is not a :class:`SiTConfig`.

    References: Ma et al. (2024), arXiv:2401.08740; Peebles & Xie (2023), arXiv:2212.09748.
    """

    def __init__(self, config: SiTConfig) -> None:
        super().__init__()
        if not isinstance(config, SiTConfig):
            raise TypeError(explain("a SiTConfig", repr(config), 'SiT(SiTConfig(…)), or sit("SiT-XL/2") by name'))
        self.config = config
        width = config.hidden_size
        self.x_embedder = PatchEmbedding(config.in_channels, config.patch_size, width)
        self.t_embedder = TimeEmbedding(width)
        self.y_embedder = LabelEmbedding(config.num_classes, width, config.class_dropout)
        # A frozen Parameter and not a buffer: published checkpoints and parameter counts include it.
        self.pos_embed = nn.Parameter(
            position_embedding(width, config.input_size // config.patch_size), requires_grad=False
        )
        self.blocks = nn.ModuleList(
            Block(width, config.num_heads, int(width * config.mlp_ratio)) for _ in range(config.depth)
        )
        self.final_layer = FinalLayer(width, config.patch_size**2 * config.out_channels)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the published initial weights from torch's global generator; the output becomes exactly zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        patch = self.x_embedder.proj
        nn.init.xavier_uniform_(patch.weight.view(patch.out_channels, -1))
        if patch.bias is not None:
            nn.init.zeros_(patch.bias)
        nn.init.normal_(self.y_embedder.embedding_table.weight, std=0.02)
        for module in self.t_embedder.mlp:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
        for layer in [*self.blocks, self.final_layer]:
            nn.init.zeros_(layer.adaLN_modulation[1].weight)
        nn.init.zeros_(self.final_layer.linear.weight)

    def forward(self, x: Tensor, time: Time, y: Tensor, *, drop_labels: Tensor | None = None) -> Tensor:
        """Return the prediction at ``x``; with ``learn_sigma`` this is the first half of :meth:`both_halves`.

        Args:
            x: :math:`x_t`, (N, C, H, W), floating.
            time: :math:`t` in [0, 1], a number, a 0-d tensor or a tensor (N,), float32 or float64.
            y: labels (N,), int64, 0 … num_classes - 1, or num_classes for the null class.
            drop_labels: boolean (N,), the labels to replace by the null class. With None, training mode draws them
                with probability ``class_dropout`` from torch's global generator and evaluation mode drops none.

        Returns:
            (N, C, H, W) in the dtype of x.

        Raises:
            ValueError: a shape or dtype does not fit, or labels on the host are out of range.
        """
        return self.both_halves(x, time, y, drop_labels=drop_labels)[:, : self.config.in_channels]

    def both_halves(self, x: Tensor, time: Time, y: Tensor, *, drop_labels: Tensor | None = None) -> Tensor:
        """Return all output channels, (N, 2C, H, W) with ``learn_sigma``; arguments as for :meth:`forward`.

        The second half is untrained by the velocity objective; published checkpoints carry its weights.
        """
        config = self.config
        check_image(x, config.in_channels, config.input_size)
        time_N = time_vector(time, x)
        # Looking at values would synchronise a device and break a compiled graph.
        on_host = y.device.type == "cpu" and not torch.compiler.is_compiling() if isinstance(y, Tensor) else False
        check_labels(y, x.shape[0], config.num_classes, values=on_host)

        weight = self.x_embedder.proj.weight
        # The features follow the weights up to float64, never below float32.
        time_N = time_N.to(torch.promote_types(weight.dtype, torch.float32))
        c_ND = self.t_embedder(time_N)
        c_ND = c_ND + self.y_embedder(y, drop_labels).to(c_ND.dtype)
        x_NTD = self.x_embedder(x.to(weight.dtype)) + self.pos_embed
        for block in self.blocks:
            x_NTD = block(x_NTD, c_ND)
        out_NTP = self.final_layer(x_NTD, c_ND)
        return unpatchify(out_NTP, config.patch_size, config.out_channels).to(x.dtype)


def unpatchify(patches_NTP: Tensor, patch_size: int, channels: int) -> Tensor:
    """Return the image (N, C, h·p, w·p) of square-many patches (N, h·w, p·p·C) stored in the order (p, p, C).

    Args:
        patches_NTP: (N, T, P) with T a square and P = patch_size² · channels.
        patch_size: p.
        channels: C.
    """
    n, t, _ = patches_NTP.shape
    side = math.isqrt(t)
    grid = patches_NTP.view(n, side, side, patch_size, patch_size, channels)
    return grid.permute(0, 5, 1, 3, 2, 4).reshape(n, channels, side * patch_size, side * patch_size)


def sit(name: str, **overrides: Any) -> SiT:
    """Build a published size by name, such as ``sit("SiT-XL/2", num_classes=10)``.

    Args:
        name: ``SiT-{S,B,L,XL}/{2,4,8}``.
        overrides: fields of :class:`SiTConfig`.

    Raises:
        ValueError: the name is not in the table (the choices are listed), or a value is out of range.
        TypeError: an override is not a field (the closest fields are named).
    """
    return SiT(named_config(name, **overrides))
