"""Sampling through interpolants and solvers, against a velocity whose answer is known."""

import pytest
import torch
from backbone_support import TINY

from backbone import SiT, sample
from interpolants import Linear
from interpolants import diffusion as w
from solvers import Euler, EulerMaruyama, uniform

SPREAD = 0.5
MEANS = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, 0.0])


class Exact(SiT):
    """The exact velocity of data N(mean of the label, SPREAD² I) under the linear schedule."""

    def both_halves(self, x, time, y, *, drop_labels=None, start=None):
        t = time.view(-1, 1, 1, 1)
        mean = MEANS[y].view(-1, 1, 1, 1)
        centred = (x - (1 - t) * mean) / ((1 - t) ** 2 * SPREAD**2 + t**2)
        return torch.cat([t * centred - mean - (1 - t) * SPREAD**2 * centred, x], dim=1)


@pytest.fixture
def exact():
    return Exact(TINY)


def _rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("options", "nfe"),
    [({}, 100), ({"ts": uniform(200), "method": Euler()}, 200), ({"w": w.Sigma()}, 250)],
    ids=["ode", "euler", "sde"],
)
def test_samples_have_the_distribution_of_their_label(exact, options, nfe):
    """Mean and deviation of the images of each label are those of the data, and nfe counts the evaluations."""
    labels = torch.arange(5).repeat_interleave(40)
    solution = sample(exact, labels, schedule=Linear(), rng=_rng(), **options)
    assert solution.nfe == nfe
    assert solution.x.shape == (200, 3, 8, 8)
    assert solution.x.dtype == torch.float32
    rows = solution.x.view(5, -1)
    # 7680 values each: five standard errors, and room for the discretisation of Euler.
    assert float((rows.mean(dim=1) - MEANS[:5]).abs().max()) < 5 * SPREAD / 7680**0.5 + 0.01
    assert float((rows.std(dim=1) / SPREAD - 1).abs().max()) < 5 / (2 * 7680) ** 0.5 + 0.03


def test_guidance_moves_away_from_the_null_class(exact):
    """With equal spreads guidance g moves the mean to g times the label's mean, the null mean being 0."""
    labels = torch.full((40,), 3)
    solution = sample(exact, labels, schedule=Linear(), rng=_rng(), guidance=2.0)
    assert float(solution.x.mean()) == pytest.approx(2.0, abs=0.05)
    assert solution.nfe == 100


def test_a_new_network_returns_the_noise():
    """A velocity of zero leaves the noise where it is, and the generator alone decides it."""
    labels = torch.tensor([0, 1])
    first = sample(SiT(TINY), labels, schedule=Linear(), rng=_rng(3), ts=uniform(4)).x
    assert torch.equal(first, torch.randn(2, 3, 8, 8, generator=_rng(3)))
    assert not first.requires_grad


def test_the_same_generator_gives_the_same_images(exact):
    """Images of the SDE are equal bit for bit under one seed and differ under another."""
    labels = torch.tensor([0, 1])
    options = {"schedule": Linear(), "w": w.Sigma(), "ts": uniform(8), "method": EulerMaruyama()}
    first, again, other = (sample(exact, labels, rng=_rng(seed), **options).x for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_bad_request_is_refused(exact):
    """Labels out of range and a generator elsewhere are refused before the first evaluation."""
    with pytest.raises(ValueError, match=r"expected labels within 0 … 5 .*; remedy"):
        sample(exact, torch.tensor([7]), schedule=Linear(), rng=_rng())
    with pytest.raises(ValueError, match=r"expected a generator on meta; received one on cpu; remedy: torch"):
        sample(exact.to("meta"), torch.tensor([1]), schedule=Linear(), rng=_rng())
