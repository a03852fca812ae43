"""A latent store written by hand, from the description of the format in docs/latents.md alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np


def file_of(path, records):
    """Return what a manifest says of a file."""
    data = path.read_bytes()
    return {"name": path.name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "records": records}


def write_store(folder: Path, data, labels, per_shard=4, **changes) -> Path:
    """Write records (M, flips, parts, C, h, w) and labels (M,) as a store; ``changes`` go into its manifest."""
    folder.mkdir(parents=True)
    count, flips, parts, channels, height, width = data.shape
    shards = []
    for number, start in enumerate(range(0, count, per_shard)):
        name = folder / f"shard-{number:05d}.npy"
        np.save(name, data[start : start + per_shard])
        shards.append(file_of(name, len(data[start : start + per_shard])))
    np.save(folder / "labels.npy", np.asarray(labels, np.int32))
    (folder / "listing.jsonl").write_text(
        "".join(f'[{label}, "{n}.jpg", "file", 0, 0, 0]\n' for n, label in enumerate(labels))
    )
    values = data.astype(np.float64)
    mean = values[:, :, 0].mean(axis=(0, 1, 3, 4))
    variance = values[:, :, 0].var(axis=(0, 1, 3, 4))
    variance = variance + (values[:, :, 1] ** 2).mean(axis=(0, 1, 3, 4)) if parts == 2 else variance
    manifest = {
        "format": "interpolants-latents-1",
        "records": count,
        "shape": [channels, height, width],
        "parts": ["mean", "std"][:parts],
        "flips": flips == 2,
        "dtype": str(data.dtype),
        "scale": 1.0,
        "shift": 0.0,
        "channel_mean": mean.tolist(),
        "channel_std": np.sqrt(variance).tolist(),
        "classes": [f"class {label}" for label in range(int(np.max(labels)) + 1)],
        "vae": {"name": "by hand", "sha256": "0" * 64},
        "shards": shards,
        "labels": file_of(folder / "labels.npy", count),
        "listing": file_of(folder / "listing.jsonl", count),
        "skipped": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    return folder


def latents(count, shape=(4, 3, 2), flips=2, seed=0, deviation=0.3):
    """Return random records of about unit variance, (count, flips, 2, *shape), float16, and labels of five classes."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(count, flips, 1, *shape))
    std = rng.uniform(0.5 * deviation, deviation, size=mean.shape)
    return np.concatenate([mean, std], axis=2).astype(np.float16), np.arange(count) % 5
