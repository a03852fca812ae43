r"""What a network is trained to minimise: a loss for each sample, from data, labels and keyed random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from torch import Tensor

from backbone.draws import Draws
from backbone.model import SiT
from solvers.errors import explain

if TYPE_CHECKING:
    from interpolants import Objective

__all__ = ["Interpolation", "Loss", "as_loss", "dropped"]


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
        return losses


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
        return Interpolation(objective)
    if not callable(objective):
        remedy = "pass interpolants.Objective(Linear()), or a loss of backbone.losses"
        raise TypeError(explain("an objective", repr(objective), remedy))
    return cast("Loss", objective)
