"""Derivatives of a solve: against closed forms, differences and mpmath; with checkpoints they are the same bits."""

import math
from functools import cache

import mpmath
import numpy as np
import pytest
import torch
from law_problems import Replay, every_method, problem_for, start
from living_tensors import Living
from refusals import PARTS
from solver_methods import DENOISING, METHODS, name

from solvers import (
    DOP853,
    ODE,
    RK4,
    SDE,
    AdamsBashforth,
    Adaptive,
    Ancestral,
    Denoising,
    Dopri5,
    DPMSolverPP,
    Euler,
    EulerMaruyama,
    Heun,
    NonFiniteError,
    Pole,
    PoleError,
    Preconditioned,
    StochasticHeun,
    UniPC,
    solve,
    uniform,
)
from solvers.gradients import checkpointed

WEIGHT = [[0.3, -1.1], [0.8, 0.2]]
both_ways = pytest.mark.parametrize("run", [solve, checkpointed], ids=["plain", "checkpointed"])
LONG_MEMORY = [AdamsBashforth(4), DPMSolverPP(3), UniPC(3)]


def tensors(*values):
    return tuple(torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values)


def curved(weight):
    """A field that bends, depends on time and on a parameter; one evaluation saves several tensors."""
    return lambda time, x: torch.tanh(x @ weight) * math.cos(3.0 * time)


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


@every_method
@pytest.mark.parametrize("segments", [None, 1, 7])
def test_checkpoints_change_no_bit(method, segments):
    """State and derivatives are those of solve, to the last bit: what methods carry and the noise come back."""
    found = []
    for run, wishes in ((solve, {}), (checkpointed, {"segments": segments})):
        x, weight = tensors(start(), WEIGHT)
        rng = torch.Generator().manual_seed(4)
        solution = run(problem_for(method, curved(weight)), x, uniform(7), method, rng=rng, **wishes)
        slopes = torch.autograd.grad((solution.x**2).sum(), (x, weight))
        found.append((solution.x, *slopes, torch.tensor(solution.nfe), torch.from_numpy(solution.ts), rng.get_state()))
    assert all(torch.equal(plain, kept) for plain, kept in zip(*found))


@pytest.mark.parametrize("method", [*LONG_MEMORY, StochasticHeun()], ids=name)
def test_plans_are_carried_over_checkpoints(method):
    """A planned method goes on where a segment ended: its derivatives are those of the plain solve, to the last bit."""
    slopes = []
    for run in (solve, checkpointed):
        x, weight = tensors(start(), WEIGHT)
        problem = problem_for(method, curved(weight))
        planned = method.plan(problem, uniform(9))
        end = run(problem, x, uniform(9), planned, rng=torch.Generator().manual_seed(4)).x
        slopes.append(torch.autograd.grad((end**2).sum(), (x, weight)))
    assert all(torch.equal(*pair) for pair in zip(*slopes))


@pytest.mark.parametrize("method", [EulerMaruyama(), StochasticHeun(), Ancestral()], ids=name)
def test_other_sources_of_noise_are_drawn_once(method):
    """An object with increments is asked for each draw once, and the way back has the same draws."""
    draws = []

    class Counted(Replay):
        def increments(self, x):
            noise = super().increments(x)
            return lambda t0, t1: draws.append((t0, t1)) or noise(t0, t1)

    slopes = []
    for run in (solve, checkpointed):
        draws.clear()
        x, weight = tensors(start(), WEIGHT)
        end = run(problem_for(method, curved(weight)), x, uniform(9), method, rng=Counted(2)).x
        slopes.append(torch.autograd.grad((end**2).sum(), weight)[0])
        assert len(draws) == len(set(draws)) <= 9
    assert torch.equal(*slopes)


def test_dropout_is_repeated():
    """The draws of torch's default generator inside the model are the same on the way back."""
    slopes = []
    for run in (solve, checkpointed):
        x, weight = tensors(start(), WEIGHT)
        field = lambda time, x: torch.nn.functional.dropout(torch.tanh(x @ weight), 0.5)  # noqa: E731, B023
        with torch.random.fork_rng():
            torch.manual_seed(0)
            end = run(ODE(field), x, uniform(9), RK4()).x
            torch.manual_seed(1)
            slopes.append(torch.autograd.grad((end**2).sum(), weight)[0])
    assert torch.equal(*slopes)


