r"""SiT: a transformer :math:`v(x_t, t, y)` on patches, conditioned by adaptive layer norm or as DiT compares.

.. math:: c = \mathrm{time}(t) + \mathrm{label}(y), \qquad h_0 = \mathrm{patches}(x_t) + \mathrm{position},
          \qquad h_{l+1} = \mathrm{block}_l(h_l, c), \qquad v = \mathrm{unpatchify}(\mathrm{final}(h_L, c))

A flow map also takes the start r of an interval, and adds :math:`\mathrm{length}(t - r)` to the embedding of t.

Time runs from data at :math:`t = 0` to noise at :math:`t = 1`. Parameter names and shapes are those of the published
checkpoints.

Shapes: N batch, C channels, H × W pixels, T tokens, D width, P outputs per token.

References: Ma, Goldstein, Albergo, Boffi, Vanden-Eijnden & Xie, SiT (2024), arXiv:2401.08740;
Peebles & Xie, Scalable Diffusion Models with Transformers (2023), arXiv:2212.09748.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import unpack_dual
from torch.utils.checkpoint import checkpoint

from backbone.blocks import make_block
from backbone.config import SiTConfig
from backbone.embeddings import LabelEmbedding, TimeEmbedding, position_embedding
from backbone.inputs import Time, check_image, check_labels, time_vector
from backbone.layers import FinalLayer, PatchEmbedding
from backbone.rotary import rotary_angles
from backbone.sizes import DIT_SIZES, named_config, vector_config
from solvers.errors import explain

__all__ = ["SiT", "dit", "sit", "unpatchify"]


class SiT(nn.Module):
    r"""Scalable interpolant transformer, a prediction :math:`v(x_t, t, y)` of the shape of :math:`x_t`.

    The output is exactly zero when the network is new: the modulation and the last linear map start at zero.

    The weights may be of any floating dtype and autocast may be on: time, condition, modulation and the last layer stay
    in float32, and under autocast so do the norms and the residual stream.

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
        self.x_embedder = PatchEmbedding(config)
        self.t_embedder = TimeEmbedding(width)
        self.length_embedder = TimeEmbedding(width) if config.flow_map else None
        self.y_embedder = (
            LabelEmbedding(config.num_classes, width, config.class_dropout) if config.num_classes else None
        )
        # A Parameter and not a buffer even where frozen: published checkpoints and parameter counts include it.
        self.pos_embed = None
        if config.positions == "sincos":
            self.pos_embed = nn.Parameter(position_embedding(width, config.grid), requires_grad=False)
        elif config.positions == "learned":
            self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens, width))
        self.blocks = nn.ModuleList(make_block(config) for _ in range(config.depth))
        self.final_layer = FinalLayer(config)
        # On the meta device there are no numbers to draw, and torch would load its compiler to draw none.
        if not self.x_embedder.proj.weight.is_meta:
            self.reset_parameters()

    @classmethod
    def for_vectors(cls, features: int, /, **overrides: Any) -> SiT:
        """Build a network on vectors (N, features), one token each: for toy targets and embeddings.

        It is small, width 128 and depth 3, and takes no labels unless ``num_classes`` is given.

        Args:
            features: size of a vector, ≥ 1.
            overrides: fields of :class:`SiTConfig`.

        Raises:
            ValueError: a value is out of range.
            TypeError: an override is not a field (the closest fields are named).
        """
        return cls(vector_config(features, **overrides))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the published initial weights from torch's global generator; the output becomes exactly zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        patch = self.x_embedder.proj
        nn.init.xavier_uniform_(patch.weight.view(self.config.hidden_size, -1))
        if patch.bias is not None:
            nn.init.zeros_(patch.bias)
        if self.y_embedder is not None:
            nn.init.normal_(self.y_embedder.embedding_table.weight, std=0.02)
        for embedder in (self.t_embedder, self.length_embedder):
            for module in () if embedder is None else embedder.mlp:
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=0.02)
        if self.length_embedder is not None:
            # MeanFlow draws these too; from zero, a network that continues a velocity begins as that velocity.
            nn.init.zeros_(self.length_embedder.get_parameter("mlp.2.weight"))
        if self.config.modulated:
            for layer in [*self.blocks, self.final_layer]:
                nn.init.zeros_(layer.adaLN_modulation[1].weight)
        nn.init.zeros_(self.final_layer.linear.weight)
        if self.pos_embed is not None and self.pos_embed.requires_grad:
            nn.init.normal_(self.pos_embed, std=0.02)

    def forward(
        self,
        x: Tensor,
        time: Time,
        y: Tensor | None = None,
        *,
        drop_labels: Tensor | None = None,
        start: Time | None = None,
    ) -> Tensor:
        """Return the prediction at ``x``; with ``learn_sigma`` this is the first half of :meth:`both_halves`.

        Args:
            x: :math:`x_t`, (N, C, H, W), (N, C, L) or (N, C) as the config's ``input_size`` says, floating.
            time: :math:`t` in [0, 1], or the index of a timestep where the config has ``timesteps``; a number, a 0-d
                tensor or a tensor (N,), float32 or float64, and for an index any integer.
            y: labels (N,), int64, 0 … num_classes - 1, or num_classes for the null class; None or the null class for a
                network without labels.
            drop_labels: boolean (N,), the labels to replace by the null class. With None, training mode draws them
                with probability ``class_dropout`` from torch's global generator and evaluation mode drops none.
            start: :math:`r` ≤ t where the config has ``flow_map``, of the kinds of ``time``; None is t.

        Returns:
            the shape and dtype of x.

        Raises:
            ValueError: a shape or dtype does not fit, or labels on the host are out of range.
        """
        return self.both_halves(x, time, y, drop_labels=drop_labels, start=start)[:, : self.config.in_channels]

    def both_halves(
        self,
        x: Tensor,
        time: Time,
        y: Tensor | None = None,
        *,
        drop_labels: Tensor | None = None,
        start: Time | None = None,
    ) -> Tensor:
        """Return all output channels, (N, 2C, …) with ``learn_sigma``; arguments as for :meth:`forward`.

        The second half is untrained by the velocity objective; published checkpoints carry its weights. In a DiT it
        holds the variances.
        """
        config = self.config
        check_image(x, config.in_channels, config.size)
        time_N = time_vector(time, x, index=config.timesteps is not None)
        start_N = self._start(start, time_N, x)
        if y is not None or config.num_classes:
            # Looking at values would synchronise a device and break a compiled graph.
            on_host = y.device.type == "cpu" and not torch.compiler.is_compiling() if isinstance(y, Tensor) else False
            check_labels(y, x.shape[0], config.num_classes, values=on_host)

        weight = self.x_embedder.proj.weight
        embeddings = self._embeddings(time_N, start_N, y, drop_labels)
        if config.modulated:
            c = reduce(torch.add, embeddings) if config.condition == "sum" else torch.cat(embeddings, dim=1)
        else:
            c = torch.stack(embeddings, dim=1)
        # The residual stream keeps the dtype of the weights, which autocast would take from it.
        x_NTD = self.x_embedder(x.to(weight.dtype)).to(weight.dtype)
        if self.pos_embed is not None:
            x_NTD = x_NTD + self.pos_embed
        extra = 0
        if config.conditioning == "in-context":
            extra = len(embeddings)
            x_NTD = torch.cat([x_NTD, c.to(x_NTD.dtype)], dim=1)
        angles_TF = None
        if config.positions == "rope":
            angles_TF = rotary_angles(config.grid, config.head_size, extra=extra, like=weight)
        x_NTD = self._through_blocks(x_NTD, c, angles_TF)[:, : config.tokens]
        out_NTP = self.final_layer(x_NTD, c)
        return unpatchify(out_NTP, config.patch_size, config.out_channels, config.grid).to(x.dtype)

    def _start(self, start: Time | None, time_N: Tensor, x: Tensor) -> Tensor:
        """Return the start of the interval, (N,), which is its end where none is given."""
        if start is None:
            return time_N
        if self.length_embedder is None:
            remedy = "build the network with flow_map=True, or few_step.as_flow_map(model) from this one"
            raise ValueError(explain("a network that takes a start", "flow_map=False in its config", remedy))
        return time_vector(start, x, name="start")

    def _embeddings(
        self, time_N: Tensor, start_N: Tensor, y: Tensor | None, drop_labels: Tensor | None
    ) -> list[Tensor]:
        """Return the embeddings (N, D) of time, with that of t − r, and of the label if any, in float32 or better."""
        # The features follow the weights up to float64, never below float32.
        dtype = torch.promote_types(self.x_embedder.proj.weight.dtype, torch.float32)
        scale = self.config.time_scale
        embeddings = [self.t_embedder(_scaled(time_N.to(dtype), scale))]
        if self.length_embedder is not None:
            embeddings[0] = embeddings[0] + self.length_embedder(_scaled((time_N - start_N).to(dtype), scale))
        if self.y_embedder is not None:
            embeddings.append(self.y_embedder(y, drop_labels).to(embeddings[0].dtype))
        return embeddings

    def _through_blocks(self, x_NTD: Tensor, c: Tensor, angles_TF: Tensor | None) -> Tensor:
        every = self.config.checkpoint_every
        # Computing again would lose the tangents of a forward-mode derivative, and the gradient through them.
        tangents = every and any(_has_tangent(part) for part in (x_NTD, c))
        if not every or tangents or not (self.training and torch.is_grad_enabled()):
            for block in self.blocks:
                x_NTD = block(x_NTD, c, angles_TF)
            return x_NTD
        for first in range(0, len(self.blocks), every):
            # No block draws random numbers, so their state need not be kept.
            group = self.blocks[first : first + every]
            x_NTD = checkpoint(_chain, group, x_NTD, c, angles_TF, use_reentrant=False, preserve_rng_state=False)
        return x_NTD


