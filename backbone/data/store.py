r"""A latent store: records of one size in memory-mapped shards, and the data that a training reads from it.

A record holds the mean m and the standard deviation s of the posterior of an image and of its mirror image. A sample is

.. math:: x = \bigl(m + s\,ε - \text{shift}\bigr)\cdot\text{gain}, \qquad ε \sim N(0, I),

of one of the two, where ε and the choice are functions of the seed and the sample's number (:mod:`backbone.draws`). So
batches depend on nothing else: not on the number of processes, of workers, or on what was read before.
"""

from __future__ import annotations

import sys
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbone.checks import check_choice
from backbone.data.manifest import LABELS, MANIFEST, TIMES, Manifest, Piece, StoreError, read_json
from backbone.data.variance import check_variance
from backbone.draws import Draws
from backbone.files import sha256
from solvers.errors import explain

__all__ = ["Store", "map_array"]

# Records whose variance is looked at when a store is opened.
_SAMPLE = 64


class Store:
    """The records of a folder that ``sit encode`` wrote; a shard is opened when a record of it is first read.

    Opening reads the manifest and the labels, compares sizes and times of all files, and looks at the variance of 64
    records; :func:`backbone.verify_store` reads everything.

    Args:
        folder: the store.
        normalise: ``"scale"``, the VAE's one scale and shift, as SiT; or ``"channels"``, each channel by its stored
            mean and standard deviation.
        num_classes: how many labels the network knows, to be compared; None takes what is there.
        vae_sha256: hash of the encoder that the latents must be of; None takes what is there.

    Raises:
        StoreError: the store is missing or incomplete, a file changed its size, the classes or the VAE are others, or
            latents do not have about unit variance.
        ValueError: ``normalise`` is another word.

    Warns:
        UserWarning: a file is newer or older than when its hash was last compared.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        normalise: Literal["scale", "channels"] = "scale",
        num_classes: int | None = None,
        vae_sha256: str | None = None,
    ) -> None:
        check_choice("normalise", normalise, ("scale", "channels"))
        self.folder = Path(folder)
        self.manifest = manifest = Manifest.read(self.folder)
        _check_agreement(self.folder, manifest, num_classes, vae_sha256)
        _check_files(self.folder, manifest)
        self.shift, self.gain = _affine(manifest, normalise)
        counts = np.array([piece.records for piece in manifest.shards])
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        self._maps: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._most_maps = _most_maps()
        self._labels = self._read_labels()
        # Unit variance is what training assumes; of pixels nobody does.
        if len(manifest.parts) == 2:
            places = np.linspace(0, manifest.records - 1, min(_SAMPLE, manifest.records)).astype(np.int64)
            check_variance(self.folder, manifest, self.read(places, np.zeros(len(places), np.bool_)), normalise)

    @property
    def count(self) -> int:
        """How many records there are."""
        return self.manifest.records

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one latent, (C, h, w)."""
        return self.manifest.shape

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.manifest.classes)

    @property
    def sha256(self) -> str:
        """Hash of the manifest, which holds the hashes of all files, so that equal hashes are equal stores."""
        return sha256(self.folder / MANIFEST)

    def batch(self, records: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return samples (N, C, h, w), float32, and labels (N,), int64, on the device of ``draws``.

        Args:
            records: (N,), int64, on the host.
            draws: the random numbers of the samples that these records are.

        Raises:
            ValueError: a record that is not there, or another number of records than of draws.
            StoreError: a shard was damaged after it was opened.
        """
        places = records.numpy()
        if len(places) != len(draws.ids):
            remedy = "make both from the same numbers of samples"
            raise ValueError(explain("a draw for each record", f"{len(places)} and {len(draws.ids)}", remedy))
        flip = np.zeros(len(places), np.bool_)
        if self.manifest.flips:
            # On the host, where the records are: a device would be waited for.
            flip = Draws(draws.seed, torch.from_numpy(draws.ids)).below("flip", 0.5).numpy()
        stored = torch.from_numpy(self.read(places, flip)).to(draws.device)
        latents = stored[:, 0].float()
        if len(self.manifest.parts) == 2:
            latents = torch.addcmul(latents, stored[:, 1].float(), draws.normal("posterior", self.shape))
        x_data = (latents - self.shift.to(draws.device)) * self.gain.to(draws.device)
        return x_data, torch.from_numpy(self._labels[places].astype(np.int64)).to(draws.device)

    def read(self, records: NDArray[np.int64], flip: NDArray[np.bool_]) -> NDArray[Any]:
        """Return what is stored, (N, parts, C, h, w), each record copied once, from the mapped file to its place.

        Args:
            records: (N,).
            flip: whether the mirror image is wanted, (N,).

        Raises:
            ValueError: a record is not there.
        """
        if len(records) and not 0 <= int(records.min()) <= int(records.max()) < self.count:
            received = f"{records.min()} to {records.max()}"
            raise ValueError(
                explain(f"records from 0 to {self.count - 1}", received, "take them from Order(store.count, seed)")
            )
        shards = np.searchsorted(self._ends, records, side="right")
        rows = records - self._starts[shards]
        out = np.empty((len(records), *self.manifest.record_shape[1:]), self.manifest.dtype)
        # One copy of each record. Gathers by shard would add a second, to undo the sorting, and in random order a shard
        # has one or two records of a batch: they were measured to be no faster, and up to four times slower.
        for place, (shard, row, flipped) in enumerate(zip(shards.tolist(), rows.tolist(), flip.tolist())):
            out[place] = self._shard(shard)[row, int(flipped)]
        return out

    def labels(self, records: Tensor) -> Tensor:
        """Return the labels (N,), int64, of some records."""
        return torch.from_numpy(self._labels[records.numpy()].astype(np.int64))

    def latents(self, x_data: Tensor) -> Tensor:
        """Return what a VAE decodes, z = x/gain + shift, of data or samples (N, C, h, w)."""
        return x_data / self.gain.to(x_data.device) + self.shift.to(x_data.device)

    def _shard(self, number: int) -> NDArray[Any]:
        """Return a shard; the least recently opened are closed where a process may not hold so many files."""
        found = self._maps.get(number)
        if found is None:
            if len(self._maps) >= self._most_maps:
                self._maps.popitem(last=False)
            piece = self.manifest.shards[number]
            found = self._maps[number] = map_array(
                self.folder, piece, (piece.records, *self.manifest.record_shape), self.manifest.dtype
            )
        return found

    def _read_labels(self) -> NDArray[np.int32]:
        labels = map_array(self.folder, self.manifest.labels, (self.count,), "int32")
        if self.count and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            received = f"{self.folder / LABELS} with labels from {labels.min()} to {labels.max()}"
            remedy = "find what changed with sit encode --verify"
            raise StoreError(explain(f"labels from 0 to {self.num_classes - 1}", received, remedy))
        return labels

    def __getstate__(self) -> dict[str, Any]:
        # A mapped array would be pickled with its contents; another process maps the file itself.
        return self.__dict__ | {"_maps": OrderedDict(), "_labels": np.array(self._labels)}


def map_array(folder: Path, piece: Piece, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Return an array of a store, mapped into memory and not to be written to.

    Raises:
        StoreError: the file is missing, or its header says something else than the manifest.
    """
    file = folder / piece.name
    remedy = "find what changed with sit encode --verify, remove that shard, and run sit encode again"
    try:
        mapped = np.load(file, mmap_mode="r", allow_pickle=False) if piece.records else np.empty(shape, dtype)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(explain(f"an array of {shape}, {dtype}", f"{file}: {error}", remedy)) from error
    if mapped.shape != shape or mapped.dtype != dtype:
        raise StoreError(explain(f"an array of {shape}, {dtype}", f"{file}: {mapped.shape}, {mapped.dtype}", remedy))
    # A plain view: numpy's own class of mapped arrays takes microseconds for each index.
    return np.asarray(mapped)


def _affine(manifest: Manifest, normalise: str) -> tuple[Tensor, Tensor]:
    """Return the shift and the gain of each channel, (C, 1, 1)."""
    channels = manifest.shape[0]
    if normalise == "scale":
        shift, gain = torch.full((channels,), manifest.shift), torch.full((channels,), manifest.scale)
    else:
        shift = torch.tensor(manifest.channel_mean)
        gain = 1.0 / torch.tensor(manifest.channel_std)
    return shift.view(-1, 1, 1), gain.view(-1, 1, 1)


def _check_agreement(folder: Path, manifest: Manifest, num_classes: int | None, vae_sha256: str | None) -> None:
    """Refuse a store of other classes or of another VAE than were asked for."""
    if num_classes is not None and num_classes != len(manifest.classes):
        received = f"{folder} with {len(manifest.classes)}, from {manifest.classes[0]} to {manifest.classes[-1]}"
        remedy = f"build the network with num_classes={len(manifest.classes)}, or encode the right images"
        raise StoreError(explain(f"{num_classes} classes", received, remedy))
    if vae_sha256 is not None and vae_sha256 != manifest.vae_sha256:
        received = f"{folder} of {manifest.vae_name} with hash {manifest.vae_sha256}"
        remedy = "use the VAE that the store was made by, or encode anew: latents of two VAEs have nothing in common"
        raise StoreError(explain(f"latents of the VAE with hash {vae_sha256}", received, remedy))


def _check_files(folder: Path, manifest: Manifest) -> None:
    """Refuse files that are missing or of another size; warn of times that are not those of the last verification."""
    times = read_json(folder / TIMES) if (folder / TIMES).exists() else {}
    newer = []
    for piece in (manifest.labels, *manifest.shards):
        file = folder / piece.name
        try:
            status = file.stat()
        except FileNotFoundError as error:
            remedy = "fetch it again, or run sit encode once more: it encodes what is missing"
            raise StoreError(
                explain(f"{len(manifest.shards)} shards", f"{file}, which does not exist", remedy)
            ) from error
        if status.st_size != piece.size:
            remedy = "remove it and run sit encode once more, or fetch it again"
            raise StoreError(explain(f"{piece.size} bytes", f"{file} with {status.st_size}", remedy))
        if times.get(piece.name, status.st_mtime_ns) != status.st_mtime_ns:
            newer.append(piece.name)
    if newer:
        received = f"{folder / newer[0]} and {len(newer) - 1} others with another time"
        remedy = "run sit encode --verify once, as after a copy; it compares the hashes and notes the times"
        warnings.warn(explain("files as they were when last verified", received, remedy), stacklevel=3)


def _most_maps() -> int:
    """Return how many files may be mapped at a time: each keeps a descriptor open, and a training needs others."""
    if sys.platform == "win32":
        return 512
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else max(16, soft // 2)
