"""A latent store from images: every shard that is not complete, in one process or in several, on one machine or many.

Shard k is encoded on machine k mod n. A shard is written whole or not at all, so a call after any end of the last one,
a full disk or a loss of power too, does what is missing and nothing twice.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backbone.data.encode_config import EncodeConfig
from backbone.data.listing import Listing
from backbone.data.manifest import Manifest
from backbone.data.plan import agree, assemble, make_plan
from backbone.data.shard import finished
from backbone.data.vae import load_encoder
from backbone.data.workers import encode_here, encode_in_workers, share_device
from solvers.errors import explain

__all__ = ["Encoded", "Progress", "encode"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far this call is.

    Attributes:
        done: images since it began.
        total: images that it has to do.
        seconds: since it began.
    """

    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def remaining(self) -> float:
        """Seconds that the rest will take at this rate; infinite before the first image."""
        return (self.total - self.done) / self.rate if self.rate else float("inf")


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a call left.

    Attributes:
        images: that this call encoded or skipped.
        seconds: that it took.
        manifest: of the store; None while other machines have not finished.
    """

    images: int
    seconds: float
    manifest: Manifest | None


def encode(config: EncodeConfig, progress: Callable[[Progress], None] | None = None) -> Encoded:
    """Encode the images that are not in the store yet, and complete it when nothing is missing.

    On several machines start it on each with the environment variables ``RANK`` and ``WORLD_SIZE``, as torchrun sets
    them, and with ``out`` on a disk that all see. With ``workers`` above one, a script needs
    ``if __name__ == "__main__":`` around its call.

    Args:
        config: what to do.
        progress: called after each batch, or each second with several workers.

    Raises:
        ValueError: no images or no VAE are given, the images are not in class folders or of another number of classes,
            or one is corrupt; it is named.
        StoreError: the folder was begun with other options, another VAE or other versions.
        OSError: the disk is full, or an image cannot be read.
        ImportError: Pillow or diffusers is missing.
    """
    source, vae = _required(config)
    rank, world = _place()
    device = torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    encoder = load_encoder(vae)
    plan, listing = agree(config, source, make_plan(config, encoder, device.type), rank)
    shards = -(-len(listing) // config.shard_records)
    missing = [number for number in range(shards) if finished(config.out, number) is None]
    _check_room(config, plan, sum(_images(config, listing, number) for number in missing))
    todo = [number for number in missing if number % world == rank]
    began, total, done = time.perf_counter(), sum(_images(config, listing, number) for number in todo), 0

    def tick(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(Progress(done, total, time.perf_counter() - began))

    if config.workers > 1 and len(todo) > 1:
        encode_in_workers(config, source, vae, device, todo, tick)
    elif todo:
        encode_here(config, source, encoder, share_device(device), listing, todo, tick)
    return Encoded(done, time.perf_counter() - began, assemble(config.out, plan, shards))


def _required(config: EncodeConfig) -> tuple[Path, str]:
    """Return the source and the VAE, resolved; refuse a config without them or a machine without Pillow."""
    if config.images is None or config.vae is None:
        remedy = "pass --images FOLDER and --vae stabilityai/sd-vae-ft-ema, or identity for pixels"
        raise ValueError(explain("images and a VAE", f"images {config.images}, vae {config.vae}", remedy))
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        remedy = "pip install 'interpolants[imagenet]'"
        raise ImportError(explain("Pillow, to decode images", str(error), remedy)) from error
    return config.images.resolve(), config.vae


def _place() -> tuple[int, int]:
    """Return the rank and the number of machines."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if not 0 <= rank < world:
        remedy = "set RANK to 0 … WORLD_SIZE - 1, or unset both"
        raise ValueError(explain("RANK below WORLD_SIZE", f"RANK={rank}, WORLD_SIZE={world}", remedy))
    return rank, world


def _images(config: EncodeConfig, listing: Listing, number: int) -> int:
    """Return how many images of the listing a shard takes."""
    return min(config.shard_records, len(listing) - number * config.shard_records)


def _check_room(config: EncodeConfig, plan: dict[str, Any], images: int) -> None:
    """Refuse a disk that is too small before an hour is spent on it."""
    numbers = (1 + config.flips) * len(plan["parts"]) * math.prod(plan["shape"])
    needed, free = images * numbers * np.dtype(plan["dtype"]).itemsize, shutil.disk_usage(config.out).free
    if free < needed:
        received = f"{free / 2**30:.4g} GiB at {config.out}"
        remedy = "use another disk, --no-flips for half of it, or a smaller --size"
        raise OSError(explain(f"{needed / 2**30:.4g} GiB of room", received, remedy))
