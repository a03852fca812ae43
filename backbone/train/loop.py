r"""Training of a SiT network, on one device or many: one loop, to be read from top to bottom.

A loss of :mod:`backbone.losses` says what is learned; an :class:`interpolants.Objective` becomes one. Samples are
numbered 0, 1, 2, … over all steps, and the number says which record a sample is and all its random numbers. So the
batches are the same for any number of processes, and what a run has to remember of its data is one integer.
"""

from __future__ import annotations

import re
import time as clock
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from backbone.data.arrays import Data
from backbone.ema import EMA
from backbone.losses import Loss, as_loss
from backbone.model import SiT
from backbone.train.batches import Batches
from backbone.train.config import TrainConfig
from backbone.train.journal import Journal, Probe
from backbone.train.parallel import Spread, arithmetic
from backbone.train.readings import Readings
from backbone.train.record import Record
from backbone.train.signals import stop_signals
from backbone.train.state import State
from backbone.train.world import world
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants import Objective

__all__ = ["TrainResult", "check_data", "train"]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What training leaves.

    Attributes:
        model: the network that was passed in, trained in place.
        ema: the average of its weights, or None; ``result.ema.model`` is the network to sample from.
        losses: the loss of every step that this call made, in order.
        seconds: wall-clock time.
        steps: how many steps were made in all, those of earlier runs in the folder included.
        stopped: a signal ended the training before its last step.
    """

    model: SiT
    ema: EMA[SiT] | None
    losses: list[float]
    seconds: float
    steps: int
    stopped: bool = False

    @property
    def averaged(self) -> SiT:
        """The network to sample from, which is the average where there is one and the model otherwise."""
        return self.model if self.ema is None else self.ema.model


def train(
    model: SiT,
    data: Data,
    config: TrainConfig,
    *,
    objective: Objective | Loss,
    folder: Path | None = None,
    record: Record | None = None,
    extra: dict[str, Any] | None = None,
    described: dict[str, Any] | None = None,
    probe: Probe | None = None,
    on_step: Callable[[int, float], None] | None = None,
    progress: bool = False,
) -> TrainResult:
    """Train a network in place, on the device of its weights, in this process and those that torchrun started.

    All randomness is a function of ``config.seed`` and of the sample's number: the same seed gives the same losses, bit
    for bit on the CPU with the same number of threads and processes, and up to rounding with any other.

    Args:
        model: the network; its mode is restored at the end.
        data: what it learns from, such as ``Arrays(images, labels)``.
        config: how to train.
        objective: an :class:`interpolants.Objective`, such as ``Objective(Linear())`` for the velocity, or a loss of
            ``backbone.losses``.
        folder: where checkpoints, logs and the averaged network are kept, and where a run that was interrupted goes on;
            None keeps nothing.
        record: what is kept, and how often.
        extra: JSON to keep beside the averaged network, such as the schedule and the prediction.
        described: JSON for ``config.json`` in the folder; None is the recipe and the record.
        probe: called as ``probe(state, here)`` in every process, as often as the record asks; the numbers and
            pictures, arrays of bytes (H, W) or (H, W, 3), that it returns by name are logged.
        on_step: called as ``on_step(step, loss)`` once for every step, in order, when the loss has been read; after a
            rollback again for the steps that are made again.
        progress: show a progress bar on stderr.

    Raises:
        ValueError: the data do not fit the model, the processes do not divide the batch, or the folder has a run of
            another recipe, or damaged checkpoints alone.
        NonFiniteLossError: a loss or a gradient is NaN or infinite; the error names the step and carries the weights.
        OSError: the last checkpoint cannot be written, or another training uses the folder.
    """
    check_data(model, data)
    record, loss, began = record or Record(), as_loss(objective), clock.perf_counter()
    was_training = model.training
    with (
        world(next(model.parameters()).device) as here,
        stop_signals(active=folder is not None) as stop,
        arithmetic(config.precision),
    ):
        here.share(config.batch_size)
        state = State(model.train(), loss, config, here)
        net, batches, readings = Spread(model, loss, config, here), Batches(data, config, here), Readings(here)
        recipe = _recipe(model, data, config, loss)
        journal = Journal(folder, record, config, recipe, here, extra, described, probe, on_step, progress=progress)
        with closing(net), closing(journal), closing(batches):
            journal.open(state)
            stopped = False
            while state.step < config.steps and not stopped:
                if state.step in state.skipped:
                    state.step += 1
                    continue
                mean = _gradients(net, batches, state)
                norm = state.gradient_norm()
                readings.add(state.step, mean, norm, config.learning_rate_at(state.step))
                due = journal.due(state)
                if due and not journal.read(readings, state):
                    continue
                state.update(mean, norm)
                state.step += 1
                journal.after(state)
                if due or here.size == 1:
                    stopped = here.any(stop.asked)
            journal.read(readings, state)
            journal.save(state)
    model.train(was_training)
    losses, seconds = list(journal.losses.values()), clock.perf_counter() - began
    return TrainResult(model, state.ema, losses, seconds, state.step, stopped)


def _gradients(net: Spread, batches: Batches, state: State) -> Tensor:
    """Add up the gradients of this process's share of a batch; return its part of the mean loss, on the device."""
    here = net.here
    mean = torch.zeros((), device=here.device)
    for x_data, y, draws, last in batches.of(state.step):
        with net.backward(last=last):
            # The gradients of the processes are averaged, so that each sample counts 1/batch_size in the end.
            loss = net.losses(x_data, y, draws).sum() * (here.size / state.config.batch_size)
            torch.autograd.backward(state.scaler.scale(loss))
        mean += loss.detach()
    return mean


def check_data(model: SiT, data: Data) -> None:
    """Raise ValueError unless records of the data are inputs of the network, and their labels its labels."""
    config = model.config
    wanted = (config.in_channels, *config.size)
    if data.shape != wanted:
        remedy = "build the network with the matching input_size and in_channels, or encode the data anew"
        raise ValueError(explain(f"records of shape {wanted}", str(data.shape), remedy))
    if data.num_classes != config.num_classes:
        remedy = f"build the network with num_classes={data.num_classes}, or give data their num_classes"
        raise ValueError(explain(f"data of {config.num_classes} classes", str(data.num_classes), remedy))


def _recipe(model: SiT, data: Data, config: TrainConfig, loss: Loss) -> dict[str, Any]:
    """Return what a run that goes on must share with the one that began: JSON."""
    free = {"attention", "checkpoint_every"}
    network = {name: value for name, value in model.config.to_dict().items() if name not in free}
    # A function shows where it is in memory, which another process cannot agree with.
    learned = re.sub(r" at 0x[0-9a-f]+", "", repr(loss))
    known = {"network": network, "training": config.mathematics(), "loss": learned}
    records = {"count": data.count, "shape": list(data.shape), "num_classes": data.num_classes}
    # Of a store the hash of its manifest, which has those of all its files; arrays in memory have none.
    return known | {"data": records | {"sha256": getattr(data, "sha256", None)}}
