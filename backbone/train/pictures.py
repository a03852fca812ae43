"""What a training shows of its samples, and by which features it tells how far they are from data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbone.data.arrays import Data
from backbone.data.store import Store
from backbone.sampling.decoder import Decoder
from backbone.sampling.pixels import sheet, sheet_ids, to_bytes
from backbone.train.run_config import ProbeConfig
from solvers.errors import explain

__all__ = ["View", "described_latents", "features_of", "page", "view_of"]

# Images that a network of features sees at a time.
_BATCH = 64


@dataclass(frozen=True, slots=True)
class View:
    """How samples are looked at.

    Attributes:
        pixels: samples (N, C, …) → images (N, 1 or 3, H, W) around [-1, 1].
        true: whether these are the images themselves, and not false colours of latents.
    """

    pixels: Callable[[Tensor], Tensor]
    true: bool = True


def described_latents(data: Data) -> dict[str, Any] | None:
    """Return what a checkpoint should say of the latents it is trained on, for who decodes its samples; else None."""
    if not isinstance(data, Store) or data.manifest.vae_sha256 is None:
        return None
    known = data.manifest
    return {"scale": known.scale, "shift": known.shift, "vae": known.vae_name, "vae_sha256": known.vae_sha256}


def view_of(data: Data, config: ProbeConfig, device: torch.device) -> View | None:
    """Return how samples of such data are looked at; None where they are no images.

    Pixels are shown as they are and latents by ``config.vae``. Without one, the first three channels are taken for
    red, green and blue, and −3 … 3 for dark to bright: unit variance is what latents have, and shapes can be told.

    Raises:
        ValueError: another VAE than that of the latents, or one for pixels.
        ImportError, FileNotFoundError: as :class:`backbone.sampling.decoder.Decoder` raises.
    """
    latents = described_latents(data)
    if config.vae is not None:
        if isinstance(data, Store) and latents is None:
            remedy = "leave out probe.vae: samples of pixels are shown as they are"
            raise ValueError(explain("a store of latents, for probe.vae", f"{data.folder}, of pixels", remedy))
        known = latents or {"scale": None, "shift": None, "vae_sha256": None}
        channels = data.shape[0]
        decoder = Decoder(
            config.vae, channels, device, scale=known["scale"], shift=known["shift"], sha256=known["vae_sha256"]
        )
        return View(decoder)
    if len(data.shape) != 3:
        return None
    return View(lambda x: x) if latents is None and data.shape[0] in (1, 3) else View(_false_colours, true=False)


def _false_colours(x: Tensor) -> Tensor:
    """Return the first three channels, or the first where there are fewer, a third as large."""
    return x[:, : 3 if x.shape[1] >= 3 else 1] / 3.0


def features_of(choice: str, view: View | None, device: torch.device) -> Callable[[Tensor], NDArray[Any]]:
    """Return a function of samples (N, C, …): the features (N, d) that ``sit evaluate --features`` names.

    Args:
        choice: as :func:`backbone.evaluate.extractor` takes it.
        view: of the samples, which makes bytes of them.
        device: where a network runs.

    Raises:
        ValueError: samples that have no true pixels, or a choice that is none.
    """
    from backbone.evaluate import extractor

    if view is None or not view.true:
        remedy = "pass probe.vae, which decodes them, or leave out probe.features"
        raise ValueError(explain(f"pixels, for probe.features {choice}", "samples that are none", remedy))
    extract, pixels = extractor(choice, str(device)), view.pixels

    def features(x: Tensor) -> NDArray[Any]:
        return np.concatenate([extract(to_bytes(pixels(part))).pool for part in torch.split(x, _BATCH)])

    return features


def page(view: View, images: Tensor, labels: Tensor) -> NDArray[np.uint8]:
    """Return some samples on one page, (H, W) or (H, W, 3), a row for each label where these are few.

    Raises:
        ImportError: Pillow is not installed.
    """
    rows = sheet_ids(labels.tolist())
    shown = to_bytes(view.pixels(torch.nan_to_num(images[[number for row in rows for number in row]])))
    blocks = np.split(shown, np.cumsum([len(row) for row in rows])[:-1])
    return np.asarray(sheet([list(block) for block in blocks]))
