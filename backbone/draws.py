r"""Every random number of a training, as a function of the seed, the sample's number and what it is for.

Sample n of a training (0, 1, 2, … over all steps) has its own time, noise and dropped label, whatever the batch, the
process or the device it is computed in. So the state of all randomness is one integer, how many samples were seen.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from solvers.errors import closest, explain
from solvers.noise.streams import TRAINING, Counted, check_ids, check_seed

__all__ = ["PURPOSES", "Draws"]

#: What a number is for: its place is the number of the draw, so names are only ever added at the end.
PURPOSES = ("time", "noise", "drop", "flip", "posterior", "second time", "choice")


class Draws:
    """The random numbers of some samples.

    Args:
        seed: of the training, 0 to 2⁶⁴ − 1.
        ids: the numbers of the samples, (N,), int64, on the host, below 2³².
        device: where the numbers are wanted.
        batch: how many samples a step has, for numbers that a batch draws together; None is as many as there are ids.

    Raises:
        TypeError: a seed or ids that are no whole numbers.
        ValueError: one is out of range.

    References: Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011 (Philox4x32-10).
    """

    def __init__(self, seed: int, ids: Tensor, device: torch.device | str = "cpu", *, batch: int | None = None) -> None:
        self.seed = check_seed(seed)
        numbers = ids.numpy()
        check_ids(0, numbers)
        self.ids, self.device, self.batch = numbers, torch.device(device), len(numbers) if batch is None else batch
        self._streams: dict[tuple[int, ...], Counted] = {}

    def uniform(self, purpose: str) -> Tensor:
        """Return numbers strictly between 0 and 1, (N,), float64: the middles of 2⁵² cells."""
        found: Tensor = self._counted(()).uniform(_number(purpose))
        return found

    def normal(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        """Return standard normals, float32, of shape N and then ``shape``."""
        found: Tensor = self._counted(shape).single(_number(purpose))
        return found.to(torch.float32)

    def together(self, purpose: str, draw: Callable[[int, torch.Generator], Tensor]) -> Tensor:
        """Return the rows of these samples of what the batches that they belong to draw together.

        Args:
            purpose: what it is for.
            draw: the size of a batch, a generator on the host → a row for each of its samples, in order.
        """
        steps = self.ids // self.batch
        rows = {}
        for step in sorted(set(steps.tolist())):
            # Places for 63 purposes in each step; the last of 64 is the order of an epoch.
            mixed = self.seed * 0x9E3779B97F4A7C15 + step * 64 + _number(purpose)
            rows[step] = draw(self.batch, torch.Generator().manual_seed(mixed % 2**63))
        found = [rows[step][place] for step, place in zip(steps.tolist(), (self.ids % self.batch).tolist())]
        return torch.stack(found).to(self.device)

    def below(self, purpose: str, probability: float) -> Tensor:
        """Return booleans (N,), each true with a probability."""
        return self.uniform(purpose) < probability

    def _counted(self, shape: tuple[int, ...]) -> Counted:
        if shape not in self._streams:
            state = torch.empty(len(self.ids), *shape, device=self.device)
            self._streams[shape] = Counted(self.seed, TRAINING, self.ids, state)
        return self._streams[shape]


def _number(purpose: str) -> int:
    if purpose not in PURPOSES:
        remedy = f"did you mean {closest(purpose, PURPOSES)}?"
        raise ValueError(explain(f"a purpose, one of {', '.join(PURPOSES)}", repr(purpose), remedy))
    return PURPOSES.index(purpose)
