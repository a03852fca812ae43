"""Bad input is refused before the first call; limits end in a status with what was reached; NaN names its place."""

import math
import warnings

import numpy as np
import pytest
import torch
from adaptive_problems import batch, column, wave
from refusals import PARTS, Recorder, refused
from solver_methods import ADAPTABLE, name

from solvers import (
    ODE,
    SDE,
    Adaptive,
    Ancestral,
    Dopri5,
    Event,
    Heun,
    LeimkuhlerMatthews,
    NonFiniteError,
    Pole,
    PoleError,
    solve,
    steps,
)

each_pair = pytest.mark.parametrize("method", ADAPTABLE, ids=name)
each_mode = pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per-sample"])


@pytest.mark.parametrize(
    ("build", "kind", "words"),
    [
        (lambda: Adaptive(Dopri5(), rtol=0.0), ValueError, "rtol: a positive number; received 0.0"),
        (lambda: Adaptive(Dopri5(), rtol=-1e-3), ValueError, "rtol: a positive number; received -0.001"),
        (lambda: Adaptive(Dopri5(), rtol=math.nan), ValueError, "rtol: a positive number; received nan"),
        (lambda: Adaptive(Dopri5(), rtol=math.inf), ValueError, "rtol: a positive number; received inf"),
        (lambda: Adaptive(Dopri5(), atol=0), ValueError, "atol: a positive number; received 0"),
        (lambda: Adaptive(Dopri5(), atol="1e-3"), ValueError, "atol: a positive number; received '1e-3'"),
        (lambda: Adaptive(Dopri5(), max_step=0.0), ValueError, "max_step: a positive number"),
        (lambda: Adaptive(Dopri5(), first_step=-0.1), ValueError, "first_step: a positive number"),
        (lambda: Adaptive(Dopri5(), min_step=-0.1), ValueError, "min_step: a number from 0 to max_step"),
        (lambda: Adaptive(Dopri5(), min_step=0.2, max_step=0.1), ValueError, "to max_step = 0.1; received 0.2"),
        (lambda: Adaptive(Dopri5(), max_steps=0), ValueError, "max_steps: .* at least 1; received 0"),
        (lambda: Adaptive(Dopri5(), max_steps=10.0), TypeError, "max_steps: .* a whole number; received float"),
        (lambda: Adaptive(Heun()), ValueError, r"an estimate of its error, .* received Heun; remedy: choose Bosh3\(\)"),
        (lambda: Adaptive(Ancestral()), ValueError, "an estimate of its error, .* received Ancestral"),
        (
            lambda: Adaptive(LeimkuhlerMatthews()),
            ValueError,
            "a strong order of at least 1, .*; received LeimkuhlerMatthews with 0.5",
        ),
        (lambda: Adaptive(Dopri5), TypeError, r"the class Dopri5; remedy: write Dopri5\(\)"),
        (lambda: Adaptive("dopri5"), TypeError, "a method such as Heun"),
        (lambda: Adaptive(Dopri5(), events=(3.0,)), TypeError, "events: a tuple of Event"),
        (lambda: Adaptive(Dopri5(), events=Event(max)), TypeError, "with the comma"),
        (lambda: Event(1.0), TypeError, "function of the event: a callable"),
        (lambda: Event(max, direction=2), ValueError, "direction: -1"),
    ],
)
def test_settings_are_checked_when_built(build, kind, words):
    """A setting that makes no sense is refused by the constructor, in three parts."""
    with pytest.raises(kind, match=words) as error:
        build()
    assert all(part in str(error.value) for part in PARTS)


@pytest.mark.parametrize(
    ("ts", "words"),
    [
        ([1.0], "1 of them"),
        ([1.0, 1.0], "1.0 followed by 1.0"),
        ([0.0, 0.6, 0.5, 1.0], "0.6 followed by 0.5 at index 2"),
        ([0.0, math.nan], "nan at index 1"),
        ([0.0, 2.0], r"inside the domain \[0.0, 1.0\].* a grid that ends at 2.0"),
        ([-0.5, 1.0], "a grid that starts at -0.5"),
    ],
)
@each_mode
def test_intervals_are_checked_before_the_first_call(ts, words, per_sample):
    """A grid that is none, or that leaves the domain, is refused as on a fixed grid."""
    field = Recorder()
    problem, settings = ODE(field, domain=(0.0, 1.0)), Adaptive(Dopri5(), per_sample=per_sample)
    refused(ValueError, words, problem, np.ones((2, 2)), ts, settings)
    assert field.calls == []


