"""Methods that have another inside: what that one refuses is refused, and its place in the grid is the whole grid's."""

import numpy as np
import pytest
from refusals import Recorder, refused

from interpolants import Gaussian, Linear, Path, denoising, diffusion, forward_sde
from solvers import (
    DDIM,
    EDMStochastic,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    LastStep,
    Mean,
    Preconditioned,
    PredictorCorrector,
    Restart,
    Tweedie,
    solve,
    steps,
    uniform,
)
from solvers.inverted import invert
from solvers.method import evaluation_times

GRID = uniform(4, 0.9, 0.1)
PLANNED = DDIM().plan(denoising(Linear(), lambda time, x: x), uniform(2, 0.9, 0.1))


class Steady:
    """Noise that a test can repeat from any step on: a function of the step alone."""

    def increments(self, x):
        return lambda t0, t1: (t0 - t1) * np.ones_like(x)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (PredictorCorrector(Restart(low=0.01)), "a grid that falls through sigma/alpha = low = 0.01"),
        (PredictorCorrector(LastStep(ExponentialEulerMaruyama(), Tweedie())), "a grid that ends at the data"),
        (PredictorCorrector(PLANNED), "the grid that was planned, 3 times"),
        (Preconditioned(PLANNED), "the grid that was planned, 3 times"),
        (Restart(PLANNED), "the grid that was planned, 3 times"),
    ],
    ids=["Restart", "Tweedie", "Plan", "Preconditioned", "Restart of a plan"],
)
def test_what_the_inner_method_refuses(method, words):
    """A grid that the method inside would refuse by itself is refused before the model is called."""
    field = Recorder()
    refused(ValueError, words, denoising(Linear(), field), np.ones(2), GRID, method, rng=np.random.default_rng(0))
    assert field.calls == []


@pytest.mark.parametrize("last", [Mean(), DDIM()], ids=["Mean", "DDIM"])
def test_churn_before_a_last_step(last):
    """EDM's churn per step is that of the whole grid, for the solve and for the times that it is said to visit."""
    field = Recorder(Path(Linear(), Gaussian([0.5], 0.25)).velocity)
    made, ts = denoising(Linear(), field), uniform(5, 0.9, 0.0)
    method = LastStep(EDMStochastic(churn=1.0), last)
    solve(made, np.ones((2, 1)), ts, method, rng=np.random.default_rng(0))
    # gamma = 1/5, and t = r / (1 + r) under the linear schedule.
    assert abs(field.calls[0] - 10.8 / 11.8) < 1e-12
    assert field.calls == [time for _, time in evaluation_times(method, ts.tolist(), made)]


@pytest.mark.parametrize(
    "method",
    [EDMStochastic(churn=1.0), Restart(low=0.3, high=4.0), LastStep(EDMStochastic(churn=1.0), DDIM())],
    ids=["churn", "Restart", "LastStep"],
)
def test_the_rest_of_a_solve_keeps_its_place(method):
    """The rest of an inverted solve has the churn and the ways down of the whole grid: it ends where the whole ends."""
    model = Path(Linear(), Gaussian([0.5], 0.25)).velocity
    ts = uniform(6, 0.9, 0.0)
    found = [step.x for step in steps(denoising(Linear(), model), np.ones((2, 1)), ts, method, Steady())]
    rest = invert(method, lambda net: denoising(Linear(), net), ts).rest(2)
    noise = Steady().increments(found[1])
    point = rest.begin(found[1], noise)
    for call in rest.calls:
        point = rest.answer(model(call.time, point), noise)
    np.testing.assert_allclose(point, found[-1], rtol=1e-12)


def test_a_last_step_has_no_last_step():
    """One solve has one last step: a second around the first is refused."""
    inner = LastStep(EulerMaruyama(), Mean())
    with pytest.raises(TypeError, match="without a last step of its own; received LastStep"):
        LastStep(inner, Mean())


def test_a_last_step_from_data_without_noise():
    """A single step that starts at sigma = 0 cannot be one of a denoising problem, and is refused as any other is."""
    field = Recorder()
    sde = forward_sde(Linear(), field, diffusion.Sigma())
    method = LastStep(EulerMaruyama(), DDIM())
    refused(
        ValueError, "sigma > 0 at the first time", sde, np.ones(2), [0.0, 1.0], method, rng=np.random.default_rng(0)
    )
    assert field.calls == []
