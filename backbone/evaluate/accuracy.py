"""The share of samples in which a classifier sees the label that was asked for."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backbone.evaluate.rows import host, rows_of
from solvers.errors import explain

__all__ = ["Classifier", "conditional_accuracy"]


class Classifier(Protocol):
    """Anything with scikit-learn's ``predict``."""

    def predict(self, images: NDArray[np.float64], /) -> ArrayLike:
        """Return the labels (N,) of images."""
        ...


def conditional_accuracy(classifier: Classifier, samples: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of samples in which the classifier sees the label that was asked for.

    Args:
        classifier: fitted on real images that the network was not trained on.
        samples: (N, …), passed to ``classifier.predict`` as rows (N, d).
        labels: (N,).

    Raises:
        ValueError: no samples, lengths that differ, or samples that are not finite.
    """
    rows, wanted = rows_of("samples", samples, least=1), host(labels)
    if wanted.shape != (len(rows),):
        raise ValueError(explain(f"labels of shape ({len(rows)},)", str(wanted.shape), "one label per sample"))
    return float(np.mean(np.asarray(classifier.predict(rows)) == wanted))
