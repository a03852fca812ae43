"""What is inside a file of weights: safetensors, and the ``.pt`` layouts of SiT, DiT and REPA.

A ``.pt`` file is a pickle, a program that builds its content. It is read with torch's ``weights_only`` reader, which
builds tensors, numbers, strings and collections, and here one class more: ``argparse.Namespace``, in which published
files keep their command line, and which only holds attributes. Anything else is refused before it is called.
"""

from __future__ import annotations

import argparse
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from solvers.errors import explain

__all__ = ["CONFIG", "EXTRA", "CheckpointError", "Contents", "Weights", "read", "read_metadata", "some", "tensors"]

Weights: TypeAlias = Literal["ema", "model"]
CONFIG, EXTRA = "sit_config", "extra"


class CheckpointError(ValueError):
    """A file that is not a complete checkpoint of a SiT; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds.

    Attributes:
        state: the tensors by their published names.
        layout: the kind of file, in words.
        dropped: names of tensors that belong to the training and not to the network.
        extra: JSON that was found beside the tensors.
        config: the fields of the config, where the file has one.
    """

    state: dict[str, Tensor]
    layout: str
    dropped: tuple[str, ...]
    extra: dict[str, Any]
    config: dict[str, Any] | None


def read(file: Path, weights: Weights | None, device: str | torch.device) -> Contents:
    """Read a file of any layout; which it is shows in its first bytes, whatever its name.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: truncated, of another kind, or asking to run something.
    """
    if not file.is_file():
        raise FileNotFoundError(explain("a checkpoint file", f"{file}, which is no file", "check the path"))
    with file.open("rb") as stream:
        start = stream.read(9)
    # The first byte of a safetensors file is the lowest of a length below 2³², and may be that of a pickle.
    safetensors = start[4:] == b"\0\0\0\0{"
    if start.startswith((b"PK\x03\x04", b"\x80")) and not safetensors:
        return _from_pickle(file, weights, device)
    if len(start) == 9 and start[8:] != b"{":
        remedy = (
            "give a .safetensors or a .pt file; text here is often an error page or a Git LFS pointer: download again"
        )
        raise CheckpointError(
            explain("a safetensors file or one of torch.save", f"{file}, which begins with {start!r}", remedy)
        )
    return _from_safetensors(file, weights, device)


def tensors(file: Path) -> Mapping[str, Tensor]:
    """Return the tensors of a plain state dict of torch.save, whatever network they are of.

    Raises:
        CheckpointError: damaged, of another kind, or asking to run something.
    """
    data = _mapping(file)
    _check_dense(file, data)
    return data


def _from_safetensors(file: Path, weights: Weights | None, device: str | torch.device) -> Contents:
    from safetensors.torch import load_file

    metadata = read_metadata(file)
    if weights is not None:
        raise _only_one_set(file, weights)
    try:
        config = json.loads(metadata[CONFIG]) if CONFIG in metadata else None
        extra = json.loads(metadata.get(EXTRA, "{}")) if config is not None else {}
    except ValueError as error:
        raise CheckpointError(explain("readable metadata", f"{file}: {error}", "save the checkpoint again")) from error
    state = load_file(file, device=str(device))
    if config is not None:
        return Contents(state, "safetensors with its config", (), extra, config)
    state, dropped = _published(file, state)
    return Contents(state, "safetensors without a config", dropped, {}, None)