def bytes_alive(run, method, n):
    """Return the bytes kept between forward and backward, and the peak over both, in states."""
    x = torch.ones(1000, dtype=torch.float64, requires_grad=True)
    field = lambda time, x: torch.tanh(torch.sin(x) * x + time)  # noqa: E731
    problem = problem_for(method, field)
    with Living() as living:
        end = run(problem, x, uniform(n), method).x.sum()
        kept = living.now
        end.backward()
    return kept / x.nbytes, living.peak / x.nbytes


@pytest.mark.parametrize("method", [RK4(), *LONG_MEMORY], ids=name)
def test_memory_grows_like_the_root(method):
    """From 16 over 64 to 256 steps the plain solve needs 4 times as much each time, the checkpointed one twice."""
    plain = np.array([bytes_alive(solve, method, n) for n in (16, 64, 256)])
    kept = np.array([bytes_alive(checkpointed, method, n) for n in (16, 64, 256)])
    # The first steps of a multistep method, and its past, are a constant beside both: differences do not see it.
    np.testing.assert_allclose((plain[2] - plain[1]) / (plain[1] - plain[0]), 4.0, rtol=0.01)
    assert abs((kept[2, 0] - kept[1, 0]) / (kept[1, 0] - kept[0, 0]) - 2.0) < 0.01
    assert kept[2, 1] < 2.1 * kept[1, 1]
    assert kept[2, 0] < 0.1 * plain[2, 0]
    assert kept[2, 1] < 0.2 * plain[2, 1]


@pytest.mark.parametrize("method", [RK4(), *LONG_MEMORY], ids=name)
def test_tensors_saved_by_autograd(method):
    """What autograd packs is proportional to the steps in a plain solve, and to their root with checkpoints."""

    def saved(run, n):
        sizes = []
        x = torch.ones(10, dtype=torch.float64, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.nbytes) or t, lambda t: t):
            run(problem_for(method, lambda time, x: torch.tanh(x) * x), x, uniform(n), method)
        return sum(sizes)

    plain = [saved(solve, n) for n in (16, 64, 256)]
    assert abs((plain[2] - plain[1]) / (plain[1] - plain[0]) - 4.0) < 1e-9
    kept = [saved(checkpointed, n) for n in (16, 64, 256)]
    assert kept[2] - kept[1] == 2 * (kept[1] - kept[0])
    assert kept[2] < 0.1 * plain[2]


def test_each_evaluation_is_made_twice():
    """The way back evaluates each step once more, and no step oftener."""
    calls = []
    x = torch.ones(3, requires_grad=True)
    solution = checkpointed(ODE(lambda time, x: calls.append(time) or torch.sin(x)), x, uniform(20), Heun())
    assert solution.nfe == len(calls) == 40
    solution.x.sum().backward()
    assert len(calls) == 80
    assert sorted(calls[40:]) == sorted(calls[:40])


def test_trees_have_derivatives_too():
    """A checkpointed solve of a tree returns trees, with the derivatives of the plain one."""
    problem = ODE(lambda time, x: {"a": torch.sin(x["b"]), "b": -x["a"] * time})
    slopes = []
    for run in (solve, checkpointed):
        x = dict(zip("ab", tensors([0.3, 1.0], [-0.5, 0.7])))
        slopes.append(torch.autograd.grad(run(problem, x, uniform(10), RK4()).x["a"].sum(), list(x.values())))
    assert all(torch.equal(*pair) for pair in zip(*slopes))


QUICK = [AdamsBashforth(3), UniPC(3), StochasticHeun()]
REST = [pytest.param(method, marks=pytest.mark.slow) for method in [*METHODS, *DENOISING] if method not in QUICK]


