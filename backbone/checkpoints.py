"""Checkpoints: a network's weights and everything needed to use them, in one safetensors file.

The metadata of the file holds the :class:`SiTConfig` and any JSON the caller adds, such as ``schedule.to_dict()`` and
the name of the prediction, so a checkpoint never has to be guessed at. Files of SiT, DiT and REPA are read too
(:mod:`backbone.layouts`), their config from the shapes of the tensors (:mod:`backbone.shapes`).
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
from backbone.files import replaced
from backbone.layouts import CONFIG, EXTRA, CheckpointError, Weights, read, some
from backbone.model import SiT
from backbone.shapes import check_shapes, infer_config
from solvers.errors import explain

__all__ = ["Checkpoint", "CheckpointError", "check_network", "load_checkpoint", "save_checkpoint", "write_checkpoint"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        model: the network, in evaluation mode; its shape is ``model.config``.
        extra: the JSON that was saved with it; of a training checkpoint its command line and its steps.
        layout: what kind of file it was, in words.
        dropped: names of tensors of the file that are no part of the network, REPA's projectors.
    """

    model: SiT
    extra: dict[str, Any]
    layout: str = ""
    dropped: tuple[str, ...] = ()


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
    check_network(model)
    write_checkpoint(path, model.config, model.state_dict(), extra or {})


def check_network(model: object) -> None:
    """Refuse what is not a :class:`SiT` itself, whose config and names of tensors a checkpoint needs."""
    if not isinstance(model, SiT):
        raise TypeError(
            explain("a SiT", type(model).__name__, "unwrap it: model.module (parallel) or model._orig_mod (compiled)")
        )


def write_checkpoint(
    path: str | os.PathLike[str], config: SiTConfig, state: Mapping[str, torch.Tensor], extra: Mapping[str, Any]
) -> None:
    """Write the tensors of a network; arguments and errors are those of :func:`save_checkpoint`."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        metadata = {
            "format": "pt",
            CONFIG: json.dumps(config.to_dict()),
            EXTRA: json.dumps(dict(extra), allow_nan=False),
        }
    except TypeError as error:
        raise TypeError(
            explain("extra of plain JSON values", str(error), "convert it: schedule.to_dict(), float(x)")
        ) from error
    try:
        with replaced(Path(path)) as draft:
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, draft, metadata)
    except SafetensorError as error:
        remedy = "make the folder first, and room on the disk"
        raise OSError(explain("a file that can be written", f"{path}: {error}", remedy)) from error


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    weights: Weights | None = None,
    config: SiTConfig | None = None,
    num_heads: int | None = None,
    device: str | torch.device = "cpu",
    allow_non_finite: bool = False,
) -> Checkpoint:
    """Read a checkpoint of this package, of SiT, DiT or REPA, strictly: every tensor, by name and shape.

    What the file is shows in its first bytes: safetensors, with the config of :func:`save_checkpoint` or without; or a
    file of ``torch.save`` (``.pt``), with a state dict, plain or under ``"ema"`` and ``"model"``, whose names may begin
    with ``module.`` or ``_orig_mod.``. Such a file is a pickle; it is read as data, and one that asks to run something
    is refused. REPA's projectors, which no sampler needs, are left out and listed.

    A file without a config shows it in the shapes of its tensors, all but the number of heads.

    Args:
        path: the file.
        weights: ``"ema"`` or ``"model"`` of a training checkpoint; None takes ``"ema"`` where there is one.
        config: what the network is expected to be; needed only for options that no shape shows.
        num_heads: heads of a network without a config whose width is not a published one (384, 768, 1024, 1152).
        device: where to put the weights.
        allow_non_finite: load weights that are NaN or infinite, to examine a run that diverged.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is truncated, is of another kind, asks to run code, has no such weights, does not fit
            the config, has missing, unexpected or misshapen tensors, or has weights that are not finite; tensors are
            named.
    """
    if weights not in (None, "ema", "model"):
        raise ValueError(
            explain("weights 'ema', 'model' or None", repr(weights), "None takes 'ema' where there is one")
        )
    file = Path(path)
    contents = read(file, weights, device)
    shapes = {name: tuple(tensor.shape) for name, tensor in contents.state.items()}
    own = _config(file, contents.config)
    wanted = config or own or infer_config(file, shapes, num_heads)
    _check_agreement(file, wanted, own, num_heads)
    with torch.device("meta"):
        model = SiT(wanted)
    check_shapes(file, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}, shapes, wanted)
    _check_values(file, contents.state, allow_non_finite)
    model.load_state_dict(contents.state, strict=True, assign=True)
    return Checkpoint(model.eval(), contents.extra, contents.layout, contents.dropped)


def _config(file: Path, fields: dict[str, Any] | None) -> SiTConfig | None:
    """Return the config that the file carries, if any."""
    try:
        return None if fields is None else SiTConfig.from_dict(fields)
    except (TypeError, ValueError) as error:
        raise CheckpointError(explain("readable metadata", f"{file}: {error}", "save the checkpoint again")) from error


def _check_agreement(file: Path, wanted: SiTConfig, own: SiTConfig | None, num_heads: int | None) -> None:
    """Refuse a config or a number of heads that the file contradicts, or that contradict one another."""
    theirs, ours = (own or wanted).to_dict(), wanted.to_dict() | ({} if num_heads is None else {"num_heads": num_heads})
    differ = [f"{name}={theirs[name]!r} for {value!r}" for name, value in ours.items() if theirs[name] != value]
    if differ:
        raise CheckpointError(
            explain("the config that was given", f"{file} with {', '.join(differ)}", "leave out config= and num_heads=")
        )


def _check_values(file: Path, state: Mapping[str, torch.Tensor], allow_non_finite: bool) -> None:
    """Refuse weights that are no floating numbers or not finite."""
    odd = [f"{name} in {tensor.dtype}" for name, tensor in state.items() if not tensor.is_floating_point()]
    if odd:
        remedy = "save the weights as floating numbers: model.float().state_dict()"
        raise CheckpointError(explain("floating weights", f"{file} with {some(odd)}", remedy))
    bad = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if bad and not allow_non_finite:
        raise CheckpointError(
            explain(
                "finite weights",
                f"{file} with NaN or infinity in {some(bad)}",
                "load an earlier checkpoint, or pass allow_non_finite=True to examine this one",
            )
        )
