"""The schedules that ship with the library, one family per file.

``BUILT_IN`` maps the command-line name to the constructor; ``PAPER`` are the three of SiT, whose conversions and
drifts ship as code.
"""

from __future__ import annotations

from collections.abc import Callable

from interpolants.schedule import Schedule
from interpolants.schedules.discrete import DDPMCosine, DDPMLinear, DDPMScaledLinear, Discrete
from interpolants.schedules.edm import EDM
from interpolants.schedules.gaussian_optimal import KineticOptimal, LipschitzOptimal
from interpolants.schedules.laplace import Laplace
from interpolants.schedules.linear import FlowMatching, Linear
from interpolants.schedules.power import Follmer, Power, Superellipse
from interpolants.schedules.sigmoid import RawSigmoid, Sigmoid, SigmoidVP
from interpolants.schedules.trigonometric import GVP, Cosine, TrigFlow
from interpolants.schedules.variance_preserving import VE, VP, ConstantVP, SubVP
from solvers.errors import closest, explain

__all__ = [
    "BUILT_IN",
    "EDM",
    "GVP",
    "PAPER",
    "VE",
    "VP",
    "ConstantVP",
    "Cosine",
    "DDPMCosine",
    "DDPMLinear",
    "DDPMScaledLinear",
    "Discrete",
    "FlowMatching",
    "Follmer",
    "KineticOptimal",
    "Laplace",
    "Linear",
    "LipschitzOptimal",
    "Power",
    "RawSigmoid",
    "Sigmoid",
    "SigmoidVP",
    "SubVP",
    "Superellipse",
    "TrigFlow",
    "by_name",
]

BUILT_IN: dict[str, Callable[[], Schedule]] = {
    "linear": Linear,
    "gvp": GVP,
    "vp": VP,
    "flow-matching": FlowMatching,
    "trigflow": TrigFlow,
    "cosine": Cosine,
    "constant-vp": ConstantVP,
    "sub-vp": SubVP,
    "ve": VE,
    "edm": EDM,
    "sigmoid": Sigmoid,
    "raw-sigmoid": RawSigmoid,
    "sigmoid-vp": SigmoidVP,
    "laplace": Laplace,
    "power": Power,
    "superellipse": Superellipse,
    "follmer": Follmer,
    "kinetic-optimal": KineticOptimal,
    "lipschitz-optimal": LipschitzOptimal,
    "ddpm-linear": DDPMLinear,
    "ddpm-scaled-linear": DDPMScaledLinear,
    "ddpm-cosine": DDPMCosine,
}

PAPER = ("linear", "gvp", "vp")


def by_name(name: str) -> Schedule:
    """Return the built-in schedule that the command line calls ``name``."""
    if name not in BUILT_IN:
        expected = f"the name of a schedule, one of {', '.join(BUILT_IN)}"
        raise ValueError(explain(expected, repr(name), f"did you mean {closest(name, BUILT_IN)}?"))
    return BUILT_IN[name]()
