r"""Latents to pixels, by an autoencoder of diffusers: images = decode(latents / scale + shift)."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbone.files import sha256_of_folder
from solvers.errors import explain

__all__ = ["Decoder"]


class Decoder:
    """An AutoencoderKL from a folder, with the scale and the shift of the latents.

    Args:
        folder: with ``config.json`` and the weights, as diffusers saves them.
        channels: of the latents.
        device: where to decode.
        scale: number, or one for each channel; None takes the VAE's ``scaling_factor``.
        shift: likewise; None takes its ``shift_factor``, or 0.
        batch: images decoded at a time.

    Raises:
        ImportError: diffusers is not installed.
        FileNotFoundError: no such folder, or no VAE in it.
        ValueError: a VAE of latents with other channels; a scale or a shift of other channels, or not finite.
    """

    def __init__(
        self,
        folder: Path,
        channels: int,
        device: torch.device,
        *,
        scale: Any = None,
        shift: Any = None,
        batch: int = 16,
    ) -> None:
        self.folder, self.batch, self.device = folder, batch, device
        self.vae = _load(folder).to(device).eval().requires_grad_(False)
        known = self.vae.config
        if known.latent_channels != channels:
            remedy = "pass the VAE whose latents the network was trained on"
            raise ValueError(
                explain(f"a VAE of {channels} channels", f"{folder} with {known.latent_channels} channels", remedy)
            )
        self.channels = int(known.out_channels)
        self.scale = _per_channel("scale", known.scaling_factor if scale is None else scale, channels)
        self.shift = _per_channel("shift", (known.shift_factor or 0.0) if shift is None else shift, channels)
        if 0.0 in self.scale:
            raise ValueError(explain("a scale that is not 0", str(self.scale), "0.18215 is Stable Diffusion's"))

    def __call__(self, latents: Tensor) -> Tensor:
        """Return images (N, C, H, W) around [-1, 1], float32, of latents on the device."""
        scale, shift = (torch.tensor(each, device=self.device).view(1, -1, 1, 1) for each in (self.scale, self.shift))
        with torch.no_grad():
            moved = latents.to(self.device, torch.float32) / scale + shift
            parts = (moved[first : first + self.batch] for first in range(0, len(moved), self.batch))
            return torch.cat([self.vae.decode(part).sample.to(torch.float32) for part in parts])

    def to_dict(self) -> dict[str, Any]:
        """Return what identifies the VAE, for the manifest."""
        return {
            "path": os.fspath(self.folder),
            "sha256": sha256_of_folder(self.folder),
            "scale": self.scale,
            "shift": self.shift,
            "rule": "decode(latents / scale + shift)",
        }


def _load(folder: Path) -> Any:
    if not (folder / "config.json").is_file():
        remedy = (
            "pass a folder that AutoencoderKL.save_pretrained wrote, such as a download of stabilityai/sd-vae-ft-ema"
        )
        raise FileNotFoundError(explain("a folder with config.json of a VAE", f"{folder}", remedy))
    try:
        from diffusers import AutoencoderKL
    except ImportError as error:
        raise ImportError(
            explain("diffusers, to decode latents", str(error), "pip install 'interpolants[diffusers]'")
        ) from error
    return AutoencoderKL.from_pretrained(folder, local_files_only=True, torch_dtype=torch.float32)


def _per_channel(name: str, value: Any, channels: int) -> list[float]:
    """Return a number as a list of one, or one number for each channel."""
    found = [float(each) for each in (value if isinstance(value, (list, tuple)) else [value])]
    if len(found) not in (1, channels) or not all(map(math.isfinite, found)):
        remedy = f"pass --vae-{name} as one number"
        raise ValueError(explain(f"a {name} of latents: 1 or {channels} finite numbers", repr(value), remedy))
    return found
