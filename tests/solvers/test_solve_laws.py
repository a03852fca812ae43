"""What every method owes its caller, whatever its formula."""

import inspect
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from law_problems import Replay, drift, every_method, generator, problem_for, start
from solver_methods import DENOISING, METHODS, name

import solvers
from solvers import ODE, SDE, solve, steps, uniform
from solvers.method import evaluation_times, on_grid


def test_the_list_of_methods_is_complete():
    """Every exported class with a step is in the list that the laws run over."""
    exported = {getattr(solvers, item) for item in solvers.__all__}
    with_step = {item for item in exported if inspect.isclass(item) and hasattr(item, "order")}
    assert with_step == {type(method) for method in [*METHODS, *DENOISING]}


@every_method
def test_nothing_given_is_changed(method):
    """The state and the grid passed in are the same afterwards; so are the states and answers of every evaluation."""
    x, ts = start(), uniform(7)
    x.setflags(write=False)
    ts.setflags(write=False)
    seen = []

    def field(time, x):
        x.setflags(write=False)
        answer = drift(time, x)
        answer.setflags(write=False)
        seen.extend([(x, x.copy()), (answer, answer.copy())])
        return answer

    solve(problem_for(method, field), x, ts, method, rng=generator())
    np.testing.assert_array_equal(x, start())
    np.testing.assert_array_equal(ts, uniform(7))
    assert all(np.array_equal(now, then) for now, then in seen)


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(method, dtype):
    """The state keeps its dtype in numpy and in torch, also where a coefficient is a numpy float64."""
    problem = problem_for(method, coefficient=lambda time: np.sqrt(np.float64(1.0 + time)))
    x = start(dtype)
    assert solve(problem, x, uniform(3), method, rng=generator()).x.dtype == x.dtype
    tensor = torch.from_numpy(x)
    assert solve(problem, tensor, uniform(3), method, rng=torch.Generator()).x.dtype == tensor.dtype


@every_method
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numpy_and_torch_agree(method, dtype):
    """The same start and noise give the same numbers in both libraries, to a few roundings."""
    x = start(dtype)
    problem = problem_for(method)
    by_numpy = solve(problem, x, uniform(20), method, rng=Replay(3)).x
    by_torch = solve(problem, torch.from_numpy(x), uniform(20), method, rng=Replay(3)).x
    np.testing.assert_allclose(by_torch.numpy(), by_numpy, rtol=0, atol=100 * np.finfo(dtype).eps)


@every_method
def test_same_seed_same_result(method):
    """Two solves from generators with the same seed agree to the last bit; another seed shows in an SDE alone."""
    problem = problem_for(method)
    first, again, other = (solve(problem, start(), uniform(9), method, rng=generator(k)).x for k in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, other) is not method.stochastic


class OfRow:
    """The noise that one row of the batch has in a replay."""

    def __init__(self, seed, row):
        self.seed = seed
        self.row = row

    def increments(self, x):
        noise = Replay(self.seed).increments(start())
        return lambda t0, t1: noise(t0, t1)[self.row][None]


@every_method
def test_rows_do_not_know_each_other(method):
    """A row solved alone, with its own noise, is the row solved in a batch, to the last bit."""
    problem = problem_for(method)
    together = solve(problem, start(), uniform(9), method, rng=Replay(1)).x
    for k, row in enumerate(start()):
        alone = solve(problem, row[None], uniform(9), method, rng=OfRow(1, k)).x
        np.testing.assert_array_equal(alone[0], together[k])


@every_method
def test_solves_do_not_know_each_other(method):
    """Two solves by one method object, step by step in turn, are the two solves by themselves."""
    starts, grids = (start(), 0.5 * start()), (uniform(6), uniform(6, 0.9, 0.05))
    runs = [steps(problem_for(method), x, ts, method, Replay(k)) for k, (x, ts) in enumerate(zip(starts, grids))]
    *_, ends = zip(*runs)
    for k, (x, ts) in enumerate(zip(starts, grids)):
        expected = solve(problem_for(method), x, ts, method, rng=Replay(k)).x
        np.testing.assert_array_equal(ends[k].x, expected)


@every_method
def test_tensors_given_are_not_written_to(method):
    """Torch counts writes: the start, the states that the field is given and its answers have none."""
    seen = []

    def field(time, x):
        answer = drift(time, x)
        seen.extend([(x, x._version), (answer, answer._version)])
        return answer

    x = torch.from_numpy(start())
    solve(problem_for(method, field), x, uniform(7), method, rng=torch.Generator().manual_seed(0), save=True)
    assert x._version == 0
    assert all(tensor._version == version for tensor, version in seen)
    np.testing.assert_array_equal(x, start())


@every_method
@pytest.mark.parametrize("n", [1, 2, 11])
def test_evaluations_are_counted(method, n):
    """nfe is the number of calls the field really had, and that of the times at which the method says it evaluates."""
    calls = []

    def field(time, x):
        calls.append(time)
        return drift(time, x)

    problem = problem_for(method, field)
    solution = solve(problem, start(), uniform(n), method, rng=generator())
    stated = list(evaluation_times(method, uniform(n).tolist(), problem))
    assert solution.nfe == len(calls) == len(stated)
    assert hasattr(method, "visits") or solution.nfe == method.evaluations * n
    assert len(method.nodes) == method.evaluations


