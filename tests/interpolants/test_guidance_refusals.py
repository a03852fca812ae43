"""What guidance refuses, and momentum, which has a meaning in one solve only."""

import math
from itertools import pairwise

import numpy as np
import pytest

from interpolants import GaussianMixture, Linear, Path, probability_flow
from interpolants.guidance import APG, CFGZeroStar, ClassifierFree, Interval, Rescale, as_guidance, guided
from solvers import RK4, Euler, Heun, PoleError, solve, uniform

LINEAR, TIME = Linear(), 0.4
RNG = np.random.default_rng(7)
X, GOOD, BAD = RNG.standard_normal((3, 5, 4, 3, 2))
TARGET = GaussianMixture([0.4, 0.6], [[-1.0, 0.3], [1.5, 0.0]], 0.2, labels=["left", "right"])
PATH = Path(LINEAR, TARGET)


def momentum_by_hand(x, ts, beta, eta, threshold):
    past = np.zeros_like(x)
    for t, s in pairwise(ts):
        c, u = (x - t * path.velocity(t, x) for path in (PATH.given("left"), PATH))
        past = c - u + beta * past
        length = np.linalg.norm(past, axis=1, keepdims=True)
        update = past * np.minimum(1.0, threshold / length)
        along = (update * c).sum(1, keepdims=True) / (c * c).sum(1, keepdims=True) * c
        data = c + 3.0 * (update + (eta - 1) * along)
        x = x + (s - t) * (x - data) / t
    return x


def with_momentum():
    rule = APG(4.0, LINEAR, eta=0.5, threshold=0.8, momentum=-0.6)
    return probability_flow(LINEAR, guided(PATH.given("left").velocity, PATH.velocity, rule))


def test_momentum_in_one_solve():
    """Euler steps with momentum are those of the recursion by hand, for every solve with a model of its own."""
    x, ts = RNG.standard_normal((6, 2)), uniform(12, start=0.95)
    expected = momentum_by_hand(x, ts, -0.6, 0.5, 0.8)
    for _ in range(2):
        np.testing.assert_allclose(solve(with_momentum(), x, ts, Euler()).x, expected, rtol=1e-10, atol=1e-12)
    assert abs(momentum_by_hand(x, ts, 0.0, 0.5, 0.8) - expected).max() > 0.01


def test_momentum_is_refused_where_it_has_no_meaning():
    """A second solve, methods that return to a time, arrays of times, no start, and σ = 0 are refused."""
    x, ts = np.array([[0.3, 0.1]]), uniform(4, start=0.9, stop=0.1)
    used = with_momentum()
    solve(used, x, ts, Euler())
    for problem, method in ((used, Euler()), (with_momentum(), Heun()), (with_momentum(), RK4())):
        with pytest.raises(ValueError, match=r"times that go one way, for momentum; .* a new guided"):
            solve(problem, x, ts, method)
    apg = APG(4.0, LINEAR, momentum=-0.6)
    with pytest.raises(ValueError, match="a guidance that has been started"):
        apg.combine(0.5, x, x, 2 * x)
    with pytest.raises(ValueError, match="one number as time, for momentum; received ndarray"):
        apg.started().combine(np.array([0.5]), x, x, 2 * x)
    with pytest.raises(PoleError, match=r"data depend on a Velocity model, for momentum; received 0\.0"):
        apg.started().combine(0.0, x, x, 2 * x)


BAD_ARGUMENTS = {
    "nan": (lambda: ClassifierFree(math.nan), "a finite number as scale"),
    "bool": (lambda: CFGZeroStar(True), "a finite number as scale"),
    "channels": (lambda: ClassifierFree(2.0, channels=0), "channels: a whole number"),
    "half a channel": (lambda: ClassifierFree(2.0, channels=1.5), "channels: a whole number"),
    "upside down": (lambda: Interval(ClassifierFree(2.0), LINEAR, 2.0, -1.0), "low < high; received low=2.0"),
    "empty": (lambda: Interval(ClassifierFree(2.0), LINEAR, 1.0, 1.0), "low < high"),
    "nan bound": (lambda: Interval(ClassifierFree(2.0), LINEAR, math.nan), "low < high"),
    "phi": (lambda: Rescale(ClassifierFree(2.0), LINEAR, 1.2), r"phi within \[0, 1\]"),
    "eta": (lambda: APG(2.0, LINEAR, eta=math.inf), "a finite eta"),
    "threshold": (lambda: APG(2.0, LINEAR, threshold=0.0), "threshold > 0"),
    "momentum": (lambda: APG(2.0, LINEAR, momentum=-1.0), "momentum within"),
    "still": (lambda: CFGZeroStar(2.0, still=math.inf), "still: a time"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_numbers_that_are_refused(name):
    """Each is refused when the guidance is made."""
    make, expected = BAD_ARGUMENTS[name]
    with pytest.raises(ValueError, match=expected):
        make()


def test_kinds_that_are_refused():
    """What is no guidance, schedule, prediction or model is refused by its name."""
    for make, expected in (
        (lambda: Interval(2.0, LINEAR), "expected a guidance; received 2.0"),
        (lambda: Rescale(2.0, LINEAR), "expected a guidance; received 2.0"),
        (lambda: Interval(ClassifierFree(2.0), "linear"), "expected a Schedule"),
        (lambda: APG(2.0, "linear"), "expected a Schedule"),
        (lambda: Rescale(ClassifierFree(2.0), LINEAR, 0.7, "Velocity"), "a prediction, one of"),
        (lambda: as_guidance("2"), "a guidance, or a finite number as scale; received '2'"),
        (lambda: guided(None, PATH.velocity, 2.0), "a callable model"),
    ):
        with pytest.raises(TypeError, match=expected):
            make()


def test_shapes_that_are_refused():
    """Predictions unlike x, too few channels, samples without an axis or of one entry, a scale that is not finite."""
    for rule, arrays, expected in (
        (ClassifierFree(2.0), (X, GOOD, BAD[:4]), r"a prediction of shape \(5, 4, 3, 2\)"),
        (ClassifierFree(2.0), (X, GOOD[:1], BAD), r"a prediction of shape \(5, 4, 3, 2\)"),
        (ClassifierFree(2.0, channels=5), (X, GOOD, BAD), "at least 5 channels"),
        (ClassifierFree(2.0, channels=1), (X[0, 0, 0], GOOD[0, 0, 0], BAD[0, 0, 0]), "at least 1 channels"),
        (CFGZeroStar(2.0), (X[0, 0, 0], GOOD[0, 0, 0], BAD[0, 0, 0]), r"x of shape \(B, …\)"),
        (Rescale(ClassifierFree(2.0), LINEAR), (X[:, :1, 0, 0], GOOD[:, :1, 0, 0], BAD[:, :1, 0, 0]), "two entries"),
        (ClassifierFree(lambda time: math.nan), (X, GOOD, BAD), "scale at every time"),
    ):
        with pytest.raises(ValueError, match=expected):
            rule.combine(TIME, *arrays)
