"""Checks of a network's inputs: shapes always, values only where they are on the host and cost no synchronisation."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor

from solvers.errors import explain

__all__ = ["Time", "check_image", "check_labels", "time_vector"]

Time: TypeAlias = float | Tensor


def check_image(x: Tensor, channels: int, size: int | tuple[int, ...]) -> None:
    """Raise ValueError unless x is a floating tensor (N, channels, size, size), or (N, channels, *size)."""
    shape = (channels, size, size) if isinstance(size, int) else (channels, *size)
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.shape[1:] != shape:
        raise ValueError(
            explain(
                f"x to be a floating tensor of shape (N, {', '.join(map(str, shape))})",
                describe(x),
                "build the model with the matching input_size and in_channels, or reshape x",
            )
        )


def time_vector(time: Time, like: Tensor, *, index: bool = False, name: str = "time") -> Tensor:
    """Return time as a tensor (N,) of float32 or float64 on the device of ``like`` (N, …).

    Args:
        time: a number, a 0-d tensor or a tensor (N,).
        like: the state.
        index: time is the index of a timestep: integers are allowed and become float32.
        name: what messages call it.

    Raises:
        ValueError: time is neither a number, a 0-d tensor nor a tensor (N,); it is not finite; or its dtype is an
            integer or a half precision, in which 4096 uniform draws take only some hundreds of distinct values.
    """
    if index and isinstance(time, Tensor) and time.dtype in (torch.int64, torch.int32):
        time = time.to(torch.float32)
    if isinstance(time, Tensor):
        if time.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                explain(
                    f"{name} in float32 or float64",
                    f"{time.dtype}, in which 4096 uniform draws take 684 distinct values"
                    if time.dtype == torch.bfloat16
                    else str(time.dtype),
                    "keep time out of autocast and of .to(bfloat16): draw it as torch.rand(N, dtype=torch.float32)",
                )
            )
        if time.ndim == 0 or time.shape == like.shape[:1]:
            return time.to(like.device).expand(like.shape[0])
    elif isinstance(time, int | float) and not isinstance(time, bool) and math.isfinite(time):
        return torch.full((like.shape[0],), float(time), dtype=torch.float32, device=like.device)
    raise ValueError(
        explain(
            f"{name} to be a finite number, a 0-d tensor or a tensor of shape ({like.shape[0]},)",
            describe(time),
            "pass one time for the batch or one per image; the order of arguments is model(x, time, y)",
        )
    )


def check_labels(y: Tensor | None, count: int | None, num_classes: int, *, values: bool) -> None:
    """Raise ValueError unless y is an integer tensor (count,), within 0 … num_classes where ``values`` is set."""
    integers = (torch.int64, torch.int32)
    if not isinstance(y, Tensor) or y.dtype not in integers or y.ndim != 1 or count not in (None, y.shape[0]):
        raise ValueError(
            explain(
                f"y to be an int64 tensor of shape ({'N' if count is None else count},)",
                describe(y),
                f"give one label per image; the null class is {num_classes}",
            )
        )
    if values and y.numel() and not y.is_meta:
        low, high = (int(bound) for bound in torch.aminmax(y))
        if low < 0 or high > num_classes:
            raise ValueError(
                explain(
                    f"labels within 0 … {num_classes} ({num_classes} is the null class)",
                    f"labels from {low} to {high}",
                    "map the labels to 0 … num_classes - 1, or build the model with more num_classes",
                )
            )


def describe(value: object) -> str:
    """Return the dtype, shape and device of a tensor, or the value and its type."""
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)} on {value.device}"
    return f"{value!r} ({type(value).__name__})"
