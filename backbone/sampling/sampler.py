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
from backbone.files import sha256
from backbone.model import SiT
from backbone.sample import check_noise, sample
from backbone.sampling.choices import grid_of, method_of, prediction_of, schedule_of, steps_of
from backbone.sampling.coefficients import guidance_of, w_of
from backbone.sampling.config import SampleConfig
from backbone.sampling.decoder import Decoder
from backbone.sampling.environment import device_of, settings
from backbone.sampling.labels import Labels
from backbone.sampling.pixels import RULE, to_bytes
from interpolants import suggest
from interpolants.diffusion import Zero
from interpolants.dynamics import pose
from solvers import Adaptive, PoleError
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
        loaded = load_checkpoint(checkpoint, weights=config.weights, num_heads=config.num_heads, device=self.device)
        self.model, extra = loaded.model, loaded.extra
        _check_network(self.model, checkpoint)
        self.parameters = sum(part.numel() for part in self.model.parameters())
        self.schedule = schedule_of(config.schedule, extra.get("schedule"), checkpoint)
        self.prediction = prediction_of(config.prediction, extra.get("prediction"), checkpoint)
        self.w = w_of(config.w)
        self.method = method_of(config, self.w)
        check_noise(self.method, self.w)
        self.times = grid_of(config, self.schedule, self.method, steps_of(config, self.w))
        self.guidance = guidance_of(config, self.schedule, self.prediction)
        self.labels = Labels(config.labels, self.model.config.num_classes, config.seed)
        if self.guidance is not None and self.labels.unconditional:
            remedy = "leave out --guidance, or pass labels of classes to a network that has some"
            raise ValueError(explain("labels other than the null class, for guidance", str(self.labels), remedy))
        self._check_solve()
        self.decoder = self._decoder(extra)
        self._check_output()
        self.plan = self._plan(checkpoint, loaded.layout)

    def _check_solve(self) -> None:
        """Refuse what a solve would refuse, and say how to write what it proposes."""
        check, method = check_solve, self.method
        if isinstance(method, Adaptive):
            check, method = check_adaptive, method.method
        w = self.w or Zero()
        problem = pose(method.solves, self.schedule, lambda time, x: x, self.prediction, w)
        try:
            check(problem, self.times, method)
        except PoleError as error:
            choice = suggest(self.schedule, self.prediction, w, nfe=2 * len(self.times))
            first, last = float(choice.ts[0]), float(choice.ts[-1])
            options = f"--method {type(choice.method).__name__} --start {first:g} --stop {last:g}"
            instead = " or --method ExponentialEulerMaruyama" if self.w is not None else ""
            raise PoleError(f"{error}; for sit sample: {options}{instead}") from error

    def _decoder(self, extra: dict[str, Any]) -> Decoder | None:
        config = self.config
        if config.vae is None:
            return None
        # What a checkpoint may say of the latents it was trained on: {"scale": …, "shift": …}.
        known = extra.get("latents") or {}
        scale, shift = (
            known.get(name) if own is None else own
            for name, own in (("scale", config.vae_scale), ("shift", config.vae_shift))
        )
        channels = self.model.config.in_channels
        return Decoder(config.vae, channels, self.device, scale=scale, shift=shift, batch=config.vae_batch)

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
                "w": None if self.w is None else repr(self.w),
                "guidance": None if self.guidance is None else repr(self.guidance),
                "times": [float(time) for time in self.times],
            },
            "labels": str(self.labels),
            "noise": NOISE,
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

        hook = self.model.register_forward_pre_hook(count)
        try:
            with settings(self.config.precision, self.device, self.config.threads):
                solution = sample(
                    self.model,
                    labels.to(self.device),
                    schedule=self.schedule,
                    rng=PerSample(self.config.seed, first=first),
                    ts=self.times,
                    method=self.method,
                    w=self.w,
                    guidance=self.guidance,
                    prediction=self.prediction,
                )
        finally:
            hook.remove()
        if solution.status != "success":
            remedy = "raise the tolerances or max_steps"
            raise ValueError(explain("a solve that reaches its end", f"the status {solution.status!r}", remedy))
        with settings("float32", self.device, self.config.threads):
            samples = self._output(solution.x)
        return Drawn(samples, labels.numpy(), solution.nfe, rows, time.perf_counter() - began)

    def _output(self, x: torch.Tensor) -> NDArray[Any]:
        if self.config.format == "latents":
            return np.ascontiguousarray(x.to("cpu", torch.float32).numpy())
        images = x if self.decoder is None else self.decoder(x)
        if not bool(torch.isfinite(images).all()):
            remedy = "check the VAE and its scale"
            raise ValueError(explain("finite images of the VAE", "NaN or infinity", remedy))
        return to_bytes(images)


def _check_network(model: SiT, checkpoint: Path) -> None:
    """Refuse a network whose time is the index of a timestep."""
    if model.config.timesteps is not None:
        remedy = "move it with DiscreteDiffusion.model_of_time and transfer, as the reference of backbone shows"
        received = f"{checkpoint}, whose time is one of {model.config.timesteps} timesteps"
        raise ValueError(explain("a network of continuous time", received, remedy))
