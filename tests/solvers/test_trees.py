"""States that are tuples, lists and dicts of arrays: the numbers of arrays, in the structure of the caller."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from law_problems import every_method, merged, parted, problem_for, start, tree_drift
from refusals import PARTS, Recorder, refused
from scipy import stats
from solver_methods import ADAPTABLE, name

from solvers import (
    DDIM,
    ODE,
    SDE,
    Adaptive,
    Dopri5,
    Euler,
    EulerMaruyama,
    Event,
    Heun,
    NonFiniteError,
    local_errors,
    solve,
    steps,
    uniform,
)


class Pair(NamedTuple):
    position: object
    speed: object


def dtypes_of(leaves):
    return tuple(leaf.dtype for leaf in leaves)


def generator(library):
    return np.random.default_rng(1) if library == "numpy" else torch.Generator().manual_seed(1)


def state(library):
    return start() if library == "numpy" else torch.from_numpy(start())


@every_method
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_tree_is_solved_as_the_array_of_its_leaves(method, library):
    """State, saved states and evaluations of a tree are those of the array, to the last bit, noise included."""
    x = state(library)
    whole = solve(problem_for(method), x, uniform(7), method, rng=generator(library), save=True)
    tree = solve(problem_for(method, tree_drift), parted(x), uniform(7), method, rng=generator(library), save=True)
    assert list(tree.x) == ["first", "rest"]
    assert type(tree.x["rest"]) is tuple
    np.testing.assert_array_equal(merged(tree.x), np.asarray(whole.x))
    np.testing.assert_array_equal(merged(tree.xs), np.asarray(whole.xs))
    assert tree.nfe == whole.nfe


@every_method
def test_steps_of_trees(method):
    """The generator yields the trees that solve saves, and takes trees back."""
    problem, x = problem_for(method, tree_drift), parted(start())
    saved = solve(problem, x, uniform(4), method, rng=generator("numpy"), save=True)
    run = steps(problem, x, uniform(4), method, generator("numpy"))
    for step in run:
        np.testing.assert_array_equal(merged(step.x), merged(saved.xs)[step.index])
        again = run.send({"rest": step.x["rest"], "first": step.x["first"]})
        np.testing.assert_array_equal(merged(again.x), merged(step.x))
        assert again.index == step.index
    assert step.index == 4


def test_what_is_sent_replaces_the_tree():
    """The solve goes on from the tree that was sent."""
    run = steps(
        ODE(lambda time, x: [np.ones(2), np.ones(())]), [np.zeros(2), np.zeros(())], uniform(2, 0.0, 1.0), Euler()
    )
    next(run)
    assert run.send([np.full(2, 5.0), np.full((), 7.0)]).x[0].tolist() == [5.0, 5.0]
    assert [leaf.tolist() for leaf in next(run).x] == [[5.5, 5.5], 7.5]


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("method", ADAPTABLE, ids=name)
def test_adaptive_steps_see_all_leaves(method, per_sample):
    """The error is measured over all entries of all leaves, by row where asked: the steps are those of the array."""
    settings = Adaptive(method, rtol=1e-6, atol=1e-8, per_sample=per_sample)
    scale = np.geomspace(0.1, 30.0, 5)[:, None]
    field = lambda time, x: -x * np.abs(x)  # noqa: E731
    tree_field = lambda time, x: {"first": field(time, x["first"]), "rest": (field(time, x["rest"][0]),)}  # noqa: E731
    whole = solve(ODE(field), scale * start(), [1.0, 0.4, 0.0][::-1], settings, save=True)
    tree = solve(ODE(tree_field), parted(scale * start()), [1.0, 0.4, 0.0][::-1], settings, save=True)
    np.testing.assert_array_equal(merged(tree.x), whole.x)
    np.testing.assert_array_equal(merged(tree.xs), whole.xs)
    np.testing.assert_array_equal(tree.accepted, whole.accepted)
    assert (tree.rows, tree.nfe) == (whole.rows, whole.nfe)
    assert (len(set(whole.accepted.tolist())) > 1) is per_sample


def test_leaves_without_a_common_batch():
    """Leaves of any shapes make one vector: the array that holds them all takes the same adaptive steps."""
    x = {"a": np.array([[3.0, -1.0, 0.5]]), "b": np.array(2.0), "c": np.empty((0, 2))}
    field = lambda time, x: {key: -time * leaf * np.abs(leaf) for key, leaf in x.items()}  # noqa: E731
    tree = solve(ODE(field), x, [0.0, 1.0], Adaptive(Dopri5()))
    vector = solve(
        ODE(lambda time, x: -time * x * np.abs(x)), np.array([3.0, -1.0, 0.5, 2.0]), [0.0, 1.0], Adaptive(Dopri5())
    )
    assert {key: leaf.shape for key, leaf in tree.x.items()} == {"a": (1, 3), "b": (), "c": (0, 2)}
    np.testing.assert_array_equal([*tree.x["a"].ravel(), tree.x["b"]], vector.x)
    assert tree.accepted == vector.accepted


@pytest.mark.parametrize("per_sample", [False, True])
def test_events_see_trees(per_sample):
    """An event is called with trees and its occurrences hold them, with the axes of a row or of the whole."""
    x = Pair(np.array([[1.0], [2.0]]), np.zeros((2, 1)))
    event = Event(lambda time, x: x.position[:, 0] if per_sample else x.position[0, 0])
    settings = Adaptive(Dopri5(), rtol=1e-9, atol=1e-9, per_sample=per_sample, events=(event,))
    found = solve(ODE(lambda time, x: Pair(x.speed, -x.position)), x, [0.0, 3.0], settings)
    assert found.status == "event"
    assert type(found.events[0].x) is Pair
    assert found.events[0].x.speed.shape == ((1,) if per_sample else (2, 1))
    np.testing.assert_allclose(np.ravel(found.time), math.pi / 2, atol=1e-7)
    np.testing.assert_allclose(found.x.speed[:, 0], [-1.0, -2.0], atol=1e-7)


def test_an_oscillator_of_named_leaves():
    """Position and speed as a named tuple follow cosine and sine."""
    start = Pair(np.array([1.0]), np.array([0.0]))
    found = solve(ODE(lambda time, x: Pair(x.speed, -x.position)), start, uniform(200, 0.0, 1.0), Heun(), save=True)
    assert type(found.x) is Pair
    np.testing.assert_allclose(found.xs.position[:, 0], np.cos(found.ts), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.x.speed, -math.sin(1.0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", [Heun(), Adaptive(Dopri5(), rtol=1e-6, atol=1e-9)], ids=["fixed", "adaptive"])
@pytest.mark.parametrize("library", [np, torch], ids=["numpy", "torch"])
def test_leaves_keep_their_dtypes(library, method):
    """Leaves of several precisions reach the problem, and come back, in their own; each is right to its rounding."""
    seen = set()
    x = (library.ones(3, dtype=library.float32), library.ones(3, dtype=library.float64))

    def field(time, x):
        seen.add(dtypes_of(x))
        return (-x[0], -x[1])

    found = solve(ODE(field), x, uniform(2000, 0.0, 1.0), method, save=True)
    assert seen == {dtypes_of(x)}
    assert dtypes_of(found.x) == dtypes_of(found.xs) == dtypes_of(x)
    assert abs(float(found.x[0][0]) - math.exp(-1.0)) < 1e-6
    assert abs(float(found.x[1][0]) - math.exp(-1.0)) < 1e-6


def test_local_errors_of_trees():
    """The errors of the steps are those of the array that holds all leaves."""
    tree_field = lambda time, x: {"first": -x["first"], "rest": (-x["rest"][0],)}  # noqa: E731
    found = local_errors(ODE(tree_field), parted(start()), uniform(4), Heun())
    np.testing.assert_array_equal(found, local_errors(ODE(lambda time, x: -x), start(), uniform(4), Heun()))


def test_the_noise_of_leaves_is_independent():
    """Two leaves of one solve are driven by uncorrelated noise of the right variance."""
    still = SDE(lambda time, x: [0.0 * leaf for leaf in x], lambda time: 1.0)
    x = [np.zeros(20_000), np.zeros(20_000)]
    first, second = solve(still, x, uniform(3), EulerMaruyama(), rng=np.random.default_rng(0)).x
    assert abs(stats.pearsonr(first, second).statistic) < 4 / math.sqrt(first.size)
    for leaf in (first, second):
        assert stats.kstest(leaf, "norm").pvalue > 1e-3


def test_numbers_that_are_not_finite_come_as_trees():
    """A NonFiniteError carries trees too."""
    problem = ODE(lambda time, x: {"a": x["a"] * (math.nan if time < 0.5 else 1.0)})
    error = refused(NonFiniteError, "step 4", problem, {"a": np.ones(2)}, uniform(4), Euler(), save=True)
    assert error.solution.xs["a"].shape == (5, 2)
    assert np.isnan(error.solution.x["a"]).all()


X = {"a": np.ones((2, 3), np.float32), "b": (np.ones(2),)}


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (lambda x: x["a"], TypeError, r"drift\(time, x\): \{'a': \*, 'b': \(\*,\)\}, the structure of x; received \*"),
        (lambda x: {"a": x["a"], "z": x["b"]}, TypeError, r"received \{'a': \*, 'z': \(\*,\)\}"),
        (lambda x: {"a": x["a"]}, TypeError, r"received \{'a': \*\}; remedy: return from drift a tree like"),
        (lambda x: {"a": x["a"], "b": x["b"], "c": x["a"]}, TypeError, "'c'"),
        (lambda x: {"a": x["a"], "b": list(x["b"])}, TypeError, r"received .*'b': \[\*\]"),
        (lambda x: {"a": x["a"], "b": ((x["b"][0],),)}, TypeError, r"'b': \(\(\*,\),\)"),
        (lambda x: {"a": x["a"][:1], "b": x["b"]}, ValueError, r"\(time, x\)\['a'\] like x\['a'\]: .* shape \(2, 3\)"),
        (lambda x: {"a": x["a"], "b": (x["b"][0] * np.ones((2, 1)),)}, ValueError, r"x\['b'\]\[0\]: .* shape \(2, 2\)"),
        (lambda x: {"a": x["a"].astype(float), "b": x["b"]}, TypeError, "dtype float32 .* of dtype float64"),
        (lambda x: {"a": None, "b": x["b"]}, TypeError, "received NoneType None"),
    ],
)
def test_answers_of_another_structure_are_refused(answer, kind, words):
    """A drift that does not answer leaf for leaf is refused at its first answer, naming structure or leaf."""
    field = Recorder(lambda time, x: answer(x))
    refused(kind, words, ODE(field), X, uniform(3), Euler())
    assert len(field.calls) == 1


@pytest.mark.parametrize(
    ("x", "kind", "words"),
    [
        ((np.ones(2), 1.0), TypeError, r"expected x\[1\]: an array of numpy.*received float 1.0"),
        ({"a": np.arange(3)}, TypeError, r"expected x\['a'\]: .* real floating dtype; received ndarray of dtype int64"),
        ([{}, ()], ValueError, r"a tree with at least one array; received \[\{\}, \(\)\]"),
        (
            (np.ones(2), torch.ones(2)),
            TypeError,
            r"one library .* received x\[0\] of .*numpy and x\[1\] of torch on cpu",
        ),
        (
            (torch.ones(2), torch.ones(2, device="meta")),
            TypeError,
            r"x\[0\] of torch on cpu and x\[1\] of torch on meta",
        ),
    ],
    ids=["number", "ints", "empty", "libraries", "devices"],
)
def test_trees_that_are_refused(x, kind, words):
    """A leaf that is no state, no leaf at all, and leaves in several places are refused before the first call."""
    field = Recorder()
    refused(kind, words, ODE(field), x, uniform(3), Euler())
    assert field.calls == []


def test_per_sample_needs_a_batch():
    """Leaves without one first axis have no samples."""
    words = r"one B, .* received x\[0\] of shape \(2, 3\), x\[1\] of shape \(3,\); remedy: give every leaf the batch"
    x = (np.ones((2, 3)), np.ones(3))
    refused(ValueError, words, ODE(Recorder()), x, [0.0, 1.0], Adaptive(Dopri5(), per_sample=True))


@pytest.mark.parametrize("sent", [np.ones(2), (np.ones(2),), [np.ones(3)], [np.ones(2, np.float32)]])
def test_a_tree_that_does_not_fit_cannot_be_sent(sent):
    """A replacement of another structure, shape or dtype is refused."""
    run = steps(ODE(Recorder(lambda time, x: [-x[0]])), [np.ones(2)], uniform(3), Euler())
    next(run)
    with pytest.raises((TypeError, ValueError), match=r"send\(x\)") as error:
        run.send(sent)
    assert all(part in str(error.value) for part in PARTS)


def test_what_is_no_problem_is_refused_as_for_arrays():
    """A bare function and a method of another kind are told apart with trees as well."""
    refused(TypeError, r"wrap the function: ODE\(drift\)", Recorder(), [np.ones(2)], uniform(2), Heun())
    refused(TypeError, "a Denoising for DDIM", ODE(Recorder()), [np.ones(2)], uniform(2), DDIM())
