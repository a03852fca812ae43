"""Samples of the averaged network in the middle of a training, and how far they are from images that it never saw."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backbone.draws import Draws
from backbone.evaluate import frechet_distance
from backbone.field import bind
from backbone.files import replaced
from backbone.train.pictures import View, page
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
        view: how samples are looked at; None shows none.
        folder: where ``step-00001000.npz`` with ``x`` and ``y``, and ``step-00001000.png``, are written; None for
            nowhere.
    """

    schedule: Any
    prediction: Any
    config: ProbeConfig
    seed: int
    held_out: Tensor | None = None
    features: Callable[[Tensor], Any] | None = None
    view: View | None = None
    folder: Path | None = None

    def __call__(self, state: State, here: World) -> dict[str, Any]:
        """Return ``{"frechet": …}``, NaN where a sample is not finite, and ``"samples"``, a page of them as bytes.

        Every process draws its share; what is returned is the first one's to tell.
        """
        model, count = state.averaged, self.config.samples
        share = here.share(count, "probe.samples")
        classes = max(1, model.config.num_classes)
        labels = torch.arange(count) % classes
        images = here.gather(self._draw(state, labels[share].to(here.device), torch.arange(count)[share])).cpu()
        if not here.first:
            return {}
        shown = self._keep(state.step, images, labels)
        if self.held_out is None:
            return shown
        if not bool(torch.isfinite(images).all()):
            return {"frechet": math.nan} | shown
        return {"frechet": frechet_distance(self._look(images), self._known)} | shown

    def _look(self, x: Tensor) -> Any:
        return x.flatten(1) if self.features is None else self.features(x)

    @cached_property
    def _known(self) -> Any:
        """The features of the images that are held out, which are looked at once."""
        return self._look(self.held_out) if self.held_out is not None else None

    def _keep(self, step: int, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """Write the samples and a page of them, and return the page."""
        try:
            shown = {} if self.view is None else {"samples": page(self.view, images, labels)}
            if self.folder is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                with replaced(self.folder / f"step-{step:08d}.npz") as draft, draft.open("wb") as file:
                    np.savez(file, x=images.numpy(), y=labels.numpy())
                for picture in shown.values():
                    self._save(picture, self.folder / f"step-{step:08d}.png")
        except (ImportError, OSError) as error:
            # The training is worth more than a picture of it.
            warnings.warn(f"the samples of step {step} could not be written: {error}", stacklevel=3)
            return {}
        return shown

    def _save(self, picture: Any, file: Path) -> None:
        from PIL.Image import fromarray

        with replaced(file) as draft:
            fromarray(picture).save(draft, format="PNG")

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
