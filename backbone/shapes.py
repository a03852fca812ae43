"""The config of a network from the shapes of its tensors, and why a checkpoint does not fit another config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from backbone.config import SiTConfig
from backbone.layouts import CheckpointError, some
from backbone.sizes import SIZES
from solvers.errors import explain

__all__ = ["Shapes", "check_shapes", "infer_config"]

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

_PATCH, _POSITION, _LABELS = "x_embedder.proj.weight", "pos_embed", "y_embedder.embedding_table.weight"
_LENGTH = "length_embedder.mlp.0.weight"
_HIDDEN, _LAST = "blocks.0.mlp.fc1.weight", "final_layer.linear.weight"
#: The tensor that shows a field, and what its shape is to be.
_SHOWN_BY = {
    "hidden_size": (_PATCH, "(width, channels, p, p)"),
    "patch_size": (_PATCH, "(width, channels, p, p)"),
    "in_channels": (_PATCH, "(width, channels, p, p)"),
    "input_size": (_POSITION, "(1, side², width)"),
    "depth": ("blocks.0 …", "blocks.0 to blocks.depth-1"),
    "mlp_ratio": (_HIDDEN, "(hidden, width)"),
    "num_classes": (_LABELS, "(classes + 1, width)"),
    "learn_sigma": (_LAST, "(p² times once or twice the channels, width)"),
    "flow_map": (_LENGTH, "(width, 256), in a flow map alone"),
}
#: The heads leave no trace in a shape; these are the published widths'.
_HEADS = {config.hidden_size: config.num_heads for config in SIZES.values()}


def infer_config(file: Path, shapes: Shapes, num_heads: int | None) -> SiTConfig:
    """Return the config that the shapes of published tensors imply; ``class_dropout`` keeps its default.

    Args:
        file: for messages.
        shapes: of the tensors, by published name.
        num_heads: of the attention; None takes that of the published width.

    Raises:
        CheckpointError: a tensor that shows a field is missing or has another shape; a width without known heads; a
            field is out of range.
    """
    fields = _fields(shapes)
    hidden = [name for name in _SHOWN_BY if name not in fields]
    if hidden:
        wanted = dict(_SHOWN_BY[name] for name in hidden)
        what = ", ".join(f"{name} {shapes.get(name, 'missing')}" for name in wanted)
        raise CheckpointError(
            explain(
                ", ".join(f"{name} of shape {shape}" for name, shape in wanted.items()),
                f"{file} with {what}; its tensors are {some(list(shapes))}",
                "rename the tensors as SiT and DiT publish them, or pass config= for a network with other options",
            )
        )
    width = fields["hidden_size"]
    if num_heads is None and width not in _HEADS:
        table = ", ".join(f"{w} → {heads}" for w, heads in _HEADS.items())
        raise CheckpointError(
            explain(
                f"a published width ({table}), whose heads are known", f"{file} of width {width}", "pass num_heads="
            )
        )
    try:
        return SiTConfig(**fields, num_heads=_HEADS[width] if num_heads is None else num_heads)
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from error


def check_shapes(file: Path, wanted: Shapes, found: Shapes, config: SiTConfig) -> None:
    """Raise CheckpointError unless the file has the tensors of the config; the message names them and says why."""
    faults = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "misshapen": [
            f"{name} {found[name]} for {shape}" for name, shape in wanted.items() if found.get(name, shape) != shape
        ],
    }
    if any(faults.values()):
        parts = [f"{kind} {some(names)}" for kind, names in faults.items() if names]
        raise CheckpointError(
            explain(
                "the tensors of the config",
                f"{file} with " + "; ".join(parts + _reasons(found, config)),
                "load it without config=, which is then inferred, or with the config that it was trained with",
            )
        )


def _fields(shapes: Shapes) -> dict[str, Any]:
    """Return the fields of a config that the tensors show; a missing or odd tensor shows nothing."""
    depth = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
    fields: dict[str, Any] = {"depth": depth} if depth else {}
    fields["flow_map"] = _LENGTH in shapes
    match shapes.get(_PATCH):
        case (width, channels, p, q) if p == q and width * channels * p > 0:
            fields |= {"hidden_size": width, "in_channels": channels, "patch_size": p}
        case _:
            return fields
    match shapes.get(_POSITION):
        case (1, tokens, _) if tokens == math.isqrt(tokens) ** 2:
            fields["input_size"] = math.isqrt(tokens) * p
    match shapes.get(_HIDDEN):
        case (hidden, _):
            fields["mlp_ratio"] = _ratio(hidden, width)
    match shapes.get(_LABELS):
        case (rows, _):
            fields["num_classes"] = rows - 1
    match shapes.get(_LAST):
        case (rows, _) if rows in (p * p * channels, 2 * p * p * channels):
            fields["learn_sigma"] = rows == 2 * p * p * channels
    return fields


def _ratio(hidden: int, width: int) -> float:
    """Return r with int(r · width) = hidden, which hidden/width misses by rounding for some widths."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def _reasons(shapes: Shapes, config: SiTConfig) -> list[str]:
    """Say for each field in which the file differs from the config what the checkpoint is for."""
    reasons, fields = [], _fields(shapes)
    for field, value in fields.items():
        ours = getattr(config, field)
        if ours == value or (field == "mlp_ratio" and int(ours * fields["hidden_size"]) == shapes[_HIDDEN][0]):
            continue
        tensor = _SHOWN_BY[field][0]
        means = f"has {field}={value!r}"
        if field == "input_size":
            means = f"is for {value}×{value} inputs"
            if shapes[_PATCH][1] == 4:
                means = f"is for {8 * value}-pixel images ({value}×{value} latents)"
        if field == "flow_map":
            reasons.append(f"{tensor} is {shapes.get(tensor, 'missing')}: the file has {field}={value}, not {ours}")
            continue
        shown = f"{tensor} is {shapes[tensor]}" if tensor in shapes else f"of the {tensor} there are {value}"
        reasons.append(f"{shown}: the checkpoint {means}, the config {field}={ours!r}")
    return reasons
