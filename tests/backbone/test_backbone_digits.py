"""The digits: an exact, stratified, reproducible split, and a classifier that can judge."""

import pytest
import torch

from backbone.data.digits import fit_classifier, load_digits
from backbone.evaluate import conditional_accuracy


def _rows(images):
    return {tuple(image) for image in images.flatten(1).tolist()}


def test_the_split_is_disjoint_and_complete():
    """The two parts share no image and together hold all 1797 digits, float32 in [-1, 1] with int64 labels."""
    digits = load_digits()
    assert len(digits.images) + len(digits.held_out_images) == 1797
    assert not _rows(digits.images) & _rows(digits.held_out_images)
    for images, labels in ((digits.images, digits.labels), (digits.held_out_images, digits.held_out_labels)):
        assert images.shape == (len(labels), 1, 8, 8)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert (float(images.min()), float(images.max())) == (-1.0, 1.0)


@pytest.mark.parametrize("held_out", [0.2, 1 / 3, 0.5])
def test_the_split_is_stratified(held_out):
    """Each label gives the same share, to within half an image, to the held-out part."""
    digits = load_digits(held_out)
    first, second = (torch.bincount(labels, minlength=10) for labels in (digits.labels, digits.held_out_labels))
    assert float((second - held_out * (first + second)).abs().max()) <= 0.5


def test_the_split_is_reproducible():
    """The same seed gives the same split, another seed another one."""
    first, again, other = load_digits(seed=3), load_digits(seed=3), load_digits(seed=4)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.held_out_labels, again.held_out_labels)
    assert _rows(first.images) != _rows(other.images)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_bad_share_is_refused(share):
    """A held-out share outside (0, 1) is refused."""
    with pytest.raises(ValueError, match=r"expected a share held_out in \(0, 1\); received .*; remedy: "):
        load_digits(share)


def test_the_classifier_can_judge():
    """Fitted on held-out digits it is ≥ 96% accurate in cross-validation and ≥ 98% on the digits it has not seen."""
    digits = load_digits()
    classifier = fit_classifier(digits.held_out_images, digits.held_out_labels)
    assert classifier.accuracy >= 0.96
    assert conditional_accuracy(classifier, digits.images, digits.labels) >= 0.98
    wrong = (digits.labels + 1) % 10
    assert conditional_accuracy(classifier, digits.images, wrong) <= 0.02
