r"""Which noise goes with which data: optimal transport inside a mini-batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from interpolants.coefficient import Array, namespace
from solvers.errors import explain

__all__ = ["Coupling", "couple"]


class Coupling(NamedTuple):
    """What :func:`interpolants.couple` found.

    Attributes:
        x_data: the data, in the order in which they came.
        noise: the noise, row i being the partner of row i of the data.
        labels: what came with the data, in the same order.
        order: row i of ``noise`` is row ``order[i]`` of the noise that came; numpy, shape (B,).
        cost: the mean squared distance of the pairs, a float.
    """

    x_data: Array
    noise: Array
    labels: Any
    order: np.ndarray[Any, Any]
    cost: float


def couple(x_data: Array, noise: Array, labels: Any = None, *, within: Any = None) -> Coupling:
    r"""Pair data with noise so that :math:`\sum_i |x_{\mathrm{data},i} - \varepsilon_{\pi(i)}|^2` is least.

    The permutation π moves the noise. Data, labels and whatever else came with the data keep their order, so that no
    label can leave its image (some public code draws pairs from the transport plan and forgets the labels). Both
    marginals of the batch stay what they are. The assignment is exact, in float64 on the host, and costs O(B³).

    For a network with labels the pairing has a bias: noise becomes dependent on the label, and sampling, which draws it
    without, starts elsewhere. ``within=labels`` pairs inside each class, where the noise of a class stays N(0, I).

    Args:
        x_data: shape (B, …), numpy, torch or jax.
        noise: the same shape and library.
        labels: an array of B rows, or a tuple, list or dictionary of such (nested too), or None.
        within: classes of the rows, shape (B,), whole numbers; only rows of one class are exchanged.

    Raises:
        TypeError: two libraries.
        ValueError: shapes that differ, no rows, labels that are not B in number, data or noise that are not finite.

    References: Pooladian et al. (2023), arXiv 2304.14772, §3; Tong et al. (2023), arXiv 2302.00482, §3.3; for the bias
    Cheng & Schwing (2025), arXiv 2503.10636.
    """
    if namespace(x_data) is None or namespace(noise) is not namespace(x_data):
        received = f"{type(x_data).__name__} and {type(noise).__name__}"
        raise TypeError(explain("data and noise of one array library", received, "make both numpy, torch or jax"))
    if tuple(x_data.shape) != tuple(noise.shape) or x_data.ndim < 1 or not len(x_data):
        received = f"shapes {tuple(x_data.shape)} and {tuple(noise.shape)}"
        raise ValueError(
            explain("data and noise of one shape (B, …) with B >= 1", received, "draw noise like the data")
        )
    count = len(x_data)
    _expect_rows(labels, count, "labels")
    rows, partners = (_host(value).reshape(count, -1) for value in (x_data, noise))
    groups = [np.arange(count)]
    if within is not None:
        _expect_rows(within, count, "within")
        classes = _host(within).reshape(count)
        groups = [np.flatnonzero(classes == value) for value in np.unique(classes)]
    order = np.arange(count)
    for group in groups:
        order[group] = group[_assign(rows[group], partners[group])]
    cost = float(((rows - partners[order]) ** 2).sum(1).mean())
    library: Any = namespace(noise)
    where = library.as_tensor(order, device=noise.device) if library.__name__ == "torch" else order
    return Coupling(x_data, noise[where], labels, order, cost)


def _assign(rows: np.ndarray[Any, Any], partners: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the permutation with the least sum of squares; |x|², |ε|² and a common shift are the same for all."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and only this needs it

    products = (rows - rows.mean(0)) @ partners.T
    if not np.isfinite(products).all():
        remedy = "look for NaN and infinity in the batch"
        raise ValueError(explain("finite data and noise", "products that are not finite", remedy))
    found: np.ndarray[Any, Any] = linear_sum_assignment(products, maximize=True)[1]
    return found


def _host(values: Any) -> np.ndarray[Any, Any]:
    module = namespace(values) if hasattr(values, "dtype") else None
    if module is not None and module.__name__ == "torch":
        values = values.detach().double().cpu().numpy()
    return np.asarray(values, np.float64)


def _expect_rows(labels: Any, count: int, what: str) -> None:
    """Refuse an array, anywhere in a nest of tuples, lists and dictionaries, that has not ``count`` rows."""
    if labels is None:
        return
    if hasattr(labels, "shape"):
        if not labels.shape or labels.shape[0] != count:
            received = f"shape {tuple(labels.shape)}"
            raise ValueError(explain(f"{what} with {count} rows, one per image", received, "pass those of this batch"))
        return
    if not isinstance(labels, (tuple, list, dict)):
        raise TypeError(
            explain(f"arrays as {what}", type(labels).__name__, "pass an array, or a tuple or dict of them")
        )
    for part in labels.values() if isinstance(labels, dict) else labels:
        _expect_rows(part, count, what)
