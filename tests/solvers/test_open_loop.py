"""The loop in the caller's hands: previews, an early stop, control, and predictions that are changed on the way."""

import math
from dataclasses import replace

import numpy as np
import pytest
from solver_methods import EXPONENTIAL, name

from interpolants import Data, Gaussian, GaussianMixture, Linear, Path, denoising, probability_flow, sampler_law
from interpolants import diffusion as w
from solvers import (
    DDIM,
    ODE,
    DPMSolverPP,
    Euler,
    ExponentialEulerMaruyama,
    Heun,
    Preconditioned,
    UniPC,
    solve,
    steps,
    uniform,
)

KNOWN = 1.5
BLIND = [method for method in EXPONENTIAL if not isinstance(method, Preconditioned)]


def pair(correlation):
    """Return the path of two coordinates with variances 1 and 0.49."""
    cov = 0.7 * correlation
    return Path(Linear(), Gaussian([0.5, -1.0], [[1.0, cov], [cov, 0.49]]))


def pinned(path):
    """Return the data prediction with its first coordinate put to what is known."""

    def data(time, x):
        found = path.data(time, x)
        return np.concatenate([np.full_like(found[..., :1], KNOWN), found[..., 1:]], axis=-1)

    return data


def conditional(correlation):
    """Return the mean and the variance of the second coordinate, given the first: the rule of Gaussian regression."""
    return -1.0 + 0.7 * correlation * (KNOWN - 0.5), 0.49 * (1.0 - correlation**2)


