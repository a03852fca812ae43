"""All numbers of one set against a reference: each is that of its function on all features at once."""

import hashlib
import json

import numpy as np
import pytest

from backbone.evaluate import (
    Extractor,
    Features,
    Moments,
    Options,
    Statistics,
    compare,
    frechet_bias,
    frechet_distance,
    inception_score,
    open_images,
    open_reference,
    pixels,
    precision_recall,
)


def pictures(n, seed, shift=0):
    return np.clip(np.random.default_rng(seed).integers(40, 200, (n, 2, 3, 1)) + shift, 0, 255).astype(np.uint8)


def three(images):
    """Pool, spatial and logits that a test can compute again."""
    rows = images.reshape(len(images), -1) / 255.0
    return Features(rows[:, :4].astype(np.float32), rows[:, 1:] ** 2, 9 * rows[:, :5])


NETWORK = Extractor("three", three, {"resize": "none"})


@pytest.fixture
def sets(tmp_path):
    drawn, real = pictures(130, 1, 8), pictures(90, 2)
    np.savez(tmp_path / "samples.npz", drawn)
    np.savez_compressed(tmp_path / "reference.npz", real)
    return tmp_path / "samples.npz", tmp_path / "reference.npz", drawn, real


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_numbers_are_those_of_all_features_at_once(batch, sets):
    """FID, sFID, score, precision, recall and biases, whatever the batch, are those of functions of whole arrays."""
    samples, reference, drawn, real = sets
    report, statistics = compare(
        open_images(samples), open_reference(reference), NETWORK, Options(split=50, k=2), batch=batch
    )
    a, b = three(drawn), three(real)
    assert report.metrics["fid"].value == pytest.approx(frechet_distance(a.pool, b.pool), rel=1e-9)
    assert report.metrics["sfid"].value == pytest.approx(frechet_distance(a.spatial, b.spatial), rel=1e-9)
    score = report.metrics["inception_score"]
    assert (score.value, score.deviation) == pytest.approx(inception_score(a.logits, split=50), rel=1e-12)
    found = report.metrics["precision"].value, report.metrics["recall"].value
    assert found == precision_recall(a.pool, b.pool, k=2)
    bias = frechet_bias(np.cov(b.pool.astype(float).T), 130, 90)
    assert report.metrics["fid"].bias == pytest.approx(bias, rel=1e-9)
    assert report.metrics["sfid"].bias == pytest.approx(frechet_bias(np.cov(b.spatial.T), 130, 90), rel=1e-9)
    np.testing.assert_allclose(statistics.sigma, np.cov(b.pool.astype(float).T), rtol=1e-10, atol=1e-15)


def test_order_of_the_samples_matters_to_the_score_alone(sets, tmp_path):
    """Samples in another order: equal FID, sFID, precision and recall, another Inception score of splits."""
    samples, reference, drawn, _ = sets
    np.savez(tmp_path / "turned.npz", np.random.default_rng(0).permutation(drawn))
    options = Options(split=40)
    one, other = (
        compare(open_images(path), open_reference(reference), NETWORK, options)[0].metrics
        for path in (samples, tmp_path / "turned.npz")
    )
    for name in ("fid", "sfid", "precision", "recall"):
        assert one[name].value == pytest.approx(other[name].value, rel=1e-9)
    assert one["inception_score"].value != pytest.approx(other["inception_score"].value, rel=1e-6)
    shuffled, _ = compare(open_images(samples), open_reference(reference), NETWORK, Options(split=40, shuffle=2))
    wanted = inception_score(three(drawn).logits, split=40, shuffle=2)[0]
    assert shuffled.metrics["inception_score"].value == pytest.approx(wanted, rel=1e-12)


def test_stored_statistics_are_preferred_as_in_the_adm_suite(sets, tmp_path):
    """A reference with arr_0 and statistics: FID and sFID of the statistics, precision and recall of the images."""
    samples, _, drawn, real = sets
    others = three(pictures(400, 7, -20))
    stored = Statistics.of(Moments.of(others.pool), Moments.of(others.spatial))
    file = tmp_path / "adm.npz"
    np.savez(file, real, mu=stored.mu, sigma=stored.sigma, mu_s=stored.mu_s, sigma_s=stored.sigma_s)
    report, used = compare(open_images(samples), open_reference(file), NETWORK)
    a, b = three(drawn), three(real)
    assert report.metrics["fid"].value == pytest.approx(frechet_distance(a.pool, others.pool), rel=1e-9)
    assert report.metrics["sfid"].value == pytest.approx(frechet_distance(a.spatial, others.spatial), rel=1e-9)
    found = report.metrics["precision"].value, report.metrics["recall"].value
    assert found == precision_recall(a.pool, b.pool)
    # The file does not say of how many images its statistics are: the bias is that of the samples alone.
    assert report.metrics["fid"].bias == pytest.approx(frechet_bias(stored.sigma, 130, np.inf), rel=1e-9)
    assert "the reference does not say which features its statistics are of" in report.warnings
    np.testing.assert_array_equal(used.mu, stored.mu)


def test_statistics_alone_leave_out_precision_and_recall(sets, tmp_path):
    """With pooled statistics alone there is FID; sFID, precision and recall say why they are absent."""
    samples, _, _, real = sets
    Statistics.of(Moments.of(three(real).pool), None, "three").save(tmp_path / "s.npz")
    report, _ = compare(open_images(samples), open_reference(tmp_path / "s.npz"), NETWORK)
    absent = {name: found.absent for name, found in report.metrics.items() if found.value is None}
    assert absent == {
        "sfid": "the reference statistics have no spatial part",
        "precision": "the reference has no images",
        "recall": "the reference has no images",
    }
    plain, _ = compare(open_images(samples), open_reference(sets[1]), pixels())
    assert plain.metrics["sfid"].absent == "the features have no spatial part"
    assert plain.metrics["inception_score"].absent == "the features have no logits"


