"""The manifest of a latent store: what its shards hold and how they were made, as JSON.

A network sees ``(z - shift) * scale`` of a latent z, which is drawn from the mean and standard deviation of a record,
or is its mean where no deviation is stored. Everything else in the file is for people and for the checks.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solvers.errors import explain

__all__ = ["FORMAT", "LABELS", "LISTING", "MANIFEST", "TIMES", "Manifest", "Piece", "StoreError", "read_json"]

#: Written into every manifest; another number is another format.
FORMAT = "interpolants-latents-1"
MANIFEST, LABELS, LISTING, TIMES = "manifest.json", "labels.npy", "listing.jsonl", "times.json"


class StoreError(ValueError):
    """A latent store is missing, incomplete, changed, or another than was expected."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of a store.

    Attributes:
        name: within the store.
        size: in bytes.
        sha256: of the file.
        records: how many records it holds.
    """

    name: str
    size: int
    sha256: str
    records: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the reader of a store needs to know.

    Attributes:
        records: M, how many there are.
        shape: (C, h, w) of one latent.
        parts: what a record holds of it, ``("mean", "std")`` or ``("mean",)``.
        flips: whether the flipped image is stored after each image.
        dtype: of the shards, float16 or uint8.
        scale, shift: a network sees (z − shift)·scale.
        channel_mean, channel_std: of z, over all records, (C,).
        classes: their names, by label.
        vae_name: what the images were encoded by.
        vae_sha256: hash of its encoder; None for pixels.
        shards: the shards in order.
        labels: the file of the labels.
        listing: the file of where each image came from.
        skipped: how many corrupt images were left out.
    """

    records: int
    shape: tuple[int, int, int]
    parts: tuple[str, ...]
    flips: bool
    dtype: str
    scale: float
    shift: float
    channel_mean: tuple[float, ...]
    channel_std: tuple[float, ...]
    classes: tuple[str, ...]
    vae_name: str
    vae_sha256: str | None
    shards: tuple[Piece, ...]
    labels: Piece
    listing: Piece
    skipped: int

    @property
    def record_shape(self) -> tuple[int, ...]:
        """Shape of one record in a shard, (flips, parts, C, h, w)."""
        return 1 + self.flips, len(self.parts), *self.shape

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Return the manifest of a store.

        Raises:
            StoreError: there is none, or it is no manifest of this format.
        """
        data = read_json(folder / MANIFEST)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            received = (
                f"{folder / MANIFEST} with {data.get('format') if isinstance(data, dict) else type(data).__name__}"
            )
            raise StoreError(explain(f"a manifest with format {FORMAT}", received, "write the store with sit encode"))
        try:
            found = cls._from(data)
            found._check()
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__} {error}"
            remedy = "fetch manifest.json again, or run sit encode once more: it is made anew from progress/"
            raise StoreError(explain("a whole manifest", f"{folder / MANIFEST}: {reason}", remedy)) from error
        return found

    @classmethod
    def _from(cls, data: dict[str, Any]) -> Manifest:
        channels, height, width = map(int, data["shape"])
        return cls(
            records=int(data["records"]),
            shape=(channels, height, width),
            parts=tuple(data["parts"]),
            flips=bool(data["flips"]),
            dtype=str(data["dtype"]),
            scale=float(data["scale"]),
            shift=float(data["shift"]),
            channel_mean=tuple(map(float, data["channel_mean"])),
            channel_std=tuple(map(float, data["channel_std"])),
            classes=tuple(data["classes"]),
            vae_name=str(data["vae"]["name"]),
            vae_sha256=data["vae"]["sha256"],
            shards=tuple(Piece(**piece) for piece in data["shards"]),
            labels=Piece(**data["labels"]),
            listing=Piece(**data["listing"]),
            skipped=len(data["skipped"]),
        )

    def _check(self) -> None:
        """Refuse numbers that contradict one another."""
        if self.records != sum(piece.records for piece in self.shards) or self.records != self.labels.records:
            raise ValueError("counts of records that do not agree")
        if self.parts not in (("mean", "std"), ("mean",)) or self.dtype not in ("float16", "uint8"):
            raise ValueError(f"parts {self.parts} in {self.dtype}")
        if len(self.channel_mean) != self.shape[0] or len(self.channel_std) != self.shape[0]:
            raise ValueError(f"statistics of another number of channels than {self.shape[0]}")
        if not all(map(math.isfinite, (self.scale, self.shift, *self.channel_mean, *self.channel_std))):
            raise ValueError("statistics that are not finite")
        if any(Path(piece.name).name != piece.name for piece in (*self.shards, self.labels, self.listing)):
            raise ValueError("names of files outside the store")


def read_json(file: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        StoreError: there is no such file, or it is no JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        remedy = "pass the folder that sit encode wrote, and let it finish: run it again until it says complete"
        raise StoreError(explain(f"a latent store with {file.name}", f"{file.parent} without it", remedy)) from error
    except ValueError as error:
        remedy = "run sit encode once more, or fetch the file again"
        raise StoreError(explain("JSON", f"{file}: {error}", remedy)) from error
