"""What adapters to solvers of plain ODEs share: the velocity of the linear schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod

from solvers.grid import uniform
from solvers.order.levels import LINEAR
from solvers.order.sampler import Drive, Run, States
from solvers.order.trials import Model


def velocity(model: Model, time: float, x: States) -> States:
    r"""Return :math:`\dot x = \hat\varepsilon - \hat x` of the schedule :math:`\alpha = 1 - t`, :math:`\sigma = t`."""
    data, noise = model(1.0 - time, time, x)
    found: States = noise - data
    return found


def drive(times: list[float], run: Run) -> Drive:
    """Return a run with the levels of its first and last time."""
    return Drive(LINEAR.level(times[0]), LINEAR.level(times[-1]), run)


class Timed(ABC):
    """A sampler that takes the times of the linear schedule that it is given."""

    @abstractmethod
    def _drive(self, times: list[float]) -> Drive:
        """Return a run over the times."""

    def interior(self, n: int, *, equal: bool = False) -> Drive:
        """Return n steps inside."""
        return self._drive(LINEAR.interior(n, equal=equal))

    def whole(self, n: int) -> Drive:
        """Return n equal steps from noise to data."""
        return self._drive(uniform(n).tolist())
