"""Derivatives of a solve: against closed forms, differences and mpmath, with and without checkpoints."""

import math
from functools import cache

import mpmath
import numpy as np
import pytest
import torch
from law_problems import WEIGHT, curved, problem_for, start, tensors
from solver_methods import DENOISING, METHODS, name

from solvers import (
    DOP853,
    ODE,
    RK4,
    AdamsBashforth,
    Adaptive,
    Denoising,
    Dopri5,
    DPMSolverPP,
    Heun,
    Preconditioned,
    StochasticHeun,
    UniPC,
    solve,
    uniform,
)
from solvers.gradients import checkpointed

both_ways = pytest.mark.parametrize("run", [solve, checkpointed], ids=["plain", "checkpointed"])


@both_ways
@pytest.mark.parametrize("method", [Heun(), AdamsBashforth(3), DPMSolverPP(3), UniPC(3)], ids=name)
def test_first_and_second_derivatives(run, method):
    """Torch's gradcheck and gradgradcheck, by differences, pass in float64 to the start and to a parameter."""

    def end(x, weight):
        return run(problem_for(method, curved(weight)), x, uniform(4), method).x

    x, weight = tensors([[0.5, -0.2]], WEIGHT)
    assert torch.autograd.gradcheck(end, (x, weight))
    if run is solve:
        assert torch.autograd.gradgradcheck(end, (x, weight))


@both_ways
@pytest.mark.parametrize(
    ("method", "tolerance"), [(RK4(), 1e-9), (AdamsBashforth(4), 1e-7), (DOP853(), 1e-13)], ids=name
)
def test_the_derivatives_of_a_linear_flow(run, method, tolerance):
    """x' = θ cos(t) x has X(1) = e^{θ sin 1} x, with derivatives e^{θ sin 1} and sin(1) e^{θ sin 1} x."""
    x, theta = tensors(0.7, -1.3)
    end = run(ODE(lambda time, x: theta * math.cos(time) * x), x, uniform(64, 0.0, 1.0), method).x
    growth = math.exp(-1.3 * math.sin(1.0))
    slopes = [float(slope) for slope in torch.autograd.grad(end, (x, theta))]
    np.testing.assert_allclose(slopes, [growth, math.sin(1.0) * growth * 0.7], rtol=0, atol=tolerance)


@both_ways
@pytest.mark.parametrize("method", [DPMSolverPP(3), UniPC(4), Preconditioned(DPMSolverPP(2), 0.2, 0.5)], ids=name)
def test_the_sensitivities_of_a_gaussian_flow(run, method):
    r"""Under α² + σ² = 1 the flow of N(m, c) is x₀ = m + √c x₁, with derivatives √c, 1 and x₁ / 2√c."""
    x, m, c = tensors(0.8, 0.4, 0.25)

    def data(time, x):
        alpha, sigma = math.cos(math.pi * time / 2), math.sin(math.pi * time / 2)
        return m + alpha * c / (alpha**2 * c + sigma**2) * (x - alpha * m)

    parts = {
        "alpha": lambda t: math.cos(math.pi * t / 2) if t < 1 else 0.0,
        "sigma": lambda t: math.sin(math.pi * t / 2),
    }
    parts |= {"log_snr": lambda t: -2 * math.log(math.tan(math.pi * t / 2)), "clock": lambda t, s: 0.0}
    problem = Denoising(data, **parts, time_of_log_snr=lambda L: 2 / math.pi * math.atan(math.exp(-L / 2)))
    end = run(problem, x, uniform(256), method).x
    slopes = [float(slope) for slope in torch.autograd.grad(end, (x, m, c))]
    np.testing.assert_allclose(slopes, [0.5, 1.0, 0.8], rtol=0, atol=4e-4)  # the last step is of first order


@cache
def sensitivities():
    """Return X(1) of x' = sin(tx + θ), X(0) = 0.3, θ = 0.5, and its derivatives: a Taylor series of 25 digits."""

    def rates(t, y):
        x, by_x, by_theta = y
        bend = mpmath.cos(t * x + mpmath.mpf("0.5"))
        return [mpmath.sin(t * x + mpmath.mpf("0.5")), bend * t * by_x, bend * (t * by_theta + 1)]

    with mpmath.workdps(25):
        return [float(value) for value in mpmath.odefun(rates, 0, [mpmath.mpf("0.3"), 1, 0])(1)]


@both_ways
def test_the_derivatives_of_a_nonlinear_flow(run):
    """Against 25 digits: DOP853 gives the end and both derivatives to 1e-13."""
    exact = sensitivities()
    x, theta = tensors(0.3, 0.5)
    end = run(ODE(lambda time, x: torch.sin(time * x + theta)), x, uniform(32, 0.0, 1.0), DOP853()).x
    found = [float(value) for value in (end.detach(), *torch.autograd.grad(end, (x, theta)))]
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-13)


def test_derivatives_of_adaptive_steps():
    """Through accepted steps, shared and by sample, derivatives are those of the flow to the tolerance."""
    exact = sensitivities()
    for per_sample in (False, True):
        x, theta = tensors([0.3], 0.5)
        settings = Adaptive(Dopri5(), rtol=1e-10, atol=1e-12, per_sample=per_sample)
        end = solve(ODE(lambda time, x: torch.sin(time * x + theta)), x, [0.0, 1.0], settings).x  # noqa: B023
        found = [float(value) for value in (end.detach(), *torch.autograd.grad(end.sum(), (x, theta)))]
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-8)


QUICK = [AdamsBashforth(3), UniPC(3), StochasticHeun()]
REST = [pytest.param(method, marks=pytest.mark.slow) for method in [*METHODS, *DENOISING] if method not in QUICK]


@pytest.mark.parametrize("method", [*QUICK, *REST], ids=name)
def test_jax_has_the_same_derivatives(method):
    """Plain and checkpointed derivatives of jax are those of torch, on the same noise, to the rounding of float32."""
    jax = pytest.importorskip("jax")
    x, weight = jax.numpy.asarray(start(np.float32)), jax.numpy.asarray(WEIGHT, "float32")
    noise = np.random.default_rng(0).standard_normal((24, 5, 2)).astype(np.float32)

    class Given:
        def increments(self, x):
            rows = iter(noise)
            put = torch.from_numpy if isinstance(x, torch.Tensor) else jax.numpy.asarray
            return lambda t0, t1: put(next(rows)) * math.sqrt(abs(t1 - t0))

    def loss(run, field, x):
        return (run(problem_for(method, field), x, uniform(6), method, rng=Given()).x ** 2).sum()

    def by_jax(run):
        tanh = jax.numpy.tanh
        end = lambda x, w: loss(run, lambda time, x: tanh(x @ w) * math.cos(3.0 * time), x)  # noqa: E731
        return jax.grad(end, (0, 1))(x, weight)

    inputs = [torch.tensor(np.asarray(array), requires_grad=True) for array in (x, weight)]
    expected = torch.autograd.grad(loss(solve, curved(inputs[1]), inputs[0]), inputs)
    for run in (solve, checkpointed):
        for found, wanted in zip(by_jax(run), expected):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-5)