def read_metadata(file: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file after checking that the file is whole.

    The header is read here and not by safetensors, whose errors name neither the file nor what happened to it. Layout:
    8 bytes of length, a JSON header of that length, then the tensors.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(9)
        length = int.from_bytes(start[:8], "little")
        if len(start) < 9 or 8 + length > size:
            raise _truncated(file, f"at least {8 + length if len(start) >= 8 else 9}")
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
        raise _truncated(file, str(8 + length + end))
    return metadata


def _from_pickle(file: Path, weights: Weights | None, device: str | torch.device) -> Contents:
    data = _mapping(file)
    sets = [name for name in ("ema", "model") if isinstance(data.get(name), Mapping)]
    if not sets:
        if weights is not None:
            raise _only_one_set(file, weights)
        found, layout, extra = data, "state dict of torch.save", {}
    else:
        chosen = weights or sets[0]
        if chosen not in sets:
            raise CheckpointError(explain(f"weights {chosen!r}", f"{file} with {some(sets)}", f"weights={sets[0]!r}"))
        found, layout, extra = data[chosen], f"training checkpoint of torch.save, weights {chosen!r}", _extra(data)
    _check_dense(file, found)
    # The copy leaves the file, which may be mapped into memory and may change, and what else is in it: the optimiser.
    state, dropped = _published(file, found)
    return Contents({k: v.detach().to(device, copy=True) for k, v in state.items()}, layout, dropped, extra, None)


def _mapping(file: Path) -> Mapping[Any, Any]:
    data = _unpickled(file)
    if not isinstance(data, Mapping):
        remedy = "save model.state_dict(), not the model"
        raise CheckpointError(explain("a dict of tensors", f"{file} with a {type(data).__name__}", remedy))
    return data


def _unpickled(file: Path) -> Any:
    zipped = zipfile.is_zipfile(file)
    with file.open("rb") as stream:
        if not zipped and stream.read(2) == b"PK":  # the index of a zip is at its end
            raise _truncated(file, "more, up to the index at the end,")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except EOFError as error:
        raise _truncated(file, "more") from error
    except Exception as error:  # whatever a damaged or hostile program may raise
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked:
            raise CheckpointError(
                explain(
                    "a file of tensors, numbers and strings",
                    f"{file}, which asks for {asked[1]}; it was refused and nothing of it was run",
                    "get the weights as safetensors, or from whoever made the file as torch.save(model.state_dict())",
                )
            ) from None
        reason = str(error).partition("\n")[0][:200]
        remedy = "copy or download the file again; load a .npz or a TorchScript file with what wrote it"
        raise CheckpointError(
            explain(
                "a file of torch.save", f"{file}, which torch.load(weights_only=True) cannot read ({reason})", remedy
            )
        ) from error


def _check_dense(file: Path, state: Mapping[Any, Any]) -> None:
    """Refuse what is not a name and an ordinary tensor whose numbers are in the file."""
    size = file.stat().st_size
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            what = f"{file} with {name!r} of type {type(value).__name__} among {some([str(key) for key in state])}"
            remedy = "a state dict, plain or under 'ema' or 'model', is read; save that part of the file"
            raise CheckpointError(explain("tensors by name", what, remedy))
        whole = value.layout == torch.strided and not value.is_meta
        if not whole or value.numel() * value.element_size() > size:
            what = f"{file} of {size} bytes with {name} {tuple(value.shape)}, {value.dtype}, {value.layout}"
            raise CheckpointError(explain("dense tensors that the file holds", what, "save them again, dense"))


def _published(file: Path, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors without what wrappers put before their names, and the names of REPA's projectors, left out."""
    kept: dict[str, Tensor] = {}
    dropped = []
    for name, tensor in state.items():
        parts = [part for part in name.split(".") if part != "_orig_mod"]
        plain = ".".join(parts[1:] if parts[0] == "module" else parts)
        if plain.startswith("projectors."):
            dropped.append(plain)
        elif plain in kept:
            what = f"{file} with {plain} twice, bare and behind module. or _orig_mod."
            raise CheckpointError(explain("one tensor of each name", what, "save one of the two"))
        else:
            kept[plain] = tensor
    return kept, tuple(dropped)


def _extra(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the command line and the step count of a training checkpoint, as far as JSON can hold them."""
    args = data.get("args")
    args = vars(args) if isinstance(args, argparse.Namespace) else args
    found: dict[str, Any] = {}
    if isinstance(args, Mapping):
        found["args"] = {str(name): value for name, value in args.items() if _is_json(value)}
    if isinstance(data.get("steps"), int):
        found["steps"] = data["steps"]
    return found


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _only_one_set(file: Path, weights: str) -> CheckpointError:
    return CheckpointError(
        explain(f"weights {weights!r}", f"{file} with one set of tensors, which has no name", "leave weights out")
    )


def _truncated(file: Path, wanted: str) -> CheckpointError:
    received = f"{file} of {file.stat().st_size} bytes"
    return CheckpointError(explain(f"a whole file of {wanted} bytes", received, "copy or download the file again"))


def some(names: list[str]) -> str:
    """Return the first few names as a list to read."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
