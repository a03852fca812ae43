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
from solvers.noise import PerSample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from interpolants import Schedule
    from interpolants.guidance import Guidance
    from solvers import Solution

__all__ = ["check_noise", "sample"]


def sample(
    model: SiT,
    labels: Tensor,
    *,
    schedule: Schedule,
    rng: torch.Generator | PerSample,
    ts: Sequence[float] | NDArray[np.float64] | None = None,
    method: Any = None,
    w: Any = None,
    guidance: Guidance | float | None = None,
    prediction: Any = None,
    progress: bool = False,
) -> Solution:
    r"""Draw one image for each label, from noise at the first time to data at the last.

    Without ``w`` the images solve the probability flow :math:`\dot x = v`; with it the reverse SDE of that diffusion
    coefficient, which has the same marginals. Exponential methods solve either in their own form. The noise is that of
    the first time, :math:`\sigma\varepsilon`; what little of the data is in :math:`x_t` there is left out.

    Args:
        model: the network, such as ``result.averaged``; its mode does not matter and no gradient is kept.
        labels: (N,), int64, 0 … num_classes, on any device.
        schedule: the one that the network was trained with.
        rng: a torch Generator on the device of the network, for the first noise and the noise of the SDE; or
            ``PerSample(seed, first=n)``, with which image n does not depend on the others.
        ts: times from noise to data; None is ``uniform(50)`` over the domain of the schedule, or ``uniform(250)`` with
            ``w``.
        method: a method of ``solvers``; None is ``Heun()``, or ``EulerMaruyama()`` with ``w``.
        w: a diffusion coefficient of ``interpolants.diffusion``; None is the ODE.
        guidance: one of :mod:`interpolants.guidance`, or the scale of classifier-free guidance; None is none.
        prediction: what the network predicts, of ``interpolants``; None is ``Velocity``.
        progress: show a progress bar on stderr.

    Returns:
        the solution; ``.x`` are the images (N, C, S, S), float32, on the device of the network, and ``.nfe`` counts the
        evaluations of the network.

    Raises:
        ValueError: labels out of range, a generator on another device, a method that does not take w or needs one, or a
            grid that the method cannot take.
        NonFiniteError: the images are not finite.
    """
    from interpolants import Velocity
    from interpolants.diffusion import Zero
    from interpolants.dynamics import pose
    from solvers import Adaptive, EulerMaruyama, Heun, solve, uniform

    config, device = model.config, next(model.parameters()).device
    if method is None:
        method = Heun() if w is None else EulerMaruyama()
    check_noise(method, w)
    times = uniform(50 if w is None else 250, *reversed(schedule.domain)) if ts is None else ts
    field = bind(model, labels, guidance)
    noise = _noise((len(labels), config.in_channels, *config.size), rng, device)
    kind = (method.method if isinstance(method, Adaptive) else method).solves
    with torch.no_grad():
        problem = pose(kind, schedule, field, Velocity if prediction is None else prediction, w or Zero())
        # The schedule knows how large the noise is where sampling starts; it is not 1 for every schedule.
        start = float(schedule.sigma(float(times[0]))) * noise
        return solve(problem, start, times, method, rng=rng, progress=progress)


def check_noise(method: Any, w: Any) -> None:
    """Refuse a w that a method would not see, and a method that adds the noise of a w without one.

    Raises:
        ValueError: either.
    """
    from solvers import SDE, Adaptive, Denoising

    inner = method.method if isinstance(method, Adaptive) else method
    takes = inner.solves is SDE or (inner.solves is Denoising and getattr(inner, "reads_clock", False))
    if w is not None and not takes:
        remedy = (
            "leave w out, or take EulerMaruyama(), StochasticHeun(), ExponentialEulerMaruyama() or SDEDPMSolverPP()"
        )
        raise ValueError(explain("a method that takes w", f"{method!r} with w = {w!r}", remedy))
    if w is None and takes:
        remedy = "choose a w, such as Sigma(), or a deterministic method, such as Heun()"
        raise ValueError(explain(f"a w for {type(inner).__name__}", "none", remedy))


def _noise(shape: tuple[int, ...], rng: torch.Generator | PerSample, device: torch.device) -> Tensor:
    """Return standard normals on the device of the network, float32."""
    if isinstance(rng, PerSample):
        drawn: Tensor = rng.start(torch.empty(shape, device=device))
        return drawn
    if rng.device.type != device.type:
        remedy = f"torch.Generator({str(device)!r}).manual_seed(0)"
        raise ValueError(explain(f"a generator on {device}", f"one on {rng.device}", remedy))
    return torch.randn(shape, generator=rng, device=rng.device).to(device)
