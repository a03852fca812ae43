r"""Bits per dimension of integer data that a density models with continuous numbers.

Values y ∈ {0, …, L − 1} in d dimensions become :math:`x = \mathrm{low} + (y + u)\,\Delta`, :math:`\Delta =
(\mathrm{high} - \mathrm{low})/L`, u uniform on :math:`[0, 1)^d`. Then

.. math:: P(y) = \Delta^d\,\mathbb E_u\,p(x), \qquad
          -\log_2 P(y) \le -\mathbb E_u\log_2 p(x) - d\log_2\Delta
"""

from __future__ import annotations

import math

from solvers.arrays import Array, check_state, like, namespace
from solvers.errors import explain
from solvers.grid import check_count

__all__ = ["bits_per_dimension", "dequantise"]

_SPAN = (-1.0, 1.0)


def dequantise(values: Array, uniforms: Array, levels: int = 256, interval: tuple[float, float] = _SPAN) -> Array:
    r"""Return :math:`x = \mathrm{low} + (y + u)(\mathrm{high} - \mathrm{low})/L`: each level fills its share.

    Args:
        values: y, whole numbers from 0 to L − 1.
        uniforms: u, of the same shape, drawn uniformly from [0, 1), in the dtype that x is to have.
        levels: L.
        interval: (low, high), what the levels fill.

    References: Theis, van den Oord & Bethge (2016), arXiv 1511.01844, §3.1.
    """
    check_state(uniforms)
    low, width = interval[0], _width(levels, interval)
    return low + (like(values, uniforms) + uniforms) * width


def bits_per_dimension(
    log_p: Array, dimensions: int, levels: int | None = 256, interval: tuple[float, float] = _SPAN
) -> Array:
    r"""Return :math:`-\frac{\log p(x)}{d\log 2} - \log_2\Delta`, an upper bound of :math:`-\frac1d\log_2 P(y)`.

    The second term is what a bin's width adds: 7 for 256 levels on [−1, 1], 8 on [0, 1]. The bound is met where p is
    constant on every bin. With k dequantisations of each point, ``log_p`` of shape (k, B), p is their mean, and the
    bound becomes exact as k grows.

    >>> import math
    >>> from solvers.likelihood import bits_per_dimension
    >>> bits_per_dimension(np.array([-3.0 * math.log(2.0)]), dimensions=3)  # uniform on a cube of side 2
    array([8.])

    Args:
        log_p: natural log-densities of the points x, shape (B,), or (k, B); from :func:`dequantise` if data were whole.
        dimensions: d, the number of values of a point: 3072 for 32 × 32 × 3.
        levels: L; None for continuous data, without the second term.
        interval: (low, high), what the levels fill in the units of x. Pixels scaled by y/127.5 − 1 and dequantised with
            noise of one level fill (−1, 1 + 2/255).

    Returns:
        Shape (B,). A standard error e of ``log_p`` is one of e/(d log 2).

    References: Theis, van den Oord & Bethge (2016), arXiv 1511.01844, §3.1; Burda, Grosse & Salakhutdinov (2016), arXiv
    1509.00519, and Ho et al. (2019), Flow++, arXiv 1902.00275, §3.1, for several draws.
    """
    check_state(log_p)
    count = check_count("dimensions: how many values a point has", dimensions)
    if log_p.ndim not in (1, 2):
        wanted, received = "log_p of shape (B,), or (k, B) for k dequantisations", f"shape {tuple(log_p.shape)}"
        raise ValueError(explain(wanted, received, "pass one log-density for each point"))
    if log_p.ndim == 2:
        library = namespace(log_p)
        largest = library.max(log_p, axis=0)
        log_p = largest + library.log(library.exp(log_p - largest).mean(0))
    offset = 0.0 if levels is None else math.log2(_width(levels, interval))
    return -log_p / (count * math.log(2.0)) - offset


def _width(levels: int, interval: tuple[float, float]) -> float:
    """Return the width of a bin."""
    count, (low, high) = check_count("levels: the number of values", levels), interval
    if not 0.0 < high - low < math.inf:
        raise ValueError(explain("interval: (low, high), finite", repr(interval), "pass (-1.0, 1.0) or (0.0, 1.0)"))
    return (high - low) / count
