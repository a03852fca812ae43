"""A solve that was written down before it is run: the same numbers, and nothing computed on the host."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from solver_methods import DENOISING, METHODS, name

from interpolants import VP, Data, GaussianMixture, Linear, Noise, Path, denoising, probability_flow, reverse_sde
from interpolants import diffusion as w
from solvers import (
    DDIM,
    ODE,
    SDE,
    AdamsBashforth,
    DPMSolverPP,
    Euler,
    ExponentialEulerMaruyama,
    Heun,
    NonFiniteError,
    Preconditioned,
    UniPC,
    solve,
    steps,
    uniform,
)
from solvers.method import Planned
from solvers.plan import plan

PATH = Path(VP(), GaussianMixture([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], [0.1 * np.eye(2), 0.3 * np.eye(2)]))
X = np.random.default_rng(0).standard_normal((5, 2))
GRID = uniform(7, start=0.98, stop=0.02)


def problem(method):
    schedule, model = PATH.schedule, PATH.velocity
    if method.solves is ODE:
        return probability_flow(schedule, model)
    if method.solves is SDE:
        return reverse_sde(schedule, model, w.Sigma())
    return denoising(schedule, model, w=w.Sigma() if method.reads_clock else w.Zero())


@pytest.mark.parametrize("method", [*METHODS, *DENOISING], ids=name)
def test_following_a_plan_gives_what_the_method_gives(method):
    posed = problem(method)
    planned = method.plan(posed, GRID)
    direct = solve(posed, X, GRID, method, rng=np.random.default_rng(1), save=True)
    followed = solve(posed, X, GRID, planned, rng=np.random.default_rng(1), save=True)
    assert followed.nfe == direct.nfe
    # Sums in another order: a few roundings for each step.
    np.testing.assert_allclose(followed.xs, direct.xs, rtol=0.0, atol=64 * np.finfo(float).eps)
    for told in ("order", "evaluations", "nodes", "stochastic", "solves"):
        assert getattr(planned, told) == getattr(method, told)


def weights(terms):
    return {key: weight for weight, key in terms}


def test_the_weights_are_those_of_the_textbooks():
    """Euler h; Heun h/2 and h/2; Adams–Bashforth 3h/2 and −h/2 once it has started with the midpoint rule."""
    flow, h = ODE(lambda time, x: x), 0.25
    times = [0.0, 0.25, 0.5]
    euler, heun, adams = (method.plan(flow, times).programs for method in (Euler(), Heun(), AdamsBashforth(2)))
    assert [program.state for program in euler] == [((1.0, 0), (h, 1))] * 2
    assert weights(heun[1].state) == {0: 1.0, 1: h / 2, 2: h / 2}
    assert heun[1].operations[1].terms == ((1.0, 0), (h, 1))
    assert adams[0].operations[1] == (0.125, ((1.0, 0), (h / 2, 1)))
    # Values of the second step: the state, the slope carried, the slope evaluated.
    assert weights(adams[1].state) == pytest.approx({0: 1.0, 1: -h / 2, 2: 3 * h / 2})
    assert [program.carried for program in adams] == [(((1.0, 1),),), (((1.0, 2),),)]


def test_ddim_under_the_linear_schedule():
    """x_s = (s/t) x + (1 − s/t) x̂ for α = 1 − t, σ = t."""
    (program,) = DDIM().plan(denoising(Linear(), lambda time, x: x), [0.8, 0.2]).programs
    assert weights(program.state) == pytest.approx({0: 0.25, 1: 0.75}, rel=1e-15)


def counted(posed, calls):
    def counting(part):
        def call(*times):
            calls.append(times)
            return getattr(posed, part)(*times)

        return call

    return replace(posed, **{part: counting(part) for part in ("alpha", "sigma", "clock", "time_of_log_snr")})


@pytest.mark.parametrize("method", [UniPC(3), DPMSolverPP(3, "singlestep"), ExponentialEulerMaruyama()], ids=name)
def test_the_host_computes_once(method):
    calls: list = []
    seen: list = []
    posed = counted(problem(method), calls)
    posed = replace(posed, data=lambda time, x: seen.append(time) or PATH.data(time, x))
    planned = method.plan(posed, GRID)
    assert calls
    assert not seen
    calls.clear()
    solve(posed, X, GRID, planned, rng=np.random.default_rng(0))
    # What remains are the refusals before the first step: a look at σ and, for methods without w, at the whole clock.
    assert len(calls) <= 2
    assert len(seen) >= 7


def test_another_grid_is_refused():
    posed = problem(Heun())
    planned = Heun().plan(posed, GRID)
    with pytest.raises(ValueError, match=r"expected the grid that was planned, 8 times from 0\.98 to 0\.02"):
        solve(posed, X, uniform(6, start=0.98, stop=0.02), planned)


def test_another_schedule_is_refused_and_another_model_is_not():
    posed = denoising(PATH.schedule, PATH.velocity)
    planned = DPMSolverPP().plan(posed, GRID)
    with pytest.raises(ValueError, match="one with another alpha"):
        solve(denoising(Linear(), PATH.velocity), X, GRID, planned)
    other = Path(VP(), GaussianMixture([1.0], [[2.0, 0.0]], [0.2 * np.eye(2)]))
    again = denoising(PATH.schedule, other.velocity)
    expected = solve(again, X, GRID, DPMSolverPP()).x
    for same in (again, replace(posed, data=again.data)):
        np.testing.assert_allclose(solve(same, X, GRID, planned).x, expected, atol=1e-14)


def test_rising_times_follow_a_plan_too():
    """The forward SDE of ExponentialEulerMaruyama can be planned, and its plan be solved."""
    posed, ts = denoising(PATH.schedule, PATH.velocity, w=w.KL()), GRID[::-1].copy()
    method = ExponentialEulerMaruyama()
    ends = [solve(posed, X, ts, each, rng=np.random.default_rng(0)).x for each in (method, method.plan(posed, ts))]
    np.testing.assert_allclose(ends[1], ends[0], rtol=0, atol=1e-13)


def test_another_w_is_refused():
    planned = ExponentialEulerMaruyama().plan(problem(ExponentialEulerMaruyama()), GRID)
    other = denoising(PATH.schedule, PATH.velocity, w=w.KL())
    with pytest.raises(ValueError, match="one with another clock"):
        solve(other, X, GRID, planned, rng=np.random.default_rng(0))


@dataclass(frozen=True)
class Squaring(Planned):
    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    nodes: ClassVar[tuple[float, ...]] = (0.0,)
    stochastic: ClassVar[bool] = False
    solves: ClassVar[type] = ODE

    def init(self, problem, t0, x0):
        return None

    def step(self, problem, t0, t1, x, state, noise):
        return x * problem.drift(t0, x), None


def test_a_method_that_is_not_linear_is_refused():
    with pytest.raises(TypeError, match="multiplies states and evaluations by floats alone"):
        Squaring().plan(ODE(lambda time, x: x), GRID)


def test_what_a_solve_refuses_a_plan_refuses():
    with pytest.raises(TypeError, match="expected a Denoising for DPMSolverPP"):
        DPMSolverPP().plan(problem(Heun()), GRID)
    with pytest.raises(ValueError, match="pole at time"):
        Heun().plan(probability_flow(VP(), lambda time, x: x, prediction=Noise), uniform(4))
    with pytest.raises(ValueError, match="times inside the domain"):
        plan(Heun(), problem(Heun()), [2.0, 1.0])


def test_arrays_that_a_method_adds():
    mean = np.array([0.4, -0.2])
    method = Preconditioned(DPMSolverPP(2), mean, 0.7)
    posed = problem(method)
    planned = method.plan(posed, GRID)
    assert any(constant is mean or np.shape(constant) == (2,) for constant in planned.constants)
    np.testing.assert_allclose(solve(posed, X, GRID, planned).x, solve(posed, X, GRID, method).x, atol=1e-14)


def test_torch_states_keep_their_dtype_and_gradients():
    posed = denoising(Linear(), lambda time, x: torch.tanh(x))
    planned = UniPC(3).plan(posed, GRID)
    x = torch.from_numpy(X).float().requires_grad_()
    found = solve(posed, x, GRID, planned).x
    assert found.dtype == torch.float32
    (slope,) = torch.autograd.grad(found.sum(), x)
    (direct,) = torch.autograd.grad(solve(posed, x, GRID, UniPC(3)).x.sum(), x)
    torch.testing.assert_close(slope, direct)


def test_steps_follow_a_plan_and_take_what_is_sent():
    posed = problem(DPMSolverPP(2))
    results = []
    for method in (DPMSolverPP(2), DPMSolverPP(2).plan(posed, GRID)):
        run = steps(posed, X, GRID, method)
        for step in run:
            step = run.send(step.x + 0.1) if step.index == 3 else step
        results.append(step.x)
    np.testing.assert_allclose(results[0], results[1], atol=1e-14)


def test_the_start_at_noise_and_the_end_at_data():
    """From t = 1, where wKL's clock is infinite, to t = 0: exact on a point mass after one step."""
    posed = denoising(Linear(), lambda time, x: 0 * x + 3.0, prediction=Data, w=w.KL())
    planned = ExponentialEulerMaruyama().plan(posed, uniform(4))
    assert math.isinf(posed.clock(1.0, 0.75))
    assert np.all(solve(posed, X, uniform(4), planned, rng=np.random.default_rng(0)).x == 3.0)


def test_nan_from_the_model_is_named():
    posed = replace(problem(DDIM()), data=lambda time, x: x * (math.nan if time < 0.5 else 1.0))
    with pytest.raises(NonFiniteError, match="first in step"):
        solve(posed, X, GRID, DDIM().plan(posed, GRID), check_every=1)
