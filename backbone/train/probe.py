"""Samples of the averaged network in the middle of a training, and how far they are from images that it never saw."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbone.draws import Draws
from backbone.evaluate import frechet_distance
from backbone.field import bind
from backbone.files import replaced
from backbone.train.run_config import ProbeConfig
from backbone.train.state import State
from backbone.train.world import World

__all__ = ["SampleProbe"]


@dataclass(frozen=True)
class SampleProbe:
    """Draws samples from the same noise each time, of better and better networks, and measures them.

    Args:
        schedule: that of the training.
        prediction: what the network predicts.
        config: how many samples, and how.
        seed: of the noise.
        held_out: images (M, C, …) that the network is not trained on; None for no distance.
        features: images (N, C, …) → features (N, d), whose Fréchet distance is taken; None takes the images themselves.
        folder: where ``step-00001000.npz`` with ``x`` and ``y`` are written; None for nowhere.
    """

    schedule: Any
    prediction: Any
    config: ProbeConfig
    seed: int
    held_out: Tensor | None = None
    features: Callable[[Tensor], Any] | None = None
    folder: Path | None = None

    def __call__(self, state: State, here: World) -> dict[str, float]:
        """Return ``{"frechet": …}``, NaN where a sample is not finite; every process draws its share."""
        model, count = state.averaged, self.config.samples
        share = here.share(count, "probe.samples")
        classes = max(1, model.config.num_classes)
        labels = torch.arange(count) % classes
        images = here.gather(self._draw(state, labels[share].to(here.device), torch.arange(count)[share])).cpu()
        if not here.first:
            return {}
        if self.folder is not None:
            self._keep(self.folder, state.step, images, labels)
        if self.held_out is None:
            return {}
        if not bool(torch.isfinite(images).all()):
            return {"frechet": math.nan}
        look = (lambda x: x.flatten(1)) if self.features is None else self.features
        return {"frechet": frechet_distance(look(images), look(self.held_out))}

    def _keep(self, folder: Path, step: int, images: Tensor, labels: Tensor) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with replaced(folder / f"step-{step:08d}.npz") as draft, draft.open("wb") as file:
                np.savez(file, x=images.numpy(), y=labels.numpy())
        except OSError as error:
            # The training is worth more than a picture of it.
            warnings.warn(f"the samples of step {step} could not be written: {error}", stacklevel=2)

    def _draw(self, state: State, labels: Tensor, ids: Tensor) -> Tensor:
        from interpolants import DiscreteDiffusion, denoising, probability_flow, suggest
        from interpolants.diffusion import Zero
        from solvers import DDIM, NonFiniteError, solve

        model = state.averaged
        training = model.training
        field = bind(model.eval(), labels if model.config.num_classes else None, self.config.guidance)
        noise = Draws(self.seed, ids, labels.device).normal("noise", (model.config.in_channels, *model.config.size))
        noise *= self.schedule.prior_scale
        problem: Any
        method: Any
        if model.config.timesteps is None:
            choice = suggest(self.schedule, self.prediction, Zero(), nfe=2 * self.config.steps)
            problem = probability_flow(self.schedule, field, prediction=self.prediction)
            times, method = choice.ts, choice.method
        else:
            # A network of timesteps is asked at timesteps alone, once for each of twice as many steps.
            chain = DiscreteDiffusion(self.schedule).respaced(2 * self.config.steps)
            problem = denoising(chain.schedule, chain.model_of_time(field), self.prediction)
            times, method = chain.times, DDIM()
        try:
            with torch.no_grad():
                drawn: Tensor = solve(problem, noise, times, method).x
        except NonFiniteError as error:
            # The other processes are waiting for these.
            drawn = error.solution.x
        model.train(training)
        return drawn
