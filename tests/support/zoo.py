"""Everything the laws run over: schedules with independent 60-digit oracles, predictions, choices of w, targets.

The oracles are written out by hand in mpmath, derivatives included; nothing here reads an expression of the library.
``test_lowering_oracle`` checks the derivatives against numerical differentiation, and the list against
PAPER; ``papers`` has the other schedules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mpmath
import numpy as np
from mpmath import mpf
from sympy import E, exp, log, sqrt

from interpolants import (
    GVP,
    VP,
    Data,
    Gaussian,
    GaussianMixture,
    Linear,
    Noise,
    Schedule,
    Score,
    Velocity,
    VPrediction,
    diffusion,
    t,
)

DPS = 100
Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Case:
    """A schedule and what it should be: α, σ and their derivatives as mpmath functions."""

    name: str
    make: Callable[[], Schedule]
    alpha: Function
    sigma: Function
    d_alpha: Function
    d_sigma: Function
    ulp: float = 4.0  # the budget of α and σ
    exact_end: bool = True  # α = 0 at the noise
    exact_start: bool = True  # α = 1 and σ = 0 at the data
    span: float = 1.0  # the domain is [0, span]

    def __repr__(self) -> str:
        return self.name

    @property
    def schedule(self) -> Schedule:
        return self.make()


def _vp(name: str, low: str, high: str) -> Case:
    a, b = mpf(low), None
    with mpmath.workdps(DPS):
        a, b = mpf(low), mpf(high)

    def noise(s: mpf) -> mpf:
        return a * s + (b - a) * s * s / 2

    def rate(s: mpf) -> mpf:
        return a + (b - a) * s

    return Case(
        name,
        lambda: VP(beta_min=float(low), beta_max=float(high)),
        lambda s: mpmath.exp(-noise(s) / 2),
        lambda s: mpmath.sqrt(-mpmath.expm1(-noise(s))),
        lambda s: -rate(s) / 2 * mpmath.exp(-noise(s) / 2),
        lambda s: rate(s) * mpmath.exp(-noise(s)) / (2 * mpmath.sqrt(-mpmath.expm1(-noise(s)))),
        ulp=16.0,
        exact_end=False,
    )


def _half_turn(s: mpf) -> mpf:
    return mpmath.pi * s / 2


LINEAR = Case("linear", Linear, lambda s: 1 - s, lambda s: s, lambda s: mpf(-1), lambda s: mpf(1))
TRIGONOMETRIC = Case(
    "gvp",
    GVP,
    lambda s: mpmath.cos(_half_turn(s)),
    lambda s: mpmath.sin(_half_turn(s)),
    lambda s: -mpmath.pi / 2 * mpmath.sin(_half_turn(s)),
    lambda s: mpmath.pi / 2 * mpmath.cos(_half_turn(s)),
)
VARIANCE_PRESERVING = _vp("vp", "0.1", "20")
QUADRATIC = Case(
    "quadratic",
    lambda: Schedule("quadratic", alpha=1 - t**2, sigma=t**2),
    lambda s: (1 - s) * (1 + s),
    lambda s: s * s,
    lambda s: -2 * s,
    lambda s: 2 * s,
)
EXP_LOG = Case(
    "exp-log",
    lambda: Schedule("exp-log", alpha=1 - log(1 + (E - 1) * t), sigma=(exp(t) - 1) / (E - 1)),
    lambda s: 1 - mpmath.log1p((mpmath.e - 1) * s),
    lambda s: mpmath.expm1(s) / (mpmath.e - 1),
    lambda s: -(mpmath.e - 1) / (1 + (mpmath.e - 1) * s),
    lambda s: mpmath.exp(s) / (mpmath.e - 1),
    ulp=16.0,
)
FOELLMER = Case(
    "foellmer",
    lambda: Schedule("foellmer", alpha=1 - t, sigma=sqrt(t * (2 - t))),
    lambda s: 1 - s,
    lambda s: mpmath.sqrt(s * (2 - s)),
    lambda s: mpf(-1),
    lambda s: (1 - s) / mpmath.sqrt(s * (2 - s)),
)

BUILT_INS = [LINEAR, TRIGONOMETRIC, VARIANCE_PRESERVING]
OTHER_RATES = [_vp("vp-slow", "0.1", "1"), _vp("vp-constant", "1", "1")]
CUSTOM = [QUADRATIC, EXP_LOG, FOELLMER]
CASES = [*BUILT_INS, *OTHER_RATES, *CUSTOM]

PREDICTIONS = [Velocity, Score, Noise, Data, VPrediction]


@dataclass(frozen=True)
class Choice:
    """A choice of w and what it should be: a function of (case, time) in mpmath."""

    w: diffusion.DiffusionCoefficient
    value: Callable[[Case, mpf], mpf]

    def __repr__(self) -> str:
        return repr(self.w)


def numbers(case: Case, time: float) -> tuple[float, float]:
    """Return α and σ as floats."""
    with mpmath.workdps(30):
        return float(case.alpha(mpf(time))), float(case.sigma(mpf(time)))


def kappa(case: Case, s: mpf) -> mpf:
    r"""Return κ = σσ̇ − α̇σ²/α."""
    a, b = case.alpha(s), case.sigma(s)
    return b * case.d_sigma(s) - case.d_alpha(s) * b * b / a


def wronskian(case: Case, s: mpf) -> mpf:
    """Return W = ασ̇ − α̇σ."""
    return case.alpha(s) * case.d_sigma(s) - case.d_alpha(s) * case.sigma(s)


CHOICES = [
    Choice(diffusion.KL(), lambda case, s: 2 * kappa(case, s)),
    Choice(diffusion.SBDM(), lambda case, s: 2 * kappa(case, s)),
    Choice(diffusion.SBDM(beta="1/10 + 199*t/10"), lambda case, s: mpf(1) / 10 + 199 * s / 10),
    Choice(diffusion.Sigma(), lambda case, s: case.sigma(s)),
    Choice(diffusion.SinSquared(), lambda case, s: mpmath.sin(mpmath.pi * s) ** 2),
    Choice(diffusion.Constant(0.5), lambda case, s: mpf(1) / 2),
    Choice(diffusion.Ramp(), lambda case, s: s),
    Choice(diffusion.Decreasing(), lambda case, s: mpmath.sin(_half_turn(s)) ** 4),
    Choice(diffusion.Zero(), lambda case, s: mpf(0)),
    Choice(diffusion.Custom("t*(1 - t) + exp(-t)"), lambda case, s: s * (1 - s) + mpmath.exp(-s)),
    Choice(2 * diffusion.Sigma(), lambda case, s: 2 * case.sigma(s)),
    Choice(diffusion.Ramp() + diffusion.SinSquared(), lambda case, s: s + mpmath.sin(mpmath.pi * s) ** 2),
    Choice(
        diffusion.KLRegularized(0.5, "1 + t"),
        lambda case, s: 1 / mpmath.sqrt(1 / (2 * kappa(case, s)) ** 2 + 1 / (1 + s)),
    ),
]


FIRST = {"KL()", "Sigma()", "SinSquared()", "Constant(0.5)", "Ramp()"}
"""The choices of w that the first tier runs over."""


def row(name: str, case: Case, s: mpf) -> tuple[mpf, mpf]:
    """Return the row (a, b) of a prediction a·x_data + b·ε, written out again."""
    rows: dict[str, Callable[[], tuple[mpf, mpf]]] = {
        "Velocity": lambda: (case.d_alpha(s), case.d_sigma(s)),
        "Score": lambda: (mpf(0), -1 / case.sigma(s)),
        "Noise": lambda: (mpf(0), mpf(1)),
        "Data": lambda: (mpf(1), mpf(0)),
        "VPrediction": lambda: (-case.sigma(s), case.alpha(s)),
    }
    return rows[name]()


def solve_two(case: Case, s: mpf, given: tuple[mpf, mpf], wanted: tuple[mpf, mpf]) -> tuple[mpf, mpf]:
    """Return (A, B) with wanted = A·(α, σ) + B·given, by a general linear solver."""
    system = mpmath.matrix([[case.alpha(s), given[0]], [case.sigma(s), given[1]]])
    solution = mpmath.lu_solve(system, mpmath.matrix(list(wanted)))
    return solution[0], solution[1]


MEAN = np.array([0.7, -0.4])
COVARIANCE = np.array([[0.5, 0.3], [0.3, 0.9]])
GAUSSIAN = Gaussian(MEAN, COVARIANCE)
MIXTURE = GaussianMixture(
    [0.3, 0.5, 0.2],
    [[1.0, 0.5], [-1.5, 0.2], [0.3, -2.0]],
    [[[0.2, 0.05], [0.05, 0.1]], [[0.4, -0.1], [-0.1, 0.3]], [[0.05, 0.0], [0.0, 0.6]]],
)
MIXTURE_1D = GaussianMixture([0.35, 0.65], [[-1.2], [0.8]], [[[0.09]], [[0.25]]])
