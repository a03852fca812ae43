"""The law of a path inside an interval is that of Gaussian conditioning, and a tree of them is Brownian motion."""

import itertools
import math

import numpy as np
import pytest
import sympy
from noise_sources import equal

from solvers.noise.bridge import Piece, split
from solvers.noise.streams import PATH, streams
from solvers.noise.tree import Tree


def covariance_of_integrals(a, b):
    """Cov(∫_0^a W, ∫_0^b W) by sympy: the double integral of min(s, t), for s below and above t ≤ min(a, b)."""
    low, high = sorted([sympy.Rational(a), sympy.Rational(b)])
    s, t = sympy.symbols("s t", positive=True)
    return sympy.integrate(sympy.integrate(s, (s, 0, t)) + t * (high - t), (t, 0, low))


def joint(a):
    """Exact covariance of (W, H, W_1, H_1, H_2) over [0, 1] cut at a, from that of W(a), W(1), ∫_0^a W, ∫_0^1 W."""
    a = sympy.Rational(a)
    one, half = sympy.Integer(1), sympy.Rational(1, 2)
    order = [a, one]
    values = sympy.Matrix(2, 2, lambda i, j: min(order[i], order[j]))
    # Cov(W(u), ∫_0^v W) = ∫_0^v min(u, r) dr.
    mixed = sympy.Matrix(2, 2, lambda i, j: order[j] ** 2 / 2 - max(order[j] - order[i], 0) ** 2 / 2)
    integrals = sympy.Matrix(2, 2, lambda i, j: covariance_of_integrals(order[i], order[j]))
    basis = sympy.Matrix(sympy.BlockMatrix([[values, mixed], [mixed.T, integrals]]))
    b = 1 - a
    rows = sympy.Matrix(
        [
            [0, 1, 0, 0],
            [0, -half, 0, 1],
            [1, 0, 0, 0],
            [-half, 0, 1 / a, 0],
            # ∫_a^1 (W − W(a)) / b − (W(1) − W(a)) / 2
            [-1 + half, -half, -1 / b, 1 / b],
        ]
    )
    return np.array(rows * basis * rows.T, dtype=float)


@pytest.mark.parametrize("a", ["1/2", "1/3", "9/10", "1/1000"])
@pytest.mark.parametrize("h", [1.0, 0.37])
def test_parts_have_the_conditional_law(a, h):
    """Means and covariances of W_1, H_1, W_2, H_2 given W and H are those of the joint Gaussian law."""
    exact, fraction = joint(a) * h, float(sympy.Rational(a))
    np.testing.assert_allclose(exact[:2, :2], h * np.diag([1.0, 1.0 / 12.0]), rtol=1e-14, atol=1e-16)
    gain = exact[2:, :2] @ np.linalg.inv(exact[:2, :2])
    rest = exact[2:, 2:] - gain @ exact[:2, 2:]
    unit = np.eye(4)
    left, right = split(Piece(unit[0], unit[1]), h, fraction, unit[2], unit[3])
    found = np.stack([left.increment, left.area, right.area])
    np.testing.assert_allclose(found[:, :2], gain, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(found[:, 2:] @ found[:, 2:].T, rest, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(left.increment + right.increment, unit[0], atol=1e-15)
    chen = fraction * left.area + (1 - fraction) * right.area
    chen += 0.5 * ((1 - fraction) * left.increment - fraction * right.increment)
    np.testing.assert_allclose(chen, unit[1], atol=1e-14)


class Basis:
    """Streams whose draws are unit vectors, so that what is made of them shows how."""

    def __init__(self, size):
        self.size = size
        self.known = {}

    def branch(self, last, count):
        found = []
        for k in reversed(range(count)):
            found.append([self._unit((last >> k, place)) for place in (0, 1)])
        return tuple(np.array(part) for part in zip(*found))

    def _unit(self, key):
        unit = np.zeros(self.size)
        unit[self.known.setdefault(key, len(self.known))] = 1.0
        return unit


@pytest.mark.parametrize("depth", [1, 5, 9])
def test_a_tree_is_brownian_motion(depth):
    """Covariances of values and integrals at times in different leaves are min(s, t) and its integrals, exactly."""
    span = 1.7
    tree = Tree(Basis(400), span, depth, 400)
    fractions = [0.0, 0.3, 0.5, 0.75, 0.9137, 1.0] if depth > 1 else [0.0, 0.3, 0.5, 0.9137, 1.0]
    points = [tree.at(u) for u in fractions]
    assert len(tree.streams.known) <= 400
    for (u, first), (v, second) in itertools.product(zip(fractions, points), repeat=2):
        s, t = span * u, span * v
        low, high = min(s, t), max(s, t)
        # ∫_0^t min(s, r) dr, and ∫_0^s∫_0^t min.
        mixed = s * t - s * s / 2 if s < t else t * t / 2
        both = low**2 * high / 2 - low**3 / 6
        np.testing.assert_allclose(first.value @ second.value, low, atol=1e-13)
        np.testing.assert_allclose(first.value @ second.integral, mixed, atol=1e-13)
        np.testing.assert_allclose(first.integral @ second.integral, both, atol=1e-13)


def test_within_a_leaf_each_time_has_its_law():
    """Two times of one leaf have their own variances; together they are as close as a continuous path's."""
    tree = Tree(Basis(40), 1.0, 4, 40)
    for u in (0.501, 0.52, 0.56):
        np.testing.assert_allclose(tree.at(u).value @ tree.at(u).value, u, rtol=1e-13)
    near = tree.at(0.52).value - tree.at(0.52 + 1e-9).value
    assert 0.0 < math.sqrt(near @ near) < 1e-7


def test_the_branch_is_all_that_is_held():
    """However many times are asked for, no more nodes than levels and no more points than four are held."""
    tree = Tree(streams(0, PATH, 0, None, np.ones(1)), 1.0, 10, 1)
    for u in np.random.default_rng(0).random(200).tolist():
        tree.at(u)
        assert len(tree.branch) <= 11
        assert len(tree.known) <= 4


def test_draws_may_be_made_in_parts():
    """A state so large that the normals of a branch are made a few at a time has the same path."""
    few, many = (Tree(Basis(60), 1.0, 6, size) for size in (2**15, 1))
    assert few.at_once == 2 < 6 < many.at_once
    for u in (0.123, 0.9, 0.124):
        assert equal(few.at(u).integral, many.at(u).integral)
