"""Pairing of data and noise inside a mini-batch: optimal, and labels stay with their image."""

from itertools import permutations

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from interpolants import couple

THREE_PARTS = r"expected .*; received .*; remedy: "


def batch(count, shape=(2,), seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, *shape)) + 3, rng.standard_normal((count, *shape))


def cost(x_data, noise):
    return ((np.asarray(x_data) - np.asarray(noise)) ** 2).reshape(len(x_data), -1).sum(1).mean()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_no_permutation_is_cheaper(count):
    """The cost is the least over all permutations, and it is the one that is reported."""
    x_data, noise = batch(count, (2, 2), seed=count)
    found = couple(x_data, noise)
    best = min(cost(x_data, noise[list(order)]) for order in permutations(range(count)))
    assert found.cost == pytest.approx(best, rel=1e-14)
    assert found.cost == pytest.approx(cost(found.x_data, found.noise), rel=1e-14)


def test_one_dimension_is_sorting():
    """In one dimension the optimal pairs have the same rank."""
    x_data, noise = batch(101, (1,))
    found = couple(x_data, noise)
    np.testing.assert_array_equal(x_data[:, 0].argsort().argsort(), found.noise[:, 0].argsort().argsort())
    assert found.cost == pytest.approx(((np.sort(x_data[:, 0]) - np.sort(noise[:, 0])) ** 2).mean(), rel=1e-13)


def test_a_large_common_shift_costs_no_digits():
    """Pixels around 2**46, on a grid that floats have there, give the same pairs as pixels around 0."""
    x_data, noise = batch(32)
    x_data = np.round(64 * x_data) / 64
    np.testing.assert_array_equal(couple(x_data + 2.0**46, noise).order, couple(x_data, noise).order)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_labels_stay_with_their_image(library):
    """Data and labels keep their rows, noise is a permutation of what came, and types, shapes and devices stay."""
    make = {"numpy": np.asarray, "torch": torch.as_tensor, "jax": jnp.asarray}[library]
    x_data, noise = (make(part.astype(np.float32)) for part in batch(16, (1, 2, 2)))
    extras = {"y": make(np.arange(16)), "more": (make(np.arange(32).reshape(16, 2)), None)}
    found = couple(x_data, noise, extras)
    assert found.x_data is x_data
    assert found.labels is extras
    assert type(found.noise) is type(noise)
    assert found.noise.dtype == noise.dtype
    np.testing.assert_array_equal(np.asarray(found.noise), np.asarray(noise)[found.order])
    np.testing.assert_array_equal(np.sort(found.order), np.arange(16))
    assert (found.order != np.arange(16)).any()
    assert found.cost < cost(x_data, noise)


def test_gradients_follow_the_pairs():
    """A gradient of the paired noise arrives at the row that it came from."""
    x_data, noise = (torch.as_tensor(part).requires_grad_() for part in batch(8))
    found = couple(x_data, noise)
    (found.noise[0] * torch.tensor([1.0, 2.0])).sum().backward()
    expected = np.zeros((8, 2))
    expected[found.order[0]] = [1, 2]
    np.testing.assert_array_equal(noise.grad.numpy(), expected)


def test_pairs_inside_a_class():
    """within= exchanges rows of one class only, at the least cost of each; without it noise depends on the label."""
    rng = np.random.default_rng(1)
    labels = np.arange(40) % 2
    x_data, noise = 10.0 * labels[:, None] + rng.standard_normal((40, 1)), rng.standard_normal((40, 1))
    found = couple(x_data, noise, labels, within=labels)
    for value in (0, 1):
        rows = labels == value
        np.testing.assert_array_equal(np.sort(found.order[rows]), np.flatnonzero(rows))
        ranks = [part[rows, 0].argsort().argsort() for part in (x_data, found.noise)]
        np.testing.assert_array_equal(*ranks)
    free = couple(x_data, noise, labels)
    assert free.cost < found.cost
    assert free.noise[labels == 1].min() > free.noise[labels == 0].max()


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (ValueError, lambda x, e: couple(x, e[:-1])),
        (ValueError, lambda x, e: couple(x, e[:, :1])),
        (ValueError, lambda x, e: couple(x[:0], e[:0])),
        (ValueError, lambda x, e: couple(np.array(1.0), np.array(1.0))),
        (ValueError, lambda x, e: couple(x, e, np.arange(3))),
        (ValueError, lambda x, e: couple(x, e, {"y": np.arange(4), "z": (np.arange(5),)})),
        (ValueError, lambda x, e: couple(x, e, np.array(1.0))),
        (TypeError, lambda x, e: couple(x, e, "cat")),
        (ValueError, lambda x, e: couple(x, e, within=np.arange(3))),
        (ValueError, lambda x, e: couple(x * np.nan, e)),
        (ValueError, lambda x, e: couple(x, np.where(e == e[0, 0], np.inf, e))),
        (TypeError, lambda x, e: couple(x, torch.as_tensor(e))),
        (TypeError, lambda x, e: couple(1.0, 2.0)),
    ],
)
def test_refusals(error, make):
    """Shapes that differ, labels of another number, NaN, and two libraries are refused in three parts."""
    with pytest.raises(error, match=THREE_PARTS), np.errstate(invalid="ignore"):
        make(*batch(4))
