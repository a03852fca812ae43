"""DiT's loss: its two parts, which gradient comes from which, and its mean beside the bound."""

import numpy as np
import pytest
import torch

from interpolants import Data, DiscreteDiffusion, Noise, ReverseChain, VPrediction, training_losses, vlb_terms
from interpolants.schedules import DDPMLinear

PARTS = r"expected .*; received .*; remedy: "
CHAIN = DiscreteDiffusion(np.linspace(1e-3, 0.3, 20))


class Tiny(torch.nn.Module):
    """Two maps of the pixels, one for the prediction and one for v."""

    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Conv2d(2, 2, 1, dtype=torch.float64)
        self.spread = torch.nn.Conv2d(2, 2, 1, dtype=torch.float64)

    def forward(self, timesteps, x):
        x = x + 0.01 * timesteps.reshape(-1, 1, 1, 1)
        return torch.cat([self.mean(x), self.spread(x)], 1)


def batch(count=20):
    torch.manual_seed(0)
    x_data = torch.randint(0, 256, (count, 2, 3, 3)).double() / 127.5 - 1
    return Tiny(), x_data, torch.arange(count) % 20, torch.randn_like(x_data)


@pytest.mark.parametrize("prediction", [Noise, Data, VPrediction], ids=repr)
def test_simple_part(prediction):
    """The first part is the mean square of output minus ε, x_data or αε − σx_data at x_i = √ᾱ x_data + √(1 − ᾱ) ε."""
    model, x_data, index, noise = batch()
    losses = training_losses(CHAIN, model, x_data, index, noise, prediction)
    signal = torch.cumprod(1 - torch.linspace(1e-3, 0.3, 20, dtype=torch.float64), 0)[index].reshape(-1, 1, 1, 1)
    x = signal**0.5 * x_data + (1 - signal) ** 0.5 * noise
    v = signal**0.5 * noise - (1 - signal) ** 0.5 * x_data
    target = {"Noise": noise, "Data": x_data, "VPrediction": v}[prediction.name]
    exact = ((model(index, x)[:, :2] - target) ** 2).mean((1, 2, 3))
    assert (losses.simple - exact).abs().max() < 1e-12
    assert (losses.loss - losses.simple - 20 / 1000 * losses.bound).abs().max() < 1e-12
    assert losses.loss.shape == (20,)


def test_bound_part_is_the_term_of_the_bound():
    """With index i for all samples the second part is column i of vlb_terms from the same noise, 0 included."""
    model, x_data, _, noise = batch()

    class Same:
        def increments(self, x):
            return lambda t0, t1: noise

    with torch.no_grad():
        terms = vlb_terms(ReverseChain(CHAIN, model, variance="learned"), x_data, Same()).terms
        for i in (0, 1, 7, 19):
            losses = training_losses(CHAIN, model, x_data, torch.full((20,), i), noise)
            assert (losses.bound - terms[:, i]).abs().max() < 1e-11 * terms.abs().max()
        mixed = training_losses(CHAIN, model, x_data, torch.arange(20), noise)
        assert (mixed.bound - terms.diagonal()).abs().max() < 1e-11 * terms.abs().max()


def test_the_gradient_of_the_mean_is_that_of_the_simple_part():
    """The bound teaches the variances alone: its gradient at the mean's weights is exactly zero, at v's it is not."""
    model, x_data, index, noise = batch()
    losses = training_losses(CHAIN, model, x_data, index, noise)
    mean = list(model.mean.parameters())
    of_bound = torch.autograd.grad(losses.bound.sum(), mean, retain_graph=True, allow_unused=True)
    assert all(part is None or bool((part == 0).all()) for part in of_bound)
    whole = torch.autograd.grad(losses.loss.sum(), mean, retain_graph=True)
    simple = torch.autograd.grad(losses.simple.sum(), mean, retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(whole, simple, strict=True))
    bound = torch.autograd.grad(losses.bound.sum(), list(model.spread.parameters()))
    assert all(float(part.abs().max()) > 1e-3 for part in bound)


