r"""Inception score from logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, xlogy

from backbone.checks import check_count
from backbone.evaluate.rows import host
from solvers.errors import explain

__all__ = ["inception_score"]


def inception_score(logits: ArrayLike, *, split: int = 5000, shuffle: int | None = None) -> tuple[float, float]:
    r"""Mean and standard deviation over splits of

    .. math:: \exp\Bigl(\frac1n \sum_{i=1}^n \sum_c p_{ic} \log\frac{p_{ic}}{q_c}\Bigr), \qquad
              q_c = \frac1n \sum_i p_{ic},

    between 1 and the number of classes. The exponent is computed as the entropy of q less the mean entropy of the p, in
    float64, so that no probability of zero is divided by. The score depends on the splits, and on the order where the
    images are sorted by label: the ADM suite takes 5000 images as they come, torch-fidelity shuffles and takes ten
    parts.

    Args:
        logits: (N, C) up to a constant in each row, so the logarithm of probabilities will do, with −∞ for zero.
        split: images in a split, ≥ 1; the last may be smaller.
        shuffle: seed of a permutation before the splitting (numpy's ``default_rng``: torch-fidelity's seeds give other
            permutations); None keeps the order.

    Returns:
        the mean and the standard deviation (divided by the number of splits) of the scores.

    Raises:
        ValueError: no rows, NaN or +∞, or a row without a finite value.

    References: Salimans et al., Improved techniques for training GANs (2016), arXiv:1606.03498; Barratt & Sharma, A
    note on the Inception score (2018), arXiv:1801.01973.
    """
    check_count("split", split)
    values = host(logits)
    if values.ndim != 2 or not values.size:
        raise ValueError(explain("logits (N, C) with N and C ≥ 1", f"shape {values.shape}", "one row per image"))
    if shuffle is not None:
        values = values[np.random.default_rng(shuffle).permutation(len(values))]
    scores = [_score(values, start, min(start + split, len(values))) for start in range(0, len(values), split)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(logits: NDArray[np.floating], start: int, stop: int) -> float:
    part = logits[start:stop].astype(np.float64)
    largest = part.max(axis=1)
    if not np.isfinite(largest).all():
        row = start + int(np.argmin(np.isfinite(largest)))
        raise ValueError(
            explain("logits below infinity, one in each row finite", f"row {row} without", "check the network")
        )
    logs = log_softmax(part, axis=1)
    probabilities = np.exp(logs)
    # p log p with the accurate logarithm, and 0 where p is 0.
    negative = np.multiply(probabilities, logs, out=np.zeros_like(logs), where=probabilities > 0)
    q = probabilities.mean(axis=0)
    return float(np.exp(negative.sum(axis=1).mean() - xlogy(q, q).sum()))
