r"""Exponential moving average of a network's weights."""

from __future__ import annotations

from typing import Generic

from backbone.ema.moving import M, averaging_copy, move
from solvers.errors import explain

__all__ = ["EMA"]


class EMA(Generic[M]):
    r"""Average of the weights along training, the network that samples are drawn from.

    .. math:: \bar\theta_0 = \theta_0, \qquad \bar\theta_n = d_n \bar\theta_{n-1} + (1 - d_n)\,\theta_n

    with :math:`d_n = d`, or :math:`d_n = \min(d, (1 + n)/(10 + n))` with ``warmup``, which forgets the initial weights
    sooner in short runs. The average is kept in float32 or better: in bfloat16 an update of 1e-4 rounds to nothing.

    A run is resumed with the weights of ``model`` and the number ``updates``.

    Args:
        model: the network; it is copied, and the copy is ``model``, in evaluation mode and without gradients.
        decay: :math:`d` in [0, 1).
        warmup: use the growing decay.

    Raises:
        ValueError: ``decay`` is outside [0, 1).
    """

    def __init__(self, model: M, decay: float = 0.9999, *, warmup: bool = False) -> None:
        if not 0 <= decay < 1:
            raise ValueError(
                explain("a decay in [0, 1)", str(decay), "0.9999 for long runs, 0.99 to 0.999 for short ones")
            )
        self.decay = decay
        self.warmup = warmup
        self.updates = 0
        self.model: M = averaging_copy(model)

    def update(self, model: M) -> None:
        """Move the average towards the weights of ``model``; buffers and integer parameters are copied."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warmup else self.decay
        move(self.model, model, 1 - decay)
