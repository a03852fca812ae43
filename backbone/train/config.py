"""The recipe of a training as data: checked when made, free of torch."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from backbone.checks import check_choice, check_count, check_flag, is_number
from solvers.errors import explain

__all__ = ["PRECISIONS", "TrainConfig"]

#: How the network computes: weights and optimiser are float32 in all of them.
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    r"""How to train; the defaults are those of the SiT paper.

    Args:
        steps: optimiser steps.
        batch_size: images per step, of all processes together; epochs are permutations that follow one another without
            a short batch.
        micro_batch: the most images that a process puts through the network at once; the gradients of several are added
            up. None is all of its share of the batch. It changes the memory and, but for rounding, nothing else.
        learning_rate: of AdamW, at its largest.
        betas: of AdamW.
        weight_decay: of AdamW.
        warmup_steps: steps over which the learning rate rises linearly.
        decay: ``"constant"``, or ``"cosine"`` for a half cosine to zero at the last step.
        clip_norm: largest norm of the gradient; None does not clip.
        ema_decay: of the averaged weights; None keeps no average.
        ema_widths: relative widths σ_rel of power-function averages to keep as well, such as (0.05, 0.1), from whose
            snapshots any width between can be had after the training.
        ema_warmup: let the decay grow as (1 + n)/(10 + n), for short runs.
        precision: ``"float32"``; ``"tf32"``, the published one, in which a CUDA device rounds what it multiplies to 10
            bits; ``"bfloat16"``; or ``"float16"`` with a scaled loss. In the last two the network runs under autocast.
        compile: compile the network with ``torch.compile``.
        parallel: ``"ddp"``, or ``"fsdp"`` to keep a part of the weights, gradients and optimiser in each process.
        on_non_finite: what to do where the loss or the gradient is NaN or infinite: ``"stop"`` with an error that names
            the step; ``"skip"`` the step; ``"rollback"`` to the last checkpoint and go round the step. ``"skip"`` waits
            for the device in every step.
        seed: of the batches, times, noise and dropped labels.
        log_every: steps between readings of the loss; each reading waits for the device, and only a reading notices a
            loss that is not finite, or a signal to stop.

    Raises:
        ValueError: a field is out of range.

    References: Ma et al. (2024), arXiv:2401.08740, appendix on implementation.
    """

    steps: int = 400_000
    batch_size: int = 256
    micro_batch: int | None = None
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    warmup_steps: int = 0
    decay: Literal["constant", "cosine"] = "constant"
    clip_norm: float | None = None
    ema_decay: float | None = 0.9999
    ema_warmup: bool = False
    ema_widths: tuple[float, ...] = ()
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    on_non_finite: Literal["stop", "skip", "rollback"] = "stop"
    seed: int = 0
    log_every: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every"):
            check_count(name, getattr(self, name))
        for name in ("warmup_steps", "seed"):
            check_count(name, getattr(self, name), 0)
        if self.micro_batch is not None:
            check_count("micro_batch", self.micro_batch)
        for name in ("ema_warmup", "compile"):
            check_flag(name, getattr(self, name))
        self._check_samples()
        self._check_numbers()
        if not isinstance(self.ema_widths, tuple) or not all(is_number(width) for width in self.ema_widths):
            remedy = "two, 0.05 and 0.1, are usual"
            raise ValueError(explain("a tuple of relative widths ema_widths", repr(self.ema_widths), remedy))
        check_choice("decay", self.decay, ("constant", "cosine"))
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("parallel", self.parallel, ("ddp", "fsdp"))
        check_choice("on_non_finite", self.on_non_finite, ("stop", "skip", "rollback"))

    def _check_samples(self) -> None:
        """Refuse more samples than have numbers, at the first step and not at the last."""
        if self.seed >= 2**64:
            raise ValueError(explain("a seed below 2**64", str(self.seed), "pass a smaller one"))
        if self.steps * self.batch_size > 2**32:
            remedy = f"train for at most {2**32 // self.batch_size} steps, and go on with another seed"
            raise ValueError(explain("steps · batch_size ≤ 2**32 samples", f"{self.steps} · {self.batch_size}", remedy))

    def _check_numbers(self) -> None:
        optional = {} if self.clip_norm is None else {"clip_norm": self.clip_norm}
        for name, value in {"learning_rate": self.learning_rate, **optional}.items():
            if not is_number(value) or value <= 0:
                remedy = "the paper uses learning_rate=1e-4, no clipping"
                raise ValueError(explain(f"a finite {name} > 0", repr(value), remedy))
        if not is_number(self.weight_decay) or self.weight_decay < 0:
            raise ValueError(explain("a finite weight_decay ≥ 0", repr(self.weight_decay), "the paper uses 0"))
        betas = self.betas if isinstance(self.betas, tuple) else ()
        if len(betas) != 2 or not all(is_number(beta) and 0 <= beta < 1 for beta in betas):
            raise ValueError(explain("a tuple of two betas in [0, 1)", repr(self.betas), "the paper uses (0.9, 0.999)"))
        if self.ema_decay is not None and not (is_number(self.ema_decay) and 0 <= self.ema_decay < 1):
            raise ValueError(explain("ema_decay in [0, 1) or None", repr(self.ema_decay), "the paper uses 0.9999"))

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, the first step being 0."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.decay == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return rate

    def mathematics(self) -> dict[str, Any]:
        """Return the fields that a run cannot change half-way and still be the same run."""
        free = {"micro_batch", "compile", "parallel", "on_non_finite", "log_every"}
        # The length of a run may grow, unless the learning rate depends on it.
        free |= {"steps"} if self.decay == "constant" else set()
        return {name: value for name, value in self.to_dict().items() if name not in free}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return dataclasses.asdict(self) | {"betas": list(self.betas), "ema_widths": list(self.ema_widths)}
