"""Every family of schedules as its paper writes it, in mpmath, with the parameters that tests draw.

Nothing here reads an expression of the library; ``formulas`` of a family takes its parameters and gives α and σ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mpmath
from hypothesis import strategies as st
from mpmath import mpf

from interpolants import schedules as s

Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Family:
    """A constructor, its paper's formulas, and the ranges of its parameters."""

    make: Callable[..., Any]
    formulas: Callable[..., tuple[Function, Function]]
    parameters: dict[str, st.SearchStrategy[float]] = field(default_factory=dict)
    extremes: tuple[dict[str, float], ...] = ()
    defaults: dict[str, float] = field(default_factory=dict)


def number(value: float) -> mpf:
    """Return the number that was typed: 0.1 is 1/10."""
    return mpf(repr(value))


def logistic(z: mpf) -> mpf:
    return 1 / (1 + mpmath.exp(-z))


def preserving(alpha: Function) -> tuple[Function, Function]:
    return alpha, lambda x: mpmath.sqrt(1 - alpha(x) ** 2)


def decaying(noise: Function) -> tuple[Function, Function]:
    return lambda x: mpmath.exp(-noise(x) / 2), lambda x: mpmath.sqrt(-mpmath.expm1(-noise(x)))


def integrated(beta_min: float, beta_max: float) -> Function:
    low, high = number(beta_min), number(beta_max)
    return lambda x: low * x + (high - low) * x**2 / 2


def sub_vp(beta_min: float, beta_max: float) -> tuple[Function, Function]:
    noise = integrated(beta_min, beta_max)
    return lambda x: mpmath.exp(-noise(x) / 2), lambda x: -mpmath.expm1(-noise(x))


def cosine(offset: float) -> tuple[Function, Function]:
    shift = number(offset)

    def turn(x: mpf) -> mpf:
        return (x + shift) / (1 + shift) * mpmath.pi / 2

    return preserving(lambda x: mpmath.cos(turn(x)) / mpmath.cos(turn(mpf(0))))


def sigmoid(steepness: float) -> tuple[Function, Function]:
    k = number(steepness)

    def alpha(x: mpf) -> mpf:
        return (logistic(k * (1 - 2 * x)) - logistic(-k)) / (logistic(k) - logistic(-k))

    return alpha, lambda x: 1 - alpha(x)


def raw_sigmoid(steepness: float) -> tuple[Function, Function]:
    k = number(steepness)
    return lambda x: logistic(k * (1 - 2 * x)), lambda x: 1 - logistic(k * (1 - 2 * x))


def sigmoid_vp(start: float, end: float, temperature: float) -> tuple[Function, Function]:
    b, e, heat = number(start), number(end), number(temperature)

    def gain(x: mpf) -> mpf:
        return logistic(-(b + (e - b) * x) / heat)

    last, first = logistic(-e / heat), logistic(-b / heat)
    return preserving(lambda x: mpmath.sqrt((gain(x) - last) / (first - last)))


def laplace(location: float, scale: float) -> tuple[Function, Function]:
    mu, b = number(location), number(scale)

    def log_snr(x: mpf) -> mpf:
        half = mpf(1) / 2
        return mu - b * mpmath.sign(half - x) * mpmath.log(1 - 2 * abs(x - half))

    return lambda x: mpmath.sqrt(logistic(log_snr(x))), lambda x: mpmath.sqrt(logistic(-log_snr(x)))


def turned(length: Function, root: mpf) -> tuple[Function, Function]:
    half = mpmath.pi / 2
    return lambda x: length(x) * mpmath.cos(half * x) / root, lambda x: length(x) * mpmath.sin(half * x)


def kinetic(variance: float) -> tuple[Function, Function]:
    root = mpmath.sqrt(number(variance))
    return turned(lambda x: (1 - x) * root + x, root)


def lipschitz(variance: float) -> tuple[Function, Function]:
    c = number(variance)
    return turned(lambda x: c ** ((1 - x) / 2), mpmath.sqrt(c))


def superellipse(p: float) -> tuple[Function, Function]:
    power = number(p)
    return lambda x: (1 - x**power) ** (1 / power), lambda x: x


def discrete(start: str, end: str, power: int) -> tuple[Function, Function]:
    """DDPM with 1000 rates whose roots of order ``power`` are equally spaced.

    log prod(1 − β_k), k ≤ 1000x: the rates have linear factors, whose products are gamma functions.
    """

    def product(x: mpf) -> mpf:
        root, last = mpmath.root(mpf(start), power), mpmath.root(mpf(end), power)
        rise, n, total = (last - root) / 999, 1000 * x, mpf(0)
        for sign in (1, -1)[:power]:
            first = (1 - sign * root) / (-sign * rise)  # the factors are (−sign·rise)(first + k), k = 0 … n − 1
            if sign > 0:
                total += n * mpmath.log(rise) + mpmath.loggamma(1 - first) - mpmath.loggamma(1 - first - n)
            else:
                total += n * mpmath.log(rise) + mpmath.loggamma(first + n) - mpmath.loggamma(first)
        return total

    return decaying(lambda x: -product(x))


def clipped_cosine() -> tuple[Function, Function]:
    alpha, last = cosine(0.008)[0], mpf(999) / 1000
    return preserving(lambda x: alpha(x) if x <= last else alpha(last) * mpf("0.001") ** ((1000 * x - 999) / 2))


