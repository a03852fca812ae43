"""FID against scipy, torch-fidelity and closed forms; its bias against draws."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from backbone.evaluate import Moments, Statistics, frechet_bias, frechet_distance, gaussian_frechet_distance
from tests.support.fidelity import fidelity


def features(n, d, seed):
    rng = np.random.default_rng(seed)
    return (np.abs(rng.standard_normal((n, d)) @ rng.standard_normal((d, d))) * 0.3 + 0.4).astype(np.float32)


@pytest.mark.parametrize("d", [3, 64])
def test_fid_agrees_with_scipy_and_torch_fidelity(d):
    """On the same float32 features: the published formula with sqrtm, and torch-fidelity's functions, to 1e-6."""
    a, b = features(400, d, 1), features(300, d, 2)
    streamed = Moments(d)
    for batch in np.array_split(a, 7):
        streamed.update(batch)
    fid = Statistics.of(streamed).fid(Statistics.of(Moments.of(b)))
    wide = a.astype(np.float64), b.astype(np.float64)
    (mu_a, mu_b), (cov_a, cov_b) = [x.mean(0) for x in wide], [np.cov(x, rowvar=False) for x in wide]
    published = np.sum((mu_a - mu_b) ** 2) + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert fid == pytest.approx(published, rel=1e-6)
    peer = fidelity()["metric_fid"]
    one, other = (peer.fid_features_to_statistics(torch.as_tensor(x)) for x in wide)
    theirs = peer.fid_statistics_to_metric(one, other, verbose=False)["frechet_inception_distance"]
    assert fid == pytest.approx(theirs, rel=1e-6)


def test_gaussian_features_with_known_moments():
    """Rows ±√((n−1)/n·λ) on the axes have exactly the covariance λ: FID = |Δμ|² + Σ(√λ − √κ)²."""
    d = 5
    shape = np.vstack([np.eye(d), -np.eye(d)]) * np.sqrt((2 * d - 1) / 2)
    one, other = np.array([1.0, 4.0, 9.0, 0.25, 2.0]), np.array([4.0, 1.0, 9.0, 1.0, 8.0])
    shift = np.array([3.0, 0.0, 0.0, -1.0, 0.5])
    a, b = shape * np.sqrt(one), shape * np.sqrt(other) + shift
    wanted = 9 + 1 + 0.25 + 1 + 1 + 0 + 0.25 + (np.sqrt(8) - np.sqrt(2)) ** 2
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-12)


def test_permuted_and_rotated_features_keep_their_distance():
    """The order of images and a rotation of the features do not change the distance."""
    rng = np.random.default_rng(0)
    a, b = features(80, 6, 3), features(70, 6, 4)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    wanted = frechet_distance(a, b)
    assert frechet_distance(rng.permutation(a), b[::-1]) == pytest.approx(wanted, rel=1e-10)
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(wanted, rel=1e-9)


def test_a_large_mean_leaves_the_distance():
    """Features moved by 2¹⁶ together, exact in float64, keep their distance to 1e-8."""
    a, b = features(80, 6, 3).astype(np.float64), features(70, 6, 4).astype(np.float64)
    a, b = np.round(a * 2**20) / 2**20, np.round(b * 2**20) / 2**20
    assert frechet_distance(a + 65536, b + 65536) == pytest.approx(frechet_distance(a, b), rel=1e-8)


def test_bias_of_one_dimension_is_that_of_the_formula_written_out():
    """d = 1: E(Δμ)² = λ(1/n + 1/m) and E(Δ√λ)² = λ/2 · (1/n + 1/m), by the delta method: 3/2 λ (1/n + 1/m)."""
    assert frechet_bias([[4.0]], 100, 400) == pytest.approx(1.5 * 4.0 * (1 / 100 + 1 / 400), rel=1e-12)
    assert frechet_bias([[4.0]], 100, np.inf) == pytest.approx(1.5 * 4.0 / 100, rel=1e-12)


def test_bias_is_what_equal_gaussians_have_on_average():
    """100 pairs of sets of 1500 and 1000 from one Gaussian with d = 20: their mean distance is the bias, to six errors.

    They are 7% of it; the means make a fifth of the bias, and pairs of directions most of the rest.
    """
    rng = np.random.default_rng(5)
    deviations = np.geomspace(1, 0.3, 20)
    drawn = [frechet_distance(*(rng.standard_normal((n, 20)) * deviations for n in (1500, 1000))) for _ in range(100)]
    bias = frechet_bias(np.diag(deviations**2), 1500, 1000)
    errors = 6 * np.std(drawn) / np.sqrt(len(drawn))
    assert errors < 0.08 * bias
    assert np.mean(drawn) == pytest.approx(bias, abs=errors)


def test_bias_of_a_singular_covariance_counts_its_support():
    """A direction without variance adds nothing: diag(λ, 0) has the bias of λ alone."""
    assert frechet_bias(np.diag([4.0, 0.0]), 50, 60) == pytest.approx(frechet_bias([[4.0]], 50, 60), rel=1e-12)


def test_float64_covariances_with_negative_eigenvalues_stay_refused():
    """The width of float32's rounding is allowed for float32 alone."""
    cov = np.diag([1.0, -1e-6])
    with pytest.raises(ValueError, match="positive semi-definite"):
        gaussian_frechet_distance(np.zeros(2), cov, np.zeros(2), np.eye(2))
