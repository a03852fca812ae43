"""The samples of a manifest made again, and how far they are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbone.files import sha256
from backbone.sampling.config import SampleConfig
from backbone.sampling.files import read_npz, read_pngs
from backbone.sampling.manifest import read_manifest
from backbone.sampling.run import FILES, MANIFEST, write_samples
from solvers.errors import explain

__all__ = ["Reproduction", "reproduce"]


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What came of making samples again.

    Attributes:
        identical: whether samples and labels are the same, bit for bit.
        equal: how many samples are; None where the first ones are not there any more and the digests differ.
        num: of how many.
        largest: the largest difference of an entry, in bytes or in latents; None likewise.
        changes: what was different this time: options, versions, hardware.
        manifest: of the new samples.
        out: their folder.
    """

    identical: bool
    equal: int | None
    num: int
    largest: float | None
    changes: tuple[str, ...]
    manifest: dict[str, Any]
    out: Path

    def __str__(self) -> str:
        if self.identical:
            found = f"identical: all {self.num} samples and labels, bit for bit"
        elif self.equal is None:
            found = "not identical, and the first samples are not there to compare with"
        else:
            found = (
                f"not identical: {self.equal} of {self.num} samples are, the largest difference is {self.largest:.3g}"
            )
        return "\n".join([found, *(f"changed: {change}" for change in self.changes)])


def reproduce(
    manifest: Path,
    out: Path | None = None,
    *,
    checkpoint: Path | None = None,
    vae: Path | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Reproduction | None:
    """Make the samples of a manifest again, from nothing but it and the checkpoint, and compare them with the first.

    Args:
        manifest: the file.
        out: folder for the new samples; beside that of the manifest, with "-again" added, when absent.
        checkpoint: where the checkpoint is now, if it has moved; its digest must be that of the manifest.
        vae: where the VAE is now, likewise.
        batch_size: another size of the batches.
        device: another device.
        threads: another number of threads.
        progress: show a bar on stderr.

    Returns:
        the comparison; None in a process other than the first.

    Raises:
        FileExistsError: the new folder has samples.
        ValueError: the checkpoint is another one; what :func:`backbone.write_samples` raises.
    """
    first = read_manifest(manifest)
    old = manifest.parent
    out = old.with_name(f"{old.resolve().name}-again") if out is None else out
    if (out / MANIFEST).exists():
        raise FileExistsError(explain("a folder without samples", f"{out} with some", "pass another --out"))
    file = Path(first["checkpoint"]["path"]) if checkpoint is None else checkpoint
    if file.is_file() and sha256(file) != first["checkpoint"]["sha256"]:
        remedy = "pass --checkpoint with the file that the samples were made from"
        raise ValueError(explain("the checkpoint of the manifest", f"{file}, whose sha256 is another", remedy))
    changed = {"vae": vae, "batch_size": batch_size, "device": device, "threads": threads}
    config = SampleConfig.from_dict(first["config"] | {name: v for name, v in changed.items() if v is not None})
    second = write_samples(file, out, config, progress=progress)
    if second is None:
        return None
    identical = all(first["content"][name] == second["content"][name] for name in ("samples", "labels"))
    equal, largest = _compared(old, out, config) if not identical else (config.num, 0.0)
    return Reproduction(identical, equal, config.num, largest, tuple(_changes(first, second)), second, out)


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    """Name what was different."""
    for name, value in second["config"].items():
        if value != first["config"].get(name):
            yield f"{name} {first['config'].get(name)} → {value}"
    if len(first["environments"]) > 1:
        yield f"the first samples were made in {len(first['environments'])} environments"
    old, new = first["environments"][0], second["environments"][0]
    for name in new:
        if new[name] != old.get(name) and name != "threads":
            yield f"{name} {old.get(name)} → {new[name]}"


def _compared(old: Path, new: Path, config: SampleConfig) -> tuple[int | None, float | None]:
    """Return how many samples are equal, and the largest difference."""
    name = FILES[config.format]
    if not (old / name).exists():
        return None, None
    pairs = zip(_samples(old / name), _samples(new / name), strict=True)
    gaps = np.array([abs(a.astype(np.float64) - b).max() for a, b in pairs])
    return int((gaps == 0).sum()), float(gaps.max())


def _samples(path: Path) -> Iterator[NDArray[Any]]:
    for block in read_pngs(path) if path.is_dir() else read_npz(path):
        yield from block
