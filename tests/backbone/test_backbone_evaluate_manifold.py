"""Precision and recall against brute force, torch-fidelity and sets with known answers."""

import numpy as np
import pytest
import torch

from backbone.evaluate import manifold, precision_recall
from tests.support.fidelity import fidelity


def brute(samples, reference, k):
    """Share of points in a ball, with Python loops over float64 differences."""

    def squared(x, y):
        return float(np.sum((x - y) ** 2))

    def inside(points, balls):
        radii = [sorted(squared(x, y) for y in balls)[k] for x in balls]
        return np.mean([any(squared(y, x) <= r for x, r in zip(balls, radii)) for y in points])

    samples, reference = np.asarray(samples, np.float64), np.asarray(reference, np.float64)
    return float(inside(samples, reference)), float(inside(reference, samples))


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("entries", [1, 100, 2**24])
def test_brute_force_agrees_exactly(k, entries, monkeypatch):
    """Random sets, blocks of one row, of some, of all: the numbers of the loops, to the last image."""
    monkeypatch.setattr(manifold, "_ENTRIES", entries)
    monkeypatch.setattr(manifold, "_DIFFERENCES", entries)
    rng = np.random.default_rng(k)
    samples, reference = rng.standard_normal((41, 3)), 1.5 * rng.standard_normal((33, 3)) + 0.3
    found = precision_recall(samples, reference, k=k)
    assert found == brute(samples, reference, k)
    assert 0 < found[1] < 1


@pytest.mark.parametrize("entries", [90, 2**23])
@pytest.mark.parametrize("seed", range(4))
def test_ties_are_decided_as_float64_does(seed, entries, monkeypatch):
    """On a lattice most distances are equal, and points lie on the very edge of a ball; in one block or in many."""
    monkeypatch.setattr(manifold, "_ENTRIES", entries)
    rng = np.random.default_rng(seed)
    samples, reference = rng.integers(0, 4, (40, 2)) * 0.1, rng.integers(1, 6, (40, 2)) * 0.1
    assert precision_recall(samples, reference, k=2) == brute(samples, reference, 2)


@pytest.mark.parametrize("entries", [90, 2**23])
def test_distances_that_float32_cannot_tell_apart_are_told_apart(entries, monkeypatch):
    """Around a centre, 40 neighbours in 16 dimensions at 1 + j·1e-9: its radius is that of the sorted list."""
    monkeypatch.setattr(manifold, "_ENTRIES", entries)
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((40, 16))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = np.vstack([np.zeros(16), directions * (1 + 1e-9 * rng.permutation(40)[:, None])])
    squared = np.sort(np.sum((rows[:, None] - rows) ** 2, axis=2), axis=1)
    for k in (1, 3, 20):
        radii = manifold._radii(manifold._Cloud.of(rows, np.full(16, 0.3), 2.0), k) * 4
        np.testing.assert_allclose(radii, squared[:, k], rtol=1e-12)
        assert radii[0] == pytest.approx((1 + 1e-9 * (k - 1)) ** 2, rel=1e-13)


def test_a_sample_on_the_edge_is_inside():
    """Reference 0, 1, 2, 3 on the line and k = 1: balls of radius 1, so 4 is inside and the next number is not."""
    reference = np.arange(4.0)[:, None]
    for far, wanted in ((4.0, 1.0), (np.nextafter(4.0, 5.0), 0.5)):
        samples = np.array([[far], [-1.0]])
        assert precision_recall(samples, reference, k=1)[0] == wanted


@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_size_and_place_of_the_features_do_not_matter(shift, scale):
    """Features times 1e±30, and with a mean of 1e6 beside deviations of 1e-3, keep their exact answer."""
    rng = np.random.default_rng(3)
    samples, reference = rng.standard_normal((50, 4)) * 1e-3, rng.standard_normal((50, 4)) * 1.2e-3
    moved = (samples + shift) * scale, (reference + shift) * scale
    assert precision_recall(*moved) == brute(*moved, 3)


def test_features_in_float32_have_the_distances_of_float64():
    """Float32 features are compared by float64 distances, as the loops over the widened rows are."""
    rng = np.random.default_rng(4)
    samples, reference = (rng.standard_normal((60, 16)).astype(np.float32) for _ in range(2))
    assert precision_recall(samples, reference) == brute(samples, reference, 3)


def test_sets_with_known_answers():
    """A set in itself has 1 and 1, far sets 0 and 0; one image of the data again and again 1 and 1/80."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((80, 5))
    assert precision_recall(data, data) == (1.0, 1.0)
    assert precision_recall(data, rng.permutation(data)) == (1.0, 1.0)
    assert precision_recall(data + 100, data) == (0.0, 0.0)
    collapsed = np.tile(data[:1], (10, 1))
    assert precision_recall(collapsed, data) == (1.0, 1 / 80)
    assert precision_recall(data[:40], data)[0] == 1.0


def test_torch_fidelity_agrees():
    """On features without ties torch-fidelity's precision and recall are the same, whole and in parts."""
    rng = np.random.default_rng(6)
    samples, reference = rng.standard_normal((300, 32)), 1.02 * rng.standard_normal((200, 32))
    peer, tensors = fidelity()["metric_prc"], (torch.as_tensor(samples), torch.as_tensor(reference))
    theirs = peer.calculate_precision_recall_full(*tensors, 3)
    assert precision_recall(samples, reference) == pytest.approx(theirs, abs=1e-6)
    assert 0.1 < theirs[0] < 0.99
    assert 0.1 < theirs[1] < 0.99


def test_bad_sets_are_refused():
    """No more rows than k, other widths, NaN by its row, one axis, and k = 0."""
    rows, nan = np.zeros((5, 2)), np.zeros((5, 2))
    nan[3] = np.nan
    for samples, reference, k, expected in [
        (rows[:3], rows, 3, "samples with more than k = 3 rows"),
        (rows, rows[:3], 3, "reference with more than k = 3 rows"),
        (rows, np.zeros((5, 3)), 3, "features of one width; received 2 and 3"),
        (nan, rows, 3, "finite samples; received 2 values that are not, from row 3 on"),
        (np.zeros(5), rows, 3, "samples with more than"),
        (rows, rows, 0, "k to be an integer"),
    ]:
        with pytest.raises(ValueError, match=f"expected {expected}.*; remedy: "):
            precision_recall(samples, reference, k=k)
