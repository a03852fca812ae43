"""The scheduler for diffusers against the schedulers of diffusers, and inside one of its pipelines."""

import importlib
import json

import numpy as np
import pytest
import torch

from interpolants import Data, Linear, Noise, Velocity, VPrediction
from interpolants import diffusion as w
from interpolants.schedules import DDPMLinear, DDPMScaledLinear
from solvers import (
    DDIM,
    Ancestral,
    DPMSolverPP,
    EDMHeun,
    Euler,
    EulerMaruyama,
    ExponentialEulerMaruyama,
    Heun,
    LastStep,
    Mean,
    StochasticHeun,
    UniPC,
)

pytest.importorskip("diffusers")
import diffusers

from interpolants.adapters.diffusers import InterpolantScheduler

X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NAMES = {"epsilon": Noise, "sample": Data, "v_prediction": VPrediction}
DISCRETE = {"timestep_spacing": "trailing"}


def network(timestep, x):
    time = float(timestep) / 1000.0
    return torch.tanh(x) * (1.0 + time) - 0.5 * torch.sin(3.0 * x + time)


def sampled(scheduler, timesteps, x, **options):
    """The usual loop, and all that it passes through."""
    states, data = [], []
    for timestep in timesteps:
        out = scheduler.step(network(timestep, x), timestep, x, **options)
        x = out.prev_sample
        states.append(x)
        data.append(getattr(out, "pred_original_sample", None))
    return states, data


def assert_equal(ours, theirs, atol=1e-5):
    scale = max(1.0, max(float(each.abs().max()) for each in theirs))
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs):
        assert float((mine - other).abs().max()) < atol * scale


@pytest.mark.parametrize("kind", NAMES)
def test_ddim_is_ddim(kind):
    """DDIMScheduler with trailing timesteps: states and data predictions, for three predictions."""
    theirs = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=False, **DISCRETE)
    theirs.set_timesteps(10)
    ours = InterpolantScheduler(DDPMLinear(), NAMES[kind], DDIM())
    ours.set_timesteps(10)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    (states, data), (expected, clean) = sampled(ours, ours.timesteps, X), sampled(theirs, theirs.timesteps, X)
    assert_equal(states, expected)
    assert_equal(data, clean)
    noise, timesteps = torch.randn_like(X), torch.tensor([3, 700])
    added = ours.add_noise(X, noise, timesteps)
    assert float((added - theirs.add_noise(X, noise, timesteps)).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("method", "diffusion", "theirs", "options"),
    [
        (Ancestral(), None, diffusers.DDIMScheduler(clip_sample=False, **DISCRETE), {"eta": 1.0}),
        (Ancestral(eta=0.5), None, diffusers.DDIMScheduler(clip_sample=False, **DISCRETE), {"eta": 0.5}),
        (Ancestral(), None, diffusers.DDPMScheduler(clip_sample=False, **DISCRETE), {}),
        (ExponentialEulerMaruyama(), w.KL(), diffusers.DDPMScheduler(clip_sample=False, **DISCRETE), {}),
    ],
    ids=["DDIM-eta-1", "DDIM-eta-half", "DDPM", "DDPM-exponential"],
)
def test_ancestral_sampling_with_the_same_noise(method, diffusion, theirs, options):
    """The posterior of DDPM, and DDIM's family, drawn from generators with one seed."""
    theirs.set_timesteps(10)
    ours = InterpolantScheduler(DDPMLinear(), Noise, method, diffusion)
    ours.set_timesteps(10)
    drawn = [{"generator": torch.Generator().manual_seed(1)} for _ in range(2)]
    expected, _ = sampled(theirs, theirs.timesteps, X, **options, **drawn[0])
    states, _ = sampled(ours, ours.timesteps, X, **drawn[1])
    assert_equal(states, expected, 1e-4 if diffusion else 1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_dpm_solver_pp_begun_with_order_one_is_the_scheduler_of_that_name():
    """DPMSolverMultistepScheduler of order 2, from the second of 11 timesteps on, with a first-order last step."""
    theirs = diffusers.DPMSolverMultistepScheduler(final_sigmas_type="zero", lower_order_final=True, **DISCRETE)
    ours = InterpolantScheduler(DDPMLinear(), Noise, DPMSolverPP(2))
    ours.set_timesteps(10)
    begin = ours.timesteps.tolist().index(899)
    ours.set_begin_index(begin)
    theirs.set_timesteps(timesteps=ours.timesteps[begin:].tolist())
    assert theirs.timesteps.tolist() == ours.timesteps[begin:].tolist()
    states, _ = sampled(ours, ours.timesteps[begin:], X)
    expected, _ = sampled(theirs, theirs.timesteps, X)
    assert_equal(states, expected)


@pytest.mark.parametrize(
    ("method", "theirs"),
    [
        (DDIM(), "EulerDiscreteScheduler"),
        (EDMHeun(), "HeunDiscreteScheduler"),
    ],
    ids=["Euler", "Heun"],
)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_schedulers_in_sigma(method, theirs):
    """Euler and Heun for x/α in σ/α; states scaled by 1/α, that of the last step is the data."""
    theirs = getattr(diffusers, theirs)(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    timesteps, schedule = [999, 800, 601, 402, 203, 4], DDPMScaledLinear()
    theirs.set_timesteps(timesteps=timesteps)
    ours = InterpolantScheduler(schedule, Noise, method)
    ours.set_timesteps(timesteps=timesteps)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    x, y = X, X / float(schedule.alpha(1.0))
    for timestep, theirs_told in zip(ours.timesteps, theirs.timesteps):
        alpha, seen = float(schedule.alpha(ours.clock.time(float(timestep)))), theirs.scale_model_input(y, theirs_told)
        assert_equal([x], [seen])
        assert_equal([x], [alpha * y])
        x = ours.step(network(timestep, x), timestep, x).prev_sample
        y = theirs.step(network(timestep, seen), theirs_told, y).prev_sample
    assert_equal([x], [y])


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_is_euler(shift):
    """FlowMatchEulerDiscreteScheduler, on its own sigmas and on ours with the same shift."""
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    ours = InterpolantScheduler(Linear(), Velocity, Euler(), shift=shift)
    plain = np.linspace(1.0, 1.0 / 8, 8)
    theirs.set_timesteps(sigmas=plain)
    ours.set_timesteps(8)
    assert ours.timesteps.tolist() == pytest.approx(theirs.timesteps.tolist(), rel=1e-6)
    start = X.float()
    states, _ = sampled(ours, ours.timesteps, start)
    expected, _ = sampled(theirs, theirs.timesteps, start)
    assert_equal(states, expected)
    ours.set_timesteps(sigmas=theirs.sigmas[:-1])
    assert_equal(sampled(ours, ours.timesteps, start)[0], expected)


def transformer(out_channels):
    return diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=out_channels,
        num_layers=1,
        sample_size=8,
        patch_size=4,
        norm_num_groups=4,
    ).eval()


@pytest.fixture(scope="module")
def pipe():
    """A DiTPipeline of random weights: 16 × 16 pixels from 8 × 8 latents, variances not learned."""
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    )
    pipeline = diffusers.DiTPipeline(transformer(4), vae.eval(), InterpolantScheduler(Linear(), Velocity, Euler()))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def label(scheduler):
    return f"{scheduler.config.schedule['name']}-{scheduler.config.method['name']}"


