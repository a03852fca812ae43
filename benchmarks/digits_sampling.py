"""How the digits studies sample a trained variant, and how they judge what comes out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbone import conditional_accuracy, frechet_distance, load_checkpoint, sample, spelling
from backbone.data.digits import Digits, DigitsClassifier
from backbone.field import bind
from backbone.model import SiT
from backbone.train.run_config import read_config
from interpolants import DiscreteDiffusion, Empirical, ReverseChain, Schedule, denoising, diffusion, transport_cost
from interpolants import Path as Interpolant
from solvers import DDIM, RK4, Euler, Heun, solve, uniform

__all__ = ["COEFFICIENTS", "Sampler", "Trained", "judge", "learned_cost"]

COEFFICIENTS = {
    "KL": diffusion.KL(),
    "sigma": diffusion.Sigma(),
    "sin^2": diffusion.SinSquared(),
    "KL, eta": diffusion.KLRegularized(0.5, 1),
}
_ODES = {"euler": Euler(), "heun": Heun(), "rk4": RK4()}


@dataclass(frozen=True)
class Sampler:
    """A method with a number of evaluations of the network.

    Args:
        method: euler, heun or rk4 for the probability flow; em, Euler–Maruyama for the SDE of ``w``; ddim for the data
            prediction held over a step; ddpm for the reverse chain with its learned variances.
        nfe: evaluations for each sample.
        w: of the SDE, a name of :data:`COEFFICIENTS`.
        start: the time at which it begins, below 1 where w is infinite there.
    """

    method: str
    nfe: int
    w: str = ""
    start: float = 1.0

    @property
    def slug(self) -> str:
        """A name for files."""
        return "-".join(str(part).replace(" ", "") for part in (self.method, self.nfe, self.w, self.start) if part)


@dataclass(frozen=True)
class Trained:
    """A variant that was trained."""

    model: SiT
    schedule: Schedule
    prediction: Any

    @classmethod
    def read(cls, folder: Path) -> Trained:
        """Return the averaged network of a run with what it was trained for."""
        spelt = read_config(folder / "config.json").objective
        model = load_checkpoint(folder / "averaged.safetensors").model
        return cls(model, spelling.schedule(spelt.schedule), spelling.prediction(spelt.prediction))

    def draw(self, sampler: Sampler, labels: Tensor, seed: int) -> Tensor:
        """Return an image for each label; the noise at t = 1 depends on the seed alone."""
        rng = torch.Generator().manual_seed(seed)
        if sampler.method in ("ddim", "ddpm"):
            return self._by_data(sampler, labels, rng)
        method = _ODES.get(sampler.method)
        n = sampler.nfe // (1 if method is None else method.evaluations)
        found = sample(
            self.model,
            labels,
            schedule=self.schedule,
            rng=rng,
            ts=uniform(n, start=sampler.start),
            method=method,
            w=COEFFICIENTS[sampler.w] if sampler.w else None,
            prediction=self.prediction,
        )
        return _counted(found, sampler)

    @torch.no_grad()
    def _by_data(self, sampler: Sampler, labels: Tensor, rng: torch.Generator) -> Tensor:
        """Sample by the data prediction: over the chain that a network of timesteps knows, or over all times."""
        config = self.model.config
        x = self.schedule.prior((len(labels), config.in_channels, *config.size), rng).to(torch.float32)
        if config.timesteps is None:
            problem = denoising(self.schedule, bind(self.model, labels), self.prediction)
            return _counted(solve(problem, x, uniform(sampler.nfe), DDIM()), sampler)
        chain = DiscreteDiffusion(self.schedule).respaced(sampler.nfe)
        if sampler.method == "ddim":
            problem = denoising(chain.schedule, chain.model_of_time(bind(self.model, labels)), self.prediction)
            return _counted(solve(problem, x, chain.times, DDIM()), sampler)
        keep = torch.zeros(len(labels), dtype=torch.bool)

        def network(timesteps: Tensor, x: Tensor) -> Tensor:
            return self.model.both_halves(x, timesteps, labels, drop_labels=keep)

        return _counted(ReverseChain(chain, network, self.prediction, "learned").sample(x, rng), sampler)


def _counted(solution: Any, sampler: Sampler) -> Tensor:
    if solution.nfe != sampler.nfe:
        raise ValueError(f"expected {sampler.nfe} evaluations; received {solution.nfe}; remedy: correct the sampler")
    found: Tensor = solution.x
    return found


def judge(
    trained: Trained, sampler: Sampler, classifier: DigitsClassifier, digits: Digits, samples: int, seeds: Sequence[int]
) -> list[dict[str, float]]:
    """Return accuracy, Fréchet distance to the held-out digits, and CPU seconds for a sample, for every seed."""
    labels = torch.arange(samples) % 10
    rows = []
    for seed in seeds:
        began = time.process_time()
        images = trained.draw(sampler, labels, seed)
        spent = time.process_time() - began
        frechet = frechet_distance(images.flatten(1), digits.held_out_images.flatten(1))
        accuracy = conditional_accuracy(classifier, images, labels)
        rows.append({"accuracy": accuracy, "frechet": frechet, "seconds": spent / samples})
    return rows


def learned_cost(trained: Trained, digits: Digits, n: int, steps: int) -> dict[str, float]:
    """Return the transport cost of the learned velocity along its own flow, with its standard error."""
    model, shape = trained.model, digits.images.shape[1:]
    field = bind(model, torch.arange(n) % 10)

    def velocity(time: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            return field(time, x.reshape(-1, *shape).to(torch.float32)).flatten(1).to(x.dtype)

    path = Interpolant(trained.schedule, Empirical(digits.images.flatten(1)))
    rng = torch.Generator().manual_seed(0)
    cost = transport_cost(path, velocity, trained.prediction, n=n, rng=rng, batch=n, grid=uniform(steps))
    return {"cost": cost.value, "standard error": cost.standard_error, "n": n}
