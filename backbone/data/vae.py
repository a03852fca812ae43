r"""What images are encoded by: an ``AutoencoderKL``, to the mean and standard deviation of its posterior, or nothing.

A network sees :math:`(z - \text{shift})\cdot\text{scale}` of a latent z; sd-vae-ft-ema has shift 0 and scale 0.18215.

References: Rombach et al. (2022), arXiv:2112.10752.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers.errors import explain

__all__ = ["IDENTITY", "Autoencoder", "Encoder", "Pixels", "load_encoder"]

#: The name that stands for no VAE.
IDENTITY = "identity"


class Encoder(Protocol):
    """What turns pixels into what is stored.

    Attributes:
        name: of the VAE: a folder, an id of the hub, or ``"identity"``.
        sha256: of its encoder; None for pixels.
        scale, shift: a network sees (z − shift)·scale.
        parts: what is stored of each image.
        dtype: in which type.
    """

    name: str
    sha256: str | None
    scale: float
    shift: float
    parts: tuple[str, ...]
    dtype: str

    def shape(self, size: int) -> tuple[int, int, int]:
        """Return the shape (C, h, w) of what is stored of a square image of ``size`` pixels."""
        ...

    def to(self, device: torch.device) -> Encoder:
        """Move to a device, and return itself."""
        ...

    def encode(self, images: Tensor) -> NDArray[Any]:
        """Return what is stored, (N, parts, C, h, w), of images (N, 3, H, W), uint8, on the host."""
        ...


class Pixels:
    """No VAE: the pixels themselves, in eight bits; a network sees u/127.5 − 1."""

    name, dtype = IDENTITY, "uint8"
    sha256: str | None = None
    scale, shift = 1 / 127.5, 127.5
    parts: tuple[str, ...] = ("mean",)

    def shape(self, size: int) -> tuple[int, int, int]:
        """Return (3, size, size)."""
        return 3, size, size

    def to(self, device: torch.device) -> Pixels:
        """Return itself."""
        return self

    def encode(self, images: Tensor) -> NDArray[np.uint8]:
        """Return the images with an axis for their one part."""
        return images[:, None].numpy()


class Autoencoder:
    """The posterior of an ``AutoencoderKL`` of diffusers: its mean and its standard deviation, in half precision.

    Args:
        name: where it was loaded from.
        network: the ``AutoencoderKL``.
    """

    parts: tuple[str, ...] = ("mean", "std")
    dtype = "float16"

    def __init__(self, name: str, network: Any) -> None:
        config = network.config
        self.name, self.network = name, network.eval().requires_grad_(False)
        self.sha256: str | None = _hash(network)
        self.scale = float(config.scaling_factor)
        self.shift = float(getattr(config, "shift_factor", None) or 0.0)
        self.channels = int(config.latent_channels)
        self.factor = 2 ** (len(config.block_out_channels) - 1)
        self.device = torch.device("cpu")

    def shape(self, size: int) -> tuple[int, int, int]:
        """Return (C, size/f, size/f), f being the factor of down-sampling.

        Raises:
            ValueError: f does not divide the size.
        """
        if size % self.factor:
            remedy = f"use a size such as {max(1, size // self.factor) * self.factor}"
            raise ValueError(explain(f"a size divisible by {self.factor} for {self.name}", str(size), remedy))
        return self.channels, size // self.factor, size // self.factor

    def to(self, device: torch.device) -> Autoencoder:
        """Move the network to a device, and return itself."""
        self.device = device
        self.network.to(device)
        return self

    @torch.inference_mode()
    def encode(self, images: Tensor) -> NDArray[np.float16]:
        """Return the mean and the standard deviation of the posterior, (N, 2, C, h, w)."""
        posterior = self.network.encode(images.to(self.device).float() / 127.5 - 1).latent_dist
        both: NDArray[np.float16] = torch.stack([posterior.mean, posterior.std], dim=1).half().cpu().numpy()
        return both


def load_encoder(name: str) -> Encoder:
    """Return the encoder of a name, in float32 on the host.

    Args:
        name: a folder written by diffusers' ``save_pretrained``, an id of the Hugging Face hub such as
            ``stabilityai/sd-vae-ft-ema``, or ``identity``.

    Raises:
        ImportError: diffusers is missing.
        FileNotFoundError: no such folder, or the hub cannot be reached or has no such network.
        ValueError: tensors are missing.
    """
    if name == IDENTITY:
        return Pixels()
    try:
        from diffusers import AutoencoderKL
    except ImportError as error:
        remedy = "pip install 'interpolants[imagenet,diffusers]', or pass --vae identity for pixels"
        raise ImportError(explain("diffusers, for a VAE", str(error), remedy)) from error
    remedy = "pass a folder with config.json and diffusion_pytorch_model.safetensors, or an id of the hub; without a "
    remedy += "network, copy the folder here or fill the cache of the hub (HF_HOME) first"
    if not Path(name).is_dir() and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise FileNotFoundError(explain("a VAE", f"{name}, which is no folder", remedy))
    try:
        network, info = AutoencoderKL.from_pretrained(
            name, torch_dtype=torch.float32, low_cpu_mem_usage=False, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise FileNotFoundError(explain("a VAE", f"{name}: {reason}", remedy)) from error
    # diffusers only logs what it does not find, and leaves random numbers in its place.
    lacking = [*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])]
    if lacking:
        received = f"{name} without {lacking[0]} and {len(lacking) - 1} others"
        raise ValueError(explain("every tensor of the VAE", received, "download it again"))
    return Autoencoder(name, network)


def _hash(network: Any) -> str:
    """Return the SHA-256 of what a latent depends on: the encoder's weights, and the fields that no weight shows.

    It is the same for ``.bin`` and ``.safetensors``, and for decoders trained further on the same latents, which is how
    sd-vae-ft-ema and sd-vae-ft-mse differ.
    """
    config = network.config
    fields = {
        name: getattr(config, name, None) for name in ("act_fn", "norm_num_groups", "scaling_factor", "shift_factor")
    }
    found = hashlib.sha256(repr(sorted(fields.items())).encode())
    for name, tensor in sorted(network.state_dict().items()):
        if name.startswith(("encoder.", "quant_conv.")):
            found.update(f"{name} {tuple(tensor.shape)} ".encode())
            found.update(tensor.detach().float().contiguous().numpy().tobytes())
    return found.hexdigest()