@pytest.mark.parametrize("method", [*QUICK, *REST], ids=name)
def test_jax_has_the_same_derivatives(method):
    """Plain and checkpointed derivatives of jax are those of torch, on the same noise, to the rounding of float32."""
    jax = pytest.importorskip("jax")
    x, weight = jax.numpy.asarray(start(np.float32)), jax.numpy.asarray(WEIGHT, "float32")
    noise = np.random.default_rng(0).standard_normal((6, 5, 2)).astype(np.float32)

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


def test_jax_keeps_a_root_too():
    """What jax holds between forward and backward: 4 states for 16 steps, 8 for 64, 16 for 256."""
    jax = pytest.importorskip("jax")

    def held(run, n):
        problem = ODE(lambda time, x: jax.numpy.tanh(jax.numpy.sin(x) * x + time))
        x = jax.numpy.ones(1000)
        _, pull = jax.vjp(lambda x: run(problem, x, uniform(n), Heun()).x, x)
        return sum(leaf.nbytes for leaf in jax.tree.leaves(pull)) / x.nbytes

    assert [round(held(checkpointed, n), 2) for n in (16, 64)] == [4.0, 8.0]
    assert held(solve, 16) > 4 * 16


def test_jit_of_a_checkpointed_derivative():
    """jax.jit takes the derivative of a checkpointed solve that carries predictions, noise and all."""
    jax = pytest.importorskip("jax")

    def loss(x, key):
        method = Ancestral()
        return checkpointed(
            problem_for(method, lambda time, x: jax.numpy.sin(x)), x, uniform(5), method, rng=key
        ).x.sum()

    x, key = jax.numpy.asarray(start(np.float32)), jax.random.key(0)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(x, key), jax.grad(loss)(x, key), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "wishes", "kind", "words"),
    [
        ((np.ones(2), uniform(4), Heun()), {}, TypeError, "torch or jax arrays; received numpy arrays"),
        (
            (torch.ones(2), uniform(4), Adaptive(Dopri5())),
            {},
            TypeError,
            r"fixed steps, such as Dopri5\(\); received Adap",
        ),
        ((torch.ones(2), uniform(4), Heun()), {"segments": 5}, ValueError, "segments: at most 4, the number of steps"),
        ((torch.ones(2), uniform(4), Heun()), {"segments": 0}, ValueError, "segments: a number of them, at least 1"),
        ((torch.ones(2), uniform(4), Heun()), {"segments": 2.0}, TypeError, "a whole number; received float 2.0"),
        ((torch.ones(2), uniform(4), EulerMaruyama()), {}, TypeError, "an SDE for EulerMaruyama; received an ODE"),
    ],
)
def test_what_cannot_be_checkpointed(arguments, wishes, kind, words):
    """Arrays without derivatives, unknown steps and impossible segments are refused before the first call."""
    with pytest.raises(kind, match=words) as error:
        checkpointed(ODE(lambda time, x: pytest.fail("called")), *arguments, **wishes)
    assert all(part in str(error.value) for part in PARTS)


def test_refusals_are_those_of_solve():
    """Poles, numbers that are not finite, and answers of another dtype are found as in solve."""
    with pytest.raises(PoleError, match="Heun evaluates in step 4"):
        checkpointed(ODE(lambda time, x: x, poles=(Pole(0.0, "1/t"),)), torch.ones(2), uniform(4), Heun())
    with pytest.raises(NonFiniteError, match=r"between time 1.0 and time 0.0; remedy: .*check_every=1") as error:
        checkpointed(ODE(lambda time, x: x * math.nan), torch.ones(2), uniform(4), Heun())
    assert error.value.solution.nfe == 8
    with pytest.raises(TypeError, match=r"a last state that is a Tensor of dtype torch\.float64"):
        checkpointed(ODE(lambda time, x: x if time > 0.5 else x.double()), torch.ones(2), uniform(4), Euler())
    with pytest.raises(TypeError, match=r"received None; remedy: pass rng=torch\.Generator"):
        checkpointed(SDE(lambda time, x: x, lambda time: 1.0), torch.ones(2), uniform(4), EulerMaruyama())
