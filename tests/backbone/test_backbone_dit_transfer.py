"""A DiT checkpoint under another schedule: its rates, model_of_time and transfer make one problem of it."""

import numpy as np
import torch
from published_files import CONFIG, prefixed, training, weights

from backbone import load_checkpoint
from interpolants import Data, DiscreteDiffusion, Linear, Noise, ReverseChain, denoising, probability_flow, transfer
from interpolants.schedules import DDPMLinear
from solvers import DDIM, Heun, solve

CHAIN = DiscreteDiffusion(DDPMLinear()).respaced(50)
LINEAR = Linear()
# The same by hand: the published rates, their products, and the times of equal noise under α = 1 − t, σ = t.
BETAS = np.linspace(1e-4, 0.02, 1000)
ALPHA = np.sqrt(np.cumprod(1 - BETAS))
SIGMA = np.sqrt(1 - np.cumprod(1 - BETAS))
TIMES = SIGMA / (ALPHA + SIGMA)


def grid(moved):
    """The times of Linear at the noise levels of the 50 steps, and 0; the first within what the model answers for."""
    times = np.append(TIMES[CHAIN.timesteps[::-1]], 0.0)
    times[0] = min(times[0], moved.valid[1])
    return times


def test_a_dit_checkpoint_samples_under_linear(tmp_path):
    """DDIM of a loaded network carried to Linear gives the samples of DiT's own chain; a flow solver runs as well."""
    file = tmp_path / "last.pt"
    torch.save(training(prefixed("module.", weights())), file)
    model, labels = load_checkpoint(file, num_heads=CONFIG.num_heads).model, torch.tensor([1, 7])

    def network(timesteps, x):
        return model.both_halves(x, timesteps.float(), labels)

    moved = transfer(CHAIN.model_of_time(network, fractional=True), CHAIN.schedule, LINEAR, Noise)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    start = x / float(ALPHA[-1] + SIGMA[-1])
    with torch.no_grad():
        own = ReverseChain(CHAIN, network, eta=0.0).sample(x).x
        ddim = solve(denoising(LINEAR, moved, Noise), start, grid(moved), DDIM())
        heun = solve(probability_flow(LINEAR, moved, prediction=Noise), start, grid(moved)[:-1], Heun())
    assert ddim.nfe == 50
    assert (ddim.x - own).abs().max() < 1e-5 * own.abs().max()
    assert torch.isfinite(heun.x).all()
    assert heun.x.shape == x.shape


def gaussian(mean, var):
    """DiT's exact network for data N(mean, var), from the rates alone: it knows whole timesteps only."""

    def network(timesteps, x):
        index = np.rint(timesteps).astype(int)
        assert np.abs(timesteps - index).max() < 1e-6
        alpha, sigma = (levels[index].reshape(-1, 1) for levels in (ALPHA, SIGMA))
        eps = sigma * (x - alpha * mean) / (alpha**2 * var + sigma**2)
        return np.concatenate([eps, np.full_like(eps, np.nan)], axis=1)

    return network


def test_the_exact_network_of_a_gaussian_stays_exact():
    """Carried to Linear it is the exact prediction at every noise level of the chain, and its samples are DiT's."""
    mean, var = np.array([0.7, -1.2]), np.array([0.3, 2.0])
    moved = transfer(CHAIN.model_of_time(gaussian(mean, var), fractional=True), CHAIN.schedule, LINEAR, Noise)
    x = np.random.default_rng(0).standard_normal((5, 2))
    for time in grid(moved)[:-1].tolist():
        exact = time * (x - (1 - time) * mean) / ((1 - time) ** 2 * var + time**2)
        assert np.abs(moved(time, x) - exact).max() < 1e-8
    # The samples against DDIM over the rates, written out: x ← α_s x̂ + σ_s ε̂.
    first = grid(moved)[0]
    found = solve(denoising(LINEAR, moved, Noise), x, grid(moved), DDIM()).x
    state, (alpha, sigma) = x * (ALPHA[-1] / (1 - first)), (ALPHA[-1], SIGMA[-1])
    for index in [*CHAIN.timesteps[::-1][1:], None]:
        eps = sigma * (state - alpha * mean) / (alpha**2 * var + sigma**2)
        clean = (state - sigma * eps) / alpha
        alpha, sigma = (1.0, 0.0) if index is None else (ALPHA[index], SIGMA[index])
        state = alpha * clean + sigma * eps
    assert np.abs(found - state).max() < 1e-8
    # Fifty steps of the first order are near the affine map from N((1 − t)m, ρ²) to N(m, c).
    spread = np.sqrt((1 - first) ** 2 * var + first**2)
    exact = mean + np.sqrt(var) * (x - (1 - first) * mean) / spread
    assert np.abs(found - exact).max() < 0.15


def test_a_data_prediction_agrees_with_the_noise_prediction():
    """The same network read as noise and, converted by hand, as data makes the same samples under Linear."""
    mean, var = np.array([0.7, -1.2]), np.array([0.3, 2.0])
    noise = gaussian(mean, var)

    def data(timesteps, x):
        index = np.rint(timesteps).astype(int)
        alpha, sigma = (levels[index].reshape(-1, 1) for levels in (ALPHA, SIGMA))
        return (x - sigma * noise(timesteps, x)[:, :2]) / alpha

    x, ends = np.random.default_rng(1).standard_normal((4, 2)), []
    for network, prediction in ((noise, Noise), (data, Data)):
        moved = transfer(CHAIN.model_of_time(network, fractional=True), CHAIN.schedule, LINEAR, prediction)
        ends.append(solve(denoising(LINEAR, moved, prediction), x, grid(moved), DDIM()).x)
    assert np.abs(ends[0] - ends[1]).max() < 1e-6
