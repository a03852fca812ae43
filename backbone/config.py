"""The shape of a SiT network as data: checked when made, free of torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backbone.checks import check_choice, check_count, check_divides, check_flag, is_number
from solvers.errors import closest, explain

__all__ = ["CHOICES", "SiTConfig"]

#: The values of the fields that name a variant; the first is the published one.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "conditioning": ("adaln-zero", "adaln", "cross-attention", "in-context"),
    "condition": ("sum", "concat"),
    "positions": ("sincos", "learned", "rope"),
    "norm": ("layer", "rms"),
    "mlp": ("gelu", "swiglu"),
    "attention": ("fused", "math"),
}


@dataclass(frozen=True, slots=True)
class SiTConfig:
    r"""Shape of a SiT network; the defaults are SiT-XL/2 on 32 × 32 × 4 latents of ImageNet.

    The network reads :math:`T = (S/p)^2` tokens of width :math:`D`, with :math:`S` = ``input_size``,
    :math:`p` = ``patch_size`` and :math:`D` = ``hidden_size``. Every option after ``class_dropout`` defaults to the
    published network.

    Args:
        input_size: height and width :math:`S` of the input, or (H, W), or (L,) for sequences (N, C, L), or () for
            vectors (N, C) as one token; each divisible by ``patch_size``.
        patch_size: side :math:`p` of a patch; 1 for vectors.
        in_channels: channels :math:`C` of the input.
        hidden_size: width :math:`D`, divisible by ``num_heads``, and by 4 for positions by sine and cosine of two
            coordinates, by 2 for those of one.
        depth: number of transformer blocks.
        num_heads: attention heads.
        mlp_ratio: hidden width of a block's MLP over :math:`D`.
        num_classes: number of labels; label ``num_classes`` is the null class of guidance. 0 is a network without
            labels.
        learn_sigma: predict :math:`2C` channels, of which ``forward`` returns the first :math:`C`.
        class_dropout: probability in [0, 1] that training replaces a label by the null class.
        conditioning: how time and label reach the blocks: ``"adaln-zero"``; ``"adaln"`` without gates;
            ``"cross-attention"`` to a token of each after self-attention; ``"in-context"``, a token of each beside the
            others, dropped before the last layer.
        condition: with adaLN, the ``"sum"`` of the embeddings of time and label, or their ``"concat"`` of width 2D.
        positions: ``"sincos"``, fixed; ``"learned"``; or ``"rope"``, rotations of queries and keys in every block.
        norm: ``"layer"`` or ``"rms"``, everywhere.
        mlp: ``"gelu"``, or ``"swiglu"`` with two thirds of the hidden width, and so about as many weights.
        qk_norm: norm each head's queries and keys before attention.
        time_scale: what time is multiplied by before it is embedded.
        timesteps: None for continuous time; a number for a network that takes as its time an index 0 … timesteps - 1,
            integers allowed, as DiT does.
        attention: ``"fused"``, or ``"math"`` in plain arithmetic, which also has forward-mode derivatives.
        flow_map: also take the start r of an interval that ends at t, as ``start=``, for a mean over the interval such
            as MeanFlow's average velocity; at r = t, without ``start``, it is the velocity. An embedding of t − r, in
            MeanFlow's best results beside that of t, is added to the latter. See :mod:`backbone.few_step`.
        checkpoint_every: in training keep the activations before every n-th block alone and compute the others again
            in the backward pass; 0 keeps all, as does a forward-mode derivative.

    Raises:
        ValueError: a field is out of range, the sizes do not divide, or an option would change nothing.

    References: Ma et al., SiT (2024), arXiv:2401.08740; Peebles & Xie, DiT (2023), arXiv:2212.09748, section 3.2 and
    table 1; Su et al., RoFormer (2021), arXiv:2104.09864; Zhang & Sennrich, RMSNorm (2019), arXiv:1910.07467; Shazeer,
    GLU variants (2020), arXiv:2002.05202; Dehghani et al. (2023), arXiv:2302.05442, QK-norm; Geng et al., MeanFlow
    (2025), arXiv:2505.13447, table 1c.
    """

    input_size: int | tuple[int, ...] = 32
    patch_size: int = 2
    in_channels: int = 4
    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    mlp_ratio: float = 4.0
    num_classes: int = 1000
    learn_sigma: bool = True
    class_dropout: float = 0.1
    conditioning: str = "adaln-zero"
    condition: str = "sum"
    positions: str = "sincos"
    norm: str = "layer"
    mlp: str = "gelu"
    qk_norm: bool = False
    time_scale: float = 1.0
    timesteps: int | None = None
    attention: str = "fused"
    checkpoint_every: int = 0
    flow_map: bool = False

    def __post_init__(self) -> None:
        for name in ("patch_size", "in_channels", "hidden_size", "depth", "num_heads"):
            check_count(name, getattr(self, name))
        for name in ("num_classes", "checkpoint_every"):
            check_count(name, getattr(self, name), 0)
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        for name in ("learn_sigma", "qk_norm", "flow_map"):
            check_flag(name, getattr(self, name))
        if self.timesteps is not None:
            check_count("timesteps", self.timesteps)
        if not is_number(self.mlp_ratio) or self.mlp_ratio * self.hidden_size < 1:
            raise ValueError(explain("a finite mlp_ratio > 0", repr(self.mlp_ratio), "4.0 is the published value"))
        if not is_number(self.class_dropout) or not 0 <= self.class_dropout <= 1:
            raise ValueError(
                explain("a probability class_dropout in [0, 1]", repr(self.class_dropout), "0.1 is the published value")
            )
        if not is_number(self.time_scale) or self.time_scale == 0:
            raise ValueError(explain("a finite time_scale, not 0", repr(self.time_scale), "1.0 is the published value"))
        self._check_sizes()
        self._check_condition()

    def _check_sizes(self) -> None:
        if isinstance(self.input_size, tuple) and len(self.input_size) > 2:
            raise ValueError(
                explain("input_size S, (H, W), (L,) or ()", repr(self.input_size), "merge the axes beyond the second")
            )
        for size in self.size:
            check_count("input_size", size)
            check_divides("input_size", size, "patch_size", self.patch_size)
        if not self.size and self.patch_size != 1:
            raise ValueError(
                explain("patch_size=1 for vectors", f"patch_size={self.patch_size}", "use SiT.for_vectors(features)")
            )
        check_divides("hidden_size", self.hidden_size, "num_heads", self.num_heads)
        unit = 2 * max(1, len(self.size))
        if self.positions == "sincos" and self.hidden_size % unit:
            raise ValueError(
                explain(
                    f"hidden_size divisible by {unit}",
                    str(self.hidden_size),
                    f"the position embedding needs a sine and a cosine for each of {unit // 2} coordinates; "
                    f"use {self.hidden_size + unit - self.hidden_size % unit}",
                )
            )
        if self.positions == "rope" and self.head_size % unit:
            raise ValueError(
                explain(
                    f"hidden_size / num_heads divisible by {unit}",
                    f"{self.hidden_size} / {self.num_heads}",
                    f"RoPE turns a pair of features for each of {unit // 2} coordinates; change num_heads",
                )
            )

    def _check_condition(self) -> None:
        if self.flow_map and self.timesteps is not None:
            remedy = "leave timesteps=None: an average over an interval needs continuous time"
            raise ValueError(explain("timesteps=None with flow_map", f"timesteps={self.timesteps}", remedy))
        if self.condition == "concat" and (not self.num_classes or not self.modulated):
            raise ValueError(
                explain(
                    'condition="concat" with labels and adaLN',
                    f"conditioning={self.conditioning!r}, num_classes={self.num_classes}",
                    'leave condition="sum": there is nothing to concatenate',
                )
            )

    @property
    def size(self) -> tuple[int, ...]:
        """The lengths of the axes after the channels, (H, W), (L,) or ()."""
        return self.input_size if isinstance(self.input_size, tuple) else (self.input_size, self.input_size)

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens along each axis of :attr:`size`."""
        return tuple(size // self.patch_size for size in self.size)

    @property
    def tokens(self) -> int:
        """Number of tokens, :math:`(S/p)^2` for square inputs."""
        return math.prod(self.grid)

    @property
    def out_channels(self) -> int:
        """Channels of the full output, :math:`2C` with ``learn_sigma`` and :math:`C` without."""
        return self.in_channels * (2 if self.learn_sigma else 1)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one prediction, and of one input, (C, H, W), (C, L) or (C,)."""
        return (self.in_channels, *self.size)

    @property
    def head_size(self) -> int:
        """Width of an attention head."""
        return self.hidden_size // self.num_heads

    @property
    def modulated(self) -> bool:
        """Whether time and label modulate the norms (adaLN) and are not tokens."""
        return self.conditioning in ("adaln-zero", "adaln")

    @property
    def condition_size(self) -> int:
        """Width of the condition that modulates the norms."""
        return self.hidden_size * (2 if self.condition == "concat" else 1)

    @property
    def null_class(self) -> int:
        """Label of the unconditional model, equal to ``num_classes``."""
        return self.num_classes

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        fields = dataclasses.asdict(self)
        if isinstance(self.input_size, tuple):
            fields["input_size"] = list(self.input_size)
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> SiTConfig:
        """Build a config from :meth:`to_dict`; a field that is absent keeps its default.

        Raises:
            ValueError: a key is not a field (the closest fields are named), or a value is out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for key in fields:
            if key not in known:
                raise ValueError(explain("fields of SiTConfig", repr(key), f"closest: {closest(str(key), known)}"))
        # JSON has lists alone.
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return cls(**{**fields, **lists})
