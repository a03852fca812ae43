"""The scheduler for diffusers, used by hand: it solves what ``solve`` solves, and says no where ``solve`` does."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from interpolants import (
    GVP,
    VP,
    Linear,
    Noise,
    Velocity,
    denoising,
    karras,
    probability_flow,
    reverse_sde,
)
from interpolants import diffusion as w
from interpolants.schedules import DDPMLinear
from solvers import (
    DDIM,
    ODE,
    SDE,
    Adaptive,
    Ancestral,
    Dopri5,
    DPMSolverPP,
    Euler,
    Heun,
    ShARK,
    SiTHeun,
    solve,
    steps,
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


@pytest.mark.covering(12)
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
    inner, rounded = (
        InterpolantScheduler(DDPMLinear(), Noise, DPMSolverPP(2, "singlestep"), rounded=each) for each in (False, True)
    )
    inner.set_timesteps(4)
    half = [float(DDPMLinear().log_snr(time)) / 2 for time in (1.0, 0.75, 0.5, 0.25)]
    exact = [1000.0 * float(DDPMLinear().time_of_log_snr(a + b)) - 1.0 for a, b in pairwise(half)]
    assert any(fraction % 1.0 > 0.5 for fraction in exact)
    assert inner.timesteps.tolist() == pytest.approx([999, exact[0], 749, exact[1], 499, exact[2], 249], rel=1e-6)
    rounded.set_timesteps(4)
    nearest = [math.floor(fraction + 0.5) for fraction in exact]
    assert rounded.timesteps.tolist() == [999, nearest[0], 749, nearest[1], 499, nearest[2], 249]


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
    direct = solved(method, X, GRID, VP(), torch.Generator().manual_seed(1))
    assert float((x - direct).abs().max()) < 1e-12


@pytest.mark.parametrize("method", [DPMSolverPP(2), Heun()], ids=name)
def test_a_sample_may_be_changed_where_a_step_begins(method):
    """As by ``send`` in the open loop: known parts of an image are put back between steps."""
    scheduler = InterpolantScheduler(VP(), Velocity, method)
    scheduler.set_timesteps(times=GRID)
    x, changed = X, max(k for k, each in enumerate(scheduler.timesteps.tolist()) if each == told(GRID[3]))
    for k, timestep in enumerate(scheduler.timesteps):
        x = x + 0.1 if k == changed else x
        x = scheduler.step(network(timestep, x), timestep, x).prev_sample
    make = probability_flow if method.solves is ODE else denoising
    loop = steps(make(VP(), lambda time, x: network(told(time), x)), X, GRID, method)
    for step in loop:
        step = loop.send(step.x + 0.1) if step.index == 3 else step
    assert float((x - step.x).abs().max()) < 1e-12


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


def test_adaptive_steps_are_refused():
    """A pipeline asks for the timesteps beforehand; the message says so and names a method."""
    with pytest.raises(TypeError, match=r"fixed length.*received Adaptive.*remedy: .*RK4\(\)"):
        InterpolantScheduler(Linear(), Velocity, Adaptive(Dopri5()))
