"""What all processes that write one store must agree on, and the store's files other than its shards."""

from __future__ import annotations

import importlib.metadata
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from backbone.data.encode_config import EncodeConfig
from backbone.data.listing import Listing, write_listing
from backbone.data.manifest import FORMAT, LABELS, LISTING, MANIFEST, Manifest, Piece, StoreError, read_json
from backbone.data.shard import PROGRESS, Done, finished
from backbone.data.sources import find_images
from backbone.data.sums import Sums
from backbone.data.vae import Encoder
from backbone.data.verify import note_times
from backbone.files import replaced, sha256, write_text
from solvers.errors import explain

__all__ = ["agree", "assemble", "make_plan"]

PLAN = "plan.json"
# Seconds that the other machines wait for the first to list the images.
_PATIENCE = 3600.0


def make_plan(config: EncodeConfig, encoder: Encoder, device: str) -> dict[str, Any]:
    """Return everything that the bytes of a store depend on but the images, as JSON."""
    packages = ("numpy", "pillow", "torch", *(("diffusers",) if encoder.sha256 else ()))
    return {
        "format": FORMAT,
        "shape": list(encoder.shape(config.size)),
        "parts": list(encoder.parts),
        "flips": config.flips,
        "dtype": encoder.dtype,
        "scale": encoder.scale,
        "shift": encoder.shift,
        "vae": {"name": encoder.name, "sha256": encoder.sha256},
        "preprocessing": {"size": config.size, "crop": "ADM's centre crop", "colour": "RGB", "exif": "ignored"},
        "computation": {
            "device": device,
            "tf32": config.tf32 and device == "cuda",
            "batch_size": config.batch_size,
            "shard_records": config.shard_records,
            "versions": {package: importlib.metadata.version(package) for package in packages},
        },
    }


def agree(config: EncodeConfig, source: Path, plan: dict[str, Any], rank: int) -> tuple[dict[str, Any], Listing]:
    """Return the plan with the classes and the hash of the listing, made by rank 0 or found, and the listing.

    Raises:
        StoreError: what is there was begun in another way, or rank 0 does not begin.
        ValueError: the folder holds something else, or the number of classes is another.
    """
    file = config.out / PLAN
    if rank == 0 and not file.exists():
        _begin(config, source, plan)
    waited = 0.0
    while not file.exists():
        if waited >= _PATIENCE:
            remedy = "start rank 0 too, with the same --out on a disk that all machines see"
            raise StoreError(explain(f"{file}, which rank 0 writes", f"none in {_PATIENCE:.0f} s", remedy))
        time.sleep(1.0)
        waited += 1.0
    found: dict[str, Any] = read_json(file)
    # A VAE and images may have moved since.
    here = plan | {
        "vae": found["vae"] if plan["vae"]["sha256"] == found["vae"]["sha256"] else plan["vae"],
        "source": source.name,
    }
    differ = _differences("", found, here)
    if differ:
        remedy = "continue with the same options, VAE and versions, or remove the folder, or encode into another"
        raise StoreError(explain(f"the plan that {config.out} was begun with", "; ".join(differ), remedy))
    if config.classes not in (None, len(found["classes"])):
        raise ValueError(_classes(config, source, found["classes"]))
    if sha256(config.out / LISTING) != found["listing"]["sha256"]:
        remedy = "encode into another folder: the numbers of the records depend on it"
        raise StoreError(explain("the listing that the store was begun with", f"a changed {LISTING}", remedy))
    return found, Listing(config.out / LISTING)


def _differences(name: str, there: Any, here: Any) -> list[str]:
    """Return what differs between two plans, by the names of the innermost fields."""
    if isinstance(there, dict) and isinstance(here, dict):
        return [text for key, value in here.items() for text in _differences(f"{name}{key} ", there.get(key), value)]
    return [] if there == here else [f"{name}{there} there, {here} here"]


def _begin(config: EncodeConfig, source: Path, plan: dict[str, Any]) -> None:
    """List the images and write the plan."""
    out = config.out
    if out.exists() and any(not item.name.startswith((".", LISTING, PROGRESS)) for item in out.iterdir()):
        raise ValueError(explain("a new or empty folder, or a store", f"{out} with other files", "pass another --out"))
    names, entries = find_images(source)
    if config.classes not in (None, len(names)):
        raise ValueError(_classes(config, source, names))
    (out / PROGRESS).mkdir(parents=True, exist_ok=True)
    write_listing(out / LISTING, entries)
    listing = _piece(out / LISTING, len(Listing(out / LISTING)))
    whole = plan | {"source": source.name, "images": listing["records"], "classes": names, "listing": listing}
    write_text(out / PLAN, json.dumps(whole, indent=1) + "\n")


def _classes(config: EncodeConfig, source: Path, names: list[str]) -> str:
    received = f"{len(names)} in {source}, from {names[0]} to {names[-1]}"
    return explain(f"{config.classes} folders of classes", received, "complete the download, or pass --classes None")


def _piece(file: Path, records: int) -> dict[str, Any]:
    return asdict(Piece(file.name, file.stat().st_size, sha256(file), records))


def assemble(out: Path, plan: dict[str, Any], shards: int) -> Manifest | None:
    """Write the labels and the manifest from what is known of each shard, and return it; None where one is missing.

    Every process that finds all shards complete may do it: the bytes are the same.

    Raises:
        StoreError: no image could be decoded.
    """
    done: list[Done] = []
    for number in range(shards):
        part = finished(out, number)
        if part is None:
            return None
        done.append(part)
    labels = np.array([label for part in done for label in part.labels], np.int32)
    if not len(labels):
        raise StoreError(explain("at least one image that can be decoded", "none", f"see {out / PROGRESS}"))
    with replaced(out / LABELS) as draft, draft.open("wb") as stream:
        np.lib.format.write_array(stream, labels, allow_pickle=False)
    mean, std = Sums.total(part.sums for part in done).moments
    whole = plan | {
        "records": len(labels),
        "channel_mean": mean,
        "channel_std": std,
        "labels": _piece(out / LABELS, len(labels)),
        "shards": [asdict(part.piece) for part in done],
        "skipped": [list(image) for part in done for image in part.skipped],
    }
    write_text(out / MANIFEST, json.dumps(whole, indent=1) + "\n")
    manifest = Manifest.read(out)
    note_times(out, manifest)
    return manifest
