"""Every source of noise goes through plans, trees, checkpoints and compilers; pairs of rows have opposite noise."""

import math

import numpy as np
import pytest
import torch
from counting_arrays import Looks
from noise_sources import WAVY, Bent, each_library, equal, numbers, ones

from solvers import SDE, EulerMaruyama, StochasticHeun, solve, steps, uniform
from solvers.gradients import checkpointed
from solvers.likelihood import gaussian_probes
from solvers.noise import Antithetic, BrownianPath, PerSample, increments, interval_of, with_area
from solvers.written import Draw

GENERATORS = {"numpy": lambda: np.random.default_rng(4), "torch": lambda: torch.Generator().manual_seed(4)}


class Library:
    """A bare generator of the library of x, made anew for each solve."""

    def __init__(self, library):
        self.library = library

    def increments(self, x):
        return increments(GENERATORS[self.library](), x)


def sources(library):
    """Return every kind of source."""
    plain = [Library(library), PerSample(4), BrownianPath(4)]
    return [*plain, *(Antithetic(source) for source in plain)]


each_source = pytest.mark.parametrize("kind", range(6), ids=["rng", "rows", "path", "-rng", "-rows", "-path"])
each_host = pytest.mark.parametrize("library", ["numpy", "torch"])


@each_host
@each_source
@pytest.mark.parametrize("method", [EulerMaruyama(), StochasticHeun(), Bent()], ids=lambda m: type(m).__name__)
def test_a_plan_has_the_same_noise(library, kind, method):
    """A planned solve gives the plain one to rounding, areas included."""
    x, source, grid = ones(library, (6, 2)) * 0.3, sources(library)[kind], uniform(7)
    plain = solve(WAVY, x, grid, method, rng=source).x
    np.testing.assert_allclose(solve(WAVY, x, grid, method.plan(WAVY, grid), rng=source).x, plain, rtol=0, atol=1e-13)


def test_a_plan_says_what_it_draws():
    """A step with an area draws once, and gets two values."""
    program = Bent().plan(WAVY, [1.0, 0.5]).programs[0]
    assert program.operations[0] == Draw(1.0, 0.5, True)
    assert {key: weight for weight, key in program.state} == pytest.approx({0: 1.0, 3: -0.5, 1: 0.9, 2: 1.8})
    assert EulerMaruyama().plan(WAVY, [1.0, 0.5]).programs[0].operations[0] == Draw(1.0, 0.5, False)


@each_source
@pytest.mark.parametrize("method", [StochasticHeun(), Bent()], ids=lambda m: type(m).__name__)
def test_checkpoints_have_the_same_noise(kind, method):
    """A checkpointed solve and its derivatives are the plain ones to the last bit, areas included."""
    found = []
    for run in (solve, checkpointed):
        x = (ones("torch", (6, 2)) * 0.3).requires_grad_()
        end = run(WAVY, x, uniform(9), method, rng=sources("torch")[kind]).x
        found.append((end, torch.autograd.grad((end**2).sum(), x)[0]))
    assert all(equal(*pair) for pair in zip(*found))


def test_checkpoints_ask_for_each_area_once():
    """A source that is no path is asked for increment and area of each step once."""
    asked = []

    class Counted:
        def increments(self, x):
            return self

        def with_area(self, t0, t1):
            asked.append((t0, t1))
            return torch.full((3,), math.sin(t0)), torch.full((3,), math.cos(t0))

        def __call__(self, t0, t1):
            pytest.fail("asked for an increment alone")

    x = torch.ones(3, requires_grad=True)
    checkpointed(WAVY, x, uniform(9), Bent(), rng=Counted()).x.sum().backward()
    assert len(asked) == len(set(asked)) == 9


@each_host
@each_source
def test_trees_have_the_noise_of_their_rows(library, kind):
    """A tree of columns gives what the joined array gives, and the open loop what the closed one does."""
    x, source = ones(library, (6, 2)) * 0.3, sources(library)[kind]
    split = SDE(lambda time, tree: {part: WAVY.drift(time, tree[part]) for part in "ab"}, WAVY.diffusion)
    whole = solve(WAVY, x, uniform(5), Bent(), rng=source).x
    found = solve(split, {"a": x[:, :1], "b": x[:, 1:]}, uniform(5), Bent(), rng=source).x
    assert equal(found["a"], whole[:, :1])
    assert equal(found["b"], whole[:, 1:])
    assert equal(list(steps(WAVY, x, uniform(5), Bent(), source))[-1].x, whole)


@pytest.mark.parametrize(
    "source", [PerSample(0), BrownianPath(0), Antithetic(PerSample(0))], ids=["rows", "path", "pairs"]
)
@pytest.mark.parametrize(
    "run", [solve, checkpointed, lambda *args, rng: steps(*args, rng)], ids=["solve", "kept", "steps"]
)
def test_trees_without_a_batch_have_no_rows(source, run):
    """Leaves of other lengths have no rows in common, which such sources need."""
    x, problem = {"a": torch.ones(2), "b": torch.ones(3)}, SDE(lambda time, tree: tree, lambda time: 1.0)
    name = type(source).__name__
    with pytest.raises(
        ValueError, match=rf"with one B, for {name}; received .*x\['a'\] of shape .*or pass a generator"
    ):
        run(problem, x, uniform(3), EulerMaruyama(), rng=source)