@pytest.mark.parametrize(
    ("pole", "words"),
    [(0.0, "end the grid beside 0.0"), (1.0, "start the grid beside 1.0"), (0.3, "stay on one side of 0.3")],
)
def test_poles_on_the_interval_are_refused(pole, words):
    """Steps of their own choice may meet any time between the ends, so no pole may lie there; outside it may."""
    field = Recorder()
    problem = ODE(field, poles=(Pole(pole, "1/t diverges", "choose another w"),))
    words = f"a pole at time {pole} \\(1/t diverges\\); remedy: choose another w; or {words}"
    refused(PoleError, words, problem, np.ones(2), [1.0, 0.0], Adaptive(Dopri5()))
    assert field.calls == []
    assert solve(problem, np.ones(2), [pole + 0.1, pole + 0.2], Adaptive(Dopri5())).status == "success"


def test_what_does_not_fit_is_refused():
    """Another kind of problem, wishes that need a number of steps, states without rows or entries."""
    field = Recorder()
    ode, settings = ODE(field), Adaptive(Dopri5())
    refused(TypeError, "an ODE for Dopri5", SDE(field, lambda time: 1.0), np.ones(2), [1.0, 0.0], settings)
    refused(TypeError, "real floating", ode, np.arange(2), [1.0, 0.0], settings)
    refused(ValueError, "Adaptive with progress", ode, np.ones(2), [1.0, 0.0], settings, progress=True)
    refused(ValueError, "Adaptive with check_every", ode, np.ones(2), [1.0, 0.0], settings, check_every=1)
    refused(ValueError, "for per_sample=True", ode, np.ones(()), [1.0, 0.0], Adaptive(Dopri5(), per_sample=True))
    refused(ValueError, "a state with entries", ode, np.ones((0, 2)), [1.0, 0.0], settings)
    with pytest.raises(TypeError, match=r"fixed steps, such as .* received Adaptive; remedy"):
        steps(ode, np.ones(2), [1.0, 0.0], settings)
    assert field.calls == []


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (lambda time, x: x[:, :1], ValueError, r"shape \(3, 2\); received .* shape \(3, 1\)"),
        (lambda time, x: x.double(), TypeError, "dtype torch.float32 .* received Tensor of dtype torch.float64"),
        (lambda time, x: 0.0, TypeError, "received float 0.0"),
    ],
    ids=["shape", "dtype", "number"],
)
@each_mode
@pytest.mark.parametrize("late", [False, True], ids=["first", "late"])
def test_every_answer_is_looked_at(answer, kind, words, per_sample, late):
    """A drift that changes shape or dtype is refused at once, also when it begins to in the middle of a solve."""
    count = iter(range(10_000))
    field = Recorder(lambda time, x: -x if late and next(count) < 20 else answer(time, x))
    settings = Adaptive(Dopri5(), per_sample=per_sample, max_step=0.1)
    refused(kind, words, ODE(field), torch.ones(3, 2), [1.0, 0.0], settings)
    assert len(field.calls) == (21 if late else 1)


@each_pair
@each_mode
def test_max_steps(method, per_sample):
    """At the limit the solve ends with what it has: time, state, times passed; going on from there meets the end."""
    ts, tight = [0.0, 0.02, 0.5, 1.0], {"rtol": 1e-8, "atol": 1e-8, "per_sample": per_sample}
    found = solve(ODE(wave), batch()[-1:], ts, Adaptive(method, max_steps=7, **tight), save=True)
    assert found.status == "max-steps"
    assert int(found.accepted[0] + found.rejected[0]) == 7
    time = float(np.ravel(found.time)[0])
    assert 0.0 < time < 1.0
    if not per_sample:
        assert found.ts.tolist() == [t for t in ts if t < time] + [time]
        np.testing.assert_array_equal(found.xs[-1], found.x)
    rest = solve(ODE(wave), found.x, [time, 1.0], Adaptive(method, **tight))
    whole = solve(ODE(wave), batch()[-1:], [0.0, 1.0], Adaptive(method, **tight))
    np.testing.assert_allclose(rest.x, whole.x, rtol=0, atol=2e-5)


@each_mode
def test_min_step(per_sample):
    """A jump that needs a shorter step than allowed ends the solve before it, with the state there."""

    def jump(time, x):
        time = column(time, x)
        return np.where(np.asarray(time) < 0.5, 1.0, 1e6) * np.ones_like(x)

    settings = Adaptive(Dopri5(), min_step=1e-2, per_sample=per_sample)
    found = solve(ODE(jump), np.zeros((1, 1)), [0.0, 1.0], settings)
    assert found.status == "min-step"
    time = float(np.ravel(found.time)[0])
    assert 0.3 < time < 0.5
    np.testing.assert_allclose(found.x[0, 0], time, rtol=1e-12)
    assert solve(ODE(jump), np.zeros((1, 1)), [0.0, 1.0], Adaptive(Dopri5(), per_sample=per_sample)).status == "success"


