"""The recipe of a training as data: checked when made, free of torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from backbone.checks import check_choice
from solvers.errors import explain

__all__ = ["TrainConfig"]


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
        check_choice("decay", self.decay, ("constant", "cosine"))

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, the first step being 0."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.decay == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return rate

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return dataclasses.asdict(self) | {"betas": list(self.betas)}
