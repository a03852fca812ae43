"""The scheduler for diffusers: what it is made of, what it saves, and what it refuses."""

import importlib
import json
import sys

import pytest
import torch

from interpolants import (
    GVP,
    VP,
    Data,
    Linear,
    Noise,
    Score,
    Velocity,
    VPrediction,
)
from interpolants import diffusion as w
from interpolants.schedules import BUILT_IN, DDPMCosine, DDPMLinear
from interpolants.schedules.discrete import Discrete
from solvers import (
    DDIM,
    Ancestral,
    DPMSolverPP,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Heun,
    LastStep,
    Mean,
    PoleError,
    Preconditioned,
    Tweedie,
    UniPC,
    uniform,
)
from tests.solvers.solver_methods import name

pytest.importorskip("diffusers")
from interpolants.adapters.diffusers import InterpolantScheduler

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
GRID = uniform(6, start=0.98, stop=0.02)


def stepped(scheduler):
    """The end of a run in which the network is a sine."""
    x, generator = X, torch.Generator().manual_seed(1)
    for timestep in scheduler.timesteps:
        x = scheduler.step(torch.sin(x + float(timestep)), timestep, x, generator).prev_sample
    return x


CONFIGURED = [
    (Linear(), Velocity, UniPC(3, half=True), None, {"num_train_timesteps": 1, "shift": 3.0}),
    (VP(), Score, EulerMaruyama(), 2 * w.Sigma() + w.KL(), {"stop": 0.001}),
    (GVP(), VPrediction, LastStep(ExponentialEulerMaruyama(), Tweedie()), w.Custom("t**2"), {"start": 0.99}),
    (GVP(), Data, LastStep(EulerMaruyama(), Mean()), w.Sigma(), {"grid": "quadratic", "start": 0.9}),
    (DDPMLinear(100), Noise, Ancestral("large"), None, {"grid": "linspace"}),
    (DDPMCosine(), Noise, Preconditioned(DPMSolverPP(3), 0.25, 0.5), None, {"rounded": False}),
]


@pytest.mark.covering(2)
@pytest.mark.parametrize("parts", CONFIGURED, ids=lambda parts: f"{parts[0].name}-{name(parts[2])}")
def test_a_saved_scheduler_takes_the_same_steps(parts, tmp_path):
    """save_pretrained, from_pretrained and from_config: the same class of schedule, timesteps and samples."""
    schedule, prediction, method, diffusion, options = parts
    first = InterpolantScheduler(schedule, prediction, method, diffusion, **options)
    first.save_pretrained(tmp_path)
    first.set_timesteps(7)
    end = stepped(first)
    for again in (InterpolantScheduler.from_pretrained(tmp_path), InterpolantScheduler.from_config(first.config)):
        again.set_timesteps(7)
        assert again.timesteps.tolist() == first.timesteps.tolist()
        assert torch.equal(stepped(again), end)
        known = again.sampler
        assert isinstance(known.schedule, Discrete) == isinstance(schedule, Discrete)
        assert (known.prediction, repr(known.w)) == (prediction, repr(diffusion))
    changed = InterpolantScheduler.from_config(first.config, method=DDIM(), w=None)
    assert changed.sampler.method == DDIM()


@pytest.mark.covering(5)
@pytest.mark.parametrize("schedule", BUILT_IN)
def test_every_schedule_survives_json(schedule):
    """The configuration of each built-in schedule is JSON from which an equal schedule comes."""
    first = InterpolantScheduler(BUILT_IN[schedule](), Data, DDIM())
    again = InterpolantScheduler.from_config(json.loads(first.to_json_string()))
    assert again.sampler.schedule == first.sampler.schedule
    assert again.config.num_train_timesteps == 1000


