"""Constants of leading errors against closed forms and perturbation theory, and what has no exact law."""

import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from scipy.integrate import quad, solve_ivp

from interpolants import GVP, Gaussian, Linear, Noise, Path, diffusion, error_constant, sampler_law
from solvers import DDIM, Euler, EulerMaruyama, Heun, PoleError, StochasticHeun, uniform
from tests.support import recursions
from tests.support.zoo import CASES, CHOICES, GAUSSIAN, MIXTURE


@pytest.mark.parametrize("c", [0.04, 0.5, 4.0])
def test_constants_in_closed_form(c):
    """Euler: Linear −(½ + π(1 + c)/8√c), GVP −(π²/16)(1 − √c)²/√c; DDIM −½∫φ̇², tan φ = σ/α√c."""
    linear, gvp, target = Linear(), GVP(), Gaussian([0.3], c)
    expected = -(0.5 + math.pi * (1 + c) / (8 * math.sqrt(c)))
    assert abs(error_constant(Path(linear, target), Euler()).item() - expected) < 1e-5 * abs(expected)
    expected = -(math.pi**2 / 16) * (1 - math.sqrt(c)) ** 2 / math.sqrt(c)
    assert abs(error_constant(Path(gvp, target), Euler()).item() - expected) < 1e-5 * abs(expected)
    # φ = arctan(t / (1 − t)√c) has φ̇ = √c / ((1 − t)²c + t²).
    square = quad(lambda t: c / ((1 - t) ** 2 * c + t * t) ** 2, 0, 1, epsabs=1e-12)[0]
    assert abs(error_constant(Path(linear, target), DDIM()).item() + square / 2) < 1e-5 * square


@pytest.mark.parametrize("c", [0.3])
@pytest.mark.parametrize("case", CASES[:3], ids=repr)
def test_constants_by_perturbation(case, c):
    """Heun: (ġ(s) − ġ(t))/12 + ⅙∫g³; Euler–Maruyama: its defect a²ρ² − ½(ρ²)¨, carried by the moment equation."""
    start, stop = 0.9, 0.2

    def square(time):
        return case.alpha(time) ** 2 * mpf(c) + case.sigma(time) ** 2

    with mpmath.workdps(30):
        g = lambda time: mpmath.diff(square, time) / (2 * square(time))  # noqa: E731
        cubes = mpmath.quad(lambda s: g(s) ** 3, [stop, start], maxdegree=5) / 6
        heun = float((mpmath.diff(g, stop) - mpmath.diff(g, start)) / 12 + cubes)
    path = Path(case.schedule, Gaussian([0.0], c))
    assert abs(error_constant(path, Heun(), start=start, stop=stop).item() - heun) < 1e-4 * abs(heun) + 1e-8
    choice = next(choice for choice in CHOICES if repr(choice) == "Ramp()")

    def defect(time, state):
        rho2, a, _ = recursions.rates(case, choice, time, c)
        with mpmath.workdps(30):
            curved = float(mpmath.diff(square, mpf(time), 2))
        return [2 * a * state[0] - (a * a * rho2 - curved / 2)]

    error = solve_ivp(defect, (start, stop), [0.0], method="DOP853", rtol=1e-8, atol=1e-10).y[0, -1]
    expected = error / (2 * float(square(mpf(stop))))
    found = error_constant(path, EulerMaruyama(), diffusion.Ramp(), start=start, stop=stop).item()
    assert abs(found - expected) < 1e-5 * (1 + abs(expected))


def test_no_constant():
    """Where w = σ_t is met at t = 0 stochastic Heun has no error of order 2: a ValueError that says what to move."""
    with pytest.raises(ValueError, match=r"an error of order 2 for StochasticHeun; .*; remedy: choose start and stop"):
        error_constant(Path(Linear(), Gaussian([0.0], 0.25)), StochasticHeun(), diffusion.Sigma())


class Clipped(Euler):
    """Euler's method with the state clipped: not affine."""

    def step(self, problem, t0, t1, x, state, noise):
        x, state = Euler.step(self, problem, t0, t1, x, state, noise)
        return np.clip(x, -1.5, 1.5), state


class Twice(EulerMaruyama):
    """Euler–Maruyama with its noise squared: affine in the state, not in the noise."""

    def step(self, problem, t0, t1, x, state, noise):
        return EulerMaruyama.step(self, problem, t0, t1, x, state, lambda t0, t1: noise(t0, t1) ** 2)


def test_what_is_not_affine():
    """A method that clips, one that squares its noise and a network with a tanh are ValueErrors, not wrong laws."""
    path = Path(Linear(), GAUSSIAN)
    for method, w, model in (
        (Clipped(), diffusion.Zero(), None),
        (Twice(), diffusion.Sigma(), None),
        (Euler(), diffusion.Zero(), lambda time, x: np.tanh(x)),
        (Euler(), diffusion.Zero(), lambda time, x: x + 1e-6 * x * x),
    ):
        with pytest.raises(ValueError, match=r"expected a method and .* affine .*; received .*; remedy: "):
            sampler_law(path, method, uniform(4), w, model=model)


def test_refusals():
    """Targets that are no Gaussian, a w for an ODE, poles, and things that are no method are refused in three parts."""
    path = Path(Linear(), GAUSSIAN)
    for arguments, kind, words in (
        ((Path(Linear(), MIXTURE), Euler(), uniform(2)), TypeError, "Gaussian target"),
        ((path, Euler(), uniform(2), diffusion.KL()), ValueError, "w = 0 for Euler"),
        ((path, DDIM(), uniform(2), diffusion.KL()), ValueError, "without w for DDIM"),
        ((path, EulerMaruyama(), uniform(2), diffusion.KL()), PoleError, "one that starts at 1.0"),
        ((path, DDIM(), uniform(2), diffusion.Zero(), Noise), PoleError, "a pole at time 1.0"),
        ((path, Euler, uniform(2)), TypeError, "the class Euler"),
        ((path, uniform(2), Euler()), TypeError, "a method such as"),
        ((path, Euler(), uniform(2), diffusion.Zero(), "velocity"), TypeError, "a prediction"),
    ):
        with pytest.raises(kind, match=words) as error:
            sampler_law(*arguments)
        assert all(part in str(error.value) for part in ("expected ", "; received ", "; remedy: "))