@pytest.mark.parametrize("source", [PerSample(0), BrownianPath(0)], ids=["rows", "path"])
def test_no_step_waits_for_the_device(source):
    """Streams and paths look at no number of a tensor."""
    with Looks() as seen:
        list(steps(WAVY, ones("torch", (4, 3)), uniform(7), Bent(), source))
    # Integers become doubles by a copy, on their device.
    assert set(seen.found) == {"_to_copy"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", [PerSample(0), BrownianPath(0), Antithetic(BrownianPath(0))], ids=["rows", "path", "pairs"]
)
def test_jax_traces_all(source):
    """jit of a solve, and of the derivative of a checkpointed one, give the numbers of the loop."""
    jax = pytest.importorskip("jax")
    x = ones("jax", (4, 2)) * 0.3
    run = lambda x, how=solve: how(WAVY, x, uniform(4), Bent(), rng=source).x  # noqa: E731
    np.testing.assert_allclose(jax.jit(run)(x), run(x), rtol=0, atol=1e-5)
    slopes = [jax.grad(lambda x, how=how: run(x, how).sum())(x) for how in (solve, checkpointed)]
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", [PerSample(0), BrownianPath(0), Antithetic(PerSample(0))], ids=["rows", "path", "pairs"]
)
def test_torch_compiles_all(source):
    """A short solve compiles in one graph with the numbers of the loop."""
    x, grid = ones("torch", (4, 2)) * 0.3, uniform(4).tolist()
    run = lambda x: steps_to_end(x, grid, source)  # noqa: E731
    torch.testing.assert_close(torch.compile(run, backend="eager", fullgraph=True)(x), run(x))


def steps_to_end(x, grid, source):
    return solve(WAVY, x, grid, Bent(), rng=source).x


@each_library
def test_pairs_have_opposite_noise(library):
    """The second half has minus the increments and areas of the first, which has those of the source."""
    x = ones(library, (6, 2))
    for source in (PerSample(4), BrownianPath(4)):
        noise, inner = Antithetic(source).increments(x), source.increments(x[:3])
        for found, half in zip(with_area(noise, 1.0, 0.4), with_area(inner, 1.0, 0.4)):
            assert equal(found[:3], half)
            assert equal(found[3:], -half)
    assert interval_of(Antithetic(BrownianPath(4, 2.0))) == (0.0, 2.0)
    assert interval_of(Antithetic(PerSample(4))) is None


@each_host
@each_source
def test_the_mean_of_a_pair_has_no_noise(library, kind):
    """For a linear SDE the mean of rows i and i + B/2 is the solution without noise, to rounding."""
    linear = SDE(lambda time, x: (0.3 - time) * x + 0.2, lambda time: 1.0 + time)
    half = ones(library, (3, 2)) * 0.3
    x = np.concatenate([half, half]) if library == "numpy" else torch.cat([half, half])
    still = SDE(linear.drift, lambda time: 0.0)
    source = sources(library)[kind]
    end, quiet = (numbers(solve(problem, x, uniform(20), Bent(), rng=source).x) for problem in (linear, still))
    pairs = abs(0.5 * (end[:3] + end[3:]) - quiet[:3])
    assert abs(end - quiet).max() > 0.1
    assert (pairs.max() < 1e-13) == isinstance(source, Antithetic)


@pytest.mark.parametrize("x", [np.ones((3, 2)), np.ones(()), torch.ones(1)], ids=["odd", "scalar", "one"])
def test_pairs_need_an_even_batch(x):
    """Three rows, one or none cannot go in pairs."""
    with pytest.raises(ValueError, match=r"an even number of rows, .*; remedy: add a row"):
        solve(WAVY, x, uniform(3), EulerMaruyama(), rng=Antithetic(PerSample(0)))


def test_what_is_no_source_is_refused_before_the_first_call():
    """Seeds, classes and arrays are not generators, inside a pair either, and a path is none of probes."""
    problem = SDE(lambda time, x: pytest.fail("called"), lambda time: 1.0)
    for x, rng, words in (
        (np.ones(2), 3, "received builtins int"),
        (np.ones(2), Antithetic(3), "received builtins int"),
        (torch.ones(2), Antithetic(np.random.default_rng(0)), "received numpy Generator"),
        (np.ones(2), BrownianPath, "received the class BrownianPath; remedy: .* make an object of it"),
    ):
        with pytest.raises(TypeError, match=words):
            solve(problem, x, uniform(3), EulerMaruyama(), rng=rng)
    with pytest.raises(ValueError, match="independent draws; received the path BrownianPath"):
        gaussian_probes(np.ones((3, 2)), 4, BrownianPath(0))


def test_an_array_is_no_jax_key():
    """A jax array that is no key, an int and None are refused before the first call."""
    jax = pytest.importorskip("jax")
    for rng in (jax.numpy.ones(3), 3, None):
        with pytest.raises(TypeError, match=r"jax key.*remedy: pass rng=jax\.random\.key\(seed\)"):
            solve(
                SDE(lambda time, x: pytest.fail("called"), lambda time: 1.0),
                jax.numpy.ones(2),
                uniform(3),
                Bent(),
                rng=rng,
            )
