r"""Networks of an interval: how a velocity network becomes one, its fields, and what the losses ask of it."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from backbone.few_step.along import AverageVelocity, Velocity
from backbone.inputs import Time
from backbone.model import SiT
from solvers.errors import explain

__all__ = ["as_flow_map", "average_field", "expect_flow_map", "expect_forward_mode", "velocity_field"]


def as_flow_map(model: SiT) -> SiT:
    r"""Return a network of an interval that continues a velocity network: :math:`u(x, r, t) = v(x, t)` for every r.

    Its config has ``flow_map=True`` and ``attention="math"``; the weights are copied, those of the embedding of t − r
    are new and end in zeros, so that the two networks agree until training moves them.

    Args:
        model: any :class:`backbone.SiT` of continuous time; of a flow map all weights are copied.
    """
    wanted = dataclasses.replace(model.config, flow_map=True, attention="math")
    parameter = next(model.parameters())
    found = SiT(wanted).to(parameter.device, parameter.dtype)
    # Strict but for what is new.
    new = {name: tensor for name, tensor in found.state_dict().items() if name.startswith("length_embedder.")}
    found.load_state_dict(new | model.state_dict())
    return found.train(model.training)


def average_field(model: SiT, y: Tensor | None, drop_labels: Tensor | None = None) -> AverageVelocity:
    """Return u(r, t, x) of a network for fixed labels, as :func:`interpolants.flow_map.average_velocity` has it.

    Args:
        model: a network with ``flow_map=True``.
        y: labels (N,); None for a network without labels.
        drop_labels: which become the null class, (N,); None is none, whatever the mode of the model.
    """
    expect_flow_map(model)

    def average(start: Time, time: Time, x: Tensor) -> Tensor:
        out: Tensor = model(x, time, y, start=start, drop_labels=_kept(drop_labels, x))
        return out

    return average


def velocity_field(model: SiT, y: Tensor | None, drop_labels: Tensor | None = None) -> Velocity:
    """Return v(t, x) of a network for fixed labels; arguments as for :func:`average_field`."""

    def velocity(time: Time, x: Tensor) -> Tensor:
        out: Tensor = model(x, time, y, drop_labels=_kept(drop_labels, x))
        return out

    return velocity


def expect_flow_map(model: SiT) -> None:
    """Refuse a network that takes no start."""
    if not model.config.flow_map:
        remedy = "build it with SiTConfig(…, flow_map=True), or continue this one: few_step.as_flow_map(model)"
        raise ValueError(explain("a network of an interval", "flow_map=False in its config", remedy))


def expect_forward_mode(model: SiT) -> None:
    """Refuse a network whose attention has no forward-mode derivative."""
    if model.config.attention != "math":
        remedy = (
            'twin = SiT(dataclasses.replace(model.config, attention="math")); '
            "twin.load_state_dict(model.state_dict()), with the same weights"
        )
        raise ValueError(
            explain("attention with forward-mode derivatives", f'attention="{model.config.attention}"', remedy)
        )


def _kept(drop_labels: Tensor | None, x: Tensor) -> Tensor:
    return torch.zeros(x.shape[0], dtype=torch.bool, device=x.device) if drop_labels is None else drop_labels
