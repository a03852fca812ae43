r"""Training of a SiT network on one device: one loop, to be read from top to bottom.

Of a data point :math:`x` and noise :math:`ε` at time :math:`t`, with :math:`x_t = α_t x + σ_t ε`, the network learns

.. math:: \min_θ \; E\,|v_θ(x_t, t, y) - (\dot α_t x + \dot σ_t ε)|^2, \qquad t \sim U(0, 1), \; ε \sim N(0, I).

References: Ma et al., SiT (2024), arXiv:2401.08740, equations 5 and 8.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that torch users expect

from backbone.ema import EMA
from backbone.inputs import check_image, check_labels
from backbone.model import SiT
from backbone.train_config import TrainConfig
from solvers.errors import explain

__all__ = ["NonFiniteLossError", "TrainConfig", "TrainResult", "train", "velocity_loss"]


class Schedule(Protocol):
    """What training needs of a schedule: ``schedule(time)`` with ``alpha``, ``sigma``, ``d_alpha`` and ``d_sigma``."""

    def __call__(self, time: Tensor, /) -> Any:
        """Return the coefficients at times (N,), each of shape (N,)."""
        ...


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


def velocity_loss(
    model: SiT, schedule: Schedule, x_data: Tensor, y: Tensor, time: Tensor, noise: Tensor, drop_labels: Tensor
) -> Tensor:
    r"""Mean squared error of the velocity, averaged over the batch, channels and pixels; a scalar.

    .. math:: \frac{1}{NCHW} \sum |v_θ(α_t x + σ_t ε, t, y) - (\dot α_t x + \dot σ_t ε)|^2

    Args:
        model: :math:`v_θ`.
        schedule: gives the coefficients of a time.
        x_data: :math:`x`, (N, C, H, W).
        y: labels (N,).
        time: :math:`t`, (N,), float32.
        noise: :math:`ε`, (N, C, H, W).
        drop_labels: boolean (N,), labels to replace by the null class.
    """
    at = schedule(time)
    alpha_t, sigma_t, d_alpha_t, d_sigma_t = (
        coefficient.view(-1, *[1] * (x_data.ndim - 1)) for coefficient in (at.alpha, at.sigma, at.d_alpha, at.d_sigma)
    )
    prediction = model(alpha_t * x_data + sigma_t * noise, time, y, drop_labels=drop_labels)
    return F.mse_loss(prediction.float(), d_alpha_t * x_data + d_sigma_t * noise)


def batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield indices (batch_size,) for ever: permutations of ``range(count)`` that follow one another."""
    pool = torch.empty(0, dtype=torch.int64)
    while True:
        while len(pool) < batch_size:
            pool = torch.cat([pool, torch.randperm(count, generator=generator)])
        yield pool[:batch_size]
        pool = pool[batch_size:]


def train(
    model: SiT,
    images: Tensor,
    labels: Tensor,
    config: TrainConfig,
    *,
    schedule: Schedule,
    progress: bool = False,
    on_step: Callable[[int, float], None] | None = None,
) -> TrainResult:
    """Train a network in place, on the device of its weights.

    All randomness comes from ``config.seed`` and is drawn on the host: the same seed gives the same losses, bit for bit
    on the CPU with the same number of threads.

    Args:
        model: the network; its mode is restored at the end.
        images: data (N, C, H, W), float32, on any device.
        labels: (N,), int64, 0 … num_classes - 1.
        config: how to train.
        schedule: such as ``interpolants.Linear()``.
        progress: show a progress bar on stderr.
        on_step: called as ``on_step(step, loss)`` once for every step, in order, when the loss has been read.

    Raises:
        ValueError: images and labels do not fit the model or each other.
        NonFiniteLossError: a loss is NaN or infinite; the error names the step and carries the weights.
    """
    _check_data(model, images, labels)
    generator = torch.Generator().manual_seed(config.seed)
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
    index = batches(len(images), config.batch_size, generator)
    for step in _bar(config.steps, progress):
        loss = velocity_loss(model, schedule, *_draw(model, images, labels, next(index), generator))
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


def _draw(
    model: SiT, images: Tensor, labels: Tensor, batch: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the images, labels, times, noise and dropped labels of a step, on the device of the model."""
    device = next(model.parameters()).device
    x_data = images[batch.to(images.device)].to(device, torch.float32)
    y = labels[batch.to(labels.device)].to(device)
    time = torch.rand(len(batch), generator=generator)
    noise = torch.randn(x_data.shape, generator=generator)
    drop = torch.rand(len(batch), generator=generator) < model.config.class_dropout
    return x_data, y, time.to(device), noise.to(device), drop.to(device)


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
