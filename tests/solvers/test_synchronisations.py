"""A solve never waits for a device, but for one look at the result: arrays that count looks show it on the CPU."""

import math

import numpy as np
import pytest
import torch
from counting_arrays import Distant, Looks, looks_during
from law_problems import every_method, problem_for, start
from solver_methods import ADAPTABLE, name

from solvers import ODE, Adaptive, Dopri5, Euler, Event, solve, steps, uniform


class Kicks:
    """Noise for distant arrays, from a generator of the host."""

    def increments(self, x):
        rng = np.random.default_rng(0)
        return lambda t0, t1: Distant(rng.standard_normal(x.shape) * math.sqrt(abs(t1 - t0)))


class Replayed:
    """The same noise for numpy."""

    def increments(self, x):
        noise = Kicks().increments(x)
        return lambda t0, t1: noise(t0, t1).values


@every_method
def test_fixed_steps_look_once(method):
    """Steps look at no number, saved or not; the check at the end looks once, check_every=k once every k steps."""
    problem, x = problem_for(method), Distant(start())
    for wishes, expected in (({}, 1), ({"save": True}, 1), ({"check_every": 3}, 3)):
        looks, solution = looks_during(
            lambda wishes=wishes: solve(problem, x, uniform(7), method, rng=Kicks(), **wishes)
        )
        assert looks == expected
    np.testing.assert_array_equal(solution.x.values, solve(problem, start(), uniform(7), method, rng=Replayed()).x)


@every_method
def test_steps_never_look(method):
    """The open loop leaves all looking to its caller."""
    looks, last = looks_during(
        lambda: list(steps(problem_for(method), Distant(start()), uniform(7), method, Kicks()))[-1]
    )
    assert looks == 0
    assert last.index == 7


@every_method
def test_torch_is_not_made_to_wait(method):
    """No operation of torch that returns a number, or whose shape is one, but for one at the end."""
    x, ts = torch.from_numpy(start()), uniform(7)
    with Looks() as seen:
        list(steps(problem_for(method), x, ts, method, torch.Generator().manual_seed(0)))
    assert seen.found == []
    with Looks() as seen:
        solve(problem_for(method), x, ts, method, rng=torch.Generator().manual_seed(0))
    assert seen.found == ["_local_scalar_dense"]


@every_method
def test_arrays_without_numbers_pass_through(method):
    """Torch's meta device, whose tensors have no numbers to look at, carries the loop, and the states stay on it."""
    x = torch.empty(5, 2, device="meta")
    noise = type("Noise", (), {"increments": lambda self, x: lambda t0, t1: torch.empty_like(x)})()
    last = list(steps(problem_for(method), x, uniform(4), method, noise))[-1]
    assert last.x.device == x.device
    assert (last.x.dtype, last.x.shape) == (x.dtype, x.shape)
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        solve(problem_for(method), x, uniform(4), method, rng=noise)


def test_trees_are_joined_without_a_look():
    """Joining leaves and taking them apart moves no number to the host, whatever their dtypes."""
    x = {"a": Distant(start()), "b": Distant(start())}
    problem = ODE(lambda time, x: {"a": x["b"], "b": -1.0 * x["a"]})
    assert looks_during(lambda: solve(problem, x, uniform(7), Euler(), save=True))[0] == 1
    settings = Adaptive(Dopri5(), first_step=0.1, per_sample=True)
    looks, found = looks_during(lambda: solve(problem, x, [0.0, 1.0], settings))
    assert looks == (found.accepted + found.rejected).max() + 1


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("method", ADAPTABLE, ids=name)
def test_adaptive_steps_look_once_each(method, per_sample):
    """Each step that is tried, refused or not, is one look; the start is one, and the first length two."""
    x = Distant(np.geomspace(0.5, 30.0, 4)[:, None])
    problem = ODE(lambda time, x: -x * abs(x))
    for first in (None, 0.5):
        settings = Adaptive(method, rtol=1e-7, atol=1e-9, per_sample=per_sample, first_step=first)
        looks, found = looks_during(lambda settings=settings: solve(problem, x, [0.0, 0.3, 1.0], settings, save=True))
        assert looks == (found.accepted + found.rejected).max() + 1 + 2 * (first is None)
        assert found.rejected.any() or first is None


@every_method
def test_the_counters_count(method):
    """A problem that looks at its state is seen to, at every evaluation, by both counters."""

    def nosy(time, x):
        return x * (1.0 if bool((x * 0.0).reshape(-1)[0] == 0.0) else 2.0)

    looks, solution = looks_during(
        lambda: solve(problem_for(method, nosy), Distant(start()), uniform(3), method, rng=Kicks())
    )
    assert looks == solution.nfe + 1
    with Looks() as seen:
        solution = solve(
            problem_for(method, nosy), torch.from_numpy(start()), uniform(3), method, rng=torch.Generator()
        )
    assert len(seen.found) == solution.nfe + 1


@pytest.mark.parametrize("look", [float, bool, int, iter, np.asarray, len, lambda x: x.item(), lambda x: x.tolist()])
def test_every_door_counts(look):
    """Whatever brings numbers of a distant array to the host is one look."""
    x = Distant(np.ones(1) if look in (iter, len) else np.ones(()))
    assert looks_during(lambda: look(x))[0] == 1


@pytest.mark.parametrize(
    "look",
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: bool(x.any()),
        lambda x: x[x > 0.0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: x.to(torch.float32),
    ],
)
def test_every_wait_of_torch_counts(look):
    """Whatever makes torch wait for a device, or copies, is seen."""
    with Looks() as seen:
        look(torch.ones(3, dtype=torch.float64))
    assert len(seen.found) == 1


def test_an_event_is_one_look_for_each_step():
    """An event without a crossing costs a look at the start and one for each step, beside those of the step."""
    event = Event(lambda time, x: x[0] + 1.0)
    plain, watched = Adaptive(Dopri5(), first_step=0.1), Adaptive(Dopri5(), first_step=0.1, events=(event,))
    x, problem = Distant(np.ones(2)), ODE(lambda time, x: -x)
    without, found = looks_during(lambda: solve(problem, x, [0.0, 1.0], plain))
    with_event, _ = looks_during(lambda: solve(problem, x, [0.0, 1.0], watched))
    assert with_event - without == 1 + int(found.accepted[0] + found.rejected[0])


def test_a_replacement_is_not_looked_at():
    """send compares kinds, not numbers."""

    def constrained():
        run = steps(ODE(lambda time, x: -x), Distant(start()), uniform(4), Euler())
        for step in run:
            run.send(step.x * 0.5)

    assert looks_during(constrained)[0] == 0
