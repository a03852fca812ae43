"""The schedulers of diffusers that are integrators, and what the meter needs to know of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Family = Literal["sigmas", "alphas", "flow", "edm", "angle"]
Claim = Callable[[Mapping[str, Any]], float | None]


@dataclass(frozen=True)
class Kind:
    """How a scheduler is driven.

    Args:
        family: "sigmas", a discrete variance-preserving model with a table of σ; "alphas", one that reads the table of
            ᾱ; "flow", α = 1 − σ; "edm", α = 1 and a preconditioned network; "angle", α² + σ² = 1 with its own grid.
        claim: the order it states, from its options with their defaults.
        spare: entries of the model's table that ``set_timesteps`` leaves out.
        calls: model calls per step.
        scaled: whether its states have α = 1 and the network sees them scaled.
        group: steps that belong together, so that a number of steps is a multiple.
        stride: entries of the table per step.
    """

    family: Family
    claim: Claim
    spare: int = 0
    calls: int = 1
    scaled: bool = False
    group: int = 1
    stride: int = 1


def _is(order: float | None) -> Claim:
    return lambda options: order


def _named(name: str) -> Claim:
    return lambda options: float(options[name])


_SOLVER_ORDER = _named("solver_order")
KINDS: dict[str, Kind] = {
    "DDIMScheduler": Kind("alphas", _is(1.0)),
    "DDIMParallelScheduler": Kind("alphas", _is(1.0)),
    "CogVideoXDDIMScheduler": Kind("alphas", _is(1.0)),
    "DDPMScheduler": Kind("alphas", _is(None)),
    "DDPMParallelScheduler": Kind("alphas", _is(None)),
    # Liu et al. (2022), arXiv 2202.09778, §3.4: second-order convergence, from linear multistep weights of order four.
    "PNDMScheduler": Kind("alphas", _is(2.0), stride=2),
    "EulerDiscreteScheduler": Kind("sigmas", _is(1.0), scaled=True),
    "EulerAncestralDiscreteScheduler": Kind("sigmas", _is(None), scaled=True),
    "HeunDiscreteScheduler": Kind("sigmas", _is(2.0), calls=2, scaled=True),
    "KDPM2DiscreteScheduler": Kind("sigmas", _is(2.0), calls=2, scaled=True),
    "KDPM2AncestralDiscreteScheduler": Kind("sigmas", _is(2.0), calls=2, scaled=True),
    "LMSDiscreteScheduler": Kind("sigmas", _named("order"), scaled=True),
    "DPMSolverSDEScheduler": Kind("sigmas", _is(None), calls=2, scaled=True),
    "DPMSolverMultistepScheduler": Kind("sigmas", _SOLVER_ORDER, spare=1),
    "DPMSolverSinglestepScheduler": Kind("sigmas", _SOLVER_ORDER, spare=1, group=6),
    "DEISMultistepScheduler": Kind("sigmas", _SOLVER_ORDER, spare=1),
    "UniPCMultistepScheduler": Kind("sigmas", _SOLVER_ORDER, spare=1),
    "SASolverScheduler": Kind("sigmas", _named("predictor_order"), spare=1),
    "FlowMatchEulerDiscreteScheduler": Kind("flow", _is(1.0)),
    "FlowMatchHeunDiscreteScheduler": Kind("flow", _is(2.0), calls=2),
    "EDMEulerScheduler": Kind("edm", _is(1.0)),
    "EDMDPMSolverMultistepScheduler": Kind("edm", _SOLVER_ORDER),
    "CosineDPMSolverMultistepScheduler": Kind("edm", _SOLVER_ORDER),
    "IPNDMScheduler": Kind("angle", _is(4.0)),
}
