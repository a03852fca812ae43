r"""Weights of differences: a polynomial through values at the start of a step and at other nodes, integrated."""

from __future__ import annotations

from collections.abc import Sequence


def difference_weights(nodes: Sequence[float], moments: Sequence[float]) -> list[float]:
    r"""Return :math:`w_j` with :math:`\int P\,d\mu = \mu_0 f_0 + \sum_j w_j (f_j - f_0)` for the P through all values.

    .. math:: w_j = \int \frac{u}{c_j}\prod_{i \ne j}\frac{u - c_i}{c_j - c_i}\,d\mu(u), \qquad
              \mu_k = \int u^k\,d\mu(u)

    The value :math:`f_0` belongs to :math:`u = 0`. That differences are weighted makes a constant exact whatever the
    rounding of the weights.

    Args:
        nodes: :math:`c_j`, distinct and not zero, in units of the step.
        moments: :math:`\mu_1, \mu_2, \dots`, at least one per node.
    """
    weights = []
    for j, c in enumerate(nodes):
        # The coefficients of u, u², … of the j-th basis polynomial.
        basis = [1.0 / c]
        for i, other in enumerate(nodes):
            if i != j:
                gap = c - other
                basis = [(low - other * high) / gap for low, high in zip([0.0, *basis], [*basis, 0.0])]
        weights.append(sum(coefficient * moment for coefficient, moment in zip(basis, moments)))
    return weights
