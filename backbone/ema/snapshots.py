"""Snapshots of power-function averages: a checkpoint for each, with its profile inside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbone.checkpoints import check_network, write_checkpoint
from backbone.config import SiTConfig
from backbone.ema.averages import Average
from backbone.ema.moving import whole
from backbone.ema.power import PowerEMA
from backbone.ema.profile import Profile
from backbone.layouts import CONFIG, EXTRA, CheckpointError, read_metadata, some
from backbone.model import SiT
from solvers.errors import explain

__all__ = ["Snapshot", "find_snapshots", "save_snapshot"]

#: Floating types of stored averages and their relative rounding.
ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stored average.

    Attributes:
        path: its file, an ordinary checkpoint.
        profile: exponent and number of updates.
        rounding: the largest relative rounding of its numbers.
        config: of the network.
        extra: the JSON that was saved with it.
    """

    path: Path
    profile: Profile
    rounding: float
    config: SiTConfig
    extra: dict[str, Any]


def save_snapshot(
    folder: str | os.PathLike[str],
    averages: Average[SiT] | Iterable[Average[SiT]],
    *,
    dtype: torch.dtype = torch.float32,
    extra: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the power-function averages of a training as they are now; return the files.

    A file for each average, named by the updates and the relative width, and each either whole or absent: whatever a
    killed run leaves is good for :func:`backbone.post_hoc`. Each file is a checkpoint that
    :func:`backbone.load_checkpoint` reads. Where the weights are sharded every process has to call; rank 0 writes.

    Args:
        folder: an existing folder for the snapshots of one run.
        averages: a :class:`PowerEMA`, or several in an :class:`Averages`; those of constant decay are left out.
        dtype: ``torch.float32``, or ``torch.float16``, half the size and as published: 11 bits.
        extra: JSON to keep with each, such as ``{"schedule": schedule.to_dict(), "prediction": "Velocity"}``.

    Raises:
        ValueError: no power-function average; none of the weights averaged so far; another dtype; weights that are not
            finite in ``dtype``.
        TypeError: the network is not a :class:`SiT`, or ``extra`` is not JSON.
        OSError: a file cannot be written.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in ROUNDING:
        raise ValueError(explain(f"a dtype of {', '.join(ROUNDING)}", name, "float16 where space is short"))
    several = averages if isinstance(averages, Iterable) else [averages]
    power = [average for average in several if isinstance(average, PowerEMA)]
    if not power:
        remedy = "keep PowerEMA(model, 0.05) and PowerEMA(model, 0.10): a constant decay cannot be changed afterwards"
        raise ValueError(explain("a power-function average", "none", remedy))
    return [_save(Path(folder), average, dtype, name, dict(extra or {})) for average in power]


def _save(folder: Path, average: PowerEMA[SiT], dtype: torch.dtype, name: str, extra: dict[str, Any]) -> Path:
    profile, model = average.profile, average.model
    check_network(model)
    path = folder / f"snapshot-{profile.step:09d}-{average.sigma_rel:.6g}.safetensors"
    parallel = torch.distributed.is_available() and torch.distributed.is_initialized()
    writes = not parallel or torch.distributed.get_rank() == 0
    state = {}
    for key, part in model.state_dict().items():
        full = whole(part)
        if writes:
            state[key] = full.to("cpu", dtype)
    _check_finite(path, state)
    about = {"sigma_rel": average.sigma_rel, "gamma": profile.gamma, "step": profile.step, "dtype": name}
    if writes:
        write_checkpoint(path, model.config, state, {**extra, "average": about})
    return path


def _check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    bad = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        remedy = "store float32, which holds weights beyond 65504; if they are infinite there, the training diverged"
        raise ValueError(explain("finite weights", f"{some(bad)} for {path}", remedy))


def find_snapshots(folder: str | os.PathLike[str]) -> list[Snapshot]:
    """Return the snapshots of a folder by step and width, from their headers; no weights are read.

    Args:
        folder: where :func:`backbone.save_snapshot` wrote; other files are left alone.

    Raises:
        FileNotFoundError: there is no snapshot.
        CheckpointError: a file is truncated, has no profile, or is of another network.
    """
    files = sorted(Path(folder).glob("snapshot-*.safetensors"))
    if not files:
        received = f"{Path(folder)} without snapshot-….safetensors"
        raise FileNotFoundError(explain("a folder of snapshots", received, "save_snapshot writes them"))
    found = sorted((_read(file) for file in files), key=lambda s: (s.profile.step, -s.profile.gamma))
    for snapshot in found:
        if snapshot.config != found[0].config:
            received = f"{found[0].path} and {snapshot.path}, whose configs differ"
            raise CheckpointError(explain("snapshots of one run", received, "give each run a folder"))
    return found


def _read(file: Path) -> Snapshot:
    metadata = read_metadata(file)
    try:
        extra = json.loads(metadata[EXTRA])
        about = extra["average"]
        profile = Profile(float(about["gamma"]), about["step"])
        rounding = ROUNDING[about["dtype"]]
        config = SiTConfig.from_dict(json.loads(metadata[CONFIG]))
    except (LookupError, TypeError, ValueError) as error:
        received = f"{file}, in which {error} is missing or wrong"
        raise CheckpointError(explain("a snapshot with its profile", received, "move it out of the folder")) from error
    return Snapshot(file, profile, rounding, config, extra)
