"""Where a pipeline is in a solve: at which evaluation, and what it may do there."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from solvers.errors import explain
from solvers.inverted import Call, Inverted
from solvers.noise import Increment

__all__ = ["Run"]


class Run:
    """A run through the evaluations of a solve, known by their number; timesteps only say where it begins.

    Args:
        solve: the solve.
        told: the timestep of each evaluation.
        begin: the number of the first evaluation; None to look for its timestep.
    """

    def __init__(self, solve: Inverted, told: Sequence[float], begin: int | None = None) -> None:
        if begin is not None and not (0 <= begin < len(told) and solve.calls[begin].first):
            firsts = ", ".join(str(k) for k, call in enumerate(solve.calls[:12]) if call.first)
            remedy = f"pass one of {firsts} ..., multiples of scheduler.order for most methods"
            raise ValueError(explain("the index of an evaluation that begins a step", repr(begin), remedy))
        self.solve, self.told, self.begin = solve, told, begin
        self._rest: Inverted | None = None
        self._index = self._from = 0
        self._point: Tensor | None = None

    @property
    def index(self) -> int | None:
        """The number of the present evaluation; None before the run has begun."""
        return None if self._rest is None else self._index

    def find(self, timestep: float | Tensor, told: Sequence[float]) -> int:
        """Return the number of the evaluation with a timestep; of several, that which begins a step."""
        calls, wanted = self.solve.calls, float(timestep)
        found = [k for k, each in enumerate(told) if _same(each, wanted)]
        if not found:
            remedy = "pass an entry of scheduler.timesteps"
            raise ValueError(explain("a timestep of scheduler.timesteps", repr(wanted), remedy))
        return next((k for k in found if k < len(calls) and calls[k].first), found[0])

    def point(self, sample: Tensor, timestep: float | Tensor | None, noise: Increment) -> Tensor:
        """Return where the network is called for a sample: there, but before a first step that begins with noise."""
        calls = self.solve.calls
        if self._rest is None:
            index = self._first(timestep)
            if calls[index].at_state:
                return sample
            self._start(index, sample, noise)
        shifted = self._index == self._from and not calls[self._from].at_state
        return self._point if shifted and self._point is not None else sample

    def answer(
        self, value: Tensor, timestep: float | Tensor, x: Tensor, noise: Increment
    ) -> tuple[Call, Tensor, Tensor]:
        """Take what the network returned for x; return the evaluation, its point, and the next point."""
        if self._rest is None:
            index = self._first(timestep)
            if not self.solve.calls[index].at_state:
                remedy = "call the network at scheduler.scale_model_input(sample, timestep)"
                wanted = "scale_model_input before the first evaluation of a method that begins with noise"
                raise ValueError(explain(wanted, "step alone", remedy))
            self._start(index, x, noise)
        call = self._present(timestep)
        rest, point = self._rest, self._point
        if rest is None or point is None or x.shape != point.shape:
            wanted = f"a sample of shape {None if point is None else tuple(point.shape)}"
            remedy = "keep the batch as it was in the first step, or call set_timesteps to start again"
            raise ValueError(explain(wanted, f"shape {tuple(x.shape)}", remedy))
        point = x if call.at_state else point
        self._point = rest.answer(value, noise, x if call.at_state else None)
        self._index += 1
        return call, point, self._point

    def _first(self, timestep: float | Tensor | None) -> int:
        """Return the number of the evaluation that the run begins with."""
        index = self.begin if self.begin is not None else 0 if timestep is None else self.find(timestep, self.told)
        if not self.solve.calls[index].first:
            received = f"one inside a step, index {index}, timestep {self.told[index]!r}"
            remedy = "start at a timestep that begins a step, such as the first"
            raise ValueError(explain("an evaluation that begins a step", received, remedy))
        return index

    def _start(self, index: int, x: Tensor, noise: Increment) -> None:
        rest = self.solve.rest(self.solve.calls[index].step)
        self._rest, self._from, self._index, self._point = rest, index, index, rest.begin(x, noise)

    def _present(self, timestep: float | Tensor) -> Call:
        """Return the present evaluation, and refuse a timestep on the host that is another's."""
        calls, index = self.solve.calls, self._index
        if index == len(calls):
            remedy = "call set_timesteps to start another run"
            raise ValueError(explain(f"{len(calls)} calls of step, one for each timestep", "one more", remedy))
        on_host = not isinstance(timestep, Tensor) or timestep.device.type == "cpu"
        if on_host and not _same(self.told[index], float(timestep)):
            remedy = "pass the entries of scheduler.timesteps in turn, or call set_timesteps to start again"
            wanted = f"timestep {self.told[index]!r}, number {index} of the run"
            raise ValueError(explain(wanted, repr(float(timestep)), remedy))
        return calls[index]


def _same(told: float, timestep: float) -> bool:
    """Whether a timestep is the one that was told, but for the rounding of a pipeline's types."""
    return math.isclose(told, timestep, rel_tol=1e-5, abs_tol=1e-6)