def test_gradient_of_the_variances():
    """The gradient at v is that of differences of the loss."""
    model, x_data, index, noise = batch()
    weight = model.spread.bias
    (gradient,) = torch.autograd.grad(training_losses(CHAIN, model, x_data, index, noise).loss.sum(), weight)
    for k in range(2):
        sides = []
        for shift in (1e-5, -1e-5):
            with torch.no_grad():
                weight[k] += shift
                sides.append(float(training_losses(CHAIN, model, x_data, index, noise).loss.sum()))
                weight[k] -= shift
        assert abs((sides[0] - sides[1]) / 2e-5 - float(gradient[k])) < 1e-5 * abs(float(gradient[k]))


@pytest.mark.parametrize("scale", [0.0, 1e3, 1e6], ids=str)
def test_no_nan_at_the_extremes(scale):
    """Predictions far from the data, in single precision and at all timesteps, have finite losses and gradients."""
    chain = DiscreteDiffusion(DDPMLinear())
    x_data = torch.ones(1000, 1, 1, 1).mul(torch.tensor([-1.0, 1.0, 0.0, 1 / 255]).repeat(250).reshape(-1, 1, 1, 1))
    output = scale * torch.ones(1000, 2, 1, 1) * torch.tensor([1.0, 1e-6]).reshape(1, 2, 1, 1)
    output.requires_grad_()
    losses = training_losses(chain, lambda timesteps, x: output, x_data, torch.arange(1000), torch.zeros_like(x_data))
    losses.loss.sum().backward()
    assert torch.isfinite(losses.loss).all()
    assert torch.isfinite(output.grad).all()


def test_the_variances_that_are_learned_are_the_exact_ones():
    """Trained on data from N(0, ¼) with the exact mean, a v per timestep comes to the exact variance, not to β or β̃."""
    c, count = 0.25, 6
    chain = DiscreteDiffusion(np.linspace(0.05, 0.4, count))
    alpha, sigma = (torch.from_numpy(part) for part in (chain.alpha, chain.sigma))
    v = torch.zeros(count, dtype=torch.float64, requires_grad=True)

    def model(timesteps, x):
        a, s = (part[timesteps].reshape(-1, 1) for part in (alpha, sigma))
        return torch.cat([s / (a * a * c + s * s) * x, v[timesteps].reshape(-1, 1) + 0 * x], 1)

    # The loss is quadratic in data and noise: four points have its exact mean.
    corners = torch.tensor([[0.5, 1.0], [0.5, -1.0], [-0.5, 1.0], [-0.5, -1.0]], dtype=torch.float64)
    index = torch.arange(count).repeat_interleave(4)
    x_data, noise = (corners[:, k : k + 1].repeat(count, 1) for k in (0, 1))
    optimiser = torch.optim.LBFGS([v], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = 1e3 * training_losses(chain, model, x_data, index, noise, levels=None).bound.mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    signal = np.cumprod(1 - chain.betas)
    before = np.append(1.0, signal[:-1])
    small = chain.betas * (1 - before) / (1 - signal)
    gain = np.sqrt(before) * chain.betas / (1 - signal)
    exact = small + gain**2 * c * (1 - signal) / (signal * c + 1 - signal)
    low, high = np.log(np.append(small[1], small[1:])), np.log(chain.betas)
    found = np.exp(low + (v.detach().numpy() + 1) / 2 * (high - low))
    assert np.abs(found / exact - 1).max() < 1e-5


def test_refused_training():
    """A network without variances, and a chain that is none, are refused in three parts."""
    _, x_data, index, noise = batch()
    with pytest.raises(ValueError, match=PARTS):
        training_losses(CHAIN, lambda timesteps, x: x, x_data, index, noise)
    with pytest.raises(TypeError, match=PARTS):
        training_losses(CHAIN.betas, lambda timesteps, x: x, x_data, index, noise)
