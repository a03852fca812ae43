"""Rooted trees and the conditions of order that hang on them (Butcher), in exact arithmetic.

A tree is the sorted tuple of the subtrees at its root; the one with a single vertex is (). A method has order p if for
every tree τ of at most p vertices Σ b_i Φ_i(τ) = 1/γ(τ), where Φ_i is 1 for a vertex without children, otherwise the
product over the children of Σ_j a_ij Φ_j(child), and γ is the number of vertices times the γ of all children.

References: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I (1993), II.2, theorem 2.13.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache


@cache
def trees(order):
    """Return all rooted trees with ``order`` vertices."""
    return tuple(sorted(set(_forests(order - 1, order - 1))))


def _forests(vertices, largest):
    """Yield the sorted tuples of trees with so many vertices in all, none of more than ``largest``."""
    if vertices == 0:
        yield ()
    for size in range(min(vertices, largest), 0, -1):
        for tree in trees(size):
            for rest in _forests(vertices - size, size):
                yield tuple(sorted((tree, *rest)))


def vertices(tree):
    """Return the number of vertices."""
    return 1 + sum(vertices(child) for child in tree)


def density(tree):
    """Return γ."""
    product = vertices(tree)
    for child in tree:
        product *= density(child)
    return product


class Weights:
    """The numbers Φ_i of a lower triangular matrix, kept for the trees that share branches."""

    def __init__(self, rows):
        self.rows = rows
        self.known = {}

    def __call__(self, tree):
        """Return Φ_i(tree) for every row of the matrix."""
        if tree not in self.known:
            product = [Fraction(1)] * len(self.rows)
            for child in tree:
                inner = self(child)
                sums = [sum((a * value for a, value in zip(row, inner)), Fraction(0)) for row in self.rows]
                product = [left * right for left, right in zip(product, sums)]
            self.known[tree] = product
        return self.known[tree]


def residuals(rows, weights, order):
    """Return Σ weights_i Φ_i(τ) − 1/γ(τ) for all trees of so many vertices."""
    phi = Weights(rows)
    return [
        sum((b * value for b, value in zip(weights, phi(tree))), Fraction(0)) - Fraction(1, density(tree))
        for tree in trees(order)
    ]
