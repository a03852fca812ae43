"""Streamed moments: any batches, any order, any ranks, large means; files of statistics."""

import numpy as np
import pytest

from backbone.evaluate import Moments, Statistics, frechet_distance
from backbone.evaluate import moments as home


def rows(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + rng.standard_normal(d)


@pytest.mark.parametrize("sizes", [[1] * 50, [50], [7, 0, 43], [49, 1]], ids=str)
def test_any_division_gives_numpys_mean_and_covariance(sizes):
    """Batches of one row, of none, of all: mean and covariance are numpy.mean and numpy.cov of all rows."""
    x = rows(50, 6)
    moments = Moments(6)
    for batch in np.split(x, np.cumsum(sizes)[:-1]):
        moments.update(batch)
    assert moments.count == 50
    np.testing.assert_allclose(moments.mean, np.mean(x, axis=0), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(moments.covariance, np.cov(x.T), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("block", [1, 7, 16, 50])
def test_blocks_change_nothing(block, monkeypatch):
    """Rows are joined by blocks, whole batches or parts of them: the same moments, also when read in between."""
    monkeypatch.setattr(home, "_BLOCK", block)
    x = rows(50, 6)
    moments = Moments(6)
    for batch in np.split(x, [3, 30, 31]):
        moments.update(batch)
        seen = x[: moments.count]
        np.testing.assert_allclose(moments.mean, np.mean(seen, axis=0), rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(moments.covariance, np.cov(seen.T), rtol=1e-12, atol=1e-13)


def test_what_is_read_does_not_change_later():
    """Mean and scatter are copies: further rows leave them as they were."""
    x = rows(20, 3)
    moments = Moments.of(x[:10])
    mean, scatter = moments.mean, moments.scatter
    moments.update(x[10:])
    np.testing.assert_allclose(moments.covariance, np.cov(x.T), rtol=1e-12)
    np.testing.assert_array_equal(mean, Moments.of(x[:10]).mean)
    np.testing.assert_array_equal(scatter, Moments.of(x[:10]).scatter)
    assert moments.count == 20


def test_ranks_merge_in_any_order():
    """Parts merged forwards, backwards and pairwise, one of them empty, give the moments of all rows."""
    x = rows(90, 5, seed=1)
    parts = [x[:20], x[20:20], x[20:21], x[21:90]]

    def joined(order):
        total = Moments(5)
        for i in order:
            other = Moments(5)
            other.update(parts[i])
            total.merge(other)
        return total

    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 2, 0, 3]):
        total = joined(order)
        assert total.count == 90
        np.testing.assert_allclose(total.mean, np.mean(x, axis=0), rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(total.covariance, np.cov(x.T), rtol=1e-12, atol=1e-14)


def test_merging_leaves_the_other_as_it_was():
    """merge changes its left side alone, also where that was empty."""
    one, other = Moments(3), Moments.of(rows(10, 3))
    before = other.count, other.mean, other.scatter
    one.merge(other)
    one.update(rows(10, 3, seed=5))
    assert other.count == before[0]
    np.testing.assert_array_equal(other.mean, before[1])
    np.testing.assert_array_equal(other.scatter, before[2])


def test_a_large_mean_costs_no_digits():
    """With a mean of 1e7 and deviations of exact quarters the covariance is exact, where Σxxᵀ − nμμᵀ has no digit.

    Deviations ±¼ in the four corners of a square: variance 4/3 · 1/16 · … over n − 1 = 3, covariance 0.
    """
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) / 4
    x = np.tile(corners, (25, 1)) + 1e7
    moments = Moments(2)
    for batch in np.split(x, 20):
        moments.update(batch)
    exact = np.diag([100 / 16 / 99] * 2)
    np.testing.assert_allclose(moments.covariance, exact, rtol=1e-7, atol=1e-9)
    sums = (x.T @ x - 100 * np.outer(x.mean(0), x.mean(0))) / 99
    assert abs(sums - exact).max() > 1e-3


def test_features_in_float32_are_summed_in_float64():
    """A mean of 1e4 in float32: the covariance is that of the rounded rows in float64, which float32 sums miss."""
    x = (rows(3000, 4, seed=2) + 1e4).astype(np.float32)
    np.testing.assert_allclose(Moments.of(x).covariance, np.cov(x.astype(np.float64).T), rtol=1e-9)
    single = x - x.mean(axis=0, dtype=np.float32)
    assert abs(single.T @ single / 2999 / np.cov(x.astype(np.float64).T) - 1).max() > 1e-7


def test_wrong_rows_are_refused():
    """Another width, three axes, NaN by the number of its row, one row for a covariance, moments of other widths."""
    moments = Moments.of(np.zeros((5, 2)))
    bad = np.zeros((4, 2))
    bad[2, 1] = np.nan
    for call, expected in [
        (lambda: moments.update(np.zeros((4, 3))), r"rows of shape \(n, 2\); received shape \(4, 3\)"),
        (lambda: moments.update(np.zeros((4, 2, 1))), r"rows of shape \(n, 2\)"),
        (lambda: moments.update(bad), "finite features; received 1 values that are not, from row 7 on"),
        (lambda: moments.merge(Moments(3)), "moments of one width; received 2 and 3"),
        (lambda: Moments.of(np.zeros((1, 2))).covariance, "at least 2 rows for a covariance; received 1"),
    ]:
        with pytest.raises(ValueError, match=f"expected {expected}.*; remedy: "):
            call()


def test_statistics_go_through_a_file(tmp_path):
    """mu, sigma, mu_s, sigma_s, count and features come back bit for bit, under the names of the ADM suite."""
    pool, spatial = Moments.of(rows(40, 3)), Moments.of(rows(40, 4))
    file = tmp_path / "new" / "statistics.npz"
    Statistics.of(pool, spatial, "pixels").save(file)
    with np.load(file) as data:
        assert {"mu", "sigma", "mu_s", "sigma_s"} <= set(data.files)
        np.testing.assert_array_equal(data["sigma_s"], spatial.covariance)
    read = Statistics.load(file)
    np.testing.assert_array_equal(read.mu, pool.mean)
    np.testing.assert_array_equal(read.sigma, pool.covariance)
    assert (read.count, read.features) == (40, "pixels")


def test_fid_and_sfid_are_of_their_own_part(tmp_path):
    """fid is the distance of the pooled features, sfid of the spatial ones, None where one side has none."""
    a, b, c, d = (rows(40, 3, seed=seed) for seed in range(4))
    one, other = (Statistics.of(Moments.of(p), Moments.of(s)) for p, s in ((a, b), (c, d)))
    assert one.fid(other) == pytest.approx(frechet_distance(a, c), rel=1e-10)
    assert one.sfid(other) == pytest.approx(frechet_distance(b, d), rel=1e-10)
    file = tmp_path / "pool.npz"
    Statistics.of(Moments.of(c)).save(file)
    pooled = Statistics.load(file)
    assert one.fid(pooled) == pytest.approx(frechet_distance(a, c), rel=1e-10)
    assert one.sfid(pooled) is pooled.sfid(one) is None


def test_a_file_of_the_adm_suite_is_read(tmp_path):
    """Only mu, sigma, mu_s and sigma_s: count and features are None. Float32 is accepted where its rounding allows."""
    x = rows(40, 12)
    file = tmp_path / "adm.npz"
    low = np.cov(np.vstack([x[:6]] * 3).T).astype(np.float32)  # rank 5: eigenvalues of −1e-8 by rounding
    np.savez(file, mu=x.mean(0), sigma=np.cov(x.T), mu_s=x.mean(0).astype(np.float32), sigma_s=low)
    read = Statistics.load(file)
    assert (read.count, read.features) == (None, None)
    assert np.linalg.eigvalsh(low.astype(np.float64)).min() < -1e-8 * abs(low).max()
    assert read.sfid(read) == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"mu": np.zeros(2)}, r"mu \(d,\) and sigma \(d, d\); received .* with mu \(2,\)"),
        ({"other": np.zeros(2)}, r"mu \(d,\) and sigma \(d, d\); received .* with neither"),
        ({"mu": np.zeros(2), "sigma": np.eye(3)}, r"mu \(d,\) and sigma \(d, d\)"),
        ({"mu": np.zeros(2), "sigma": np.eye(2), "mu_s": np.zeros(2)}, r"mu_s \(d,\) and sigma_s"),
        ({"mu": np.zeros(2), "sigma": np.eye(2) * np.nan}, "finite floats in sigma"),
        ({"mu": np.zeros(2, int), "sigma": np.eye(2)}, "floats in mu; received .* with int64"),
        ({"mu": np.array([{}], object), "sigma": np.eye(1)}, "an npz of arrays of numbers"),
    ],
)
def test_files_without_statistics_are_refused(arrays, expected, tmp_path):
    """Arrays absent, of other shapes, not finite, of integers, or pickled objects: refused with what was found."""
    file = tmp_path / "x.npz"
    np.savez(file, **arrays)
    with pytest.raises(ValueError, match=f"expected {expected}.*; remedy: "):
        Statistics.load(file)


def test_files_of_another_kind_are_refused(tmp_path):
    """Text, an npy and a folder are refused; so is a path where nothing is."""
    text, array = tmp_path / "x.npz", tmp_path / "y.npz"
    text.write_text("404: not found")
    with array.open("wb") as stream:
        np.save(stream, np.zeros(3))
    for file in (text, array):
        with pytest.raises(ValueError, match="expected an npz of arrays of numbers"):
            Statistics.load(file)
    with pytest.raises(FileNotFoundError, match="expected a file of statistics"):
        Statistics.load(tmp_path / "none.npz")