def _scaled(time_N: Tensor, scale: float) -> Tensor:
    return time_N if scale == 1 else scale * time_N


def _has_tangent(x: Tensor) -> bool:
    return unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]


def _chain(blocks: nn.ModuleList, x_NTD: Tensor, c: Tensor, angles_TF: Tensor | None) -> Tensor:
    for block in blocks:
        x_NTD = block(x_NTD, c, angles_TF)
    return x_NTD


def unpatchify(patches_NTP: Tensor, patch_size: int, channels: int, grid: tuple[int, ...] | None = None) -> Tensor:
    """Return the image (N, C, h·p, w·p) of patches (N, h·w, p·p·C) stored in the order (p, p, C).

    Args:
        patches_NTP: (N, T, P).
        patch_size: p.
        channels: C.
        grid: patches along each axis, (h, w), (l,) or (); None is a square.
    """
    n, t, _ = patches_NTP.shape
    grid = (math.isqrt(t),) * 2 if grid is None else grid
    axes = len(grid)
    blocks = patches_NTP.reshape(n, *grid, *(patch_size,) * axes, channels)
    pairs = (axis for i in range(axes) for axis in (1 + i, 1 + axes + i))
    return blocks.permute(0, 1 + 2 * axes, *pairs).reshape(n, channels, *(side * patch_size for side in grid))


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


def dit(name: str, **overrides: Any) -> SiT:
    """Build a published size of DiT by name, such as ``dit("DiT-XL/2")``: the same network, of discrete time.

    Its time is the index of a timestep, 0 … 999, embedded as it is; integers and, between timesteps, floats are
    allowed. It predicts the noise and :meth:`SiT.both_halves` the variances with it, so that
    ``lambda timesteps, x: model.both_halves(x, timesteps, y)`` is what
    :class:`interpolants.ReverseChain` takes with ``variance="learned"``, and what
    :meth:`interpolants.DiscreteDiffusion.model_of_time` turns into a model of continuous time.

    Args:
        name: ``DiT-{S,B,L,XL}/{2,4,8}``.
        overrides: fields of :class:`SiTConfig`.

    Raises:
        ValueError: the name is not in the table (the choices are listed), or a value is out of range.
        TypeError: an override is not a field (the closest fields are named).

    References: Peebles & Xie (2023), arXiv:2212.09748; Nichol & Dhariwal (2021), arXiv:2102.09672, equation 15.
    """
    return SiT(named_config(name, DIT_SIZES, **overrides))
