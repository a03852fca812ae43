"""The shape of a SiT network and the recipe of its training as data: checked when made, free of torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from solvers.errors import closest, explain

__all__ = ["SIZES", "SiTConfig", "TrainConfig", "named_config"]

_COUNTS = ("input_size", "patch_size", "in_channels", "hidden_size", "depth", "num_heads", "num_classes")


@dataclass(frozen=True, slots=True)
class SiTConfig:
    r"""Shape of a SiT network; the defaults are SiT-XL/2 on 32 × 32 × 4 latents of ImageNet.

    The network reads :math:`T = (S/p)^2` tokens of width :math:`D`, with :math:`S` = ``input_size``,
    :math:`p` = ``patch_size`` and :math:`D` = ``hidden_size``.

    Args:
        input_size: height and width :math:`S` of the input, divisible by ``patch_size``.
        patch_size: side :math:`p` of a patch.
        in_channels: channels :math:`C` of the input.
        hidden_size: width :math:`D`, divisible by ``num_heads`` and by 4 (two coordinates, a sine and a cosine each).
        depth: number of transformer blocks.
        num_heads: attention heads.
        mlp_ratio: hidden width of a block's MLP over :math:`D`.
        num_classes: number of labels; label ``num_classes`` is the null class of guidance.
        learn_sigma: predict :math:`2C` channels, of which ``forward`` returns the first :math:`C`.
        class_dropout: probability in [0, 1] that training replaces a label by the null class.

    Raises:
        ValueError: a field is out of range or the sizes do not divide.

    References: Ma et al., SiT (2024), arXiv:2401.08740; Peebles & Xie, DiT (2023), arXiv:2212.09748, table 1.
    """

    input_size: int = 32
    patch_size: int = 2
    in_channels: int = 4
    hidden_size: int = 1152
    depth: int = 28
    num_heads: int = 16
    mlp_ratio: float = 4.0
    num_classes: int = 1000
    learn_sigma: bool = True
    class_dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in _COUNTS:
            _check_count(name, getattr(self, name))
        _check_divides("input_size", self.input_size, "patch_size", self.patch_size)
        _check_divides("hidden_size", self.hidden_size, "num_heads", self.num_heads)
        if self.hidden_size % 4:
            raise ValueError(
                explain(
                    "hidden_size divisible by 4",
                    str(self.hidden_size),
                    "the position embedding needs a sine and a cosine for each of two coordinates; "
                    f"use {self.hidden_size + 4 - self.hidden_size % 4}",
                )
            )
        if not _is_number(self.mlp_ratio) or self.mlp_ratio * self.hidden_size < 1:
            raise ValueError(explain("a finite mlp_ratio > 0", repr(self.mlp_ratio), "4.0 is the published value"))
        if not isinstance(self.learn_sigma, bool):
            raise ValueError(explain("learn_sigma True or False", repr(self.learn_sigma), "pass a bool"))
        if not _is_number(self.class_dropout) or not 0 <= self.class_dropout <= 1:
            raise ValueError(
                explain("a probability class_dropout in [0, 1]", repr(self.class_dropout), "0.1 is the published value")
            )

    @property
    def tokens(self) -> int:
        """Number of tokens :math:`(S/p)^2`."""
        return (self.input_size // self.patch_size) ** 2

    @property
    def out_channels(self) -> int:
        """Channels of the full output, :math:`2C` with ``learn_sigma`` and :math:`C` without."""
        return self.in_channels * (2 if self.learn_sigma else 1)

    @property
    def null_class(self) -> int:
        """Label of the unconditional model, equal to ``num_classes``."""
        return self.num_classes

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return dataclasses.asdict(self)

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
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    r"""How to train; the defaults are those of the SiT paper.

    Args:
        steps: optimiser steps.
        batch_size: images per step; epochs are permutations that follow one another without a short batch.
        learning_rate: of AdamW, at its largest.
        betas: of AdamW.
        weight_decay: of AdamW.
        warmup_steps: steps over which the learning rate rises linearly.
        decay: ``"constant"``, or ``"cosine"`` for a half cosine to zero at the last step.
        clip_norm: largest norm of the gradient; None does not clip.
        ema_decay: of the averaged weights; None keeps no average.
        ema_warmup: let the decay grow as (1 + n)/(10 + n), for short runs.
        prediction: what the network predicts; ``"velocity"``.
        seed: of the batches, times, noise and dropped labels.
        log_every: steps between readings of the loss; each reading waits for the device, and only a reading notices a
            loss that is not finite.

    Raises:
        ValueError: a field is out of range.

    References: Ma et al. (2024), arXiv:2401.08740, appendix on implementation.
    """

    steps: int = 400_000
    batch_size: int = 256
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    warmup_steps: int = 0
    decay: str = "constant"
    clip_norm: float | None = None
    ema_decay: float | None = 0.9999
    ema_warmup: bool = False
    prediction: str = "velocity"
    seed: int = 0
    log_every: int = 1

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch_size", 1), ("warmup_steps", 0), ("log_every", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(
                    explain(f"{name} to be an integer ≥ {least}", repr(value), f"pass {name}={least} or more")
                )
        for name, value in (("learning_rate", self.learning_rate), ("clip_norm", self.clip_norm)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(
                    explain(f"a finite {name} > 0", str(value), "the paper uses learning_rate=1e-4, no clipping")
                )
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(explain("a finite weight_decay ≥ 0", str(self.weight_decay), "the paper uses 0"))
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(explain("two betas in [0, 1)", str(self.betas), "the paper uses (0.9, 0.999)"))
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ValueError(explain("ema_decay in [0, 1) or None", str(self.ema_decay), "the paper uses 0.9999"))
        for name, value, choices in (
            ("decay", self.decay, ("constant", "cosine")),
            ("prediction", self.prediction, ("velocity",)),
        ):
            if value not in choices:
                raise ValueError(
                    explain(f"{name} to be one of {', '.join(choices)}", repr(value), f"{name}={choices[0]!r}")
                )

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, the first step being 0."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.decay == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return rate

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return dataclasses.asdict(self) | {"betas": list(self.betas)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_count(name: str, value: object, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(explain(f"{name} to be an integer ≥ {least}", repr(value), f"pass {name}={least} or more"))


def _check_divides(whole: str, size: int, part: str, divisor: int) -> None:
    if size % divisor:
        below = size - size % divisor
        near = f"{below} or {below + divisor}" if below else f"{divisor}"
        raise ValueError(
            explain(
                f"{whole} divisible by {part}",
                f"{whole}={size}, {part}={divisor}",
                f"use {whole}={near}, or change {part}",
            )
        )


_WIDTHS = {"S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}

#: The twelve published shapes, ``SiT-S/8`` to ``SiT-XL/2``.
SIZES: Mapping[str, SiTConfig] = {
    f"SiT-{size}/{patch}": SiTConfig(patch_size=patch, depth=depth, hidden_size=width, num_heads=heads)
    for size, (depth, width, heads) in _WIDTHS.items()
    for patch in (2, 4, 8)
}


def named_config(name: str, **overrides: Any) -> SiTConfig:
    """Return the config of a published size, with fields replaced.

    Args:
        name: one of :data:`SIZES`, such as ``"SiT-XL/2"``.
        overrides: fields of :class:`SiTConfig`.

    Raises:
        ValueError: ``name`` is not in the table (the choices are listed), or a value is out of range.
        TypeError: an override is not a field (the closest fields are named).
    """
    if name not in SIZES:
        raise ValueError(
            explain(f"one of {', '.join(SIZES)}", repr(name), f"closest: {closest(name, SIZES)}; or SiT(SiTConfig(…))")
        )
    known = [field.name for field in dataclasses.fields(SiTConfig)]
    for key in overrides:
        if key not in known:
            raise TypeError(
                explain("overrides that are fields of SiTConfig", repr(key), f"closest: {closest(key, known)}")
            )
    return dataclasses.replace(SIZES[name], **overrides)
