"""A solve turned inside out: the same states as the loop that owns its evaluations."""

import numpy as np
import pytest
from solver_methods import DENOISING, METHODS, MULTISTEP, name

from interpolants import VP, Linear, Noise, denoising, probability_flow, reverse_sde
from interpolants import diffusion as w
from solvers import (
    DDIM,
    ODE,
    SDE,
    AdamsBashforth,
    Ancestral,
    DPMSolverPP,
    Euler,
    EulerMaruyama,
    Heun,
    LastStep,
    PoleError,
    ShARK,
    Tweedie,
    solve,
    steps,
    uniform,
)
from solvers.inverted import invert

X = np.random.default_rng(0).standard_normal((5, 2))
GRID = uniform(6, start=0.98, stop=0.02)
RELATED = [LastStep(EulerMaruyama(), last) for last in (Euler(), DDIM())]


def model(time, x):
    return np.tanh(x) * (1.0 + time) - np.sin(3.0 * time)


def posed(method):
    """The problem of a network, for a method."""

    def pose(network):
        if method.solves is ODE:
            return probability_flow(VP(), network)
        if method.solves is SDE:
            return reverse_sde(VP(), network, w.Sigma())
        return denoising(VP(), network, w=w.Sigma() if getattr(method, "reads_clock", False) else w.Zero())

    return pose


def normals(seed):
    rng = np.random.default_rng(seed)
    return lambda t0, t1: rng.standard_normal(X.shape) * np.sqrt(abs(t1 - t0))


def followed(run, x, noise=None):
    """The end of a solve, and what the network was asked."""
    asked, point = [], run.begin(x, noise)
    for call in run.calls:
        asked.append((call.time, point))
        point = run.answer(model(call.time, point), noise)
    return point, asked


@pytest.mark.covering(13)
@pytest.mark.parametrize("method", [*METHODS, *DENOISING, *RELATED], ids=name)
def test_answering_the_calls_is_solving(method):
    """The network is asked at the same times and points, as often, and the end is the same, to rounding."""
    asked = []

    def recorded(time, x):
        asked.append((time, x))
        return model(time, x)

    pose = posed(method)
    direct = solve(pose(recorded), X, GRID, method, rng=np.random.default_rng(1))
    end, calls = followed(invert(method, pose, GRID), X, normals(1))
    assert [time for time, _ in calls] == [time for time, _ in asked]
    np.testing.assert_allclose([x for _, x in calls], [x for _, x in asked], rtol=0.0, atol=1e-13)
    np.testing.assert_allclose(end, direct.x, rtol=0.0, atol=1e-13)


def test_to_the_data_a_last_step_of_tweedie_is_the_data_prediction():
    """Down to t = 0 an SDE whose last step knows the relatives of its problem ends where the loop does."""
    method = LastStep(EulerMaruyama(), Tweedie())
    pose, grid = posed(method), uniform(5)
    direct = solve(pose(model), X, grid, method, rng=np.random.default_rng(1))
    end, calls = followed(invert(method, pose, grid), X, normals(1))
    np.testing.assert_allclose(end, direct.x, rtol=0.0, atol=1e-13)
    time, x = calls[-1]
    np.testing.assert_allclose(end, denoising(VP(), model).data(time, x), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("method", [Heun(), DPMSolverPP(3, "singlestep"), Ancestral()], ids=name)
def test_the_rest_of_a_solve_without_memory_is_a_solve(method):
    """From step 2 on: the solve on the rest of the grid."""
    pose = posed(method)
    end, _ = followed(invert(method, pose, GRID).rest(2), X, normals(2))
    direct = solve(pose(model), X, GRID[2:], method, rng=np.random.default_rng(2))
    np.testing.assert_allclose(end, direct.x, rtol=0.0, atol=1e-13)


@pytest.mark.covering(5)
@pytest.mark.parametrize("method", [*MULTISTEP, *(AdamsBashforth(order) for order in (2, 3, 4))], ids=name)
def test_the_rest_of_a_multistep_solve_begins_with_order_one(method):
    """One evaluation a step, at its start; the first step is Euler's, of the exponential methods DDIM's."""
    pose = posed(method)
    run = invert(method, pose, GRID).rest(3)
    assert [call.time for call in run.calls] == GRID[3:-1].tolist()
    first = run.answer(model(GRID[3], run.begin(X)))
    one = Euler() if method.solves is ODE else DDIM()
    np.testing.assert_allclose(first, solve(pose(model), X, GRID[3:5], one).x, rtol=0.0, atol=1e-13)


def test_after_its_start_a_multistep_method_is_that_of_the_paper():
    """DPM-Solver++(2M): x_s = σ_s/σ_t x + α_s (1 − e^{−h})(x̂ + h/2h₀ (x̂ − x̂₀)), arXiv 2211.01095, algorithm 2."""
    schedule, method = VP(), DPMSolverPP(2)
    pose = posed(method)
    end, _ = followed(invert(method, pose, GRID).rest(1), X)
    data, x, before = denoising(schedule, model).data, X, None
    half = [0.5 * float(schedule.log_snr(time)) for time in GRID]
    for k in range(1, len(GRID) - 1):
        found, h = data(GRID[k], x), half[k + 1] - half[k]
        slope = 0.0 if before is None else 0.5 * h / (half[k] - half[k - 1]) * (found - before)
        gain = schedule.alpha(GRID[k + 1]) * -np.expm1(-h)
        x, before = schedule.sigma(GRID[k + 1]) / schedule.sigma(GRID[k]) * x + gain * (found + slope), found
    np.testing.assert_allclose(end, x, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("method", [DPMSolverPP(2), Heun()], ids=name)
def test_a_state_may_be_replaced_at_the_first_evaluation_of_a_step(method):
    """As by ``send`` in the open loop."""
    pose = posed(method)
    run = invert(method, pose, GRID)
    point = run.begin(X)
    for call in run.calls:
        state = point + 0.1 if call.first and call.step == 3 else None
        point = run.answer(model(call.time, point if state is None else state), None, state)
    loop = steps(pose(model), X, GRID, method)
    for step in loop:
        step = loop.send(step.x + 0.1) if step.index == 3 else step
    np.testing.assert_allclose(point, step.x, rtol=0.0, atol=1e-13)


def test_which_evaluations_are_at_the_state():
    """Those at the starts of Heun's steps; none of ShARK's, whose steps begin with noise."""
    run = invert(Heun(), posed(Heun()), GRID)
    assert [(call.first, call.at_state) for call in run.calls[:4]] == [(True, True), (False, False)] * 2
    assert not any(call.at_state for call in invert(ShARK(), posed(ShARK()), GRID).calls)


def test_what_is_refused():
    """A pole, before anything is asked; a start among the starting steps of AdamsBashforth(4); no noise."""
    with pytest.raises(PoleError, match="Heun evaluates in step 1"):
        invert(Heun(), lambda network: probability_flow(Linear(), network, Noise), uniform(4))
    with pytest.raises(ValueError, match="received AdamsBashforth from step 3 on"):  # which it takes by RK4
        invert(AdamsBashforth(4), posed(Euler()), GRID).rest(2)
    with pytest.raises(TypeError, match="expected noise for a stochastic method; received None"):
        invert(ShARK(), posed(ShARK()), GRID).begin(X)
