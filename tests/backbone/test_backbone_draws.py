"""Random numbers and the order of data as functions of the sample's number."""

import pytest
import torch
from scipy import stats

from backbone.data.order import Order
from backbone.draws import PURPOSES, Draws


def test_a_sample_has_its_own_numbers():
    """A row drawn in another batch, in another order, is the same, bit for bit; another seed or purpose is not."""
    ids = torch.tensor([3, 5, 2**32 - 1, 40_000])
    whole, part = Draws(7, ids), Draws(7, ids[[2, 0]])
    for purpose in PURPOSES:
        assert torch.equal(whole.uniform(purpose)[[2, 0]], part.uniform(purpose))
        assert torch.equal(whole.normal(purpose, (3, 5))[[2, 0]], part.normal(purpose, (3, 5)))
    drawn = torch.stack([Draws(seed, ids).uniform(purpose) for seed in (7, 8) for purpose in PURPOSES])
    assert len(drawn.unique()) == drawn.numel()


def test_the_laws_of_the_numbers():
    """Over 20,000 samples uniforms are uniform and normals normal (Kolmogorov–Smirnov), and apart from each other."""
    draws = Draws(1, torch.arange(20_000))
    u, z = draws.uniform("time"), draws.normal("noise", (2,)).double()
    assert u.dtype == torch.float64
    assert bool(((u > 0) & (u < 1)).all())
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3
    for column in z.T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-3
    table = torch.corrcoef(torch.stack([u, draws.uniform("drop"), *z.T]))
    assert float((table - torch.eye(4)).abs().max()) < 6 / 20_000**0.5
    share = float(draws.below("flip", 0.25).double().mean())
    assert abs(share - 0.25) < 6 * (0.25 * 0.75 / 20_000) ** 0.5


def test_an_unknown_purpose_is_refused():
    """A purpose that is not in the list is refused, and the closest named."""
    with pytest.raises(ValueError, match=r"expected a purpose, one of time, .*; received 'tim'; .*time"):
        Draws(0, torch.arange(2)).uniform("tim")


def test_an_epoch_visits_every_record_once():
    """Epochs are permutations that follow one another, also when a batch spans several."""
    for count, size in ((10, 4), (3, 7)):
        order = Order(count, 0)
        flat = torch.cat([order(torch.arange(k * size, (k + 1) * size)) for k in range(count)])
        epochs = flat.view(size, count)
        assert torch.equal(epochs.sort(dim=1).values, torch.arange(count).expand(size, count))
        assert len(epochs.unique(dim=0)) > 1


def test_the_order_is_a_function():
    """Asked out of order, in parts, or anew, the record of a sample is the same; another seed gives another order."""
    ids = torch.arange(95, 230)
    whole = Order(50, 3)(ids)
    asked = Order(50, 3)
    for k in (100, 0, 60):
        assert torch.equal(asked(ids[k : k + 30]), whole[k : k + 30])
    assert not torch.equal(Order(50, 4)(ids), whole)
