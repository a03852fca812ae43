"""Every sample has its own time and steps: it does not know its batch, and costs nothing once it has finished."""

import math

import numpy as np
import pytest
import torch
from adaptive_problems import Watched, batch, column, wave
from scipy.integrate import solve_ivp
from solver_methods import ADAPTABLE, name

from interpolants import GVP, GaussianMixture, Linear, Path, probability_flow
from solvers import ODE, Adaptive, Dopri5, Event, solve
from solvers.adaptive.lanes import PerSample
from solvers.adaptive.trial import Trial

each_pair = pytest.mark.parametrize("method", ADAPTABLE, ids=name)


def settings_for(method, **parts):
    return Adaptive(method, rtol=1e-6, atol=1e-8, per_sample=True, **parts)


@pytest.mark.covering(3)
@each_pair
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_sample_does_not_know_its_batch(method, library):
    """State, saved states and steps of a row in a batch are those of the row alone, to the last bit."""
    x = batch() if library == "numpy" else torch.from_numpy(batch())
    ts = [1.0, 0.7, 0.123, 0.0]
    together = solve(ODE(wave), x, ts, settings_for(method), save=True)
    for k in range(len(x)):
        alone = solve(ODE(wave), x[k : k + 1], ts, settings_for(method), save=True)
        np.testing.assert_array_equal(np.asarray(alone.xs[:, 0]), np.asarray(together.xs[:, k]))
        assert (alone.accepted[0], alone.rejected[0]) == (together.accepted[k], together.rejected[k])


@each_pair
def test_one_row_alone_is_a_shared_solve(method):
    """One row with its own time takes the steps that the whole state takes, up to rounding of the functions of time."""
    for row in batch(3)[:2]:
        one = solve(ODE(wave), row[None], [1.0, 0.0], settings_for(method))
        shared = solve(ODE(wave), row[None], [1.0, 0.0], Adaptive(method, rtol=1e-6, atol=1e-8))
        assert one.nfe == shared.nfe
        np.testing.assert_allclose(one.x, shared.x, rtol=0, atol=1e-12)


@each_pair
def test_finished_samples_are_not_evaluated(method):
    """The rows that the drift is given are those that each sample needs: two to begin, then its own tries' stages."""
    field = Watched()
    found = solve(ODE(field), batch(), [1.0, 0.0], settings_for(method))
    tries = found.accepted + found.rejected
    assert found.rows == sum(field.rows) == 2 * 6 + method.evaluations * tries.sum()
    assert found.nfe == len(field.rows) == 2 + method.evaluations * tries.max()
    assert field.rows == sorted(field.rows, reverse=True)
    assert tries.max() > 3 * tries.min()
    # A shared step is as short as the worst row asks for, for all rows.
    shared = solve(ODE(wave), batch(), [1.0, 0.0], Adaptive(method, rtol=1e-6, atol=1e-8))
    assert found.rows < 0.5 * shared.rows


def test_times_are_rows_of_the_library_of_x():
    """A drift is given times of shape (B',) in the dtype of x, and every sample's times run from start to stop."""
    field = Watched()
    x = torch.from_numpy(batch(dtype=np.float32))
    found = solve(ODE(field), x, [1.0, 0.0], settings_for(Dopri5()))
    assert {(type(time), time.dtype, time.ndim) for time in field.times} == {(torch.Tensor, torch.float32, 1)}
    assert all(time.shape[0] == rows for time, rows in zip(field.times, field.rows))
    assert float(field.times[0][0]) == 1.0
    assert float(min(time.min() for time in field.times)) == 0.0
    assert found.time.dtype == np.float64
    assert found.time.tolist() == [0.0] * 6
    assert found.statuses.tolist() == ["success"] * 6


@each_pair
def test_each_sample_meets_its_tolerance(method):
    """Every row is as exact as its tolerance, against scipy's DOP853 row by row."""

    def alone(time, y):
        return wave(float(time), y[None])[0]

    found = solve(ODE(wave), batch(), [0.0, 1.0], settings_for(method))
    for k, row in enumerate(batch()):
        exact = solve_ivp(alone, (0.0, 1.0), row, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
        # One tolerance for each step, at the size that the row has.
        assert np.abs(found.x[k] - exact).max() < 1e-6 * np.abs(row).max() * found.accepted[k]


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 3, 2)], ids=["scalars", "vectors", "images"])
def test_any_shape_with_a_batch_axis(shape):
    """Rows may have any shape, and times are padded on the right by the solver."""
    x = np.linspace(0.1, 2.0, math.prod(shape)).reshape(shape)
    found = solve(ODE(lambda time, x: -column(time, x) * x), x, [1.0, 0.5, 0.0], settings_for(Dopri5()), save=True)
    np.testing.assert_allclose(found.x, x * math.exp(0.5), rtol=1e-5)
    np.testing.assert_allclose(found.xs[1], x * math.exp(0.375), rtol=1e-5)


