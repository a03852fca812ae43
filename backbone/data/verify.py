"""Every byte and every number of a latent store compared with its manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbone.data.manifest import LISTING, TIMES, Manifest, Piece, StoreError
from backbone.data.store import map_array
from backbone.data.sums import Sums
from backbone.data.variance import check_variance
from backbone.files import sha256, write_text

__all__ = ["note_times", "verify_store"]


def verify_store(
    folder: str | Path, *, vae_sha256: str | None = None, progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Return what is wrong with a store, a sentence for each file or fact; nothing where it is whole.

    Compares the size and hash of every file, the arrays' shapes, counts and labels, that all numbers are finite and all
    deviations positive, the statistics of the channels with the manifest's, and their variance with one. If nothing is
    wrong, the times of the files are noted, so that opening the store no longer warns of a copy.

    Args:
        folder: the store.
        vae_sha256: hash of the encoder that the latents must be of; None takes what is there.
        progress: called with the number of shards that were read and of all.

    Raises:
        StoreError: there is no manifest, or it is damaged.
    """
    root = Path(folder)
    manifest = Manifest.read(root)
    problems, sums = [], []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        # Hashing and arithmetic on arrays let other threads run.
        for number, (problem, part) in enumerate(pool.map(partial(_shard, root, manifest), manifest.shards)):
            problems += problem
            sums += part
            if progress is not None:
                progress(number + 1, len(manifest.shards))
    problems += _labels(root, manifest) + _file(root / LISTING, manifest.listing)
    if vae_sha256 is not None and vae_sha256 != manifest.vae_sha256:
        problems.append(f"the latents are of {manifest.vae_name}, hash {manifest.vae_sha256}, not {vae_sha256}")
    if not problems:
        problems += _statistics(root, manifest, Sums.total(sums))
    if not problems:
        note_times(root, manifest)
    return problems


def note_times(folder: Path, manifest: Manifest) -> None:
    """Note when the files were last changed, as they are now known to be whole."""
    pieces = (manifest.labels, *manifest.shards)
    times = {piece.name: (folder / piece.name).stat().st_mtime_ns for piece in pieces}
    if os.access(folder, os.W_OK):
        write_text(folder / TIMES, json.dumps(times, indent=0) + "\n")


def _file(file: Path, piece: Piece) -> list[str]:
    """Return what is wrong with the bytes of a file."""
    if not file.exists():
        return [f"{file.name} is missing"]
    if file.stat().st_size != piece.size:
        return [f"{file.name} has {file.stat().st_size} bytes, not {piece.size}"]
    if sha256(file) != piece.sha256:
        return [f"{file.name} was changed: its hash is another than the manifest's"]
    return []


def _array(folder: Path, piece: Piece, shape: tuple[int, ...], dtype: str) -> tuple[list[str], NDArray[Any] | None]:
    """Return what is wrong with an array's file, and the array where nothing is."""
    problems = _file(folder / piece.name, piece)
    if problems:
        return problems, None
    try:
        return [], map_array(folder, piece, shape, dtype)
    except StoreError as error:
        return [f"{piece.name} is no such array: {error}"], None


def _shard(folder: Path, manifest: Manifest, piece: Piece) -> tuple[list[str], list[Sums]]:
    """Return what is wrong with a shard, and its sums where nothing is."""
    problems, data = _array(folder, piece, (piece.records, *manifest.record_shape), manifest.dtype)
    if data is None:
        return problems, []
    sums = []
    # In parts, so that memory does not grow with the shard.
    for start in range(0, len(data), 256):
        part = data[start : start + 256]
        bad = ~np.isfinite(part).all(axis=tuple(range(1, part.ndim)))
        if bad.any():
            return [f"{piece.name} has NaN or infinity in record {start + int(bad.argmax())} of it"], []
        if part.shape[2] == 2 and float(part[:, :, 1].min()) < 0:
            return [f"{piece.name} has negative deviations"], []
        sums.append(Sums.of(part))
    return [], sums


def _labels(folder: Path, manifest: Manifest) -> list[str]:
    problems, labels = _array(folder, manifest.labels, (manifest.records,), "int32")
    if labels is not None and len(labels) and not 0 <= labels.min() <= labels.max() < len(manifest.classes):
        return [f"{manifest.labels.name} has labels outside 0 … {len(manifest.classes) - 1}"]
    return problems


def _statistics(folder: Path, manifest: Manifest, sums: Sums) -> list[str]:
    """Return what is wrong with the statistics of the channels, and with their variance."""
    mean, std = sums.moments
    # Sums in another order differ by rounding alone.
    if not np.allclose(mean + std, manifest.channel_mean + manifest.channel_std, rtol=1e-9, atol=1e-12):
        return [f"channel_mean and channel_std of the manifest are not those of the shards, {mean} and {std}"]
    if len(manifest.parts) == 2:
        # The record of the channels' moments stands for all records.
        whole = np.zeros((1, 2, len(mean), 1, 1))
        whole[0, 1] = np.reshape(std, (-1, 1, 1))
        try:
            check_variance(folder, manifest, whole, "scale")
        except StoreError as error:
            return [str(error)]
    return []
