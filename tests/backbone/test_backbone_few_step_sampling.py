"""Sampling in one step and a few with a network: by hand, with counted evaluations and noise per sample."""

import dataclasses
import math
from itertools import pairwise

import pytest
import torch
from backbone_support import TINY, perturb

from backbone import SiT
from backbone.few_step import sample_consistency, sample_flow_map
from interpolants import VP, Linear
from interpolants.schedules import TrigFlow
from solvers import NonFiniteError, uniform
from solvers.noise import PerSample

LABELS = torch.tensor([0, 3, 4])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return perturb(SiT(dataclasses.replace(TINY, flow_map=True))).train()


def generator():
    return torch.Generator().manual_seed(4)


def first_noise():
    return torch.randn(3, 3, 8, 8, generator=generator())


@torch.no_grad()
def test_one_step_is_noise_minus_the_average(network):
    """By default x₁ − u(x₁, 0, 1), one evaluation, no dropped label, no gradient, the mode left alone."""
    solution = sample_flow_map(network, LABELS, schedule=Linear(), rng=generator())
    assert network.training
    network.eval()
    noise = first_noise()
    torch.testing.assert_close(solution.x, noise - network(noise, 1.0, LABELS, start=0.0), rtol=1e-5, atol=1e-5)
    assert solution.nfe == 1
    assert not solution.x.requires_grad


@torch.no_grad()
def test_few_steps_are_jumps_between_the_times(network):
    """x − (t − r) u(x, r, t) from time to time, also under a schedule that ends at π/2 with noise of 0.5."""
    schedule = TrigFlow(0.5)
    ts = [schedule.domain[1], 0.9, 0.2, 0.0]
    solution = sample_flow_map(network, LABELS, schedule=schedule, rng=generator(), ts=ts)
    x, network = 0.5 * first_noise(), network.eval()
    for t, r in pairwise(ts):
        x = x - (t - r) * network(x, t, LABELS, start=r)
    torch.testing.assert_close(solution.x, x, rtol=1e-4, atol=1e-5)
    assert solution.nfe == 3


@torch.no_grad()
def test_consistency_steps_renew_the_noise(network):
    """f(x₁, 1), then f at the next time of α f + σ ξ; the noises are those of the generator, one after the other."""
    network = network.eval()
    one = sample_consistency(network, LABELS, schedule=Linear(), rng=generator())
    stream = generator()
    x = torch.randn(3, 3, 8, 8, generator=stream)
    x = x - network(x, 1.0, LABELS)
    torch.testing.assert_close(one.x, x, rtol=1e-4, atol=1e-5)
    two = sample_consistency(network, LABELS, schedule=Linear(), rng=generator(), ts=[1.0, 0.4, 0.0])
    x = 0.6 * x + 0.4 * torch.randn(3, 3, 8, 8, generator=stream)
    torch.testing.assert_close(two.x, x - 0.4 * network(x, 0.4, LABELS), rtol=1e-4, atol=1e-4)
    assert (one.nfe, two.nfe) == (1, 2)


@torch.no_grad()
@pytest.mark.parametrize("draw", [sample_flow_map, sample_consistency])
def test_noise_per_sample_does_not_depend_on_the_batch(network, draw):
    """With PerSample a sample alone is what it is in a batch, and the first noise is none of the later ones."""
    whole = draw(network, LABELS, schedule=Linear(), rng=PerSample(7), ts=uniform(2)).x
    alone = draw(network, LABELS[1:2], schedule=Linear(), rng=PerSample(7, first=1), ts=uniform(2)).x
    torch.testing.assert_close(alone, whole[1:2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(whole, draw(network, LABELS, schedule=Linear(), rng=PerSample(8), ts=uniform(2)).x)
    still = SiT(network.config)  # a new network answers zero: what is left of two steps are the noises
    found = draw(still, LABELS, schedule=Linear(), rng=PerSample(7), ts=uniform(2)).x
    first = draw(still, LABELS, schedule=Linear(), rng=PerSample(7)).x
    later = PerSample(7).increments(first)(1.0, 0.0)
    assert not torch.allclose(first, later, atol=0.1)
    wanted = first if draw is sample_flow_map else 0.5 * first + 0.5 * later
    torch.testing.assert_close(found, wanted)
    smaller = draw(still, LABELS, schedule=TrigFlow(0.5), rng=PerSample(7), ts=[1.5, 0.0]).x
    # Of a velocity of zero the data prediction is cos t x; a jump leaves x, whose noise has deviation 0.5.
    torch.testing.assert_close(smaller, 0.5 * first * (1.0 if draw is sample_flow_map else math.cos(1.5)))


def test_what_does_not_fit_is_refused(network):
    """A network of one time, a schedule whose signal does not vanish, labels out of range, and NaN."""
    plain = SiT(TINY)
    with pytest.raises(ValueError, match="expected a network of an interval"):
        sample_flow_map(plain, LABELS, schedule=Linear(), rng=generator())
    for draw in (sample_flow_map, sample_consistency):
        with pytest.raises(ValueError, match="expected a schedule from alpha = 1"):
            draw(network, LABELS, schedule=VP(), rng=generator())
        with pytest.raises(ValueError, match="expected labels within 0"):
            draw(network, LABELS + 2, schedule=Linear(), rng=generator())
    torch.nn.init.constant_(network.final_layer.linear.bias, float("nan"))
    with pytest.raises(NonFiniteError):
        sample_flow_map(network, LABELS, schedule=Linear(), rng=generator())


def test_networks_without_labels_are_drawn_from():
    """A network on vectors without labels takes the null class 0 as every sample's label."""
    vectors = perturb(SiT.for_vectors(2, flow_map=True))
    found = sample_flow_map(vectors, torch.zeros(5, dtype=torch.int64), schedule=Linear(), rng=generator())
    assert found.x.shape == (5, 2)