def test_a_state_without_axes():
    """A shared solve takes a state of shape ()."""
    found = solve(ODE(lambda time, x: -x), np.ones(()), [0.0, 0.5, 1.0], Adaptive(Dopri5()), save=True)
    assert found.xs.shape == (3,)
    np.testing.assert_allclose(found.xs, np.exp([0.0, -0.5, -1.0]), rtol=1e-4)


@pytest.mark.parametrize("per_sample", [False, True])
def test_bfloat16(per_sample):
    """A dtype that numpy has not is solved too: e^{-1} within the tolerance and the eight bits of the state."""
    x = torch.ones(4, 1, dtype=torch.bfloat16)
    method = Adaptive(Dopri5(), rtol=1e-2, atol=1e-2, per_sample=per_sample)
    end = solve(ODE(lambda time, x: -x), x, [0.0, 1.0], method).x
    assert end.dtype == x.dtype
    assert abs(end.double() - math.exp(-1.0)).max() < 2e-2


@pytest.mark.parametrize("schedule", [Linear(), GVP()], ids=lambda schedule: schedule.name)
def test_the_probability_flow_takes_times_per_sample(schedule):
    """The drift of an interpolant accepts what per_sample gives it; both ways reach the same points."""
    target = GaussianMixture([0.5, 0.5], [[-2.0], [2.0]], [[[0.1]], [[0.1]]])
    ode = probability_flow(schedule, Path(schedule, target).velocity)
    x = np.linspace(-2.0, 2.0, 8)[:, None]
    ts = [0.999, 1e-3]
    own = solve(ode, x, ts, Adaptive(Dopri5(), rtol=1e-8, atol=1e-8, per_sample=True))
    shared = solve(ode, x, ts, Adaptive(Dopri5(), rtol=1e-8, atol=1e-8))
    np.testing.assert_allclose(own.x, shared.x, rtol=0, atol=1e-5)
    assert own.rows < shared.rows


@pytest.mark.parametrize("limit", ["max-steps", "event"])
def test_samples_end_for_different_reasons(limit):
    """Limits and events stop the samples that meet them; the others go on as if alone; the status is the worst."""
    x, ts = batch(), [0.0, 0.25, 0.5, 0.75, 1.0]
    free = solve(ODE(wave), x, ts, settings_for(Dopri5()), save=True)
    middle = int(np.sort(free.accepted + free.rejected)[3])
    event = Event(lambda time, x: x[:, 0])  # fast rows turn far enough within the time
    parts = {"max_steps": middle} if limit == "max-steps" else {"events": (event,)}
    found = solve(ODE(wave), x, ts, settings_for(Dopri5(), **parts), save=True)
    stopped = found.statuses == limit
    assert 0 < stopped.sum() < 6
    assert set(found.statuses[~stopped]) == {"success"}
    assert found.status == limit
    np.testing.assert_array_equal(found.xs[:, ~stopped], free.xs[:, ~stopped])
    np.testing.assert_array_equal(found.time[~stopped], 1.0)
    assert (found.time[stopped] < 1.0).all()
    for k in np.flatnonzero(stopped):
        reached = np.array(ts) <= found.time[k]
        np.testing.assert_array_equal(found.xs[reached, k], free.xs[reached, k])
        np.testing.assert_array_equal(found.xs[~reached, k], np.broadcast_to(found.x[k], (int((~reached).sum()), 2)))


def test_dense_output_asks_for_the_rows_it_needs():
    """The extra slopes of DOP853 are evaluated for rows with a time to save only."""
    calls = []
    method = ADAPTABLE[-1]
    slopes = [np.ones((3, 2))] * 13
    trial = Trial(PerSample(), method.tableau, np.zeros(3), np.ones(3), np.ones((3, 2)), slopes)
    trial.x1 = np.ones((3, 2))
    part = trial.take(np.array([2]))
    part.prepare(lambda time, x: calls.append(x.shape) or x)
    part.prepare(lambda time, x: calls.append(x.shape) or x)
    assert calls == [(1, 2)] * 3
