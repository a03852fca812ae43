"""Checkpoints: a network's weights and everything needed to use them, in one safetensors file.

The metadata of the file holds the :class:`SiTConfig` and any JSON the caller adds, such as ``schedule.to_dict()`` and
the name of the prediction, so a checkpoint never has to be guessed at. No pickle is read or written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from backbone.config import SiTConfig
from backbone.model import SiT
from solvers.errors import explain

__all__ = ["Checkpoint", "CheckpointError", "load_checkpoint", "save_checkpoint"]

_CONFIG, _EXTRA = "sit_config", "extra"


class CheckpointError(ValueError):
    """A file that is not a complete checkpoint of this package; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        model: the network, in evaluation mode; its shape is ``model.config``.
        extra: the JSON that was saved with it.
    """

    model: SiT
    extra: dict[str, Any]


def save_checkpoint(path: str | os.PathLike[str], model: SiT, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write a network and its config; the file is either the old one or the whole new one, even if the machine stops.

    Args:
        path: the file, usually ``….safetensors``; its folder must exist.
        model: the network, such as ``result.averaged``.
        extra: JSON to keep with it.

    Raises:
        TypeError: ``model`` is not a :class:`SiT` (unwrap compiled or parallel models), or ``extra`` is not JSON.
        ValueError: ``extra`` holds NaN or infinity, which JSON lacks.
        OSError: the file cannot be written.
    """
    from safetensors.torch import save_file

    if not isinstance(model, SiT):
        raise TypeError(
            explain("a SiT", type(model).__name__, "unwrap it: model.module (parallel) or model._orig_mod (compiled)")
        )
    try:
        metadata = {
            "format": "pt",
            _CONFIG: json.dumps(model.config.to_dict()),
            _EXTRA: json.dumps(dict(extra or {}), allow_nan=False),
        }
    except TypeError as error:
        raise TypeError(
            explain("extra of plain JSON values", str(error), "convert it: schedule.to_dict(), float(x)")
        ) from error
    target = Path(path)
    # Written next to the target, because a rename is atomic only within one file system.
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, draft, metadata)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(target.parent)


def load_checkpoint(
    path: str | os.PathLike[str], *, device: str | torch.device = "cpu", allow_non_finite: bool = False
) -> Checkpoint:
    """Read a checkpoint written by :func:`save_checkpoint`, strictly: every tensor, by name and shape.

    Args:
        path: the file.
        device: where to put the weights.
        allow_non_finite: load weights that are NaN or infinite, to examine a run that diverged.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is truncated, is not safetensors, has no config, has missing, unexpected or misshapen
            tensors, or has weights that are not finite; tensors are named.
    """
    from safetensors.torch import load_file

    file = Path(path)
    metadata = _metadata(file)
    if _CONFIG not in metadata:
        raise CheckpointError(
            explain(
                f"metadata {_CONFIG!r} with the shape of the network",
                f"{file} with metadata {sorted(metadata)}",
                "write it with save_checkpoint; for weights from elsewhere build SiT(SiTConfig(…)), "
                "call load_state_dict and save it",
            )
        )
    try:
        config, extra = SiTConfig.from_dict(json.loads(metadata[_CONFIG])), json.loads(metadata.get(_EXTRA, "{}"))
    except (TypeError, ValueError) as error:
        raise CheckpointError(explain("readable metadata", f"{file}: {error}", "save the checkpoint again")) from error
    with torch.device("meta"):
        model = SiT(config)
    state = load_file(file, device=str(device))
    _check_tensors(file, model, state)
    if not allow_non_finite:
        bad = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
        if bad:
            raise CheckpointError(
                explain(
                    "finite weights",
                    f"{file} with NaN or infinity in {_some(bad)}",
                    "load an earlier checkpoint, or pass allow_non_finite=True to examine this one",
                )
            )
    model.load_state_dict(state, strict=True, assign=True)
    return Checkpoint(model.eval(), extra)


def _metadata(file: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file after checking that the file is whole.

    The header is read here and not by safetensors, whose errors name neither the file nor what happened to it. Layout:
    8 bytes of length, a JSON header of that length, then the tensors.
    """
    if not file.is_file():
        raise FileNotFoundError(explain("a checkpoint file", f"{file}, which is no file", "check the path"))
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(9)
        if len(start) == 9 and start[8:] != b"{":
            raise CheckpointError(
                explain(
                    "a safetensors file",
                    f"{file}, which begins with {start[:4]!r}",
                    "a .pt or .ckpt file is a pickle: read it with torch.load(weights_only=True), call "
                    "SiT.load_state_dict and save_checkpoint",
                )
            )
        length = int.from_bytes(start[:8], "little")
        if len(start) < 9 or 8 + length > size:
            raise _truncated(file, f"at least {8 + length if len(start) >= 8 else 9}", size)
        stream.seek(8)
        text = stream.read(length)
    try:
        header = json.loads(text)
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        metadata: dict[str, str] = header.get("__metadata__") or {}
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise CheckpointError(
            explain("a safetensors header", f"{file}, whose header cannot be read ({error})", "write the file again")
        ) from error
    if 8 + length + end != size:
        raise _truncated(file, str(8 + length + end), size)
    return metadata


def _truncated(file: Path, wanted: str, size: int) -> CheckpointError:
    return CheckpointError(
        explain(f"a whole file of {wanted} bytes", f"{file} of {size} bytes", "copy or download the file again")
    )


def _check_tensors(file: Path, model: SiT, state: Mapping[str, torch.Tensor]) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    faults = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "misshapen": [
            f"{name} {found[name]} for {shape}" for name, shape in wanted.items() if found.get(name, shape) != shape
        ],
    }
    if any(faults.values()):
        raise CheckpointError(
            explain(
                "the tensors of the config in the file",
                f"{file} with " + "; ".join(f"{kind} {_some(names)}" for kind, names in faults.items() if names),
                "the weights belong to another config: save them again with the model they come from",
            )
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; Windows cannot open a folder and does not need it."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
