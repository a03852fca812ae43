r"""What a network is trained to minimise: a loss for each sample, from data, labels and keyed random numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from backbone.draws import Draws
from backbone.model import SiT
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants import Objective
    from interpolants.times import Importance

__all__ = ["Interpolation", "LearningLoss", "Loss", "Measured", "as_loss", "dropped"]


class Loss(Protocol):
    """What :func:`backbone.train` minimises the mean of."""

    def __call__(self, model: SiT, x_data: Tensor, y: Tensor | None, draws: Draws) -> Tensor:
        """Return the loss of each sample, (N,), float32.

        Args:
            model: the network, in training mode.
            x_data: data (N, C, …), float32.
            y: labels (N,), int64, 0 … num_classes - 1; None for a network without labels.
            draws: the random numbers of these samples; nothing else may be drawn from.
        """
        ...


@runtime_checkable
class LearningLoss(Loss, Protocol):
    """A loss with a state of its own, which it changes once a step; the state is part of every checkpoint."""

    def learn(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Learn from the calls since the last time, which were one step.

        Args:
            gather: the part (n, …) of this process → those of all, in the order of the samples; every process calls it.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state back, and forget calls that were not learnt from."""
        ...


@dataclass(frozen=True)
class Interpolation:
    r"""The loss of an interpolant: :math:`w(t)\,|p_θ(x_t, t, y) - p|^2`, :math:`x_t = α_t x + σ_t ε`.

    Args:
        objective: schedule, prediction, weight and times, an :class:`interpolants.Objective`.

    References: Ma et al., SiT (2024), arXiv:2401.08740, equations 5 and 8.
    """

    objective: Objective

    def __call__(self, model: SiT, x_data: Tensor, y: Tensor | None, draws: Draws) -> Tensor:
        """Return the loss of each sample, (N,)."""
        from interpolants.times.law import open_uniform

        objective = self.objective
        law = objective.law
        # Times that a batch draws together, such as stratified ones, need the others of the batch.
        alone = law.draw is open_uniform
        time = law.at(draws.uniform("time") if alone else draws.together("time", law.draw), x_data.dtype)
        batch = objective.at(x_data, draws.normal("noise", tuple(x_data.shape[1:])), time)
        output = model(batch.x_t, time, y, drop_labels=dropped(model, draws)).float()
        losses: Tensor = objective.losses(output, batch.target, time)
        self._measured(time, output, batch.target)
        return losses

    def _measured(self, time: Tensor, output: Tensor, target: Tensor) -> None:
        """Be told of the outputs at some times; the plain loss does not mind."""


@dataclass(frozen=True)
class Measured(Interpolation):
    """The loss of an interpolant whose times, of an ``Importance``, follow the losses of the steps before.

    After each step the histogram gets the losses of all processes in the order of the samples, so it does not depend on
    how many there are. A step with a loss that is not finite teaches nothing. Each step waits for the device.

    Args:
        objective: with such times, alone or inside others such as ``Stratified(Importance())``.
    """

    _calls: list[Tensor] = field(default_factory=list, init=False, repr=False, compare=False)

    def learn(self, gather: Callable[[Tensor], Tensor]) -> None:
        """Let the histogram remember the losses of a step."""
        rows = gather(torch.cat(self._calls)).cpu()
        self._calls.clear()
        if bool(torch.isfinite(rows).all()):
            self._histogram.update(rows[:, 0], rows[:, 1], self.objective.schedule)

    def state_dict(self) -> dict[str, Any]:
        """Return the histogram as JSON."""
        return self._histogram.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a histogram back, and forget calls that were not learnt from."""
        self._calls.clear()
        self._histogram.load_state_dict(state)

    @property
    def _histogram(self) -> Importance:
        found = importance(self.objective)
        if found is None:
            raise TypeError(explain("times with an Importance", repr(self.objective.times), "use Interpolation"))
        return found

    def _measured(self, time: Tensor, output: Tensor, target: Tensor) -> None:
        # Without a gradient it is an evaluation, which is no part of a step.
        if output.requires_grad:
            losses = self.objective.integrand(output.detach(), target, time)
            self._calls.append(torch.stack([time.to(losses.dtype), losses], 1))


def importance(objective: Objective) -> Importance | None:
    """Return the histogram that the times of an objective follow, or None."""
    from interpolants.times import Importance

    times: Any = objective.times
    while not isinstance(times, Importance) and hasattr(times, "times"):
        times = times.times
    return times if isinstance(times, Importance) else None


def dropped(model: SiT, draws: Draws) -> Tensor:
    """Return which labels become the null class, (N,), each with the probability of the network's config."""
    return draws.below("drop", model.config.class_dropout)


def as_loss(objective: object) -> Loss:
    """Return the loss of an objective of ``interpolants``; what is a loss already is returned as it is.

    Raises:
        TypeError: neither.
    """
    from interpolants import Objective

    if isinstance(objective, Objective):
        return Interpolation(objective) if importance(objective) is None else Measured(objective)
    if not callable(objective):
        remedy = "pass interpolants.Objective(Linear()), or a loss of backbone.losses"
        raise TypeError(explain("an objective", repr(objective), remedy))
    return cast("Loss", objective)
