"""The scheduler for diffusers, used by hand: it solves what ``solve`` solves, and says no where ``solve`` does."""

import json
import math

import numpy as np
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
    denoising,
    karras,
    probability_flow,
    reverse_sde,
)
from interpolants import diffusion as w
from interpolants.schedules import BUILT_IN, DDPMCosine, DDPMLinear
from interpolants.schedules.discrete import Discrete
from solvers import (
    DDIM,
    ODE,
    SDE,
    Ancestral,
    DPMSolverPP,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Heun,
    LastStep,
    Mean,
    PoleError,
    Preconditioned,
    ShARK,
    SiTHeun,
    Tweedie,
    UniPC,
    solve,
    uniform,
)
from tests.solvers.solver_methods import DENOISING, METHODS, name

pytest.importorskip("diffusers")
from interpolants.adapters.diffusers import InterpolantScheduler

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
GRID = uniform(6, start=0.98, stop=0.02)


def network(timestep, x):
    """Any smooth function, of what a network is told."""
    time = float(timestep) / 1000.0
    return torch.tanh(x) * (1.0 + time) - math.sin(3.0 * time)


def told(time):
    """The timestep of a time, in single precision as the pipelines have it."""
    return float(np.float32(1000.0 * time))


def needs_w(method):
    return method.solves is SDE or getattr(method, "reads_clock", False)


def sampled(scheduler, x, generator=None, model=network):
    """The loop of a pipeline."""
    for timestep in scheduler.timesteps:
        x = scheduler.scale_model_input(x, timestep, generator)
        x = scheduler.step(model(timestep, x), timestep, x, generator).prev_sample
    return x


def solved(method, x, times, schedule, rng=None):
    def model(time, x):
        return network(told(time), x)

    if method.solves is ODE:
        return solve(probability_flow(schedule, model), x, times, method).x
    if method.solves is SDE:
        return solve(reverse_sde(schedule, model, w.Sigma()), x, times, method, rng=rng).x
    problem = denoising(schedule, model, w=w.Sigma() if needs_w(method) else w.Zero())
    return solve(problem, x, times, method, rng=rng).x


@pytest.mark.parametrize("method", [*METHODS, *DENOISING], ids=name)
def test_the_loop_of_a_pipeline_ends_where_solve_ends(method):
    """Every method, with the same normals, in double and in single precision."""
    scheduler = InterpolantScheduler(VP(), Velocity, method, w.Sigma() if needs_w(method) else None)
    for dtype, atol in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        scheduler.set_timesteps(times=GRID)
        ours = sampled(scheduler, X.to(dtype), torch.Generator().manual_seed(1))
        direct = solved(method, X.to(dtype), GRID, VP(), torch.Generator().manual_seed(1))
        assert ours.dtype == dtype
        assert float((ours - direct).abs().max()) < atol


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_rounded_once_a_step(dtype):
    """Each state is the double-precision step from the rounded one, to half an ulp and the rounding of float32."""
    scheduler = InterpolantScheduler(GVP(), Velocity, DDIM())
    scheduler.set_timesteps(8)
    x = X.to(dtype)
    for k, timestep in enumerate(scheduler.timesteps):
        said = network(timestep, x)
        angle = 0.5 * math.pi / 8  # DDIM under GVP turns (x, 2v/π)
        exact = math.cos(angle) * x.double() - math.sin(angle) * 2.0 / math.pi * said.double()
        x = scheduler.step(said, timestep, x).prev_sample
        assert x.dtype == said.dtype == dtype, k
        assert bool(((x.double() - exact).abs() <= (0.5 * torch.finfo(dtype).eps + 1e-6) * exact.abs() + 1e-6).all())


