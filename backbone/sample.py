"""Sampling: a network, its labels, a schedule and a solver put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from backbone.field import bind
from backbone.model import SiT
from solvers.errors import explain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from interpolants import Schedule
    from interpolants.guidance import Guidance
    from solvers import Solution

__all__ = ["sample"]


def sample(
    model: SiT,
    labels: Tensor,
    *,
    schedule: Schedule,
    rng: torch.Generator,
    ts: Sequence[float] | NDArray[np.float64] | None = None,
    method: Any = None,
    w: Any = None,
    guidance: Guidance | float | None = None,
    prediction: Any = None,
    progress: bool = False,
) -> Solution:
    r"""Draw one image for each label, from noise at t = 1 to data at t = 0.

    Without ``w`` the images solve the probability flow :math:`\dot x = v`; with it the reverse SDE of that diffusion
    coefficient, which has the same marginals.

    Args:
        model: the network, such as ``result.averaged``; its mode does not matter and no gradient is kept.
        labels: (N,), int64, 0 … num_classes, on any device.
        schedule: the one that the network was trained with.
        rng: a torch Generator on the device of the network, for the first noise and the noise of the SDE.
        ts: times from 1 to 0; None is ``uniform(50)``, or ``uniform(250)`` with ``w``.
        method: a method of ``solvers``; None is ``Heun()``, or ``EulerMaruyama()`` with ``w``.
        w: a diffusion coefficient of ``interpolants.diffusion``; None is the ODE.
        guidance: one of :mod:`interpolants.guidance`, or the scale of classifier-free guidance; None is none.
        prediction: what the network predicts, of ``interpolants``; None is ``Velocity``.
        progress: show a progress bar on stderr.

    Returns:
        the solution; ``.x`` are the images (N, C, S, S), float32, on the device of the network, and ``.nfe`` counts the
        evaluations of the network.

    Raises:
        ValueError: labels out of range, a generator on another device, or a grid that the method cannot take.
        NonFiniteError: the images are not finite.
    """
    from interpolants import Velocity, probability_flow, reverse_sde
    from solvers import EulerMaruyama, Heun, solve, uniform

    config, device = model.config, next(model.parameters()).device
    if rng.device.type != device.type:
        raise ValueError(
            explain(
                f"a generator on {device}", f"one on {rng.device}", f"torch.Generator({str(device)!r}).manual_seed(0)"
            )
        )
    field = bind(model, labels, guidance)
    shape = (len(labels), config.in_channels, *config.size)
    # The schedule knows how large the noise is where sampling starts; it is not 1 for every schedule.
    noise = schedule.prior(shape, rng).to(device, torch.float32)
    prediction = Velocity if prediction is None else prediction
    with torch.no_grad():
        if w is None:
            flow = probability_flow(schedule, field, prediction=prediction)
            return solve(flow, noise, uniform(50) if ts is None else ts, method or Heun(), progress=progress)
        diffusion = reverse_sde(schedule, field, w, prediction=prediction)
        times = uniform(250) if ts is None else ts
        return solve(diffusion, noise, times, method or EulerMaruyama(), rng=rng, progress=progress)
