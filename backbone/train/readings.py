"""Losses on their way from the device to the host: read together, now and then, because each reading waits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from backbone.train.world import World
from solvers.errors import explain

__all__ = ["NonFiniteLossError", "Reading", "Readings"]


class NonFiniteLossError(ValueError):
    """A loss, or a gradient, that is NaN or infinite.

    Attributes:
        step: the first step whose loss is not finite; the first step of training is 0.
        losses: the losses up to and including it, of the steps that this call made.
        state: ``{"model": …, "ema": …, "optimizer": …}`` state dicts as they were when it was noticed; with
            ``log_every=1`` that is before the weights saw the bad gradient.
    """

    def __init__(self, step: int, losses: list[float], state: dict[str, Any]) -> None:
        bad = not math.isfinite(losses[-1])
        super().__init__(
            explain(
                "a finite loss" if bad else "a finite gradient",
                f"{losses[-1]} at step {step}" if bad else f"NaN or infinity in it at step {step}",
                "lower learning_rate, add warmup_steps or clip_norm=1.0, check the images for NaN; the weights are in "
                ".state of this error, and the last checkpoint is as it was",
            )
        )
        self.step = step
        self.losses = losses
        self.state = state


@dataclass(frozen=True, slots=True)
class Reading:
    """The numbers of one step on the host."""

    step: int
    loss: float
    grad_norm: float
    learning_rate: float

    @property
    def finite(self) -> bool:
        """Whether the loss and the gradient are numbers."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)

    def row(self) -> dict[str, Any]:
        """Return what a log holds of it."""
        numbers = {"loss": self.loss, "grad_norm": self.grad_norm, "lr": self.learning_rate}
        return numbers if self.finite else numbers | {"not_finite": True}


class Readings:
    """Steps whose losses are on the device still.

    Args:
        here: the processes; losses are averaged over them.
    """

    def __init__(self, here: World) -> None:
        self.here = here
        self._steps: list[tuple[int, float]] = []
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []

    def add(self, step: int, loss: Tensor, norm: Tensor, learning_rate: float) -> None:
        """Note the numbers of a step: 0-d tensors on the device."""
        self._steps.append((step, learning_rate))
        self._losses.append(loss)
        self._norms.append(norm)

    def read(self) -> list[Reading]:
        """Return all that was noted since the last time; waits for the device."""
        if not self._steps:
            return []
        losses = self.here.mean(torch.stack(self._losses)).tolist()
        norms = torch.stack(self._norms).tolist()
        rows = [Reading(step, loss, norm, rate) for (step, rate), loss, norm in zip(self._steps, losses, norms)]
        self.forget()
        return rows

    def forget(self) -> None:
        """Drop what was noted."""
        for kept in (self._steps, self._losses, self._norms):
            kept.clear()
