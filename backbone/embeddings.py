r"""What enters a SiT network besides the image: position, time and label.

Position and time use sines and cosines of geometrically spaced frequencies,
:math:`\omega_i = 10000^{-i/n}` for :math:`i = 0, …, n - 1`: :math:`n = D/4` for each coordinate of the position,
:math:`n = 128` for time. Time enters as it is, in [0, 1], unless the network scales it.

Shapes: N batch, T tokens, D width, F features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch users expect

__all__ = ["Float32Linear", "LabelEmbedding", "TimeEmbedding", "coordinates", "position_embedding", "time_features"]


class Float32Linear(nn.Linear):
    """Linear map computed in float32 or better, whatever the weights' dtype and autocast say.

    Time and modulation go through it: bfloat16 resolves only about 2⁻⁸ of a time, and the modulation multiplies the
    residual stream in every block, so rounding there is the usual start of a NaN loss. It sees one row per image, not
    one per token, so the cost does not show.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x @ weight.T + bias`` for x (…, in_features), in float32 (float64 where either is float64)."""
        dtype = torch.promote_types(torch.promote_types(x.dtype, self.weight.dtype), torch.float32)
        # autocast does not know the meta device, on which shapes are counted.
        if x.is_meta or not torch.is_autocast_enabled(x.device.type):
            return self._map(x, dtype)
        with torch.autocast(x.device.type, enabled=False):
            return self._map(x, dtype)

    def _map(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return F.linear(x.to(dtype), self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype))


def position_embedding(width: int, grid: int | tuple[int, ...]) -> Tensor:
    r"""Fixed sine–cosine embedding of a grid of tokens in row-major order.

    .. math:: [\sin(\omega c), \cos(\omega c), \sin(\omega r), \cos(\omega r)], \quad \omega_i = 10000^{-2i/(D/2)}

    with column :math:`c`, row :math:`r` and :math:`i = 0, …, D/4 - 1`, computed in float64. In one dimension it is
    :math:`[\sin(\omega c), \cos(\omega c)]` with :math:`\omega_i = 10000^{-2i/D}`.

    Args:
        width: :math:`D`, divisible by twice the number of coordinates.
        grid: tokens along one side of a square, or along each axis, of which there is at most two; () is one token.

    Returns:
        float32 tensor (1, T, D) on torch's default device.

    References: Vaswani et al. (2017), arXiv:1706.03762, section 3.5; Peebles & Xie (2023), arXiv:2212.09748.
    """
    # On the host, for some devices lack float64, and on the meta device torch would load its compiler for a range.
    host = torch.device("cpu")
    axes = coordinates((grid, grid) if isinstance(grid, int) else grid, host)
    count = width // (2 * len(axes))
    omega = torch.pow(10000.0, -torch.arange(count, dtype=torch.float64, device=host) / count)
    parts = []
    for coordinate in reversed(axes):
        angle = coordinate.reshape(-1, 1) * omega
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, dim=1).to(torch.get_default_device(), torch.float32).unsqueeze(0)


def coordinates(grid: tuple[int, ...], device: torch.device | None = None) -> tuple[Tensor, ...]:
    """Return each coordinate (row, then column) of the tokens in row-major order, (T,) in float64; () is one token."""
    index = [torch.arange(side, dtype=torch.float64, device=device) for side in grid or (1,)]
    return tuple(axis.flatten() for axis in torch.meshgrid(*index, indexing="ij"))


def time_features(time: Tensor, count: int = 256) -> Tensor:
    r"""Sinusoidal features of time: :math:`[\cos(\omega t), \sin(\omega t)]`, :math:`\omega_i = 10000^{-i/n}`.

    Args:
        time: :math:`t`, shape (N,), float32 or float64, in [0, 1].
        count: number of features F = 2n, even.

    Returns:
        (N, F) in the dtype of ``time``.

    References: Peebles & Xie (2023), arXiv:2212.09748; SiT (arXiv:2401.08740) feeds t in [0, 1] unscaled.
    """
    half = count // 2
    omega = torch.exp(-math.log(10000.0) / half * torch.arange(half, dtype=time.dtype, device=time.device))
    angle = time[:, None] * omega
    return torch.cat([angle.cos(), angle.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """Sinusoidal features of time followed by Linear–SiLU–Linear, in float32 whatever autocast says.

    Args:
        width: :math:`D`.
        features: number of sinusoidal features.
    """

    def __init__(self, width: int, features: int = 256) -> None:
        super().__init__()
        self.features = features
        self.mlp = nn.Sequential(Float32Linear(features, width), nn.SiLU(), Float32Linear(width, width))

    def forward(self, time: Tensor) -> Tensor:
        """Return the embedding (N, D) of times (N,)."""
        embedding: Tensor = self.mlp(time_features(time, self.features))
        return embedding


class LabelEmbedding(nn.Module):
    """Table of ``num_classes + 1`` rows; the last is the null class, learned by dropping labels in training.

    Args:
        num_classes: number of labels.
        width: :math:`D`.
        dropout: probability that a label is replaced by the null class in training mode.

    References: Ho & Salimans, Classifier-Free Diffusion Guidance (2022), arXiv:2207.12598.
    """

    def __init__(self, num_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        table = torch.empty(num_classes + 1, width)
        # Not drawn by nn.Embedding: on the meta device torch would load its compiler for that, which takes seconds.
        if not table.is_meta:
            nn.init.normal_(table, std=0.02)
        self.embedding_table: nn.Embedding = nn.Embedding.from_pretrained(table, freeze=False)  # type: ignore[no-untyped-call]
        self.num_classes = num_classes
        self.dropout = dropout

    def forward(self, y: Tensor, drop: Tensor | None = None) -> Tensor:
        """Return the rows (N, D) of labels ``y`` (N,).

        Args:
            y: labels (N,), integers in 0 … num_classes.
            drop: boolean (N,), the labels to replace by the null class. With None they are drawn from torch's global
                generator in training mode, and none is replaced in evaluation mode.
        """
        if drop is None and self.training and self.dropout > 0:
            drop = torch.rand(y.shape, device=y.device) < self.dropout
        if drop is not None:
            y = torch.where(drop, self.num_classes, y)
        rows: Tensor = self.embedding_table(y)
        return rows