def test_a_timestep_for_every_evaluation():
    """The start of a multistep method is one more; a discrete model is told integers, unless it takes fractions."""
    scheduler = InterpolantScheduler(Linear(), Velocity, DPMSolverPP(2), num_train_timesteps=1)
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == pytest.approx([1.0, 6 / 7, 0.75, 0.5, 0.25])  # there α/σ = 1/6, half of 1/3
    assert (len(scheduler), scheduler.order, scheduler.num_inference_steps) == (1, 1, 4)
    discrete = InterpolantScheduler(DDPMLinear(), Noise, DDIM())
    discrete.set_timesteps(5)
    assert (discrete.timesteps.tolist(), discrete.timesteps.dtype) == ([999, 799, 599, 399, 199], torch.int64)
    discrete.set_timesteps(timesteps=torch.tensor([900, 10]))
    assert discrete.timesteps.tolist() == [900, 10]
    assert discrete.config.num_train_timesteps == len(discrete) == 1000
    inner = InterpolantScheduler(DDPMLinear(), Noise, DPMSolverPP(2, "singlestep"), rounded=False)
    inner.set_timesteps(2)
    half = [0.5 * float(DDPMLinear().log_snr(time)) for time in (1.0, 0.5)]
    exact = 1000.0 * float(DDPMLinear().time_of_log_snr(sum(half))) - 1.0
    assert inner.timesteps.tolist() == pytest.approx([999.0, exact, 499.0], rel=1e-6)
    rounded = InterpolantScheduler(DDPMLinear(), Noise, DPMSolverPP(2, "singlestep"))
    rounded.set_timesteps(2)
    assert rounded.timesteps.tolist() == [999, round(exact), 499]


def test_grids_by_name_and_times_that_are_given():
    """A shift is made once; timesteps, sigmas and times are taken as they are, but for sigmas with mu."""
    make = InterpolantScheduler
    shifted = make(Linear(), Velocity, Euler(), shift=3.0)
    shifted.set_timesteps(4)
    expected = [1000.0 * 3.0 * t / (1.0 + 2.0 * t) for t in (1.0, 0.75, 0.5, 0.25)]
    assert shifted.timesteps.tolist() == pytest.approx(expected, rel=1e-6)
    for given in ({"timesteps": shifted.timesteps}, {"sigmas": shifted.timesteps / 1000.0}):
        shifted.set_timesteps(**given)
        assert shifted.timesteps.tolist() == pytest.approx(expected, rel=1e-6)
    shifted.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25], mu=math.log(3.0))
    assert shifted.timesteps.tolist() == pytest.approx(expected, rel=1e-6)
    named = make(GVP(), Velocity, DDIM(), grid="karras")
    named.set_timesteps(5)
    given = make(GVP(), Velocity, DDIM())
    given.set_timesteps(times=karras(GVP(), 5))
    assert named.timesteps.tolist() == given.timesteps.tolist()
    part = make(Linear(), Velocity, DDIM(), grid="quadratic", start=0.81, stop=0.01)
    part.set_timesteps(2)
    assert part.timesteps.tolist() == pytest.approx([810.0, 250.0])
    assert part.init_noise_sigma == pytest.approx(0.81)


@pytest.mark.parametrize("method", [ShARK(), SiTHeun()], ids=name)
def test_a_method_that_begins_with_noise_needs_the_first_point(method):
    """step alone is refused; with scale_model_input either the state or the point may be handed to the first step."""
    scheduler = InterpolantScheduler(VP(), Velocity, method, w.Sigma())
    scheduler.set_timesteps(times=GRID)
    with pytest.raises(ValueError, match=r"remedy: call the network at scheduler.scale_model_input"):
        scheduler.step(X, scheduler.timesteps[0], X)
    ends = []
    for unscaled in (True, False):
        scheduler.set_timesteps(times=GRID)
        generator, x = torch.Generator().manual_seed(1), X
        for timestep in scheduler.timesteps:
            point = scheduler.scale_model_input(x, timestep, generator)
            said = network(timestep, point)
            x = scheduler.step(said, timestep, x if unscaled else point, generator).prev_sample
        ends.append(x)
    assert torch.equal(*ends)


def test_noise_comes_from_the_generators():
    """With a list of generators a sample does not depend on its batch; without one it is torch's own."""
    scheduler = InterpolantScheduler(VP(), Velocity, Ancestral())

    def run(x, generator):
        scheduler.set_timesteps(times=GRID)
        return sampled(scheduler, x, generator)

    whole = run(X, [torch.Generator().manual_seed(k) for k in range(4)])
    assert torch.equal(run(X[2:3], torch.Generator().manual_seed(2)), whole[2:3])
    ends = []
    for _ in range(2):
        torch.manual_seed(3)
        ends.append(run(X, None))
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], whole)


