"""Where samples were made: versions and hardware, and the place of this process among others."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from solvers.errors import explain

__all__ = ["device_of", "environment", "rank_and_world", "settings"]

_PACKAGES = ("interpolants", "torch", "numpy", "diffusers")


def rank_and_world() -> tuple[int, int]:
    """Return the number of this process and how many there are, as torchrun says; (0, 1) without it.

    Raises:
        ValueError: a rank that is none of the world.
    """
    rank, world = (os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        remedy = "start the processes with torchrun, or unset RANK and WORLD_SIZE"
        raise ValueError(explain("RANK below WORLD_SIZE", f"RANK={rank}, WORLD_SIZE={world}", remedy))
    return int(rank), int(world)


def device_of(name: str | None) -> torch.device:
    """Return a device; of cuda without a number that of LOCAL_RANK.

    Raises:
        ValueError: no such device.
    """
    name = ("cuda" if torch.cuda.is_available() else "cpu") if name is None else name
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(explain("a device such as cpu or cuda", repr(name), "pass --device cpu")) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(explain("a CUDA device for --device cuda", "none", "pass --device cpu"))
    if name == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


@contextmanager
def settings(precision: str, device: torch.device, threads: int | None) -> Iterator[None]:
    """Set the number of threads and the precision of matrix products, and put both back."""
    before = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    autocast = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision)
    try:
        torch.set_num_threads(before[0] if threads is None else threads)
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])
        torch.backends.cudnn.allow_tf32 = before[2]


def environment(device: torch.device, threads: int | None) -> dict[str, Any]:
    """Return versions and hardware, on which the last bits of samples can depend."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    found: dict[str, Any] = {
        "versions": versions,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads() if threads is None else threads,
        "device": device.type,
    }
    if device.type == "cuda":
        found |= {"device": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
