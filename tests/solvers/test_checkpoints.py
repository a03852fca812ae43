"""Checkpoints: the same bits as without them, in memory that grows like the root of the steps."""

import math

import numpy as np
import pytest
import torch
from law_problems import WEIGHT, Replay, curved, every_method, problem_for, start, tensors
from living_tensors import Living
from refusals import PARTS
from solver_methods import name

from solvers import (
    ODE,
    RK4,
    SDE,
    AdamsBashforth,
    Adaptive,
    Ancestral,
    Dopri5,
    DPMSolverPP,
    Euler,
    EulerMaruyama,
    Heun,
    NonFiniteError,
    Pole,
    PoleError,
    StochasticHeun,
    UniPC,
    solve,
    uniform,
)
from solvers.gradients import checkpointed

LONG_MEMORY = [AdamsBashforth(4), DPMSolverPP(3), UniPC(3)]


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


@pytest.mark.covering(3)
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


@pytest.mark.slow
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
