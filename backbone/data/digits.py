"""Handwritten digits that ship with scikit-learn: 1797 grey images of 8 × 8 pixels, no download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from solvers.errors import explain

__all__ = ["Digits", "DigitsClassifier", "fit_classifier", "load_digits"]


@dataclass(frozen=True, slots=True)
class Digits:
    """Two disjoint parts of the digits.

    Attributes:
        images: training images (N, 1, 8, 8), float32 in [-1, 1].
        labels: their labels (N,), int64 in 0 … 9.
        held_out_images: images (M, 1, 8, 8) that the network never sees.
        held_out_labels: their labels (M,).
    """

    images: Tensor
    labels: Tensor
    held_out_images: Tensor
    held_out_labels: Tensor


def load_digits(held_out: float = 1 / 3, seed: int = 0) -> Digits:
    """Return scikit-learn's digits split by label: the same split for the same arguments, on every machine.

    Args:
        held_out: share of each label that is held out, in (0, 1). A third leaves 1198 images for the network and 599
            for a classifier, which needs that many to be a judge.
        seed: of the permutation within each label.

    Raises:
        ValueError: ``held_out`` is outside (0, 1).

    References: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits (1998), UCI repository.
    """
    if not 0 < held_out < 1:
        raise ValueError(explain("a share held_out in (0, 1)", str(held_out), "1/3 leaves enough for a classifier"))
    # scikit-learn is an extra; only this function and the classifier need it.
    from sklearn.datasets import load_digits as bundled

    pixels, labels = bundled(return_X_y=True)
    rng = np.random.default_rng(seed)
    first, second = [], []
    for label in range(10):
        index = rng.permutation(np.flatnonzero(labels == label))
        cut = round(held_out * len(index))
        second.append(index[:cut])
        first.append(index[cut:])
    images = torch.as_tensor(pixels / 8.0 - 1.0, dtype=torch.float32).view(-1, 1, 8, 8)
    targets = torch.as_tensor(labels, dtype=torch.int64)
    train, rest = (torch.as_tensor(np.sort(np.concatenate(part))) for part in (first, second))
    return Digits(images[train], targets[train], images[rest], targets[rest])


class DigitsClassifier:
    """Support vector machine on pixels, a judge of whether a sample shows the digit that was asked for.

    Attributes:
        accuracy: its five-fold cross-validated accuracy on the images it is fitted to.
    """

    def __init__(self, machine: Any, accuracy: float) -> None:
        self._machine = machine
        self.accuracy = accuracy

    def predict(self, images: ArrayLike | Tensor) -> NDArray[np.int64]:
        """Return the labels (N,) of images (N, …) with values around [-1, 1]."""
        return np.asarray(self._machine.predict(_flat(images)), dtype=np.int64)


def fit_classifier(images: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> DigitsClassifier:
    """Fit a support vector machine with a Gaussian kernel; deterministic.

    Fit it to the *held-out* digits: a judge that has seen the network's training images would reward memory.

    Args:
        images: (N, 1, 8, 8) or (N, 64).
        labels: (N,).
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    x, y = _flat(images), np.asarray(labels)
    machine = SVC(C=10.0, kernel="rbf", gamma="scale")
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    accuracy = float(np.mean(cross_val_score(machine, x, y, cv=folds)))
    return DigitsClassifier(machine.fit(x, y), accuracy)


def _flat(images: ArrayLike | Tensor) -> NDArray[np.float64]:
    array = images.detach().cpu().numpy() if isinstance(images, Tensor) else images
    pixels = np.asarray(array, dtype=np.float64)
    return pixels.reshape(len(pixels), -1)