def test_a_solution_that_blows_up_ends_in_a_status():
    """x' = x² from 1 has no solution beyond t = 1: steps shrink to the rounding of time, at a time just before it."""
    found = solve(ODE(lambda time, x: x * x), np.ones(1), [0.0, 2.0], Adaptive(Dopri5(), rtol=1e-6))
    assert found.status == "min-step"
    assert abs(found.time - 1.0) < 1e-4
    assert found.x[0] > 1e6
    assert np.isfinite(found.x).all()


@each_pair
@each_mode
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=["nan", "inf"])
def test_nan_from_the_model_names_step_and_time(method, per_sample, library, bad):
    """A time below which a model fails is approached; the error names step and time and has what was reached."""

    def breaks(time, x):
        late = column(time, x) < 0.45
        if isinstance(late, bool):
            return x * bad if late else -x
        return np.where(late, bad, -x) if library == "numpy" else torch.where(late, bad, -x)

    x = np.ones((2, 1)) if library == "numpy" else torch.ones(2, 1, dtype=torch.float64)
    settings, ts = Adaptive(method, per_sample=per_sample), [1.0, 0.75, 0.3, 0.0]
    sample = " of sample 0" if per_sample else ""
    words = f"NaN or infinity in step [0-9]+{sample}, from time 0.45[0-9]* to 0.4[0-9]*"
    error = refused(NonFiniteError, words, ODE(breaks), x, ts, settings, save=True)
    solution = error.solution
    assert solution.status == "non-finite"
    assert np.all(np.abs(np.asarray(solution.time) - 0.45) < 1e-12)
    np.testing.assert_allclose(np.asarray(solution.x), math.exp(0.55), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(solution.xs[1]), math.exp(0.25), rtol=1e-4)
    assert np.isfinite(np.asarray(solution.xs)).all()


def test_the_other_samples_finish():
    """One sample that breaks does not stop the others: the error carries their results."""

    def breaks(time, x):
        return np.where((x > 1.5) & (column(time, x) < 0.45), math.nan, -x)

    settings = Adaptive(Dopri5(), rtol=1e-8, atol=1e-8, per_sample=True)
    error = refused(
        NonFiniteError, "of sample 1, from time 0.45", ODE(breaks), np.array([[0.1], [2.0]]), [1.0, 0.0], settings
    )
    assert error.solution.statuses.tolist() == ["success", "non-finite"]
    np.testing.assert_allclose(error.solution.x[0], 0.1 * math.e, rtol=1e-7)
    np.testing.assert_allclose(error.solution.time, [0.0, 0.45], atol=1e-12)


@each_mode
def test_nan_everywhere_and_at_the_start(per_sample):
    """A model that never answers, and a start that is not finite, are told apart, and neither loops for long."""
    settings = Adaptive(Dopri5(), per_sample=per_sample)
    field = Recorder(lambda time, x: x * math.nan)
    refused(NonFiniteError, "in step .* from time 1.0", ODE(field), np.ones((2, 1)), [1.0, 0.0], settings)
    assert len(field.calls) < 300
    start = np.array([[1.0], [math.inf]])
    field = Recorder()
    error = refused(NonFiniteError, "in the initial state x, at time 1.0", ODE(field), start, [1.0, 0.0], settings)
    assert field.calls == []
    np.testing.assert_array_equal(error.solution.x, start)


def test_a_bad_time_at_zero_is_not_approached_for_ever():
    """An undeclared failure at t = 0 exactly ends the solve after some hundred steps, at a time next to nothing."""
    field = Recorder(lambda time, x: x * (math.nan if time == 0.0 else 1.0))
    error = refused(NonFiniteError, "to 0.0", ODE(field), np.ones(1), [1.0, 0.0], Adaptive(Dopri5()))
    assert 0.0 < error.solution.time < 1e-13
    assert len(field.calls) < 3000


@each_mode
def test_overflow_in_a_trial_step_is_no_warning(per_sample):
    """A first step that is far too long overflows, is refused in silence, and the solve succeeds."""
    settings = Adaptive(Dopri5(), first_step=1.0, per_sample=per_sample)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = solve(ODE(lambda time, x: -1e3 * x**3), np.full((1, 1), 40.0), [0.0, 1.0], settings)
    assert found.status == "success"
    assert found.rejected[0] > 0
    np.testing.assert_allclose(found.x, 1.0 / math.sqrt(1.0 / 1600.0 + 2e3), rtol=1e-4)


def test_nothing_given_is_changed():
    """State and grid are left as they were."""
    x, ts = batch(), np.array([1.0, 0.5, 0.0])
    x.setflags(write=False)
    ts.setflags(write=False)
    for per_sample in (False, True):
        solution = solve(ODE(wave), x, ts, Adaptive(Dopri5(), per_sample=per_sample), save=True)
        assert solution.status == "success"
    np.testing.assert_array_equal(x, batch())
