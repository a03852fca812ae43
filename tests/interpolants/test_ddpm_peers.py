"""The reverse chain beside the schedulers of diffusers, every step, in double precision and from the same noise."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from interpolants import Data, DiscreteDiffusion, Noise, ReverseChain, VPrediction
from tests.support.chains import network

BETAS = np.linspace(1e-4, 0.02, 1000)
WHOLE = DiscreteDiffusion(BETAS)


def network_with_variances(timesteps, x):
    v = torch.sin(3.0 * x) * (0.2 + timesteps.reshape(-1, 1, 1, 1) / 1000)
    return torch.cat([network(timesteps, x), v], dim=1)


def torch_rng():
    return torch.Generator().manual_seed(3)


KINDS = {"epsilon": Noise, "sample": Data, "v_prediction": VPrediction}
FIXED = {"fixed_small": "small", "fixed_large": "large", "learned_range": "learned"}


def driven(scheduler, model, x, rng, **options):
    """Run a scheduler of diffusers with its table of ᾱ in double precision; return its states and the last x̂.

    The last step leads to x̂. Its DDPM adds noise to it unless the timestep is 0, as algorithm 2 does not.
    """
    scheduler.alphas_cumprod = torch.cumprod(1 - torch.from_numpy(BETAS), 0)
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)
    scheduler.final_alpha_cumprod = scheduler.one
    states = []
    for timestep in scheduler.timesteps:
        made = scheduler.step(model(timestep.expand(len(x)), x), timestep, x, generator=rng, **options)
        x = made.prev_sample
        states.append(x)
    return torch.stack([*states[:-1], made.pred_original_sample])


def taken(chain):
    """Return the states of our chain from the same start and noise."""
    return torch.stack([step.x for step in chain.steps(start(), torch_rng())])


def start():
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("clip", [None, 0.7], ids=["free", "clipped"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variance", FIXED)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_ddpm_of_diffusers(spacing, variance, kind, clip):
    """DDPMScheduler's states of 20 steps, variances learned or not, to 1e-12, from the same noise."""
    scheduler = DDPMScheduler(
        trained_betas=BETAS.tolist(),
        variance_type=variance,
        prediction_type=kind,
        timestep_spacing=spacing,
        clip_sample=clip is not None,
        clip_sample_range=clip or 1.0,
    )
    scheduler.set_timesteps(20)
    model = network_with_variances if variance == "learned_range" else network
    theirs = driven(scheduler, model, start(), torch_rng())
    short = WHOLE.respaced(scheduler.timesteps.flip(0).numpy())
    chain = ReverseChain(short, model, KINDS[kind], FIXED[variance], clip=clip)
    assert float((taken(chain) - theirs).abs().max()) < 1e-12 * float(theirs.abs().max())


@pytest.mark.parametrize("clip", [None, 0.7], ids=["free", "clipped"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_of_diffusers(spacing, eta, kind, clip):
    """DDIMScheduler's states of 20 steps, to 1e-12, from the same noise; where it clips, ε̂ is had from x̂ again."""
    scheduler = DDIMScheduler(
        trained_betas=BETAS.tolist(),
        prediction_type=kind,
        timestep_spacing=spacing,
        clip_sample=clip is not None,
        clip_sample_range=clip or 1.0,
    )
    scheduler.set_timesteps(20)
    theirs = driven(scheduler, network, start(), torch_rng(), eta=eta, use_clipped_model_output=True)
    short = WHOLE.respaced(scheduler.timesteps.flip(0).numpy())
    ours = taken(ReverseChain(short, network, KINDS[kind], eta=eta, clip=clip))
    assert float((ours - theirs).abs().max()) < 1e-12 * float(theirs.abs().max())