@every_method
def test_nodes_are_where_it_evaluates(method):
    """The times of the calls are those that the method states for each step, exactly, and are Python floats."""
    calls = []

    def field(time, x):
        calls.append(time)
        return drift(time, x)

    ts = [1.0, 0.7, 0.61, 0.1, 1e-3]
    problem = problem_for(method, field)
    solve(problem, start(), ts, method, rng=generator())
    if hasattr(method, "visits"):
        assert calls == [time for visited in method.visits(problem, ts) for time in visited]
    else:
        assert calls == at_nodes(method, ts)
    assert {type(time) for time in calls} == {float}


def at_nodes(method, ts):
    ends = {0.0: lambda t0, t1: t0, 1.0: lambda t0, t1: t1}
    between = {node: (lambda t0, t1, c=node: t0 + c * (t1 - t0)) for node in method.nodes}
    places = [{**between, **ends}[node] for node in method.nodes]
    return [place(t0, t1) for t0, t1 in pairwise(ts) for place in places]


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_diffusion_is_asked_at_the_nodes_only(method):
    """The coefficient of the noise is evaluated at stated nodes, so that a pole is seen before it is met."""
    asked = []

    def diffusion(time):
        asked.append(time)
        return 1.0

    problem = SDE(drift, diffusion) if method.stochastic else ODE(drift)
    solve(problem, start(), [1.0, 0.5], method, rng=generator())
    stated = {time for _, time in evaluation_times(method, [1.0, 0.5], problem)}
    stated |= {1.0 - 0.5 * node for node in getattr(method, "noise_nodes", ())}
    assert set(asked) <= stated
    assert bool(asked) is method.stochastic


@every_method
def test_one_step(method):
    """n = 1 is one step from start to stop, and gives what the step of the method gives."""
    problem = problem_for(method)
    solution = solve(problem, start(), uniform(1), method, rng=Replay(5))
    noise = Replay(5).increments(start())
    taking = on_grid(method, [1.0, 0.0])
    state = taking.init(problem, 1.0, start())
    expected, _ = taking.step(problem, 1.0, 0.0, start(), state, noise)
    np.testing.assert_array_equal(solution.x, expected)
    assert solution.ts.tolist() == [1.0, 0.0]


@every_method
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_save_keeps_every_state(method, library):
    """With save=True xs has the start, the states between and the end; without it there is no xs."""
    x = start() if library == "numpy" else torch.from_numpy(start())
    problem = problem_for(method)
    solution = solve(problem, x, uniform(4), method, rng=Replay(1), save=True)
    assert type(solution.xs) is type(x)
    assert tuple(solution.xs.shape) == (5, 5, 2)
    assert bool((solution.xs[0] == x).all())
    assert bool((solution.xs[-1] == solution.x).all())
    assert solution.status == "success"
    assert solution.ts.dtype == np.float64
    assert solution.ts.tolist() == uniform(4).tolist()
    plain = solve(problem, x, uniform(4), method, rng=Replay(1))
    assert plain.xs is None
    assert bool((plain.x == solution.x).all())


@every_method
def test_steps_is_the_loop_of_solve(method):
    """The generator yields index, time and the very states that solve saves."""
    problem = problem_for(method)
    solution = solve(problem, start(), uniform(6), method, rng=Replay(1), save=True)
    for k, step in enumerate(steps(problem, start(), uniform(6), method, Replay(1)), start=1):
        assert (step.index, step.time) == (k, solution.ts[k])
        np.testing.assert_array_equal(step.x, solution.xs[k])
    assert k == 6


def test_send_changes_the_state():
    """A state that is sent replaces the one reached, is yielded anew, and the loop goes on from it."""
    run = steps(ODE(lambda time, x: np.ones_like(x)), np.zeros(1), uniform(4, 0.0, 1.0), solvers.Euler())
    seen = []
    for step in run:
        if step.index == 2:
            again = run.send(np.array([10.0]))
            assert (again.index, again.time, again.x.tolist()) == (2, 0.5, [10.0])
            again = run.send(np.array([20.0]))
            assert again.x.tolist() == [20.0]
        seen.append(step.x[0])
    assert seen == [0.25, 0.5, 20.25, 20.5]


def test_a_loop_may_stop_early():
    """Leaving the generator makes no further evaluation and closes it without complaint."""
    calls = []

    def field(time, x):
        calls.append(time)
        return -x

    run = steps(ODE(field), np.ones(1), uniform(100), solvers.Euler())
    for step in run:
        if step.index == 3:
            break
    run.close()
    assert len(calls) == 3


def test_memory_does_not_grow_with_steps():
    """Without save, 200 steps need no more memory at their peak than a few states."""
    x = np.ones(100_000)
    problem = ODE(lambda time, x: -x)
    tracemalloc.start()
    solve(problem, x, uniform(200), solvers.Heun())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * x.nbytes


def test_gradients_pass_through():
    """The derivative of the end with respect to the start is that of the discrete map: (1 − h)ⁿ for decay."""
    x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    solution = solve(ODE(lambda time, x: -x), x, uniform(10, 0.0, 1.0), solvers.Euler())
    (gradient,) = torch.autograd.grad(solution.x.sum(), x)
    assert abs(float(gradient) - 0.9**10) < 1e-14
