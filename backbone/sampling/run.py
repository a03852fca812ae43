"""From a checkpoint to files: the parts that are missing, then one file of all of them, and its manifest."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from backbone.files import replaced, sha256, sha256_of_folder
from backbone.sampling.config import SampleConfig
from backbone.sampling.environment import environment, rank_and_world
from backbone.sampling.files import write_npz, write_pngs
from backbone.sampling.manifest import read_manifest, written
from backbone.sampling.parts import Parts, differences, refuse
from backbone.sampling.pixels import sheet, sheet_ids
from backbone.sampling.sampler import Sampler
from solvers.errors import explain

__all__ = ["FILES", "write_samples"]

#: Where the samples of each format are, in the folder of the run.
FILES = {"png": "samples", "npz": "samples.npz", "latents": "latents.npz"}
MANIFEST, SHEET = "manifest.json", "grid.png"


def write_samples(
    checkpoint: Path, out: Path, config: SampleConfig, *, progress: bool = False, wait: float = 1800.0
) -> dict[str, Any] | None:
    """Sample a checkpoint to files in a folder, and return the manifest.

    The folder gets the samples, ``grid.png`` of some of them where they are images, and, last, ``manifest.json``. A run
    that was stopped goes on where it was; one that is finished is not repeated. Processes started by torchrun share the
    work, and the first of them writes the files.

    Args:
        checkpoint: a file that :func:`backbone.load_checkpoint` reads.
        out: the folder; it is made.
        config: what to sample.
        progress: show a bar on stderr.
        wait: how many seconds the first process waits for a further part of the others.

    Returns:
        the manifest; None in a process other than the first.

    Raises:
        CheckpointError, PoleError, TypeError, ValueError: before anything is sampled: what does not exist, does not fit
            together, or a folder with other samples.
        NonFiniteError: samples are not finite.
        OSError: a file cannot be written.
        TimeoutError: the other processes make no progress.
    """
    rank, world = rank_and_world()
    sampler = Sampler(checkpoint, config)
    config = sampler.config
    finished = _finished(out, sampler.plan)
    if finished is not None:
        return finished if rank == 0 else None
    parts = Parts(out, sampler.plan, config.num, config.batch_size)
    _sample(sampler, parts, rank, world, progress)
    if rank:
        return None
    parts.wait(wait, world)
    return _assembled(sampler, parts, out)


def _finished(out: Path, plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the manifest of a finished run of the same plan; refuse a folder with other samples."""
    file = out / MANIFEST
    if file.is_file():
        manifest = read_manifest(file)
        found = differences(manifest, plan)
        if found:
            refuse(out, found)
        # A stop after the manifest leaves the parts behind.
        shutil.rmtree(out / ".parts", ignore_errors=True)
        return manifest
    if out.exists() and not out.is_dir():
        raise FileExistsError(explain("a folder", f"{out}, a file", "pass another --out"))
    # Beside parts they are those of a run that stopped before its manifest, and are written again.
    foreign = [name for name in (*FILES.values(), SHEET) if (out / name).exists()]
    if foreign and not (out / ".parts").is_dir():
        received = f"{out} with {', '.join(foreign)} and no {MANIFEST}"
        raise FileExistsError(explain("a folder without samples", received, "pass another --out, or move them"))
    return None


def _sample(sampler: Sampler, parts: Parts, rank: int, world: int, progress: bool) -> None:
    """Make the missing parts of a process."""
    mine = [k for k in parts.missing() if k % world == rank]
    facts = {"environment": environment(sampler.device, sampler.config.threads)}
    with _bar(sampler, parts, mine, rank, world, progress) as bar:
        for k in mine:
            first, stop = parts.bounds(k)
            parts.save(k, sampler.draw(first, stop), facts)
            bar.update(stop - first)


class _NoBar:
    """The bar of a run that shows none."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, count: int) -> None:
        """Show nothing."""


def _bar(sampler: Sampler, parts: Parts, mine: list[int], rank: int, world: int, progress: bool) -> Any:
    """Return a bar over the samples of a process, those of finished parts counted."""
    if not progress or rank:
        return _NoBar()
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    sizes = {k: parts.bounds(k)[1] - parts.bounds(k)[0] for k in range(rank, parts.count, world)}
    done = sum(size for k, size in sizes.items() if k not in mine)
    return tqdm(total=sum(sizes.values()), initial=done, unit="sample", desc="sampling")


class _Assembly:
    """The samples of all parts as one stream, digested and looked at on the way."""

    def __init__(self, parts: Parts, wanted: set[int]) -> None:
        self.parts, self.wanted = parts, wanted
        self.digest = hashlib.sha256()
        self.kept: dict[int, NDArray[Any]] = {}
        self.facts: list[dict[str, Any]] = []

    def __iter__(self) -> Iterator[NDArray[Any]]:
        self.digest, self.facts, number = hashlib.sha256(), [], 0
        for drawn, about in self.parts.stream():
            samples = np.ascontiguousarray(drawn.samples)
            self.digest.update(samples.data)
            self.facts.append({"nfe": drawn.nfe, "rows": drawn.rows, "seconds": drawn.seconds, **about})
            self.kept |= {n: samples[n - number] for n in self.wanted if number <= n < number + len(samples)}
            number += len(samples)
            yield samples


def _assembled(sampler: Sampler, parts: Parts, out: Path) -> dict[str, Any]:
    """Write the samples, the sheet and the manifest from the parts, and remove these."""
    config, (first, _) = sampler.config, parts.load(0)
    labels = sampler.labels.of(torch.arange(config.num)).numpy()
    pictures = config.format != "latents"
    rows = sheet_ids(labels.tolist()) if pictures else []
    assembly = _Assembly(parts, {number for row in rows for number in row})
    target = out / FILES[config.format]
    shape, dtype = (config.num, *first.samples.shape[1:]), first.samples.dtype
    if config.format == "png":
        _replace_folder(target, assembly, labels, parts.folder)
        files = {target.name: sha256_of_folder(target)}
    else:
        with replaced(target, parts.folder) as draft:
            write_npz(draft, shape, dtype, assembly, labels)
        files = {target.name: sha256(target)}
    if pictures:
        with replaced(out / SHEET, parts.folder) as draft:
            pages = [[assembly.kept[number] for number in row] for row in rows]
            by_label = all(len(set(labels[row])) == 1 for row in rows)
            names = [str(labels[row[0]]) for row in rows] if by_label else None
            sheet(pages, names).save(draft, format="PNG")
        files[SHEET] = sha256(out / SHEET)
    content = {
        "shape": list(shape),
        "dtype": str(dtype),
        "samples": assembly.digest.hexdigest(),
        "labels": hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest(),
    }
    manifest = written(sampler, assembly.facts, files, content)
    with replaced(out / MANIFEST, parts.folder) as draft:
        draft.write_text(json.dumps(manifest, indent=1) + "\n")
    parts.remove()
    return manifest


def _replace_folder(target: Path, blocks: _Assembly, labels: NDArray[np.int64], beside: Path) -> None:
    """Write a folder of images that is whole or not there."""
    draft = beside / "images"
    shutil.rmtree(draft, ignore_errors=True)
    write_pngs(draft, blocks, labels)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
