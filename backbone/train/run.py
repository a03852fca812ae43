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
from backbone.train.pictures import described_latents, features_of, view_of
from backbone.train.probe import SampleProbe
from backbone.train.run_config import ObjectiveConfig, RunConfig
from backbone.train.world import World, world
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
    latents = described_latents(data)
    if latents is not None:
        extra["latents"] = latents
    with world(config.device) as here:
        probe = None
        if config.record.probe_every:
            # What it needs is refused now, and not when the first samples are due.
            here.share(config.probe.samples, "probe.samples")
            probe = _probe(config, schedule, prediction, data, held_out, here)
        torch.manual_seed(config.seed)
        model = SiT(config.model).to(here.device)
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


def _probe(
    config: RunConfig, schedule: Any, prediction: Any, data: Data, held_out: torch.Tensor | None, here: World
) -> SampleProbe:
    """Return what samples and measures; the first process alone has the networks that look at the samples."""
    spelt = config.probe
    if spelt.features is not None and held_out is None:
        remedy = "pass probe.held_out, a store of images that are not trained on, or leave out probe.features"
        raise ValueError(explain("images to measure features of", "none", remedy))
    looks: dict[str, Any] = {}

    def load() -> None:
        looks["view"] = view_of(data, spelt, here.device)
        looks["features"] = spelt.features and features_of(spelt.features, looks["view"], here.device)

    here.first_does(load)
    folder = config.out / "samples"
    return SampleProbe(schedule, prediction, spelt, config.training.seed, held_out, folder=folder, **looks)


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
    other = Store(config.probe.held_out, vae_sha256=data.manifest.vae_sha256)
    if other.shape != data.shape:
        remedy = "encode the images that are held out with the same --size and --vae"
        raise ValueError(explain(f"{other.folder} with records of shape {data.shape}", str(other.shape), remedy))
    ids = torch.arange(other.count)
    return data, other.batch(ids, Draws(0, ids))[0]