def images(pipeline, steps=3, **options):
    generator = torch.Generator().manual_seed(5)
    return pipeline([1, 7], generator=generator, num_inference_steps=steps, output_type="np", **options).images


SCHEDULERS = [
    InterpolantScheduler(Linear(), Velocity, Heun()),
    InterpolantScheduler(Linear(), Velocity, EulerMaruyama(), w.Sigma(), num_train_timesteps=1),
    InterpolantScheduler(Linear(), Velocity, LastStep(StochasticHeun(), Mean()), w.Sigma()),
    InterpolantScheduler(DDPMLinear(), Noise, DPMSolverPP(2)),
    InterpolantScheduler(DDPMLinear(), VPrediction, UniPC(3)),
    InterpolantScheduler(DDPMLinear(), Noise, Ancestral()),
]


@pytest.mark.parametrize(
    "scheduler", SCHEDULERS, ids=lambda s: f"{s.config.schedule['name']}-{s.config.method['name']}"
)
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_pipeline_makes_images(pipe, scheduler, guidance):
    """With and without guidance: of the right size, finite, the same again from the same seeds."""
    pipe.scheduler = scheduler
    made = []
    for _ in range(2):
        torch.manual_seed(2)  # the pipeline gives its generator to the latents alone
        made.append(images(pipe, guidance_scale=guidance))
    assert made[0].shape == (2, 16, 16, 3)
    assert np.isfinite(made[0]).all()
    assert made[0].std() > 0.0
    np.testing.assert_array_equal(*made)


def test_a_pipeline_with_ddim_makes_the_images_of_its_own_ddim(pipe):
    """The same pipeline with DDIMScheduler and with ours, guided."""
    made = []
    for scheduler in (
        diffusers.DDIMScheduler(clip_sample=False, **DISCRETE),
        InterpolantScheduler(DDPMLinear(), Noise, DDIM()),
    ):
        pipe.scheduler = scheduler
        made.append(images(pipe, 4, guidance_scale=2.0))
    np.testing.assert_allclose(*made, atol=1e-4)


def test_learned_variances_are_left_to_the_pipeline(pipe):
    """A network with twice the channels, of which the pipeline hands on the first half."""
    scheduler = InterpolantScheduler(DDPMLinear(), Noise, DPMSolverPP(2))
    learned = diffusers.DiTPipeline(transformer(8), pipe.vae, scheduler)
    learned.set_progress_bar_config(disable=True)
    assert np.isfinite(images(learned, guidance_scale=4.0)).all()


def test_a_saved_pipeline_comes_back_with_its_scheduler(pipe, tmp_path):
    """model_index.json names the module; once that is imported, from_pretrained builds the same sampler."""
    pipe.scheduler = InterpolantScheduler(Linear(), Velocity, UniPC(3), shift=2.0)
    before = images(pipe)
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["scheduler"] == ["interpolants.adapters.diffusers", "InterpolantScheduler"]
    importlib.import_module(index["scheduler"][0])
    again = diffusers.DiTPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert isinstance(again.scheduler, InterpolantScheduler)
    assert dict(again.scheduler.config)["method"] == dict(pipe.scheduler.config)["method"]
    np.testing.assert_array_equal(images(again), before)
    other = InterpolantScheduler(Linear(), Velocity, Heun())
    assert diffusers.DiTPipeline.from_pretrained(tmp_path, scheduler=other).scheduler is other
