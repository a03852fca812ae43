"""What is kept of a training, as data; free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from backbone.checks import check_count, check_flag, check_text, is_number
from solvers.errors import explain

__all__ = ["Record"]


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a training in its folder.

    Args:
        save_every: steps between checkpoints; 0 saves at the end, and when a signal asks to stop.
        keep: how many checkpoints to keep; 0 keeps all.
        snapshot_every: steps between snapshots of the power-function averages, in ``snapshots/``; 0 takes none.
        probe_every: steps between samples and their measures; 0 takes none.
        tensorboard: write events for TensorBoard too.
        wandb: a project of Weights & Biases, which then has to be installed.
        peak_flops: floating-point operations per second of one device, for the share that is used (MFU); None leaves it
            out.

    Raises:
        ValueError: a number is out of range.
    """

    save_every: int = 0
    keep: int = 2
    snapshot_every: int = 0
    probe_every: int = 0
    tensorboard: bool = False
    wandb: str | None = None
    peak_flops: float | None = None

    def __post_init__(self) -> None:
        for name in ("save_every", "keep", "snapshot_every", "probe_every"):
            check_count(name, getattr(self, name), 0)
        check_flag("tensorboard", self.tensorboard)
        if self.wandb is not None:
            check_text("wandb", self.wandb)
        if self.peak_flops is not None and not (is_number(self.peak_flops) and self.peak_flops > 0):
            remedy = "989e12 is that of an H100 or H200 in dense bfloat16, 312e12 that of an A100"
            raise ValueError(explain("a finite peak_flops > 0", repr(self.peak_flops), remedy))
