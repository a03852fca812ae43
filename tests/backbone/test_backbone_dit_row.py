"""DiT from end to end: a network that learned its variances, trained on the hybrid loss and sampled over 1000 rates."""

import dataclasses
import re

import pytest
import torch
from backbone_support import TINY, perturb
from diffusers import DDPMScheduler

from backbone import SiT, bind, dit
from backbone.sizes import DIT_SIZES, SIZES
from interpolants import DiscreteDiffusion, Noise, ReverseChain, denoising, training_losses
from interpolants.schedules import DDPMLinear
from solvers import DDIM, solve

WHOLE = DiscreteDiffusion(DDPMLinear())
LABELS = torch.tensor([0, 3])


def network():
    """A small network, (timesteps, x) → (ε̂, v), whose every branch is on."""
    torch.manual_seed(0)
    model = perturb(SiT(TINY)).eval()

    def both(timesteps, x):
        # Whole numbers are embedded as they are, as in DiT; the embedding takes floats.
        return model.both_halves(x, timesteps.float(), LABELS[: len(x)])

    return model, both


def noise(seed=1):
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def rng():
    return torch.Generator().manual_seed(2)


def test_250_of_1000_steps_with_learned_variances():
    """Samples of 250 steps are those of diffusers' learned_range on the same network; finite, and the same again."""
    _, both = network()
    short = WHOLE.respaced(250)
    chain = ReverseChain(short, both, variance="learned", clip=1.0)
    with torch.no_grad():
        solution = chain.sample(noise(), rng())
        again = chain.sample(noise(), rng()).x
        scheduler = DDPMScheduler(trained_betas=WHOLE.betas.tolist(), variance_type="learned_range", clip_sample=True)
        scheduler.set_timesteps(timesteps=short.timesteps[::-1].tolist())
        x, generator = noise(), rng()
        for timestep in scheduler.timesteps:
            x = scheduler.step(both(timestep.expand(2), x), timestep, x, generator=generator).prev_sample
    assert (solution.nfe, tuple(solution.x.shape), solution.x.dtype) == (250, (2, 3, 8, 8), torch.float32)
    assert torch.isfinite(solution.x).all()
    assert torch.equal(solution.x, again)
    assert (solution.x - x).abs().max() < 2e-3  # its tables are in single precision
    assert not torch.equal(solution.x, chain.sample(noise(), torch.Generator().manual_seed(3)).x)


def test_ddim_of_the_same_network():
    """DDIM over 50 timesteps reads the prediction alone: it needs no generator and has no randomness."""
    _, both = network()
    with torch.no_grad():
        chain = ReverseChain(WHOLE.respaced("ddim50"), both, eta=0.0)
        first, second = (chain.sample(noise()) for _ in range(2))
        other = ReverseChain(WHOLE.respaced("ddim50"), lambda timesteps, x: both(timesteps, x)[:, :3], eta=0.0)
        assert torch.equal(first.x, other.sample(noise()).x)
    assert torch.equal(first.x, second.x)
    assert first.nfe == 50
    assert torch.isfinite(first.x).all()


def test_training_lowers_both_parts():
    """A few steps of Adam on one batch lower the simple part and the bound."""
    model, both = network()
    x_data, eps = noise(5).clamp(-1, 1), noise(6)
    index = torch.tensor([40, 700])
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        found = training_losses(WHOLE, both, x_data, index, eps)
        losses.append((float(found.simple.mean().detach()), float(found.bound.mean().detach())))
        found.loss.mean().backward()
        optimiser.step()
    assert losses[-1][0] < 0.8 * losses[0][0]
    assert losses[-1][1] < losses[0][1]


def test_the_published_sizes_of_dit():
    """dit builds the twelve sizes of SiT, with learned variances and 1000 timesteps embedded unscaled."""
    assert [name.replace("DiT", "SiT") for name in DIT_SIZES] == list(SIZES)
    for name, config in DIT_SIZES.items():
        assert dataclasses.replace(config, timesteps=None) == SIZES[name.replace("DiT", "SiT")]
        assert (config.timesteps, config.time_scale, config.learn_sigma) == (1000, 1.0, True)
    with torch.device("meta"):
        assert sum(p.numel() for p in dit("DiT-XL/2").parameters()) == 675_129_632  # as counted for SiT-XL/2


def test_a_dit_takes_the_index_of_a_timestep():
    """Integers and floats of a value give one output; a network of continuous time refuses integers."""
    torch.manual_seed(0)
    model = perturb(SiT(dataclasses.replace(TINY, timesteps=1000))).eval()
    index = torch.tensor([999, 0])
    wanted = model(noise(), index.float(), LABELS)
    assert torch.equal(model(noise(), index, LABELS), wanted)
    assert torch.equal(model(noise(), index.int(), LABELS), wanted)
    assert torch.equal(bind(model, LABELS)(index, noise()), wanted)
    assert not torch.equal(model(noise(), index - 3, LABELS)[1:], wanted[1:])
    with pytest.raises(ValueError, match=re.escape("float32 or float64; received torch.int64")):
        SiT(TINY)(noise(), index, LABELS)


def test_a_dit_goes_through_discrete_and_continuous_time():
    """Its DDIM chain over 10 timesteps is the DDIM solver on its model of time; learned variances need no wrapping."""
    torch.manual_seed(0)
    shape = {name: value for name, value in TINY.to_dict().items() if name != "timesteps"}
    model = perturb(dit("DiT-S/8", **shape)).eval()
    short = WHOLE.respaced("ddim10")

    def both(timesteps, x):
        return model.both_halves(x, timesteps, LABELS[: len(x)])

    with torch.no_grad():
        chain = ReverseChain(short, both, eta=0.0).sample(noise()).x
        problem = denoising(short.schedule, short.model_of_time(bind(model, LABELS)), Noise)
        solved = solve(problem, noise(), short.times, DDIM()).x
        learned = ReverseChain(short, both, variance="learned").sample(noise(), rng())
        small = ReverseChain(short, both, variance="small").sample(noise(), rng())
    assert float((chain - solved).abs().max()) < 1e-4 * float(chain.abs().max())
    assert learned.nfe == 10
    assert torch.isfinite(learned.x).all()
    assert not torch.equal(learned.x, small.x)
