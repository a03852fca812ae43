"""Distances between samples and between Gaussians: closed forms, mpmath, scipy, brute force."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance_nd

from interpolants import Estimate, bures, sample_wasserstein2, sliced_wasserstein2
from interpolants.transport.estimate import Moments
from interpolants.transport.samples import root_of
from tests.support.strategies import covariances, law

RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((6, 2)), RNG.standard_normal((6, 2)) * 0.5 + 1


def mpmath_bures(m1, c1, m2, c2):
    """Return W₂ by tr(C₁ + C₂ − 2(R₁C₂R₁)^½) at 40 digits, roots by mpmath's eigenvalues."""
    with mpmath.workdps(40):

        def root(matrix):
            values, vectors = mpmath.eigsy(matrix)
            return vectors * mpmath.diag([mpmath.sqrt(max(v, 0)) for v in values]) * vectors.T

        a, b = mpmath.matrix(c1), mpmath.matrix(c2)
        middle = root(root(a) * b * root(a))
        trace = sum(a[k, k] + b[k, k] - 2 * middle[k, k] for k in range(a.rows))
        shift = sum((mpmath.mpf(float(p)) - mpmath.mpf(float(q))) ** 2 for p, q in zip(m1, m2))
        return mpmath.sqrt(shift + trace)


@given(first=covariances(3), second=covariances(3), shift=st.floats(-2.0, 2.0))
@law(20)
def test_bures_of_any_covariances(first, second, shift):
    """The Procrustes form is the trace form at 40 digits, to 1e-13, also where the covariances do not commute."""
    means = np.zeros(3), np.array([shift, 0.0, 1.0])
    exact = float(mpmath_bures(means[0], first.tolist(), means[1], second.tolist()))
    assert abs(bures(means[0], first, means[1], second) - exact) < 1e-13 * (1 + exact)


def test_bures_of_nearly_equal_covariances():
    """Where the trace form in doubles loses every digit, W₂ = |√(c + δ) − √c| keeps them."""
    c, delta = 1.0, 1e-9
    found = bures([0.0, 0.0], c, [0.0, 0.0], [c, c + delta])
    assert abs(found / 5e-10 - 1) < 1e-6


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 2])
def test_bures_of_singular_covariances(angle):
    """Two lines in the plane at an angle θ: tr C₁ + tr C₂ − 2√(tr C₁ tr C₂)|cos θ|."""
    u = np.array([math.cos(angle), math.sin(angle)])
    found = bures([0.0, 0.0], [[4.0, 0.0], [0.0, 0.0]], [0.0, 0.0], 9.0 * np.outer(u, u))
    assert abs(found**2 - (13 - 12 * abs(math.cos(angle)))) < 1e-12
    assert bures([1.0, 0.0], 0.0, [0.0, 1.0], 0.0) == pytest.approx(math.sqrt(2), abs=1e-15)


@pytest.mark.parametrize(
    "arguments",
    [
        ([0.0], 1.0, [0.0, 0.0], 1.0),
        ([[0.0]], 1.0, [[0.0]], 1.0),
        ([0.0], -1.0, [0.0], 1.0),
        ([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]], [0.0, 0.0], 1.0),
        ([0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0], 1.0),
        ([0.0], math.nan, [0.0], 1.0),
    ],
    ids=repr,
)
def test_bures_refuses(arguments):
    """Shapes that do not fit and what is no covariance are errors in three parts."""
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: "):
        bures(*arguments)


def test_matching_is_the_best_of_all():
    """The assignment is the best of all 720 permutations, for numpy and torch."""
    best = min(((X - Y[list(order)]) ** 2).sum(1).mean() for order in itertools.permutations(range(6)))
    assert abs(sample_wasserstein2(X, Y) - math.sqrt(best)) < 1e-14
    assert sample_wasserstein2(torch.tensor(X), torch.tensor(Y)) == sample_wasserstein2(X, Y)


def test_the_line_is_sorted():
    """In one dimension the sorted points match, and the assignment of the same points in two dimensions agrees."""
    x, y = RNG.standard_normal((50, 1)), RNG.exponential(size=(50, 1))
    exact = math.sqrt(((np.sort(x, 0) - np.sort(y, 0)) ** 2).mean())
    assert abs(sample_wasserstein2(x, y) - exact) < 1e-14
    assert abs(sample_wasserstein2(np.hstack([x, 0 * x]), np.hstack([y, 0 * y])) - exact) < 1e-14


