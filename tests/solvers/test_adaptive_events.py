"""Events: zeros of functions along the solution, against closed forms."""

import math

import numpy as np
import pytest
import torch
from adaptive_problems import column
from solver_methods import ADAPTABLE, name

from solvers import ODE, Adaptive, Dopri5, Event, solve

each_pair = pytest.mark.parametrize("method", ADAPTABLE, ids=name)


def oscillator(time, x):
    """x'' = −x as a system, one row (position, speed)."""
    if isinstance(x, torch.Tensor):
        return torch.stack([x[..., 1], -x[..., 0]], -1)
    return np.stack([x[..., 1], -x[..., 0]], -1)


def settings_for(method, *events, **parts):
    return Adaptive(method, rtol=1e-10, atol=1e-10, max_step=0.5, events=events, **parts)


@each_pair
def test_a_terminal_event_stops_where_the_function_vanishes(method):
    """cos t crosses zero at π/2: time, state and status say so, and the times after it are left out."""
    event = Event(lambda time, x: x[0])
    found = solve(
        ODE(oscillator), np.array([1.0, 0.0]), [0.0, 1.0, 1.5, 2.0, 3.0], settings_for(method, event), save=True
    )
    assert found.status == "event"
    assert abs(found.time - math.pi / 2) < 1e-8
    np.testing.assert_allclose(found.x, [0.0, -1.0], rtol=0, atol=1e-8)
    assert found.ts.tolist() == [0.0, 1.0, 1.5, found.time]
    np.testing.assert_array_equal(found.xs[-1], found.x)
    np.testing.assert_allclose(found.xs[:3, 0], np.cos([0.0, 1.0, 1.5]), rtol=0, atol=1e-8)
    (occurrence,) = found.events
    assert (occurrence.event, occurrence.sample, occurrence.time) == (0, None, found.time)
    np.testing.assert_array_equal(occurrence.x, found.x)
    # Bisection on the dense output goes to its own last bits.
    assert abs(found.x[0]) < 1e-14


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize(("direction", "places"), [(0, (0.5, 1.5, 2.5)), (1, (1.5,)), (-1, (0.5, 2.5))])
def test_events_that_do_not_stop_are_recorded(library, direction, places):
    """All zeros of cos up to 9, or those of one direction, at odd multiples of π/2; the solve goes to its end."""
    x = np.array([1.0, 0.0]) if library == "numpy" else torch.tensor([1.0, 0.0], dtype=torch.float64)
    event = Event(lambda time, x: x[0], terminal=False, direction=direction)
    found = solve(ODE(oscillator), x, [0.0, 9.0], settings_for(Dopri5(), event))
    assert found.status == "success"
    assert found.time == 9.0
    np.testing.assert_allclose([occurrence.time for occurrence in found.events], np.pi * np.array(places), atol=1e-8)
    assert found.nfe == solve(ODE(oscillator), x, [0.0, 9.0], settings_for(Dopri5())).nfe


def test_backwards_in_time():
    """In falling time the direction is that of the solve: from t = 9 down, cos rises through 5π/2 … as t falls."""
    x = np.array([math.cos(9.0), -math.sin(9.0)])
    rising = Event(lambda time, x: x[0], terminal=False, direction=1)
    found = solve(ODE(oscillator), x, [9.0, 0.0], settings_for(Dopri5(), rising))
    np.testing.assert_allclose([o.time for o in found.events], [2.5 * np.pi, 0.5 * np.pi], atol=1e-8)


def test_the_earliest_of_two_wins():
    """Of several events in one step the earliest terminal one stops, and what comes after it is not recorded."""
    slow = ODE(lambda time, x: np.ones_like(x))
    events = (
        Event(lambda time, x: x[0] - 0.7),
        Event(lambda time, x: x[0] - 0.4),
        Event(lambda time, x: x[0] - 0.5, terminal=False),
        Event(lambda time, x: x[0] - 0.3, terminal=False),
    )
    settings = Adaptive(Dopri5(), first_step=1.0, events=events)
    found = solve(slow, np.zeros(1), [0.0, 1.0], settings)
    assert found.accepted[0] == 1
    assert abs(found.time - 0.4) < 1e-12
    assert [occurrence.event for occurrence in found.events] == [3, 1]


def test_a_zero_at_the_end_of_a_step_counts_once():
    """A function that vanishes exactly at the end of a step is found there and not again in the next."""
    event = Event(lambda time, x: time - 0.5, terminal=False)
    settings = Adaptive(Dopri5(), first_step=0.5, max_step=0.5, events=(event,))
    found = solve(ODE(lambda time, x: np.ones_like(x)), np.zeros(1), [0.0, 1.0], settings)
    assert found.accepted[0] == 2
    assert [occurrence.time for occurrence in found.events] == [0.5]


def test_a_function_that_is_always_zero_never_crosses():
    """Zero from the first step to the last is no crossing."""
    found = solve(ODE(oscillator), np.ones(2), [0.0, 2.0], settings_for(Dopri5(), Event(lambda time, x: 0.0)))
    assert (found.status, found.events) == ("success", ())


def test_a_zero_at_the_start_is_no_crossing():
    """A function that is 0 at the start has not crossed, and does when it comes back."""
    event = Event(lambda time, x: x[0])
    found = solve(ODE(oscillator), np.array([0.0, 1.0]), [0.0, 9.0], settings_for(Dopri5(), event))
    assert abs(found.time - math.pi) < 1e-8


@each_pair
def test_events_per_sample(method):
    """Rows e^{-rate·t} reach ½ at log 2 / rate, each at its own time; a row that never does goes to the end."""
    rates = np.array([2.0, 1.0, 0.1, 5.0])
    x = np.stack([np.ones(4), rates], axis=1)

    def decay(time, x):
        return np.stack([-x[:, 1] * x[:, 0], np.zeros(len(x))], axis=1)

    event = Event(lambda time, x: x[:, 0] - 0.5)
    found = solve(ODE(decay), x, [0.0, 1.0], settings_for(method, event, per_sample=True))
    assert found.statuses.tolist() == ["event", "event", "success", "event"]
    expected = np.where(rates > 0.5, math.log(2.0) / rates, 1.0)
    np.testing.assert_allclose(found.time, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.x[[0, 1, 3], 0], 0.5, rtol=0, atol=1e-14)
    assert [occurrence.sample for occurrence in found.events] == [3, 0, 1]
    assert all(occurrence.x.shape == (2,) for occurrence in found.events)


def test_events_see_the_time():
    """A function of time alone stops at that time, for each row."""
    event = Event(lambda time, x: time - 0.25)
    settings = settings_for(Dopri5(), event, per_sample=True)
    found = solve(ODE(lambda time, x: -column(time, x) * x), np.ones((3, 2)), [1.0, 0.0], settings)
    np.testing.assert_allclose(found.time, 0.25, rtol=0, atol=1e-12)


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per-sample"])
@pytest.mark.parametrize(
    "answer",
    [lambda x: x, lambda x: None, lambda x: np.ones(7), lambda x: math.nan * x[:, 0]],
    ids=["state", "none", "seven", "nan"],
)
def test_an_event_answers_with_numbers(per_sample, answer):
    """One number, or one for each row; anything else is an error in three parts."""
    settings = settings_for(Dopri5(), Event(lambda time, x: answer(x)), per_sample=per_sample)
    with pytest.raises(ValueError, match=r"expected event\(time, x\): .*; received .*; remedy: ") as error:
        solve(ODE(lambda time, x: -x), np.ones((3, 2)), [0.0, 1.0], settings)
    assert ("one for each row" in str(error.value)) is per_sample
