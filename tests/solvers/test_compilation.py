"""A short solve is one graph of torch and one program of jax, for every method."""

import math

import numpy as np
import pytest
import torch
from law_problems import Replay, merged, parted, problem_for, start, tree_drift
from solver_methods import DENOISING, METHODS, name

from solvers import AdamsBashforth, Ancestral, DPMSolverPP, Heun, StochasticHeun, UniPC, solve, steps, uniform

QUICK = [Heun(), StochasticHeun(), UniPC(3)]
ALL = [method for method in [*METHODS, *DENOISING] if method not in QUICK]
in_tiers = pytest.mark.parametrize(
    "method", [*QUICK, *(pytest.param(method, marks=pytest.mark.slow) for method in ALL)], ids=name
)


class Drawn:
    """Noise from torch's default generator, which torch.compile follows."""

    def increments(self, x):
        return lambda t0, t1: torch.randn_like(x) * math.sqrt(abs(t1 - t0))


@pytest.mark.covering(3)
@in_tiers
def test_torch_compiles_a_whole_solve(method):
    """A solve over a list of eight steps is one graph without a break, with the numbers of the loop."""
    ts = uniform(8).tolist()
    problem = problem_for(method, lambda time, x: math.cos(time) * x - torch.tanh(x))

    def end(x):
        return solve(problem, x, ts, method, rng=Drawn()).x

    x = torch.from_numpy(start())
    torch.compiler.reset()  # one function is compiled for many methods, and dynamo allows eight versions of it
    compiled = torch.compile(end, fullgraph=True, backend="eager")
    with torch.random.fork_rng():
        found, expected = (torch.manual_seed(0) and run(x) for run in (compiled, end))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.covering(2)
@in_tiers
def test_jax_compiles_a_whole_solve(method):
    """jax.jit takes a solve, its noise from a key included, with the numbers of the loop to the rounding of float32."""
    jax = pytest.importorskip("jax")
    problem = problem_for(method, lambda time, x: math.cos(time) * x - jax.numpy.tanh(x))

    def end(x, key):
        return solve(problem, x, uniform(6), method, rng=key).x

    x, key = jax.numpy.asarray(start(np.float32)), jax.random.key(3)
    np.testing.assert_allclose(jax.jit(end)(x, key), end(x, key), rtol=0, atol=3e-6)


@pytest.mark.slow
def test_a_graph_with_derivatives():
    """Forward and backward of a compiled solve are those of the loop; aot_eager makes both graphs."""
    ts = uniform(4).tolist()
    problem = problem_for(AdamsBashforth(3), lambda time, x: math.cos(time) * x - torch.tanh(x))
    slopes = []
    torch.compiler.reset()
    for run in (
        torch.compile(lambda x: solve(problem, x, ts, AdamsBashforth(3)).x, fullgraph=True, backend="aot_eager"),
        None,
    ):
        x = torch.from_numpy(start()).requires_grad_()
        end = solve(problem, x, ts, AdamsBashforth(3)).x if run is None else run(x)
        slopes += torch.autograd.grad((end**2).sum(), x)
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-14)


@pytest.mark.parametrize("method", [Heun(), Ancestral()], ids=name)
def test_steps_can_be_mapped(method):
    """steps looks at no value, so that jax.vmap and torch.func.vmap go through it."""
    jax = pytest.importorskip("jax")

    def end(x):
        for step in steps(
            problem, x, uniform(3), method, Replay(0) if isinstance(x, torch.Tensor) else jax.random.key(0)
        ):
            last = step.x
        return last

    x = start()
    problem = problem_for(method, lambda time, x: -x)
    mapped = torch.func.vmap(end)(torch.from_numpy(x))
    torch.testing.assert_close(mapped, torch.stack([end(row) for row in torch.from_numpy(x)]), rtol=0, atol=1e-14)
    found = jax.vmap(end)(jax.numpy.asarray(x, "float32"))
    np.testing.assert_allclose(found, [end(row) for row in jax.numpy.asarray(x, "float32")], rtol=0, atol=1e-6)


def test_a_traced_solve_still_checks_where_it_can():
    """Under jax.grad alone values are known, and NaN is found; under jax.jit nothing can be looked at."""
    jax = pytest.importorskip("jax")
    problem = problem_for(Heun(), lambda time, x: x * math.nan)

    def end(x):
        return solve(problem, x, uniform(2), Heun()).x.sum()

    with pytest.raises(ValueError, match="NaN or infinity"):
        jax.grad(end)(jax.numpy.ones(2))
    assert bool(jax.numpy.isnan(jax.jit(end)(jax.numpy.ones(2))))


@pytest.mark.covering(2)
@pytest.mark.parametrize("method", [Heun(), DPMSolverPP(2)], ids=name)
def test_torch_follows_trees(method):
    """A short solve of a tree is one graph, also with leaves of two precisions; derivatives reach every leaf."""
    ts = uniform(4).tolist()
    problem = problem_for(method, lambda time, x: (torch.tanh(x[0]), [x[1][0] * x[0].float()]))

    def end(x):
        return solve(problem, x, ts, method).x

    x = (torch.linspace(-1, 1, 4, dtype=torch.float64, requires_grad=True), [torch.ones(4, requires_grad=True)])
    torch.compiler.reset()
    found, expected = torch.compile(end, fullgraph=True, backend="eager")(x), end(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)
    slopes = torch.autograd.grad(expected[1][0].sum(), (x[0], x[1][0]))
    assert [slope.dtype for slope in slopes] == [torch.float64, torch.float32]
    assert all(bool((slope != 0).all()) for slope in slopes)


@pytest.mark.parametrize("method", [Heun(), DPMSolverPP(2)], ids=name)
def test_jax_follows_trees(method):
    """jax.jit and jax.grad take a solve of a tree, with numpy's numbers to the rounding of float32."""
    jax = pytest.importorskip("jax")
    x = parted(start(np.float32))

    def end(x):
        return solve(problem_for(method, tree_drift), x, uniform(4), method).x

    expected = merged(end(x))
    found = jax.jit(end)(jax.tree.map(jax.numpy.asarray, x))
    assert isinstance(found["rest"][0], jax.Array)
    np.testing.assert_allclose(merged(found), expected, rtol=0, atol=1e-6)
    slope = jax.grad(lambda x: end(x)["first"].sum())(jax.tree.map(jax.numpy.asarray, x))
    assert bool((slope["first"] != 0).all())
    assert not bool((slope["rest"][0] != 0).any())