def decimal(low: float, high: float) -> st.SearchStrategy[float]:
    """Draw numbers of a few digits, as people write them."""
    return st.floats(low, high).map(lambda value: float(f"{value:.3g}")).filter(lambda value: low <= value <= high)


RATES = {"beta_min": decimal(0.01, 1.0), "beta_max": decimal(1.0, 40.0)}
FAST = {"beta_min": 0.001, "beta_max": 80.0}
VARIANCE = {"variance": decimal(0.01, 4.0)}

FAMILIES: dict[str, Family] = {
    "linear": Family(s.Linear, lambda: (lambda x: 1 - x, lambda x: x)),
    "gvp": Family(s.GVP, lambda: (lambda x: mpmath.cos(mpmath.pi * x / 2), lambda x: mpmath.sin(mpmath.pi * x / 2))),
    "vp": Family(
        s.VP, lambda **rates: decaying(integrated(**rates)), RATES, (FAST,), {"beta_min": 0.1, "beta_max": 20.0}
    ),
    "flow-matching": Family(
        s.FlowMatching,
        lambda sigma_min: (lambda x: 1 - x, lambda x: 1 - (1 - number(sigma_min)) * (1 - x)),
        {"sigma_min": decimal(1e-6, 0.5)},
        ({"sigma_min": 1e-8},),
        {"sigma_min": 1e-4},
    ),
    "trigflow": Family(
        s.TrigFlow,
        lambda sigma_data: (mpmath.cos, lambda x: number(sigma_data) * mpmath.sin(x)),
        {"sigma_data": decimal(0.01, 10.0)},
        ({"sigma_data": 1e-3},),
        {"sigma_data": 0.5},
    ),
    "cosine": Family(s.Cosine, cosine, {"offset": decimal(1e-4, 0.2)}, ({"offset": 1e-5},), {"offset": 0.008}),
    "constant-vp": Family(
        s.ConstantVP,
        lambda beta: decaying(lambda x: number(beta) * x),
        {"beta": decimal(0.1, 40.0)},
        ({"beta": 80.0},),
        {"beta": 10.0},
    ),
    "sub-vp": Family(s.SubVP, sub_vp, RATES, (FAST,), {"beta_min": 0.1, "beta_max": 20.0}),
    "ve": Family(
        s.VE,
        lambda sigma_min, sigma_max: (
            lambda x: mpf(1),
            lambda x: number(sigma_min) * (number(sigma_max) / number(sigma_min)) ** x,
        ),
        {"sigma_min": decimal(0.001, 0.1), "sigma_max": decimal(1.0, 100.0)},
        ({"sigma_min": 1e-4, "sigma_max": 1378.0},),
        {"sigma_min": 0.01, "sigma_max": 50.0},
    ),
    "edm": Family(
        s.EDM,
        lambda sigma_max: (lambda x: mpf(1), lambda x: x),
        {"sigma_max": decimal(1.0, 200.0)},
        ({"sigma_max": 1000.0},),
        {"sigma_max": 80.0},
    ),
    "sigmoid": Family(
        s.Sigmoid, sigmoid, {"steepness": decimal(0.1, 12.0)}, ({"steepness": 20.0},), {"steepness": 5.0}
    ),
    "raw-sigmoid": Family(
        s.RawSigmoid, raw_sigmoid, {"steepness": decimal(0.5, 8.0)}, ({"steepness": 12.0},), {"steepness": 5.0}
    ),
    "sigmoid-vp": Family(
        s.SigmoidVP,
        sigmoid_vp,
        {"start": decimal(-4.0, -0.5), "end": decimal(0.5, 4.0), "temperature": decimal(0.3, 1.2)},
        ({"start": 0.0, "end": 3.0, "temperature": 0.3},),
        {"start": -3.0, "end": 3.0, "temperature": 1.0},
    ),
    "laplace": Family(
        s.Laplace,
        laplace,
        {"location": decimal(-2.0, 2.0), "scale": st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0])},
        ({"location": 0.0, "scale": 1.0},),
        {"location": 0.0, "scale": 0.5},
    ),
    "power": Family(
        s.Power,
        lambda p, q: (lambda x: (1 - x) ** number(p), lambda x: x ** number(q)),
        {"p": st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0]), "q": st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0])},
        ({"p": 3.0, "q": 0.5},),
        {"p": 1.0, "q": 2.0},
    ),
    "superellipse": Family(
        s.Superellipse, superellipse, {"p": st.sampled_from([1.0, 1.5, 2.0, 2.5, 3.0, 4.0])}, ({"p": 6.0},), {"p": 2.0}
    ),
    "follmer": Family(s.Follmer, lambda: (lambda x: 1 - x, lambda x: mpmath.sqrt(x * (2 - x)))),
    "kinetic-optimal": Family(s.KineticOptimal, kinetic, VARIANCE, ({"variance": 1e-4},), {"variance": 0.25}),
    "lipschitz-optimal": Family(s.LipschitzOptimal, lipschitz, VARIANCE, ({"variance": 1e-4},), {"variance": 0.25}),
    "ddpm-linear": Family(s.DDPMLinear, lambda: discrete("0.0001", "0.02", 1)),
    "ddpm-scaled-linear": Family(s.DDPMScaledLinear, lambda: discrete("0.00085", "0.012", 2)),
    "ddpm-cosine": Family(s.DDPMCosine, clipped_cosine),
}
