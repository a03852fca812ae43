r"""The combination of stored averages whose profile is nearest to a wanted one.

.. math:: \min_w \Bigl\| \sum_i w_i p_i - p \Bigr\|_2^2 \quad\text{with}\quad \sum_i w_i = 1

With the Gram matrix :math:`G_{ij} = \langle p_i, p_j\rangle` and :math:`b_i = \langle p_i, p\rangle` the solution is
:math:`w = G^{-1}(b + \mu\,\mathbf 1)`, μ such that the sum is one.

The paper leaves out the condition on the sum. With it constant weights, among them those that are not trained, come
back exactly, and the difference :math:`r = \sum_i w_i p_i - p` integrates to zero, so that for every c

.. math:: \Bigl| \int_0^T r(\tau)\,\theta(\tau)\,d\tau \Bigr| \le \|r\|_2\, \|\theta - c\|_2 :

the error of a reconstruction is bounded by how much a weight varied, and not by how large it is.

References: Karras et al. (2024), arXiv:2312.02696, section 3.2 and appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbone.ema.profile import Profile, inner_products
from solvers.errors import explain

__all__ = ["Fit", "fit"]

SINGLE = 2.0**-24


@dataclass(frozen=True, slots=True)
class Fit:
    r"""Weights of stored averages, and how good they are.

    Attributes:
        target: the wanted profile :math:`p`.
        weights: :math:`w_i`, of sum one.
        residual: :math:`\|\sum_i w_i p_i - p\|_2 / \|p\|_2`; below 1e-7 it is rounding.
        condition: of the stored profiles, scaled to unit length: their largest singular value over their smallest.
        rounding: :math:`u \sum_i |w_i|`, what the rounding u of stored numbers can become.
    """

    target: Profile
    weights: tuple[float, ...]
    residual: float
    condition: float
    rounding: float

    @property
    def error(self) -> float:
        """What the fit is judged by, ``residual`` and ``rounding`` together."""
        return self.residual + self.rounding

    def __str__(self) -> str:
        return (
            f"residual of the profile {self.residual:.2g}, rounding {self.rounding:.2g} "
            f"(sum of |w| {sum(map(abs, self.weights)):.3g}), condition number {self.condition:.2g}"
        )


def fit(stored: Sequence[Profile], target: Profile, *, unit: float = SINGLE) -> Fit:
    """Return the weights of the stored profiles that give the target best.

    A target that is stored needs no other. Directions in which the stored profiles cannot be told apart in float64, as
    when one is stored twice, are left out, so that the weights stay small.

    Args:
        stored: profiles p_i.
        target: profile p.
        unit: u, the relative rounding of the stored numbers.

    Raises:
        ValueError: nothing is stored.
    """
    if not stored:
        raise ValueError(explain("stored profiles", "none", "save snapshots during the training"))
    length = np.sqrt([inner_products([p], [p])[0, 0] for p in stored])
    size = inner_products([target], [target])[0, 0]
    gram = inner_products(stored, stored) / np.outer(length, length)
    b = inner_products(stored, [target])[:, 0] / length
    values, vectors = np.linalg.eigh(gram)
    condition = float(np.sqrt(values[-1] / values[0])) if values[0] > 0 else float("inf")
    if target in stored:
        scaled = np.where(np.arange(len(stored)) == stored.index(target), length, 0.0)
        residual = 0.0
    else:
        scaled = _constrained(values, vectors, b, 1 / length)
        residual = float(np.sqrt(max(size - 2 * b @ scaled + scaled @ gram @ scaled, 0.0) / size))
    weights = scaled / length
    return Fit(target, tuple(weights.tolist()), residual, condition, unit * float(np.abs(weights).sum()))


def _constrained(
    values: NDArray[np.float64], vectors: NDArray[np.float64], b: NDArray[np.float64], ones: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve the normal equations, given by eigenvalues and -vectors, under the condition ``ones @ x == 1``."""
    seen = values > np.finfo(float).eps * len(values) * values[-1]
    basis = vectors[:, seen]
    free, step = (basis @ ((basis.T @ side) / values[seen]) for side in (b, ones))
    solution: NDArray[np.float64] = free + step * (1 - ones @ free) / (ones @ step)
    return solution
