r"""Rotary positions: queries and keys turned by their place, so that attention sees differences of places alone.

A head's features are split into pairs :math:`(a, b)`, the first half of the features against the second, and a pair is
turned by the angle :math:`\omega_i` times a coordinate, :math:`\omega_i = 10000^{-i/n}` for :math:`i = 0, …, n - 1`,
with :math:`n = E/4` pairs for each of two coordinates or :math:`n = E/2` for one:

.. math:: (a, b) \mapsto (a\cos\theta - b\sin\theta,\; a\sin\theta + b\cos\theta)

Shapes: N batch, K heads, T tokens, E width of a head, F = E/2 pairs.

References: Su et al., RoFormer (2021), arXiv:2104.09864, section 3.2; Heo et al. (2024), arXiv:2403.13298, for two
coordinates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from backbone.embeddings import coordinates

__all__ = ["rotary_angles", "rotate"]


def rotary_angles(grid: tuple[int, ...], width: int, *, extra: int = 0, like: Tensor) -> Tensor:
    """Return the angles (T, F) of a grid of tokens, in float32 or better, on the device of ``like``.

    Args:
        grid: tokens along each axis.
        width: :math:`E`, divisible by twice the number of axes.
        extra: tokens without a place that follow; they are not turned.
        like: a tensor whose device and precision are used.
    """
    axes = coordinates(grid, like.device)
    count = width // (2 * len(axes))
    omega = torch.pow(10000.0, -torch.arange(count, dtype=torch.float64, device=like.device) / count)
    angles = torch.cat([axis[:, None] * omega for axis in axes], dim=1)
    angles = torch.cat([angles, angles.new_zeros(extra, angles.shape[1])])
    return angles.to(torch.promote_types(like.dtype, torch.float32))


def rotate(x_NKTE: Tensor, angles_TF: Tensor) -> Tensor:
    """Return the features with every pair turned by its angle, in the dtype of x."""
    a, b = x_NKTE.to(torch.promote_types(x_NKTE.dtype, angles_TF.dtype)).chunk(2, dim=-1)
    cos, sin = angles_TF.cos(), angles_TF.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x_NKTE.dtype)
