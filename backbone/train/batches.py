"""The micro-batches of a training, each read and drawn while the one before is computed with."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from backbone.data.arrays import Data
from backbone.data.order import Order
from backbone.draws import Draws
from backbone.train.config import TrainConfig
from backbone.train.world import World

__all__ = ["Batch", "Batches"]


class Batch(NamedTuple):
    """Samples of a process: data (N, C, …), labels (N,) or None, their random numbers, and whether they end a step."""

    x_data: Tensor
    y: Tensor | None
    draws: Draws
    last: bool


class Batches:
    """A process's share of every step, in parts of ``micro_batch`` samples.

    With ``config.prefetch`` one thread makes the next part meanwhile. A part is a function of the numbers of its
    samples, so it is the same whoever makes it, and one that turns out not to be wanted, after a rollback, is let go.
    On CUDA the thread uses the stream of the training, whose order is then that of the results being taken.

    Args:
        data: what is read.
        config: of the training.
        here: which share, and where it is wanted.
    """

    def __init__(self, data: Data, config: TrainConfig, here: World) -> None:
        self._data, self._config, self._here = data, config, here
        self._order, share = Order(data.count, config.seed), here.share(config.batch_size)
        self._parts = torch.split(torch.arange(config.batch_size)[share], config.micro_batch or config.batch_size)
        # One thread: records are read, and permutations made, by nobody else.
        self._thread = ThreadPoolExecutor(1, "batches") if config.prefetch else None
        self._next: tuple[tuple[int, int], Future[Batch]] | None = None

    def of(self, step: int) -> Iterator[Batch]:
        """Yield the parts of a step; an error of reading is raised where its part is asked for."""
        for k in range(len(self._parts)):
            if self._thread is None:
                yield self._make(step, k)
                continue
            place, future = self._next or ((-1, -1), None)
            found = future if future is not None and place == (step, k) else self._thread.submit(self._make, step, k)
            following = (step, k + 1) if k + 1 < len(self._parts) else (step + 1, 0)
            more = following[0] < self._config.steps
            self._next = (following, self._thread.submit(self._make, *following)) if more else None
            yield found.result()

    def _make(self, step: int, k: int) -> Batch:
        ids = step * self._config.batch_size + self._parts[k]
        draws = Draws(self._config.seed, ids, self._here.device, batch=self._config.batch_size)
        return Batch(*self._data.batch(self._order(ids), draws), draws, last=k + 1 == len(self._parts))

    def close(self) -> None:
        """End the thread, once the part that it is at is made."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