LINEAR = {"schedule": Linear(), "prediction": Velocity, "method": DDIM()}
REFUSED = [
    ({"prediction": "Velocitty"}, "the name of a prediction: .* received 'Velocitty'; remedy: did you mean 'Velocity'"),
    ({"method": {"name": "eval"}}, "the name of a method: .*; received 'eval'"),
    ({"method": {"name": "UniPC", "ordre": 3}}, "fields of UniPC: .*; received ordre; .* did you mean 'order'"),
    ({"method": {"name": "LastStep", "method": {"name": "os"}}}, "the name of a method: .*; received 'os'"),
    ({"method": {"name": "DPMSolverPP", "order": 7}}, "order: one of 1, 2, 3 for DPMSolverPP; received 7"),
    ({"method": Heun}, "a method such as Heun"),
    ({"method": {"name": "Mean"}}, "a method such as Heun"),
    ({"schedule": {"name": "x", "alpha": "__import__('os')", "sigma": "t"}}, "an expression such as"),
    ({"schedule": "linear"}, "expected a schedule; received 'linear'"),
    ({"schedule": None}, "a schedule, a prediction and a method; received no schedule"),
    ({"w": "Sigmaa()"}, "the name of w: .* remedy: did you mean 'Sigma"),
    ({"w": w.Sigma()}, r"no w for DDIM, which has none; received Sigma\(\)"),
    ({"method": EulerMaruyama()}, "a diffusion coefficient w for EulerMaruyama; received None"),
    ({"grid": "karas"}, "grid: one of uniform, .*; received 'karas'; remedy: did you mean 'karras'"),
    ({"grid": "karras", "stop": 0.1}, "no start and no stop for karras"),
    ({"shift": -1.0}, "shift: a positive number; received -1.0"),
    ({"num_train_timesteps": 0}, "num_train_timesteps, at least 1; received 0"),
    ({"schedule": DDPMLinear(), "num_train_timesteps": 10}, "num_train_timesteps = 1000, that of the schedule"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[str(k) for k in range(len(REFUSED))])
def test_what_a_scheduler_is_not_made_of(changes, message):
    """Each part that is unknown or does not fit is named."""
    with pytest.raises((TypeError, ValueError), match=message):
        InterpolantScheduler(**(LINEAR | changes))


def test_what_set_timesteps_refuses():
    """Poles, evaluations of a discrete model at the clean data, several grids or none."""
    noise = InterpolantScheduler(Linear(), Noise, DDIM())
    with pytest.raises(PoleError, match="infinite at t = 1"):
        noise.set_timesteps(5)
    InterpolantScheduler(Linear(), Noise, DDIM(), start=0.999).set_timesteps(5)
    discrete = InterpolantScheduler(DDPMLinear(), Data, Heun())
    with pytest.raises(ValueError, match="clean data, where a discrete model has no timestep"):
        InterpolantScheduler(DDPMLinear(), Velocity, Heun()).set_timesteps(5)
    with pytest.raises(ValueError, match="sigmas under a schedule whose sigma is t; received ddpm-linear"):
        discrete.set_timesteps(sigmas=[1.0, 0.5])
    with pytest.raises(ValueError, match=r"expected one of num_inference_steps, .*; received none"):
        noise.set_timesteps()
    with pytest.raises(ValueError, match="received num_inference_steps and times"):
        noise.set_timesteps(5, times=GRID)
    with pytest.raises(ValueError, match="mu with times"):
        noise.set_timesteps(times=GRID, mu=1.0)
    with pytest.raises(ValueError, match="at most the 1000 timesteps"):
        InterpolantScheduler(DDPMLinear(), Noise, DDIM()).set_timesteps(1001)


def test_what_step_refuses():
    """A call too early, out of turn, of another shape, or too many."""
    scheduler = InterpolantScheduler(VP(), Velocity, Heun())
    with pytest.raises(ValueError, match=r"remedy: call scheduler.set_timesteps"):
        scheduler.step(X, 1000.0, X)
    scheduler.set_timesteps(times=GRID)
    first, second = scheduler.timesteps[:2]
    with pytest.raises(ValueError, match=r"a timestep of scheduler.timesteps; received 123.0"):
        scheduler.step(X, 123.0, X)
    with pytest.raises(
        ValueError, match=r"a model output of the shape of the sample, \(4, 3\); received shape \(4, 6\)"
    ):
        scheduler.step(torch.cat([X, X], 1), first, X)
    with pytest.raises(ValueError, match="an evaluation that begins a step; received one inside a step, index 11"):
        scheduler.step(X, scheduler.timesteps[-1], X)
    with pytest.raises(ValueError, match="index of an evaluation that begins a step; received 3"):
        scheduler.set_begin_index(3)
    scheduler.step(X, first, X)
    with pytest.raises(ValueError, match=r"number 1 of the run; received 980.0"):
        scheduler.step(X, first, X)
    with pytest.raises(ValueError, match=r"a sample of shape \(4, 3\); received shape \(2, 3\)"):
        scheduler.step(X[:2], second, X[:2])
    for timestep in scheduler.timesteps[1:]:
        scheduler.step(X, timestep, X)
    with pytest.raises(ValueError, match="12 calls of step, one for each timestep; received one more"):
        scheduler.step(X, first, X)


def test_without_diffusers_the_extra_is_named(monkeypatch):
    """The import of the module fails with what to install."""
    monkeypatch.delitem(sys.modules, "interpolants.adapters.diffusers")
    monkeypatch.setitem(sys.modules, "diffusers.configuration_utils", None)
    with pytest.raises(ImportError, match=r"remedy: pip install .interpolants\[diffusers\]"):
        importlib.import_module("interpolants.adapters.diffusers")
