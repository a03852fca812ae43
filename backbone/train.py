r"""Training of a SiT network on one device: one loop, to be read from top to bottom.

A loss of :mod:`backbone.losses` says what is learned; an :class:`interpolants.Objective` becomes one. Samples are
numbered 0, 1, 2, … over all steps, and the number says which record a sample is and all its random numbers.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from backbone.data.order import Order
from backbone.draws import Draws
from backbone.ema import EMA
from backbone.inputs import check_image, check_labels
from backbone.losses import Loss, as_loss
from backbone.model import SiT
from backbone.train_config import TrainConfig
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants import Objective

__all__ = ["NonFiniteLossError", "TrainConfig", "TrainResult", "train"]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What training leaves.

    Attributes:
        model: the network that was passed in, trained in place.
        ema: the average of its weights, or None; ``result.ema.model`` is the network to sample from.
        losses: the loss of every step.
        seconds: wall-clock time.
    """

    model: SiT
    ema: EMA[SiT] | None
    losses: list[float]
    seconds: float

    @property
    def averaged(self) -> SiT:
        """The network to sample from, which is the average where there is one and the model otherwise."""
        return self.model if self.ema is None else self.ema.model


class NonFiniteLossError(ValueError):
    """A loss that is NaN or infinite.

    Attributes:
        step: the first step whose loss is not finite; the first step of training is 0.
        losses: the losses up to and including it.
        state: ``{"model": …, "ema": …, "optimizer": …}`` state dicts as they were when it was noticed; with
            ``log_every=1`` that is before the weights saw the bad gradient.
    """

    def __init__(self, step: int, losses: list[float], state: dict[str, Any]) -> None:
        super().__init__(
            explain(
                "a finite loss",
                f"{losses[-1]} at step {step}",
                "lower learning_rate, add warmup_steps or clip_norm=1.0, check the images for NaN; the weights are in "
                ".state of this error",
            )
        )
        self.step = step
        self.losses = losses
        self.state = state


def train(
    model: SiT,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    *,
    objective: Objective | Loss,
    progress: bool = False,
    on_step: Callable[[int, float], None] | None = None,
) -> TrainResult:
    """Train a network in place, on the device of its weights.

    All randomness is a function of ``config.seed`` and of the sample's number: the same seed gives the same losses, bit
    for bit on the CPU with the same number of threads.

    Args:
        model: the network; its mode is restored at the end.
        images: data (N, C, H, W), float32, on any device.
        labels: (N,), int64, 0 … num_classes - 1.
        config: how to train.
        objective: an :class:`interpolants.Objective`, such as ``Objective(Linear())`` for the velocity, or a loss of
            :mod:`backbone.losses`.
        progress: show a progress bar on stderr.
        on_step: called as ``on_step(step, loss)`` once for every step, in order, when the loss has been read.

    Raises:
        ValueError: images and labels do not fit the model or each other.
        NonFiniteLossError: a loss is NaN or infinite; the error names the step and carries the weights.
    """
    _check_data(model, images, labels)
    loss_of, device = as_loss(objective), next(model.parameters()).device
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
    )
    ema = None if config.ema_decay is None else EMA(model, config.ema_decay, warmup=config.ema_warmup)
    losses: list[float] = []
    pending: list[Tensor] = []
    was_training = model.training
    model.train()
    start = clock.perf_counter()
    order = Order(len(images), config.seed)
    for step in _bar(config.steps, progress):
        ids = torch.arange(step * config.batch_size, (step + 1) * config.batch_size)
        records, draws = order(ids), Draws(config.seed, ids, device)
        x_data = images[records.to(images.device)].to(device, torch.float32)
        y = labels[records.to(labels.device)].to(device) if model.config.num_classes else None
        loss = loss_of(model, x_data, y, draws).mean()
        pending.append(loss.detach())
        if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
            _read(pending, losses, lambda: _state(model, ema, optimizer), on_step)

        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate_at(step)
        optimizer.step()
        if ema is not None:
            ema.update(model)
    model.train(was_training)
    return TrainResult(model, ema, losses, clock.perf_counter() - start)


def _check_data(model: SiT, images: Tensor, labels: Tensor) -> None:
    shape = model.config
    check_image(images, shape.in_channels, shape.size)
    check_labels(labels, images.shape[0], shape.num_classes, values=True)
    if not len(images):
        raise ValueError(explain("at least one image", "none", "load the data first"))
    # Labels counted from 1 would otherwise train their last class as the null class, unnoticed.
    if shape.num_classes and bool((labels == shape.null_class).any()):
        raise ValueError(
            explain(
                f"training labels within 0 … {shape.num_classes - 1}",
                f"the null class {shape.null_class} among them",
                "count labels from 0; to train without labels build the model with num_classes=0",
            )
        )


def _read(
    pending: list[Tensor],
    losses: list[float],
    state: Callable[[], dict[str, Any]],
    on_step: Callable[[int, float], None] | None,
) -> None:
    """Move pending losses to the host, refusing the first that is not finite."""
    values = torch.stack(pending).tolist()
    pending.clear()
    for value in values:
        losses.append(value)
        if not math.isfinite(value):
            raise NonFiniteLossError(len(losses) - 1, losses, state())
        if on_step is not None:
            on_step(len(losses) - 1, value)


def _state(model: SiT, ema: EMA[SiT] | None, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "ema": None if ema is None else ema.model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def _bar(steps: int, progress: bool) -> Any:
    if not progress:
        return range(steps)
    from tqdm import trange

    return trange(steps, unit="step")