@pytest.mark.parametrize("method", [Heun(), DPMSolverPP(2), Ancestral()], ids=name)
def test_a_run_may_begin_at_any_step(method):
    """By set_begin_index, or at a timestep: that of two evaluations with one timestep which begins a step."""
    scheduler = InterpolantScheduler(VP(), Velocity, method)
    scheduler.set_timesteps(times=GRID)
    starts = [k for k, told_ in enumerate(scheduler.timesteps.tolist()) if told_ == told(GRID[3])]
    begin = starts[-1]
    assert scheduler.index_for_timestep(scheduler.timesteps[begin]) == begin
    ends = []
    for indexed in (True, False):
        scheduler.set_timesteps(times=GRID)
        if indexed:
            scheduler.set_begin_index(begin)
            assert (scheduler.begin_index, scheduler.step_index) == (begin, None)
        x, generator = X, torch.Generator().manual_seed(4)
        for timestep in scheduler.timesteps[begin:]:
            x = scheduler.step(network(timestep, x), timestep, x, generator).prev_sample
        assert scheduler.step_index == len(scheduler.timesteps)
        ends.append(x)
    assert torch.equal(*ends)
    if not isinstance(method, DPMSolverPP):
        direct = solved(method, X, GRID[3:], VP(), torch.Generator().manual_seed(4))
        assert float((ends[0] - direct).abs().max()) < 1e-12


def test_noising_is_the_inverse_of_the_data_prediction():
    """add_noise and scale_noise make x_t; a step that is told its velocity returns the data as pred_original_sample."""
    scheduler = InterpolantScheduler(GVP(), Velocity, Heun())
    scheduler.set_timesteps(3)
    noise, clean = torch.randn_like(X), X
    for batch in (scheduler.timesteps[2].expand(4), scheduler.timesteps[2]):
        x = scheduler.add_noise(clean, noise, batch)
        angle = 0.5 * math.pi * float(scheduler.timesteps[2]) / 1000.0
        assert torch.allclose(x, math.cos(angle) * clean + math.sin(angle) * noise, atol=1e-6)
        assert torch.equal(x, scheduler.scale_noise(clean, batch, noise))
    velocity = 0.5 * math.pi * (math.cos(angle) * noise - math.sin(angle) * clean)
    out = scheduler.step(velocity, scheduler.timesteps[2], x)
    assert torch.allclose(out.pred_original_sample, clean, atol=1e-6)
    pair = scheduler.step(velocity, scheduler.timesteps[3], x, return_dict=False)
    assert len(pair) == 2


CONFIGURED = [
    (Linear(), Velocity, UniPC(3, half=True), None, {"num_train_timesteps": 1, "shift": 3.0}),
    (VP(), Score, EulerMaruyama(), 2 * w.Sigma() + w.KL(), {"stop": 0.001}),
    (GVP(), VPrediction, LastStep(ExponentialEulerMaruyama(), Tweedie()), w.Custom("t**2"), {"start": 0.99}),
    (GVP(), Data, LastStep(EulerMaruyama(), Mean()), w.Sigma(), {"grid": "quadratic", "start": 0.9}),
    (DDPMCosine(), Noise, Preconditioned(DPMSolverPP(3), 0.25, 0.5), None, {"rounded": False}),
    (DDPMLinear(100), Noise, Ancestral("large"), None, {"grid": "linspace"}),
]


@pytest.mark.parametrize("parts", CONFIGURED, ids=lambda parts: f"{parts[0].name}-{name(parts[2])}")
def test_a_saved_scheduler_takes_the_same_steps(parts, tmp_path):
    """save_pretrained, from_pretrained and from_config: the same class of schedule, timesteps and samples."""
    schedule, prediction, method, diffusion, options = parts
    first = InterpolantScheduler(schedule, prediction, method, diffusion, **options)
    first.save_pretrained(tmp_path)
    first.set_timesteps(7)
    end = sampled(first, X, torch.Generator().manual_seed(1))
    for again in (InterpolantScheduler.from_pretrained(tmp_path), InterpolantScheduler.from_config(first.config)):
        again.set_timesteps(7)
        assert again.timesteps.tolist() == first.timesteps.tolist()
        assert torch.equal(sampled(again, X, torch.Generator().manual_seed(1)), end)
        known = again.sampler
        assert isinstance(known.schedule, Discrete) == isinstance(schedule, Discrete)
        assert (known.prediction, repr(known.w)) == (prediction, repr(diffusion))
    changed = InterpolantScheduler.from_config(first.config, method=DDIM(), w=None)
    assert changed.sampler.method == DDIM()


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
