"""The Inception score of known distributions, its splits, and torch-fidelity's."""

import math

import numpy as np
import pytest
import torch

from backbone.evaluate import inception_score
from tests.support.fidelity import fidelity


def logits(n, classes, seed=0, scale=3.0):
    return (scale * np.random.default_rng(seed).standard_normal((n, classes))).astype(np.float32)


def test_known_distributions():
    """The same p for all is 1; one-hot and balanced is the number of classes, by zeros, by −∞ and by logits of 1e4."""
    assert inception_score(np.tile([1.0, -2.0, 0.3], (10, 1))) == pytest.approx((1.0, 0.0), abs=1e-14)
    sure = np.tile(np.eye(7), (30, 1))
    with np.errstate(divide="ignore"):
        assert inception_score(np.log(sure)) == pytest.approx((7.0, 0.0), rel=1e-13)
    assert inception_score(1e4 * sure) == pytest.approx((7.0, 0.0), rel=1e-13)


def test_two_classes_written_out():
    """p = (¾, ¼) and (¼, ¾) by turns: q = ½, and the score is exp(log 2 − H(¼)) = 2 · ¾^¾ · ¼^¼."""
    p = np.tile([[0.75, 0.25], [0.25, 0.75]], (6, 1))
    assert inception_score(np.log(p) + 5.0)[0] == pytest.approx(2 * 0.75**0.75 * 0.25**0.25, rel=1e-13)


def test_splits_against_a_loop_of_plain_numbers():
    """Splits of 8 of 21 rows, the last of 5, in order: mean and deviation of a loop over Python floats."""
    x = logits(21, 4)
    scores = []
    for part in (x[:8], x[8:16], x[16:]):
        rows = []
        for row in part.tolist():
            total = sum(math.exp(value) for value in row)
            rows.append([math.exp(value) / total for value in row])
        q = [sum(row[c] for row in rows) / len(rows) for c in range(4)]
        kl = [sum(p * math.log(p / q[c]) for c, p in enumerate(row)) for row in rows]
        scores.append(math.exp(sum(kl) / len(kl)))
    mean = sum(scores) / 3
    deviation = math.sqrt(sum((score - mean) ** 2 for score in scores) / 3)
    assert inception_score(x, split=8) == pytest.approx((mean, deviation), rel=1e-12)


def test_torch_fidelity_has_the_same_score():
    """Without shuffling, ten equal splits: torch-fidelity's mean and deviation to 1e-6."""
    x = logits(200, 1008, scale=2.0)
    theirs = fidelity()["metric_isc"].isc_features_to_metric(torch.as_tensor(x), splits=10, shuffle=False)
    ours = inception_score(x, split=20)
    assert ours == pytest.approx((theirs["inception_score_mean"], theirs["inception_score_std"]), rel=1e-6)


def test_order_matters_and_shuffling_is_seeded():
    """Images sorted by class have score 1 in each split; shuffled by a seed they do not, and a seed repeats itself."""
    with np.errstate(divide="ignore"):
        x = np.log(np.repeat(np.eye(5), 20, axis=0))
    assert inception_score(x, split=20)[0] == pytest.approx(1.0)
    assert inception_score(x, split=20, shuffle=0)[0] > 3
    assert inception_score(x, split=20, shuffle=0) == inception_score(x, split=20, shuffle=0)
    assert inception_score(x, split=20, shuffle=0) != inception_score(x, split=20, shuffle=1)
    assert inception_score(x, shuffle=3) == pytest.approx(inception_score(x), rel=1e-12)


def test_default_splits_are_of_5000():
    """7000 rows, the first 5000 one-hot and balanced over 2 classes, the rest equal: the mean of 2 and 1."""
    x = np.zeros((7000, 2))
    x[:5000:2, 0] = x[1:5000:2, 1] = 1e3
    assert inception_score(x) == pytest.approx((1.5, 0.5), rel=1e-12)


def test_bad_logits_are_refused():
    """No rows, one axis, NaN or a row of −∞ by its number, +∞, and a split of 0."""
    nan, never, always = np.zeros((3, 8, 2))
    nan[6, 1], never[7], always[5, 0] = np.nan, -np.inf, np.inf
    for values, split, expected in [
        (np.zeros((0, 3)), 5, r"logits \(N, C\)"),
        (np.zeros(4), 5, r"logits \(N, C\)"),
        (nan, 5, "logits below infinity, one in each row finite; received row 6 without"),
        (never, 5, ".*received row 7 without"),
        (always, 5, ".*received row 5 without"),
        (np.zeros((4, 2)), 0, "split to be an integer"),
    ]:
        with pytest.raises(ValueError, match=f"expected {expected}"):
            inception_score(values, split=split)
