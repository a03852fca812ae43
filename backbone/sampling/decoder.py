r"""Latents to pixels, by an autoencoder of diffusers: images = decode(latents / scale + shift)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from backbone.data.vae import load_vae
from solvers.errors import explain

__all__ = ["Decoder"]


class Decoder:
    """An AutoencoderKL, with the scale and the shift of the latents.

    Args:
        name: a folder that diffusers saved, or an id of the Hugging Face hub, as :func:`backbone.data.vae.load_vae`
            takes it.
        channels: of the latents.
        device: where to decode.
        scale: number, or one for each channel; None takes the VAE's ``scaling_factor``.
        shift: likewise; None takes its ``shift_factor``, or 0.
        batch: images decoded at a time.
        sha256: hash of the encoder that made the latents, as a store and a checkpoint keep it; None is not known.

    Raises:
        ImportError: diffusers is not installed.
        FileNotFoundError: no such folder, or no VAE in it.
        ValueError: a VAE of latents with other channels, or of another encoder; a scale or a shift of other channels,
            or not finite.
    """

    def __init__(
        self,
        name: str,
        channels: int,
        device: torch.device,
        *,
        scale: Any = None,
        shift: Any = None,
        batch: int = 16,
        sha256: str | None = None,
    ) -> None:
        self.name, self.batch, self.device = name, batch, device
        self.vae = load_vae(name)
        remedy = "pass the VAE whose latents the network was trained on"
        if self.vae.channels != channels:
            received = f"{name} with {self.vae.channels} channels"
            raise ValueError(explain(f"a VAE of {channels} channels", received, remedy))
        if sha256 is not None and self.vae.sha256 != sha256:
            wanted = f"the VAE that the latents are of, whose encoder has the hash {sha256}"
            raise ValueError(explain(wanted, f"{name} with {self.vae.sha256}", remedy))
        self.decoder_sha256 = self.vae.decoder_sha256
        self.vae.to(device)
        self.channels = int(self.vae.network.config.out_channels)
        self.scale = _per_channel("scale", self.vae.scale if scale is None else scale, channels)
        self.shift = _per_channel("shift", self.vae.shift if shift is None else shift, channels)
        if 0.0 in self.scale:
            raise ValueError(explain("a scale that is not 0", str(self.scale), "0.18215 is Stable Diffusion's"))

    def __call__(self, latents: Tensor) -> Tensor:
        """Return images (N, C, H, W) around [-1, 1], float32, of latents on the device."""
        scale, shift = (torch.tensor(each, device=self.device).view(1, -1, 1, 1) for each in (self.scale, self.shift))
        moved = latents.to(self.device, torch.float32) / scale + shift
        return torch.cat([self.vae.decode(part) for part in torch.split(moved, self.batch)])

    def to_dict(self) -> dict[str, Any]:
        """Return what identifies the VAE, for the manifest; the hashes are of weights, whatever files hold them."""
        return {
            "path": self.name,
            "sha256": self.decoder_sha256,
            "encoder_sha256": self.vae.sha256,
            "scale": self.scale,
            "shift": self.shift,
            "rule": "decode(latents / scale + shift)",
        }


def _per_channel(name: str, value: Any, channels: int) -> list[float]:
    """Return a number as a list of one, or one number for each channel."""
    found = [float(each) for each in (value if isinstance(value, (list, tuple)) else [value])]
    if len(found) not in (1, channels) or not all(map(math.isfinite, found)):
        remedy = f"pass --vae-{name} as one number"
        raise ValueError(explain(f"a {name} of latents: 1 or {channels} finite numbers", repr(value), remedy))
    return found
