"""The names of SiT's interface, and what they are here."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from sympy import cos, pi

from interpolants import diffusion as w
from interpolants import weights
from interpolants.diffusion import DiffusionCoefficient
from interpolants.prediction import Noise, Prediction, Score, Velocity
from interpolants.schedule import Schedule
from interpolants.schedules import GVP, VP, Linear
from interpolants.symbols import canonical, t
from interpolants.weights import Weight
from solvers.errors import closest, explain

__all__ = ["ModelType", "PathType", "WeightType", "diffusion_coefficient", "named"]

Value = TypeVar("Value")


class ModelType(Enum):
    """What the model predicts."""

    NOISE = "noise"
    SCORE = "score"
    VELOCITY = "velocity"

    @property
    def prediction(self) -> Prediction:
        """The same as a prediction of this library; a velocity has the other sign."""
        return {"noise": Noise, "score": Score, "velocity": Velocity}[self.value]


class PathType(Enum):
    """The interpolant."""

    LINEAR = "Linear"
    GVP = "GVP"
    VP = "VP"

    @property
    def schedule(self) -> Schedule:
        """The same as a schedule of this library; VP has β from 0.1 to 20."""
        schedule: Schedule = {"Linear": Linear, "GVP": GVP, "VP": VP}[self.value]()
        return schedule


class WeightType(Enum):
    """The weight of the loss."""

    NONE = None
    VELOCITY = "velocity"
    LIKELIHOOD = "likelihood"

    @property
    def weight(self) -> Weight:
        """The same as a weight of this library."""
        return {None: weights.Uniform, "velocity": weights.Velocity, "likelihood": weights.Likelihood}[self.value]()


def diffusion_coefficient(form: str, norm: float) -> DiffusionCoefficient:
    r"""Return :math:`w = 2\cdot` "diffusion" for the name of a form and its norm.

    Raises:
        ValueError: an unknown form; a norm that makes w negative.
    """
    number = canonical(norm, "diffusion_norm")
    forms = {
        "constant": lambda: w.Constant(2 * norm),
        "SBDM": lambda: norm * w.KL(),
        "sigma": lambda: 2 * norm * w.Sigma(),
        "linear": lambda: 2 * norm * w.Ramp(),
        # The norm multiplies the cosine, and cos πt' = −cos πt.
        "decreasing": lambda: w.Custom((1 - number * cos(pi * t)) ** 2 / 2),
        "increasing-decreasing": lambda: 2 * norm * w.SinSquared(),
    }
    return named("diffusion_form", "increasing-decreasing" if form == "inccreasing-decreasing" else form, forms)()


def named(argument: str, name: object, choices: Mapping[str, Value]) -> Value:
    """Return the choice of a name, or refuse the name with those that are near."""
    if isinstance(name, str) and name in choices:
        return choices[name]
    wanted = f"{argument}: one of {', '.join(map(repr, choices))}"
    raise ValueError(explain(wanted, repr(name), f"pass {closest(str(name), choices)}"))
