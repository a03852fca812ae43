"""Fréchet distance against closed forms and scipy, accuracy, and the digits."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from backbone.evaluate import conditional_accuracy, frechet_distance, gaussian_frechet_distance


def _covariance(rng, d, rank=None):
    factor = rng.standard_normal((d, rank or d))
    return factor @ factor.T / d


def test_commuting_covariances_have_a_closed_form():
    """For diagonal covariances the distance is |Δμ|² + Σ (√a - √b)²."""
    a, b = np.array([1.0, 4.0, 0.0, 9.0]), np.array([4.0, 1.0, 2.0, 9.0])
    mean = np.array([1.0, 0.0, -2.0, 0.5])
    wanted = np.sum(mean**2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert gaussian_frechet_distance(mean, np.diag(a), np.zeros(4), np.diag(b)) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("d", [1, 2, 7, 30])
def test_other_covariances_agree_with_scipy(d):
    """For covariances that do not commute the distance is that of scipy.linalg.sqrtm."""
    rng = np.random.default_rng(d)
    a, b = _covariance(rng, d), _covariance(rng, d)
    mean_a, mean_b = rng.standard_normal(d), rng.standard_normal(d)
    cross = np.trace(sqrtm(a @ b)).real
    wanted = np.sum((mean_a - mean_b) ** 2) + np.trace(a) + np.trace(b) - 2 * cross
    assert gaussian_frechet_distance(mean_a, a, mean_b, b) == pytest.approx(wanted, rel=1e-9)


def test_singular_covariances_are_accurate():
    """For rank-deficient covariances u uᵀ and v vᵀ the distance is |u|² + |v|² - 2 |u·v|."""
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((2, 20))
    distance = gaussian_frechet_distance(np.zeros(20), np.outer(u, u), np.zeros(20), np.outer(v, v))
    assert distance == pytest.approx(u @ u + v @ v - 2 * abs(u @ v), rel=1e-6)


def test_a_distance_of_equals_is_zero():
    """A set has distance 0 to itself and to its permutation, and the distance is symmetric."""
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((50, 6)), rng.standard_normal((40, 6)) + 1
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-10)
    assert frechet_distance(a, rng.permutation(a)) == pytest.approx(0.0, abs=1e-10)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-10)


def test_features_are_fitted_with_unbiased_covariances():
    """The distance of two samples is that of their means and of their covariances over n - 1; tensors and images do."""
    a, b = np.array([[0.0], [2.0]]), np.array([[5.0], [5.0], [8.0]])
    wanted = (1 - 6) ** 2 + (np.sqrt(2.0) - np.sqrt(3.0)) ** 2
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-12)
    images = torch.as_tensor(b, dtype=torch.float32).view(3, 1, 1, 1)
    assert frechet_distance(torch.as_tensor(a), images.requires_grad_()) == pytest.approx(wanted, rel=1e-12)


def test_bad_features_are_refused():
    """One row, another width, NaN, and matrices that are no covariances are refused with a remedy."""
    rows = np.zeros((3, 2))
    for a, b, expected in [
        (rows[:1], rows, "a with at least 2 rows"),
        (rows, rows[:1], "b with at least 2 rows"),
        (rows, np.zeros((3, 4)), r"covariances \(d, d\) of one d"),
        (rows, np.full((3, 2), np.nan), "finite b; received 6 values"),
    ]:
        with pytest.raises(ValueError, match=f"expected .*{expected}.*; remedy: "):
            frechet_distance(a, b)
    zero, eye = np.zeros(2), np.eye(2)
    for cov in (-eye, np.array([[1.0, 0.5], [0.0, 1.0]])):
        with pytest.raises(ValueError, match="expected symmetric positive semi-definite"):
            gaussian_frechet_distance(zero, eye, zero, cov)
    with pytest.raises(ValueError, match="expected finite covariances"):
        gaussian_frechet_distance(zero, eye, zero, np.full((2, 2), np.inf))


class Sign:
    """A classifier that sees whether the first pixel is positive."""

    def predict(self, images):
        return (images[:, 0] > 0).astype(int)


def test_accuracy_is_the_share_of_labels_recognised():
    """Three of four labels recognised is 0.75, for arrays and tensors."""
    samples = torch.tensor([[1.0], [-1.0], [2.0], [3.0]]).view(4, 1, 1, 1)
    assert conditional_accuracy(Sign(), samples, torch.tensor([1, 0, 1, 0])) == 0.75
    assert conditional_accuracy(Sign(), samples.numpy(), [1, 0, 1, 1]) == 1.0


def test_bad_samples_are_refused():
    """No samples, lengths that differ and NaN are refused."""
    for samples, labels, expected in [
        (np.zeros((0, 3)), [], "samples with at least 1 rows"),
        (np.zeros((2, 3)), [1], r"labels of shape \(2,\); received \(1,\)"),
        (np.full((1, 3), np.nan), [1], "finite samples"),
    ]:
        with pytest.raises(ValueError, match=f"expected .*{expected}"):
            conditional_accuracy(Sign(), samples, labels)
