r"""In which order a training visits its data: a pure function of the seed and the sample's number."""

from __future__ import annotations

import torch
from torch import Tensor

from backbone.checks import check_count

__all__ = ["Order"]


class Order:
    r"""The record of sample n is :math:`π_e(n \bmod M)` with the epoch :math:`e = ⌊n / M⌋`.

    Each epoch is a permutation :math:`π_e` of its own of the M records, and epochs follow one another without a short
    batch. Nothing is remembered but the last permutation, to save its being made again.

    Args:
        count: M, the number of records, ≥ 1.
        seed: of the permutations.
    """

    def __init__(self, count: int, seed: int) -> None:
        check_count("count", count)
        self.count, self.seed = count, seed
        self._known: dict[int, Tensor] = {}

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the records (N,) of samples ``ids`` (N,), int64, on the host."""
        epochs = ids // self.count
        records = torch.empty_like(ids)
        for epoch in sorted(set(epochs.tolist())):
            here = epochs == epoch
            records[here] = self._permutation(epoch)[ids[here] % self.count]
        return records

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._known:
            # A batch that spans two epochs needs both.
            self._known = {known: order for known, order in self._known.items() if abs(known - epoch) == 1}
            # Near seeds are sent far apart, and no draw of a batch (backbone.draws) has the same generator.
            mixed = self.seed * 0x9E3779B97F4A7C15 + epoch * 64 + 63
            generator = torch.Generator().manual_seed(mixed % 2**63)
            self._known[epoch] = torch.randperm(self.count, generator=generator)
        return self._known[epoch]
