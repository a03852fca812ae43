"""What is sampled, as data: checked when made, free of torch, JSON in and out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from backbone.checks import check_choice, check_count, is_number
from solvers.errors import closest, explain

__all__ = ["Format", "Precision", "SampleConfig"]

Format: TypeAlias = Literal["png", "npz", "latents"]
Precision: TypeAlias = Literal["float32", "tf32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class SampleConfig:
    """What is sampled from a checkpoint, and how; every field goes into the manifest.

    Methods, grids, w and the rules of guidance are written as in Python, with or without options: "heun",
    "DPMSolverPP(order=3)", "power(exponent=2)", "0.5*sigma". Case, dashes and underscores do not matter.

    Args:
        num: number of samples, numbered from 0.
        seed: sample n is a function of the seed and n.
        labels: balanced (n mod classes), random, null, or classes such as 207,360, over and over.
        method: a method of solvers; heun without w and EulerMaruyama with it when absent.
        steps: intervals of the grid; 50 without w and 250 with it when absent.
        grid: uniform, power, log-snr, cosine-optimal, karras, align-your-steps or timestep-strides, with options.
        start: the first time, below 1 where the sampler is infinite there; the noise end when absent.
        stop: the last time; the data end when absent.
        last_step: how a stochastic method takes its last step: mean, tweedie, or a deterministic method such as euler.
        last_step_size: length of the last step, such as the 0.04 of SiT's published samples; the grid fills the rest.
        w: diffusion coefficient: kl, sigma, sin-squared, sbdm, ramp, decreasing, constant(c), multiples and sums such
            as 0.5*sigma, or an expression of t such as t*(1-t); the ODE when absent.
        guidance: scale of guidance; 1 is none.
        guidance_rule: cfg, cfg-zero or apg, with options such as "apg(eta=0, threshold=10, momentum=-0.5)".
        guidance_channels: guide the first so many channels alone, 3 for parity with published numbers of SiT and DiT.
        guidance_low: guide where the log-SNR is at least this.
        guidance_high: guide where the log-SNR is at most this.
        guidance_rescale: how much of the standard deviation of the conditional prediction to restore, in [0, 1].
        schedule: name of the schedule, for a checkpoint that does not say; linear, gvp, vp, ….
        prediction: what the network predicts, for a checkpoint that does not say: velocity, noise, data, ….
        weights: which weights of a training checkpoint; ema where there are any.
        num_heads: attention heads of a network whose file does not show them.
        format: png (a folder of images), npz (ADM's layout: arr_0 of bytes (N, H, W, C), arr_1 the labels) or latents
            (npz, float32, (N, C, H, W), what the network makes).
        vae: folder of an AutoencoderKL of diffusers that turns latents into pixels.
        vae_scale: latents are divided by it before decoding; what the checkpoint says, or the VAE, when absent.
        vae_shift: added after that; likewise.
        vae_batch: images decoded at a time.
        batch_size: samples solved at a time, and written as one part.
        precision: of the network: float32, tf32, or autocast to bfloat16 or float16; the solver is in float32.
        device: cpu, cuda, cuda:1, …; cuda where there is one when absent.
        threads: CPU threads, on which the last bits can depend; torch's own number when absent.

    Raises:
        ValueError: a field is out of range.
    """

    num: int = 64
    seed: int = 0
    labels: str = "balanced"
    method: str | None = None
    steps: int | None = None
    grid: str = "uniform"
    start: float | None = None
    stop: float | None = None
    last_step: str | None = None
    last_step_size: float | None = None
    w: str | None = None
    guidance: float = 1.0
    guidance_rule: str = "cfg"
    guidance_channels: int | None = None
    guidance_low: float | None = None
    guidance_high: float | None = None
    guidance_rescale: float | None = None
    schedule: str | None = None
    prediction: str | None = None
    weights: Literal["ema", "model"] | None = None
    num_heads: int | None = None
    format: Format = "png"
    vae: Path | None = None
    vae_scale: float | None = None
    vae_shift: float | None = None
    vae_batch: int = 16
    batch_size: int = 64
    precision: Precision = "float32"
    device: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("num", "vae_batch", "batch_size"):
            check_count(name, getattr(self, name))
        for name in ("steps", "guidance_channels", "num_heads", "threads"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        check_count("seed", self.seed, 0)
        if self.num > 2**32:
            raise ValueError(explain("num of at most 2**32", repr(self.num), "sample several sets with several seeds"))
        if self.seed >= 2**64:
            raise ValueError(explain("a seed below 2**64", repr(self.seed), "pass another seed"))
        check_choice("format", self.format, get_args(Format))
        check_choice("precision", self.precision, get_args(Precision))
        for name in ("start", "stop", "last_step_size", "vae_scale", "vae_shift"):
            if getattr(self, name) is not None and not is_number(getattr(self, name)):
                raise ValueError(explain(f"a finite number as {name}", repr(getattr(self, name)), "leave it out"))
        if not is_number(self.guidance):
            raise ValueError(explain("a finite guidance scale", repr(self.guidance), "1 is none, 1.5 to 4 are common"))
        if self.vae_scale == 0:
            raise ValueError(explain("a vae_scale that is not 0", "0", "the VAE of Stable Diffusion has 0.18215"))
        self._check_format()

    def _check_format(self) -> None:
        if self.vae is not None:
            # A frozen dataclass of slots has no other way to make a Path of the text that JSON has.
            object.__setattr__(self, "vae", Path(self.vae))
        if self.format == "latents" and self.vae is not None:
            remedy = "leave out --vae, or pass --format npz or png"
            raise ValueError(explain("no VAE with the format latents", str(self.vae), remedy))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        fields = dataclasses.asdict(self)
        return fields | {"vae": None if self.vae is None else str(self.vae)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> SampleConfig:
        """Build a config from :meth:`to_dict`.

        Raises:
            ValueError: a key is not a field (the closest fields are named), or a value is out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for key in fields:
            if key not in known:
                raise ValueError(explain("fields of SampleConfig", repr(key), f"closest: {closest(str(key), known)}"))
        return cls(**fields)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The log-SNR between which there is guidance, or None."""
        if self.guidance_low is None and self.guidance_high is None:
            return None
        low = -math.inf if self.guidance_low is None else self.guidance_low
        return low, math.inf if self.guidance_high is None else self.guidance_high
