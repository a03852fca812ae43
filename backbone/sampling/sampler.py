"""A checkpoint and a config as a function of the numbers of samples."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from backbone.checkpoints import load_checkpoint
from backbone.field import bind
from backbone.files import sha256
from backbone.sample import check_noise, solve_model
from backbone.sampling.chained import Chained, chain_of
from backbone.sampling.choices import grid_of, method_of, prediction_of, schedule_of, steps_of
from backbone.sampling.coefficients import guidance_of, w_of
from backbone.sampling.config import SampleConfig
from backbone.sampling.decoder import Decoder
from backbone.sampling.environment import device_of, settings
from backbone.sampling.labels import Labels
from backbone.sampling.pixels import RULE, to_bytes
from backbone.sampling.route import discrete, route_of
from interpolants import DiscreteDiffusion, suggest
from interpolants.diffusion import Zero
from interpolants.dynamics import pose
from interpolants.guidance import guided
from interpolants.schedules import by_name
from solvers import Adaptive, PoleError, Solution
from solvers.check import check_adaptive, check_solve
from solvers.errors import explain
from solvers.noise import PerSample

__all__ = ["Drawn", "Sampler"]

NOISE = (
    "x = sigma(start) z; z and the increments of an SDE are normals of Philox4x32-10, its key the seed, its counter "
    "(place in the sample, number of the sample, number of the draw, 0), by Box and Muller in float64; draw 0 is z, "
    "draw k the k-th of a solve (solvers.noise.PerSample)"
)


class Drawn(NamedTuple):
    """Some samples.

    Attributes:
        samples: bytes (N, H, W, C), or latents (N, C, …) in float32.
        labels: (N,), int64.
        nfe: evaluations of the problem in the solve.
        rows: rows that the network has seen, which guidance doubles.
        seconds: wall-clock time.
    """

    samples: NDArray[Any]
    labels: NDArray[np.int64]
    nfe: int
    rows: int
    seconds: float


class Sampler:
    """Everything that a config asks for, looked up and checked; no evaluation of the network is made before that.

    Args:
        checkpoint: a file that :func:`backbone.load_checkpoint` reads.
        config: what to sample.

    Attributes:
        plan: all that decides the samples, as JSON: what the manifest begins with.
        parameters: of the network.

    Raises:
        CheckpointError: as :func:`backbone.load_checkpoint` raises.
        PoleError: the sampler would be infinite somewhere; the message proposes another.
        TypeError, ValueError: an unknown name, or things that do not go together; each says what to do.
    """

    def __init__(self, checkpoint: Path, config: SampleConfig) -> None:
        self.device = device_of(config.device)
        threads = torch.get_num_threads() if config.threads is None else config.threads
        self.config = config = dataclasses.replace(config, device=self.device.type, threads=threads)
        loaded = load_checkpoint(
            checkpoint,
            weights=config.weights,
            num_heads=config.num_heads,
            timesteps=config.timesteps,
            device=self.device,
        )
        self.model, extra = loaded.model, loaded.extra
        timesteps = self.model.config.timesteps
        self.parameters = sum(part.numel() for part in self.model.parameters())
        example = "linear" if timesteps is None else "ddpm-linear"
        self.schedule = schedule_of(config.schedule, extra.get("schedule"), checkpoint, example)
        self.prediction = prediction_of(config.prediction, extra.get("prediction"), checkpoint)
        if timesteps is not None:
            self.schedule = discrete(self.schedule, timesteps, named=config.schedule is not None)
        onto = None if config.transfer is None else by_name(config.transfer)
        self.route = route_of(self.schedule, timesteps, onto, self.prediction)
        self.w = w_of(config.w)
        self.method = method_of(config, self.w, self.model.config)
        check_noise(self.method, self.w)
        self.config = config = dataclasses.replace(config, grid=config.grid or self._usual_grid())
        steps = steps_of(config, self.w, self.method)
        self.times = grid_of(config, self.route.schedule, self.method, steps, ends=self.route.ends)
        self.guidance = guidance_of(config, self.route.schedule, self.prediction)
        self.labels = Labels(config.labels, self.model.config.num_classes, config.seed)
        if self.guidance is not None and self.labels.unconditional:
            remedy = "leave out --guidance, or pass labels of classes to a network that has some"
            raise ValueError(explain("labels other than the null class, for guidance", str(self.labels), remedy))
        self.chain = self._checked_chain() if isinstance(self.method, Chained) else None
        if self.chain is None:
            self._check_solve()
        self.decoder = self._decoder(extra)
        self._check_output()
        self.plan = self._plan(checkpoint, loaded.layout)

    def _usual_grid(self) -> str:
        """Return the grid where none is asked for: of a network of timesteps those that it knows."""
        config = self.config
        free = isinstance(self.method, Adaptive) or any(
            each is not None for each in (config.transfer, config.start, config.stop, config.last_step_size)
        )
        return "uniform" if free or self.model.config.timesteps is None else "respaced"

    def _checked_chain(self) -> DiscreteDiffusion:
        """Return the chain that the method goes through, or refuse it."""
        self.method.check_options(self.config, self.model)
        chain = chain_of(self.schedule, self.times)
        self.method.check(chain, self.prediction)
        return chain

    def _check_solve(self) -> None:
        """Refuse what a solve would refuse, and say how to write what it proposes."""
        check, method = check_solve, self.method
        if isinstance(method, Adaptive):
            check, method = check_adaptive, method.method
        w = self.w or Zero()
        problem = pose(method.solves, self.route.schedule, self.route.carry(_unasked), self.prediction, w)
        try:
            check(problem, self.times, method)
        except PoleError as error:
            choice = suggest(self.route.schedule, self.prediction, w, nfe=2 * len(self.times))
            first, last = float(choice.ts[0]), float(choice.ts[-1])
            options = f"--method {type(choice.method).__name__} --start {first:g} --stop {last:g}"
            instead = " or --method ExponentialEulerMaruyama" if self.w is not None else ""
            raise PoleError(f"{error}; for sit sample: {options}{instead}") from error

    def _decoder(self, extra: dict[str, Any]) -> Decoder | None:
        config = self.config
        if config.vae is None:
            return None
        # What a checkpoint may say of the latents it was trained on: {"scale": …, "shift": …, "vae_sha256": …}.
        known = extra.get("latents") or {}
        scale, shift = (
            known.get(name) if own is None else own
            for name, own in (("scale", config.vae_scale), ("shift", config.vae_shift))
        )
        return Decoder(
            str(config.vae),
            self.model.config.in_channels,
            self.device,
            scale=scale,
            shift=shift,
            batch=config.vae_batch,
            sha256=known.get("vae_sha256"),
        )

    def _check_output(self) -> None:
        """Refuse to make pixels of what has none."""
        shape = self.model.config
        if self.config.format == "latents":
            return
        if len(shape.size) != 2:
            wanted = "a network on images, for pixels"
            raise ValueError(explain(wanted, f"one on inputs of size {shape.size}", "pass --format latents"))
        channels = shape.in_channels if self.decoder is None else self.decoder.channels
        if channels not in (1, 3):
            remedy = "pass --vae FOLDER, an AutoencoderKL of diffusers that decodes these latents, or --format latents"
            raise ValueError(explain("1 or 3 channels, for pixels", f"{channels} channels", remedy))

    def _plan(self, checkpoint: Path, layout: str) -> dict[str, Any]:
        pixels = None if self.config.format == "latents" else {"rule": RULE, "layout": "(N, H, W, C)"}
        return {
            "config": self.config.to_dict(),
            "checkpoint": {"path": str(checkpoint), "sha256": sha256(checkpoint), "layout": layout},
            "model": self.model.config.to_dict(),
            "schedule": self.schedule.to_dict(),
            "prediction": self.prediction.name,
            "sampler": {
                "method": repr(self.method),
                "schedule": self.route.schedule.to_dict() if self.config.transfer else None,
                "w": None if self.w is None else repr(self.w),
                "guidance": None if self.guidance is None else repr(self.guidance),
                "times": [float(time) for time in self.times],
            },
            "labels": str(self.labels),
            "noise": NOISE if self.chain is None else NOISE.replace("x = sigma(start) z", "x = z"),
            "pixels": pixels,
            "vae": None if self.decoder is None else self.decoder.to_dict(),
        }

    def draw(self, first: int, stop: int) -> Drawn:
        """Return the samples of the numbers ``first`` to ``stop`` − 1, solved as one batch.

        Raises:
            NonFiniteError: samples are not finite.
            ValueError: steps of a method's own choice did not reach the end.
        """
        began = time.perf_counter()
        ids = torch.arange(first, stop)
        labels, rows = self.labels.of(ids), 0

        def count(module: Any, arguments: tuple[Any, ...]) -> None:
            nonlocal rows
            rows += len(arguments[0])

        # The last layer: of networks of timesteps not the forward pass is called, but that of both halves.
        hook = self.model.final_layer.register_forward_pre_hook(count)
        try:
            with settings(self.config.precision, self.device, self.config.threads):
                solution = self._solved(labels.to(self.device), PerSample(self.config.seed, first=first))
        finally:
            hook.remove()
        if solution.status != "success":
            remedy = "raise the tolerances or max_steps"
            raise ValueError(explain("a solve that reaches its end", f"the status {solution.status!r}", remedy))
        with settings("float32", self.device, self.config.threads):
            samples = self._output(solution.x)
        return Drawn(samples, labels.numpy(), solution.nfe, rows, time.perf_counter() - began)

    def _solved(self, labels: torch.Tensor, rng: PerSample) -> Solution:
        if self.chain is not None:
            found: Solution = self.method.sample(self.model, labels, self.chain, rng, self.prediction, self.guidance)
            return found
        config = self.model.config
        if self.route.schedule is self.schedule and config.timesteps is None:
            # One evaluation of a doubled batch is faster than two.
            model = bind(self.model, labels, self.guidance)
        elif self.guidance is None:
            model = self.route.carry(bind(self.model, labels))
        else:
            # Guidance knows the times of the solve, which are not those of the network.
            model = guided(
                self.route.carry(bind(self.model, labels)), self.route.carry(bind(self.model)), self.guidance
            )
        return solve_model(
            model,
            (len(labels), config.in_channels, *config.size),
            self.device,
            schedule=self.route.schedule,
            rng=rng,
            times=self.times,
            method=self.method,
            w=self.w,
            prediction=self.prediction,
        )

    def _output(self, x: torch.Tensor) -> NDArray[Any]:
        if self.config.format == "latents":
            return np.ascontiguousarray(x.to("cpu", torch.float32).numpy())
        images = x if self.decoder is None else self.decoder(x)
        if not bool(torch.isfinite(images).all()):
            remedy = "check the VAE and its scale"
            raise ValueError(explain("finite images of the VAE", "NaN or infinity", remedy))
        return to_bytes(images)


def _unasked(time: Any, x: torch.Tensor) -> torch.Tensor:
    """Stand in for a network where nothing is evaluated."""
    return x
