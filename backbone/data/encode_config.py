"""How images become a latent store, as data: checked when made, free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backbone.checks import check_choice, check_count, check_flag

__all__ = ["EncodeConfig"]


@dataclass(frozen=True, slots=True)
class EncodeConfig:
    """Which images are encoded by which VAE, and how the work is divided.

    The bytes of a store depend on the images, the VAE, ``size``, ``flips``, ``shard_records``, ``batch_size``, ``tf32``
    and the kind of device; not on the number of processes, machines or threads.

    Args:
        out: folder of the store; what is complete there is kept.
        images: a folder of class folders, a zip or tar of one, or ImageNet's tar of tars.
        vae: a folder that diffusers wrote, an id of the hub such as stabilityai/sd-vae-ft-ema, or identity for pixels.
        size: side of the square that is cropped from each image, pixels.
        flips: also encode the mirror image of each.
        classes: how many class folders there must be; None takes what is there.
        corrupt: fail at the first image that cannot be decoded, or skip and list such images.
        shard_records: images of a shard, the unit of work that is lost if a process is killed.
        batch_size: images that the VAE encodes at a time.
        workers: processes on this machine, each with a VAE of its own; on CUDA they share out the devices.
        decoders: threads of each process that read and decode images while the VAE computes.
        device: cpu or cuda; None is cuda where there is one.
        tf32: let a CUDA device round products to ten bits, as SiT's code does.

    Raises:
        ValueError: a field is out of range.
    """

    out: Path
    images: Path | None = None
    vae: str | None = None
    size: int = 256
    flips: bool = True
    classes: int | None = None
    corrupt: Literal["fail", "skip"] = "fail"
    shard_records: int = 4096
    batch_size: int = 32
    workers: int = 1
    decoders: int = 4
    device: str | None = None
    tf32: bool = True

    def __post_init__(self) -> None:
        for name in ("size", "shard_records", "batch_size", "workers", "decoders"):
            check_count(name, getattr(self, name))
        if self.classes is not None:
            check_count("classes", self.classes)
        for name in ("flips", "tf32"):
            check_flag(name, getattr(self, name))
        check_choice("corrupt", self.corrupt, ("fail", "skip"))
