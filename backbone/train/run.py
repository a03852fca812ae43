"""A training from its config: data opened, network built, objective spelt out, then the loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from backbone import spelling
from backbone.chain_loss import Chain
from backbone.data.arrays import Arrays, Data
from backbone.data.store import Store
from backbone.draws import Draws
from backbone.few_step import Consistency, ImprovedMeanFlow, MeanFlow, Shortcut
from backbone.losses import Loss, as_loss
from backbone.model import SiT
from backbone.train.loop import TrainResult, train
from backbone.train.probe import SampleProbe
from backbone.train.run_config import ObjectiveConfig, RunConfig
from backbone.train.world import world
from solvers.errors import explain

__all__ = ["run"]


def run(config: RunConfig, *, progress: bool = False) -> TrainResult:
    """Train as a config says; where a run was interrupted in its folder, go on from there.

    The config, with everything that was left out filled in, is written to ``config.json`` in the folder.

    Args:
        config: the whole training.
        progress: show a bar on stderr.

    Raises:
        ValueError: names that are unknown, data that do not fit the network, a folder with a run of another recipe.
        OSError: the data cannot be read or the folder not be written.
    """
    spelt = config.objective
    schedule, prediction = spelling.schedule(spelt.schedule), spelling.prediction(spelt.prediction)
    objective = loss_of(spelt, schedule, prediction)
    data, held_out = open_data(config)
    extra = {"schedule": schedule.to_dict(), "prediction": str(prediction), "training": config.training.to_dict()}
    with world(config.device) as here:
        if config.record.probe_every:
            # Refused now, and not when the first samples are due.
            here.share(config.probe.samples, "probe.samples")
        torch.manual_seed(config.seed)
        model = SiT(config.model).to(here.device)
        probe = SampleProbe(
            schedule, prediction, config.probe, config.training.seed, held_out, folder=config.out / "samples"
        )
        return train(
            model,
            data,
            config.training,
            objective=objective,
            folder=config.out,
            record=config.record,
            extra=extra,
            described=config.to_dict(),
            probe=probe,
            progress=progress,
        )


def loss_of(spelt: ObjectiveConfig, schedule: Any, prediction: Any) -> Loss:
    """Return the loss that a config spells, for its schedule and its prediction."""
    from interpolants import Objective

    def interpolation() -> Loss:
        weight, times = spelling.weight(spelt.weight), spelling.times(spelt.times)
        return as_loss(Objective(schedule, prediction, weight, times))

    of_schedule = (Chain, MeanFlow, ImprovedMeanFlow, Shortcut, Consistency)
    known: dict[str, Callable[..., Any]] = {kind.__name__: partial(kind, schedule) for kind in of_schedule}
    loss: Loss = spelling.spelled(spelt.loss, {"Interpolation": interpolation, **known}, "a loss", spelling.laws())
    return loss


def open_data(config: RunConfig) -> tuple[Data, torch.Tensor | None]:
    """Return the data to train on, and images that are held out, if there are any."""
    if config.data == "digits":
        from backbone.data.digits import load_digits

        digits = load_digits()
        return Arrays(digits.images, digits.labels, 10), digits.held_out_images
    if not Path(config.data).is_dir():
        remedy = 'choose "digits", or a folder that sit encode wrote'
        raise FileNotFoundError(explain("data", repr(config.data), remedy))
    data = Store(config.data, num_classes=config.model.num_classes)
    if config.probe.held_out is None:
        return data, None
    other = Store(config.probe.held_out)
    ids = torch.arange(other.count)
    return data, other.batch(ids, Draws(0, ids))[0]