def test_the_report_says_what_defines_the_numbers(sets):
    """JSON has sources, counts, shapes, hashes of pixels, features, options and versions; nothing in it is NaN."""
    samples, reference, drawn, real = sets
    report, _ = compare(open_images(samples), open_reference(reference), NETWORK, Options(split=60, shuffle=4))
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["samples"] == {
        "source": str(samples),
        "count": 130,
        "shape": [2, 3, 1],
        "pixels_sha256": hashlib.sha256(drawn.tobytes()).hexdigest(),
    }
    assert data["reference"]["statistics"] == "computed"
    assert data["reference"]["statistics_count"] == data["reference"]["images"]["count"] == 90
    assert data["reference"]["images"]["pixels_sha256"] == hashlib.sha256(real.tobytes()).hexdigest()
    assert data["features"] == {"name": "three", "notes": {"resize": "none"}, "pool": 4, "spatial": 5, "logits": 5}
    assert data["options"] == {"split": 60, "shuffle": 4, "k": 3, "allow_small": False}
    assert {"python", "numpy", "scipy", "interpolants"} <= set(data["versions"])
    assert data["metrics"]["fid"]["value"] == report.metrics["fid"].value
    table = report.table().splitlines()
    assert [line.split()[0] for line in table] == [
        *("FID", "sFID", "Inception", "precision", "recall", "samples", "reference", "features")
    ]
    assert f"{report.metrics['fid'].value:.4f}" in table[0]


def test_warnings_name_what_makes_numbers_incomparable(sets, tmp_path):
    """Few images, an FID that its sizes explain, one short split, equal images, other sizes: a line for each."""
    samples, reference, drawn, _ = sets
    report, _ = compare(open_images(samples), open_reference(samples), NETWORK)
    said = "\n".join(report.warnings)
    assert "samples: 130 images" in said
    assert "reference: 130 images" in said
    assert "FID " in said
    assert "one split of 130 images, not of 5000" in said
    assert "samples and reference are the same images" in said
    assert report.metrics["fid"].value == pytest.approx(0.0, abs=1e-9)
    np.savez(tmp_path / "tall.npz", drawn.transpose(0, 2, 1, 3))
    report, _ = compare(open_images(tmp_path / "tall.npz"), open_reference(reference), pixels())
    assert any("(3, 2, 1) and reference images (2, 3, 1)" in line for line in report.warnings)


def test_sets_that_are_too_small_are_refused_before_the_passes(sets, tmp_path):
    """No more images than features: refused for either side after one image; allowed when asked for; also k."""
    samples, reference, drawn, _ = sets
    few = tmp_path / "few.npz"
    np.savez(few, drawn[:5])
    seen = []

    def counting(images):
        seen.append(len(images))
        return three(images)

    network = Extractor("three", counting)
    for pair, name in (((few, reference), "samples"), ((samples, few), "reference images")):
        with pytest.raises(ValueError, match=f"expected more {name} than the 5 features.*received 5; .*--allow-small"):
            compare(open_images(pair[0]), open_reference(pair[1]), network)
    assert seen == [1, 1, 1, 1]
    report, _ = compare(open_images(few), open_reference(reference), network, Options(allow_small=True))
    wanted = frechet_distance(three(drawn[:5]).pool, three(pictures(90, 2)).pool)
    assert report.metrics["fid"].value == pytest.approx(wanted, rel=1e-6)
    np.savez(few, drawn[:3])
    with pytest.raises(ValueError, match="expected more than k = 3 samples; received 3"):
        compare(open_images(few), open_reference(reference), network, Options(allow_small=True))


def test_features_that_do_not_fit_are_refused(sets, tmp_path):
    """Statistics of another width or of other features, and pixels of another size."""
    samples, _, drawn, _ = sets
    Statistics.of(Moments.of(np.random.default_rng(0).random((50, 7)))).save(tmp_path / "wide.npz")
    Statistics.of(Moments.of(three(drawn).pool), None, "other").save(tmp_path / "other.npz")
    Statistics.of(Moments.of(np.random.default_rng(0).random((50, 7))), None, "third").save(tmp_path / "third.npz")
    np.savez(tmp_path / "large.npz", np.zeros((90, 3, 3, 1), np.uint8))
    for file, network, expected in [
        ("wide.npz", NETWORK, "statistics of 4 features; received 7 in"),
        ("other.npz", NETWORK, "statistics of three; received of other in"),
        ("third.npz", NETWORK, "statistics of three; received of third in"),
        ("large.npz", pixels(), "features of one width; received 6 and 9"),
    ]:
        with pytest.raises(ValueError, match=f"expected {expected}.*; remedy: "):
            compare(open_images(samples), open_reference(tmp_path / file), network)


def test_an_image_whose_features_are_not_finite_is_named(sets):
    """NaN for image 77 of the samples: the error has the set and the number, whatever the batch."""
    samples, reference, drawn, _ = sets

    def broken(images):
        found = three(images)
        found.pool[(images == drawn[77]).all(axis=(1, 2, 3))] = np.nan
        return found

    for batch in (1, 64):
        with pytest.raises(ValueError, match=r"samples: expected finite pool features.* from row 77 on"):
            compare(open_images(samples), open_reference(reference), Extractor("broken", broken), batch=batch)


def test_options_are_checked():
    """split, k and batch are counts."""
    for options in ({"split": 0}, {"k": 0}, {"k": 1.5}):
        with pytest.raises(ValueError, match="to be an integer ≥ 1"):
            Options(**options)