@pytest.mark.parametrize("d", [1, 2])
def test_weights_are_repeated_points(d):
    """Weights 2/4, 1/4, 1/4 are a point that occurs twice; the plan between 3 and 4 points is that between 4 and 4."""
    x, y = RNG.standard_normal((3, d)), RNG.standard_normal((4, d))
    found = sample_wasserstein2(x, y, x_weights=[0.5, 0.25, 0.25])
    assert abs(found - sample_wasserstein2(x[[0, 0, 1, 2]], y)) < 1e-9
    assert abs(sample_wasserstein2(x, x[::-1], x_weights=[0.5, 0.2, 0.3], y_weights=[0.3, 0.2, 0.5])) < 1e-6


def test_plans_of_other_sizes_agree_with_scipy():
    """On sets whose distances are all 0 or 1, W₂² is scipy's Wasserstein-1 distance in several dimensions."""
    x, y = np.eye(3)[[0, 0, 1, 2, 2]], np.eye(3)[[0, 1, 1]]
    exact = wasserstein_distance_nd(x, y) * math.sqrt(2)  # distances √2, squares 2
    assert abs(sample_wasserstein2(x, y) ** 2 - exact) < 1e-9


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((X[0], Y), {}),
        ((X, Y[:, :1]), {}),
        ((X * math.nan, Y), {}),
        ((X, Y), {"x_weights": [1.0]}),
        ((X, Y), {"y_weights": [0.5, 0.5, 0.5, 0.5, -0.5, -0.5]}),
        ((np.zeros((8193, 2)), np.zeros((8193, 2))), {}),
        ((np.zeros((1000, 2)), np.zeros((251, 2))), {}),
    ],
    ids=range(7),
)
def test_what_is_refused(arguments, options):
    """Shapes, NaN, weights that are no distribution, and sets too large are errors in three parts."""
    with pytest.raises(ValueError, match=r"expected .*; received .*; remedy: "):
        sample_wasserstein2(*arguments, **options)


@pytest.mark.parametrize("d", [2, 9])
def test_sliced_distance_of_a_scaled_sample(d):
    """For y = ax + b with a > 0 every projection pairs x with its image: SW₂² = mean|(1 − a)x − b|²/d."""
    x, b = np.random.default_rng(1).standard_normal((500, d)), np.arange(d) / d
    exact = math.sqrt(((0.5 * x - b) ** 2).sum(1).mean() / d)
    found = sliced_wasserstein2(x, 0.5 * x + b, 400, np.random.default_rng(2))
    assert abs(found.value - exact) < 6 * found.standard_error
    assert 0 < found.standard_error < 0.1 * exact
    assert found.n == 400


def test_sliced_distance_in_one_dimension_is_the_distance():
    """On the line there is one direction, and no error; sizes and weights may differ."""
    x, y = RNG.standard_normal((20, 1)), RNG.standard_normal((30, 1))
    found = sliced_wasserstein2(x, y, 5)
    assert abs(found.value - sample_wasserstein2(x, y)) < 1e-12
    assert found.standard_error < 1e-12
    with pytest.raises(ValueError, match=r"expected projections.*; received 1; remedy: "):
        sliced_wasserstein2(x, y, 1)


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=40), cut=st.integers(1, 39))
@law(50)
def test_moments_do_not_depend_on_the_batches(values, cut):
    """Mean and standard error from any two batches are numpy's of the whole, also around a large mean."""
    array = np.asarray(values) + 1e6
    moments = Moments()
    for part in (array[:cut], array[cut:]):
        if len(part):
            moments.add(part)
    found = moments.estimate()
    assert abs(found.value - array.mean()) < 1e-9
    exact = array.std(ddof=1) / math.sqrt(len(array))
    assert abs(found.standard_error - exact) < 1e-9 * (1 + exact)
    assert found.n == len(array)


def test_an_estimate_reads_as_a_number():
    """float() is the value; the text has the digits that the error allows."""
    estimate = Estimate(1.23412, 0.0049, 4096)
    assert float(estimate) == 1.23412
    assert repr(estimate) == "1.234 ± 0.005 (n = 4096)"
    assert repr(Estimate(123.4, 20.0, 8)) == "123 ± 20 (n = 8)"
    assert repr(Estimate(math.inf, 0.0, 8)) == "inf ± 0 (n = 8)"
    assert root_of(Estimate(4.0, 0.4, 9)) == Estimate(2.0, 0.1, 9)
