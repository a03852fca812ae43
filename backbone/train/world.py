"""The processes of a training: one, or those that torchrun started, and what they say to each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from solvers.errors import explain

__all__ = ["World", "world"]


@dataclass(frozen=True, slots=True)
class World:
    """One process among ``size``.

    Attributes:
        rank: the number of this process, 0 … size - 1.
        size: how many there are.
        device: where this process computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, count: int, what: str = "batch_size") -> slice:
        """Return the part of ``count`` that is this process's.

        Raises:
            ValueError: the processes do not divide it.
        """
        if count % self.size:
            below = count - count % self.size
            remedy = f"use {what}={below or self.size} or {below + self.size}, or another number of processes"
            raise ValueError(explain(f"{what} divisible by the {self.size} processes", str(count), remedy))
        part = count // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over the processes, on the device, without waiting for it on the host."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.size
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; the same answer in all."""
        if self.size == 1:
            return flag
        value = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return bool(value)

    def gather(self, part: Tensor) -> Tensor:
        """Return the parts of all processes, of equal shapes, one after the other along the first axis."""
        if self.size == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.size)]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    def agree(self, values: Sequence[Any]) -> list[Any]:
        """Return what the first process holds; the values are plain Python objects."""
        held = list(values)
        if self.size > 1:
            dist.broadcast_object_list(held, src=0, device=self.device)
        return held

    def first_does(self, action: Callable[[], object]) -> None:
        """Let the first process do something while the others wait for it.

        Raises:
            Exception: what the action raised, in the first process; in the others an OSError that quotes it.
        """
        error: Exception | None = None
        if self.first:
            try:
                action()
            except Exception as raised:
                error = raised
        (fault,) = self.agree([None if error is None else f"{type(error).__name__}: {error}"])
        if error is not None:
            raise error
        if fault is not None:
            raise OSError(f"in the first process: {fault}")

    def first_writes(self, what: str, action: Callable[[], object]) -> None:
        """Let the first process write a file while the others wait for it.

        Args:
            what: it writes, for the message.
            action: what it does.

        Raises:
            OSError: it could not; every process raises.
        """
        from safetensors import SafetensorError

        try:
            self.first_does(action)
        except (OSError, SafetensorError) as error:
            # safetensors has an error of its own for a full disk.
            received = f"{type(error).__name__}: {error}"
            remedy = "free some space; the last good checkpoint is as it was"
            raise OSError(explain(f"to write {what}", received, remedy)) from error

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of the first process."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def world(device: str | torch.device | None = None, *, timeout_s: float = 1800.0) -> Iterator[World]:
    """Join the processes that torchrun started, over NCCL on CUDA devices and gloo on CPUs; alone without torchrun.

    Args:
        device: ``"cpu"`` or ``"cuda"``; None is CUDA where there is one. Each process takes the device of its local
            rank.
        timeout_s: seconds to wait for a process that does not answer, before an error.

    Raises:
        ValueError: fewer devices than processes on this machine.
    """
    kind = torch.device("cuda" if torch.cuda.is_available() else "cpu") if device is None else torch.device(device)
    size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    if kind == torch.device("cuda"):
        if local >= torch.cuda.device_count():
            remedy = "start torchrun with --nproc-per-node at most the number of devices, or pass --device cpu"
            raise ValueError(explain(f"a device for local rank {local}", f"{torch.cuda.device_count()}", remedy))
        kind = torch.device("cuda", local)
        torch.cuda.set_device(kind)
    if dist.is_initialized():
        yield World(dist.get_rank(), dist.get_world_size(), kind)
        return
    if size == 1:
        yield World(0, 1, kind)
        return
    dist.init_process_group("nccl" if kind.type == "cuda" else "gloo", timeout=timedelta(seconds=timeout_s))
    try:
        yield World(dist.get_rank(), dist.get_world_size(), kind)
    finally:
        dist.destroy_process_group()
