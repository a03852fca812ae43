r"""Stochastic interpolants: schedules as sympy expressions, and everything that follows from them.

>>> from interpolants import Schedule, t
>>> schedule = Schedule("quadratic", alpha=1 - t**2, sigma=t**2)
>>> schedule.d_sigma(t)
2*t
>>> schedule.d_sigma(0.25)
0.5

t = 0 is data and t = 1 is noise, everywhere. See the documentation's conventions page.

Schedules, predictions, targets, paths and dynamics are imported at once; the rest when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from interpolants import diffusion
from interpolants.certify import certify
from interpolants.dynamics import denoising, forward_sde, probability_flow, reverse_sde, suggest
from interpolants.ensembles import compiled_flow, compiled_sde
from interpolants.path import Path
from interpolants.prediction import Data, Noise, Prediction, Score, Velocity, VPrediction, convert
from interpolants.reparametrise import time_shift
from interpolants.schedule import Coefficients, Schedule
from interpolants.schedules import GVP, VP, Linear
from interpolants.symbols import t
from interpolants.targets import Empirical, Gaussian, GaussianMixture, LowRank, Product

if TYPE_CHECKING:  # the same names as in _LATER
    from interpolants import times, weights
    from interpolants.bounds import Bound, kl_bound
    from interpolants.constants import error_constant
    from interpolants.coupling import couple
    from interpolants.ddpm import DiscreteDiffusion, ReverseChain, training_losses, vlb_terms
    from interpolants.equivalence import transfer, transfer_diffusion
    from interpolants.grids import cosine_optimal, optimal_grid
    from interpolants.laws import Law, sampler_law
    from interpolants.noise_levels import align_your_steps, karras, log_snr_uniform, timestep_strides
    from interpolants.objective import Objective
    from interpolants.terminal import zero_terminal_snr
    from interpolants.transport import (
        Estimate,
        bures,
        excess_loss,
        kinetic_gap,
        lipschitz,
        normalised_path_energy,
        path_length,
        sample_wasserstein2,
        sliced_wasserstein2,
        straightness,
        transport_cost,
        wasserstein2,
    )
    from interpolants.two_sided import TwoSided, TwoSidedPath

_LATER = {
    "bounds": ("Bound", "kl_bound"),
    "constants": ("error_constant",),
    "coupling": ("couple",),
    "ddpm": ("DiscreteDiffusion", "ReverseChain", "training_losses", "vlb_terms"),
    "equivalence": ("transfer", "transfer_diffusion"),
    "grids": ("cosine_optimal", "optimal_grid"),
    "laws": ("Law", "sampler_law"),
    "noise_levels": ("align_your_steps", "karras", "log_snr_uniform", "timestep_strides"),
    "objective": ("Objective",),
    "terminal": ("zero_terminal_snr",),
    "times": (),
    "transport": (
        "Estimate",
        "bures",
        "excess_loss",
        "kinetic_gap",
        "lipschitz",
        "normalised_path_energy",
        "path_length",
        "sample_wasserstein2",
        "sliced_wasserstein2",
        "straightness",
        "transport_cost",
        "wasserstein2",
    ),
    "two_sided": ("TwoSided", "TwoSidedPath"),
    "weights": (),
}
_HOME = {name: module for module, names in _LATER.items() for name in names}

__all__ = [
    "GVP",
    "VP",
    "Bound",
    "Coefficients",
    "Data",
    "DiscreteDiffusion",
    "Empirical",
    "Estimate",
    "Gaussian",
    "GaussianMixture",
    "Law",
    "Linear",
    "LowRank",
    "Noise",
    "Objective",
    "Path",
    "Prediction",
    "Product",
    "ReverseChain",
    "Schedule",
    "Score",
    "TwoSided",
    "TwoSidedPath",
    "VPrediction",
    "Velocity",
    "align_your_steps",
    "bures",
    "certify",
    "compiled_flow",
    "compiled_sde",
    "convert",
    "cosine_optimal",
    "couple",
    "denoising",
    "diffusion",
    "error_constant",
    "excess_loss",
    "forward_sde",
    "karras",
    "kinetic_gap",
    "kl_bound",
    "lipschitz",
    "log_snr_uniform",
    "normalised_path_energy",
    "optimal_grid",
    "path_length",
    "probability_flow",
    "reverse_sde",
    "sample_wasserstein2",
    "sampler_law",
    "sliced_wasserstein2",
    "straightness",
    "suggest",
    "t",
    "time_shift",
    "times",
    "timestep_strides",
    "training_losses",
    "transfer",
    "transfer_diffusion",
    "transport_cost",
    "vlb_terms",
    "wasserstein2",
    "weights",
    "zero_terminal_snr",
]


def __getattr__(name: str) -> Any:
    """Import the module that a name lives in, once."""
    if name not in _HOME and name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME.get(name, name)}")
    value = getattr(module, name) if name in _HOME else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