@pytest.mark.parametrize("method", BLIND, ids=name)
def test_pinning_a_coordinate_that_tells_nothing(method):
    """Where coordinates are independent the known one arrives exactly, and the other has the law it has alone."""
    found = sampler_law(pair(0.0), method, uniform(40), prediction=Data, model=pinned(pair(0.0)))
    alone = sampler_law(Path(Linear(), Gaussian([-1.0], 0.49)), method, uniform(40))
    np.testing.assert_allclose(found.mean, [KNOWN, -1.0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.cov, [[0.0, 0.0], [0.0, alone.cov.item()]], rtol=0, atol=1e-12)
    assert abs(alone.cov.item() - 0.49) < 0.04


@pytest.mark.parametrize(
    ("method", "coefficient"), [(DPMSolverPP(2), w.Zero()), (ExponentialEulerMaruyama(), w.KL())], ids=["ode", "sde"]
)
def test_pinning_is_not_conditioning(method, coefficient):
    """With correlation the mean goes part of the way only and the variance stays too large, on every grid."""
    mean, variance = conditional(0.8)
    for n in (20, 200):
        law = sampler_law(pair(0.8), method, uniform(n), coefficient, Data, model=pinned(pair(0.8)))
        assert abs(law.mean[0] - KNOWN) + abs(law.cov[0]).sum() < 1e-12
        assert -1.0 + 0.5 * (mean + 1.0) < law.mean[1] < mean - 0.1
        assert law.cov[1, 1] > variance if n == 20 else law.cov[1, 1] > 1.25 * variance


@pytest.mark.parametrize(
    ("method", "coefficient"), [(DPMSolverPP(3), w.Zero()), (ExponentialEulerMaruyama(), w.KL())], ids=["ode", "sde"]
)
def test_the_conditional_prediction_conditions(method, coefficient):
    """With the prediction of the other coordinate given the known one, the law is that of Gaussian regression."""
    mean, variance = conditional(0.8)
    given = Path(Linear(), Gaussian([mean], variance))

    def data(time, x):
        rest = given.data(time, x[..., 1:])
        return np.concatenate([np.full_like(rest, KNOWN), rest], axis=-1)

    law = sampler_law(pair(0.8), method, uniform(500), coefficient, Data, model=data)
    np.testing.assert_allclose(law.mean, [KNOWN, mean], rtol=0, atol=1e-9)
    np.testing.assert_allclose(law.cov, [[0.0, 0.0], [0.0, variance]], rtol=0, atol=4e-3)


def test_sending_states_is_pinning_the_prediction():
    """For DDIM the noised known value, with the noise that x started from, is where the pinned prediction leads."""
    path, x = pair(0.8), np.random.default_rng(0).standard_normal((6, 2))
    ts = uniform(10)
    expected = solve(denoising(path.schedule, pinned(path), Data), x, ts, DDIM()).x
    run = steps(denoising(path.schedule, path.data, Data), x, ts, DDIM())
    for step in run:
        known = path.schedule.alpha(step.time) * KNOWN + path.schedule.sigma(step.time) * x[:, :1]
        last = run.send(np.concatenate([known, step.x[:, 1:]], axis=1))
    np.testing.assert_allclose(last.x, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", [DDIM(), DPMSolverPP(3), UniPC(3)], ids=name)
def test_a_prediction_replaced_in_a_problem(method):
    """The data prediction of any denoising problem is a field of it: a mixture, with coordinates kept where known."""
    path = Path(Linear(), GaussianMixture([0.4, 0.6], [[-1.0, 0.3], [1.0, -0.5]], [0.1 * np.eye(2), 0.2 * np.eye(2)]))
    problem, x = denoising(path.schedule, path.velocity), np.random.default_rng(1).standard_normal((4, 2))
    mask, known = np.array([True, False]), np.array([0.25, 0.0])
    kept = replace(problem, data=lambda time, x: np.where(mask, known, problem.data(time, x)))
    end = solve(kept, x, uniform(12), method).x
    np.testing.assert_allclose(end[:, 0], 0.25, rtol=0, atol=1e-12)
    assert np.abs(end[:, 1] - solve(problem, x, uniform(12), method).x[:, 1]).max() > 1e-3


def test_previews_cost_nothing():
    """A problem that keeps its last prediction shows x̂ after each step, from evaluations that the solve makes."""
    path, calls = pair(0.3), []
    problem = denoising(path.schedule, lambda time, x: calls.append(path.data(time, x)) or calls[-1], Data)
    x = path.prior(5, np.random.default_rng(2))
    previews = [calls[-1] for _ in steps(problem, x, uniform(8), DDIM())]
    assert len(previews) == len(calls) == 8
    # The last step of DDIM goes to x̂ itself.
    np.testing.assert_allclose(previews[-1], solve(problem, x, uniform(8), DDIM()).x, rtol=0, atol=1e-12)


def test_an_early_stop_saves_the_rest():
    """Nothing is evaluated before the first step is asked for, nor after the loop is left; the state is good to use."""
    calls = []
    problem, ts = ODE(lambda time, x: calls.append(time) or -x), uniform(100, 0.0, 5.0)
    run = steps(problem, np.ones(3), ts, Heun())
    assert calls == []
    for step in run:
        if np.abs(step.x).max() < 0.5:
            break
    assert len(calls) == 2 * step.index
    assert abs(step.time - math.log(2.0)) < 0.05
    rest = solve(problem, step.x, ts[step.index :], Heun()).x
    np.testing.assert_array_equal(rest, solve(problem, np.ones(3), ts, Heun()).x)


def test_a_projection_after_every_step():
    """Euler on a rotation leaves the circle by √(1 + h²) each step; put back, it turns by arctan h each step."""
    h, n = 0.1, 30
    turn = ODE(lambda time, x: np.stack([-x[1], x[0]]))
    run = steps(turn, np.array([1.0, 0.0]), uniform(n, 0.0, n * h), Euler())
    for step in run:
        assert abs(np.hypot(*step.x) - math.sqrt(1.0 + h * h)) < 1e-12
        step = run.send(step.x / np.hypot(*step.x))
    np.testing.assert_allclose(step.x, [math.cos(n * math.atan(h)), math.sin(n * math.atan(h))], rtol=0, atol=1e-12)


def test_feedback():
    """A loop that steers by what it sees: a bias of the model is taken out of the mean of the batch."""
    path = Path(Linear(), Gaussian([0.5], 0.25))
    biased = probability_flow(path.schedule, lambda time, x: path.velocity(time, x) - 0.3)
    x = path.prior(4, np.random.default_rng(3))
    x = x - x.mean()
    run = steps(biased, x, uniform(50), Heun())
    for step in run:
        drifted = step.x.mean() - path.flow(1.0, step.time, np.zeros((1, 1))).item()
        step = run.send(step.x - drifted)
    np.testing.assert_allclose(step.x, path.flow(1.0, 0.0, x), rtol=0, atol=1e-3)
    assert abs(solve(biased, x, uniform(50), Heun()).x.mean() - 0.5) > 0.2
