"""Finite data in use: blocks, memory, digits in 3,072 dimensions, libraries and types, classes, samples, bad input."""

import math
import tracemalloc
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf
from scipy import special

from interpolants import VP, Empirical, Gaussian, Linear, Path, Velocity
from interpolants.targets.distances import half_squares
from interpolants.targets.target import Target

QUANTITIES = ("velocity", "score", "noise", "data", "v_prediction", "log_density", "jacobian", "divergence")
RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def _same_draws():
    """Every test draws the same numbers, whatever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(11).bit_generator.state


def cloud(d, count=53):
    """Return points around an offset, weights and noisy points."""
    points, weights = 3.0 + RNG.standard_normal((count, d)), RNG.random(count) + 0.1
    x = 0.6 * points[:7] + 0.4 * RNG.standard_normal((7, d))
    return points, weights / weights.sum(), x


@pytest.mark.covering(3)
@pytest.mark.parametrize("d", [3, 16, 17, 40])
@pytest.mark.parametrize("block", [1, 7, 300, 2**22])
def test_blocks_change_nothing(d, block):
    """Whatever is held at once, every quantity and the posterior agree with all at once to 1e-12."""
    points, weights, x = cloud(d)
    wide, narrow = (Path(Linear(), Empirical(points, weights, block=size)) for size in (2**30, block))
    times = np.linspace(0.3, 0.95, 7)
    for name in QUANTITIES:
        for kind in (np.asarray, torch.from_numpy):
            exact, found = (np.asarray(getattr(path, name)(kind(times), kind(x))) for path in (wide, narrow))
            np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-12 * np.abs(exact).max())
    exact, found = (path.target.posterior(x, alpha=0.5, sigma=0.9) for path in (wide, narrow))
    np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-15)


def test_a_nearer_point_in_a_later_block():
    """The running softmax forgets what it held when the nearest point comes last, 1e4 widths nearer."""
    path = Path(Linear(), Empirical([[30.0], [20.0], [10.0], [0.25]], block=1))
    np.testing.assert_array_equal(path.data(1e-3, np.array([[0.25], [19.0], [31.0]])), [[0.25], [20.0], [30.0]])


@pytest.mark.covering(3)
@pytest.mark.parametrize("method", ["velocity", "log_density", "divergence"])
def test_memory(method):
    """With 20,000 points in 1,024 dimensions a call adds less than 150 MB, where (B, N, d) would be 650 MB."""
    points = RNG.standard_normal((20_000, 1_024), np.float32)
    path, x = Path(Linear(), Empirical(points)), points[:4] * np.float32(0.5)
    call = getattr(path, method)
    call(np.float32(0.5), x[:1])
    tracemalloc.start()
    call(np.float32(0.5), x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6


def exact_half_square(x, alpha, y):
    """Return ½|x − αy|² rounded once."""
    a = Fraction(alpha)
    return float(sum((Fraction(u) - a * Fraction(v)) ** 2 for u, v in zip(x.tolist(), y.tolist())) / 2)


@pytest.mark.covering(5)
@pytest.mark.parametrize("d", [2, 100, 3_072])
@pytest.mark.parametrize("gap", [1.0, 1e-2, 1e-5, 1e-8])
def test_distances_of_points_that_nearly_coincide(d, gap):
    """Distances to points 1e-8 apart keep the digits their differences have: αy at 75 is rounded, nothing else."""
    y = 100.0 + RNG.standard_normal((6, d))
    x = 0.75 * y[:2] + gap * RNG.standard_normal((2, d))
    exact = np.array([[exact_half_square(a, 0.75, b) for b in y] for a in x])
    found = half_squares(x, np.array(0.75), y, y.mean(0), d)
    rounding = 75 * 2.0**-52 * np.sqrt(d)
    assert (np.abs(found - exact) <= 2e-14 * exact + rounding * np.sqrt(2 * exact) + rounding**2).all()


def test_a_doubtful_posterior_in_3072_dimensions():
    """Two points one noise width apart in 3,072 dimensions share the posterior as 40 digits say, to 1e-9."""
    d, time = 3_072, 2.0**-10
    y = np.round(RNG.uniform(-1, 1, (20, d)) * 2**20) / 2**20
    y[1] = y[0] + time / 32 * np.sign(RNG.standard_normal(d))
    x = (1 - time) * y[:1] + time * RNG.standard_normal((1, d))
    halves = [exact_half_square(x[0], 1 - time, point) for point in y[:2]]
    with mpmath.workdps(40):
        share = float(1 / (1 + mpmath.exp(mpf(halves[0] - halves[1]) / mpf(time) ** 2)))
    found = Empirical(y).posterior(x, alpha=1 - time, sigma=time)[0]
    assert 0.01 < share < 0.99
    np.testing.assert_allclose(found[:2], [share, 1 - share], rtol=1e-9)
    np.testing.assert_array_equal(found[2:], 0.0)


def test_posterior_is_a_softmax():
    """γ is scipy's softmax of −|x − αy|²/2σ² + log w."""
    points, weights, x = cloud(3)
    logits = -((x[:, None] - 0.5 * points) ** 2).sum(-1) / (2 * 0.7**2) + np.log(weights)
    found = Empirical(points, weights).posterior(x, alpha=0.5, sigma=0.7)
    np.testing.assert_allclose(found, special.softmax(logits, axis=1), rtol=1e-12)


@pytest.mark.covering(2)
@pytest.mark.parametrize("d", [3, 40])
def test_libraries_and_types(d):
    """torch agrees with numpy, float32 is float64 rounded, and points may be of either library or on disk."""
    points, weights, x = cloud(d)
    single, x = points.astype(np.float32), x.astype(np.float32)
    target = Empirical(single, weights)
    assert target.points is single
    for name in QUANTITIES:
        exact = getattr(Path(VP(), target), name)(0.4, x.astype(np.float64))
        for data in (single, torch.from_numpy(single)):
            method = getattr(Path(VP(), Empirical(data, weights)), name)
            found, by_torch = method(0.4, x), method(0.4, torch.from_numpy(x))
            assert found.dtype == np.float32
            assert by_torch.dtype == torch.float32
            np.testing.assert_allclose(found, exact, rtol=1e-7, atol=1e-30)
            np.testing.assert_allclose(by_torch.numpy(), exact, rtol=2e-7, atol=1e-6 * np.abs(exact).min())
            np.testing.assert_allclose(method(np.full(7, 0.4), x), found, rtol=1e-6)
    assert Path(VP(), target).velocity(0.4, torch.from_numpy(x).bfloat16()).dtype == torch.bfloat16


def test_points_on_disk(tmp_path):
    """A read-only memory map is a data set like any other, for numpy and torch."""
    points, _, x = cloud(3)
    np.save(tmp_path / "points.npy", points)
    path = Path(Linear(), Empirical(np.load(tmp_path / "points.npy", mmap_mode="r")))
    exact = Path(Linear(), Empirical(points)).velocity(0.5, x)
    np.testing.assert_array_equal(path.velocity(0.5, x), exact)
    np.testing.assert_allclose(path.velocity(0.5, torch.from_numpy(x)).numpy(), exact, rtol=1e-12)


def test_gradients_through_many_dimensions():
    """In 40 dimensions, with pairs computed again and several blocks, autograd finds the Jacobian and the score."""
    points, weights, x = cloud(40)
    path, x = Path(Linear(), Empirical(points, weights, block=400)), torch.from_numpy(x)
    found = torch.func.jacrev(lambda p: path.velocity(0.45, p).sum(0))(x).permute(1, 0, 2)
    torch.testing.assert_close(found, path.jacobian(0.45, x), rtol=1e-9, atol=1e-9)
    point = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(path.log_density(0.45, point).sum(), point)
    torch.testing.assert_close(slope, path.score(0.45, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("labels", [[0, 1, 0, 2], ["cat", "dog", "cat", "owl"], torch.tensor([0, 1, 0, 2])])
def test_classes(labels):
    """restrict(label) is the target of that class, its weights divided by their sum; mixing them gives the whole."""
    points = np.array([[0.0, 1.0], [2.0, 0.5], [-1.0, 0.25], [1.0, 1.5]])
    target = Empirical(points, [0.1, 0.2, 0.3, 0.4], labels)
    assert target.classes.tolist() == sorted(set(np.asarray(labels).tolist()))
    first = target.restrict(labels[0])
    np.testing.assert_array_equal(first.points, points[[0, 2]])
    np.testing.assert_allclose(first.weights, [0.25, 0.75], rtol=1e-15)
    x = np.array([[0.2, 0.7]])
    parts = [Path(Linear(), target.restrict(label)).log_density(0.5, x)[0] for label in target.classes]
    whole = Path(Linear(), target).log_density(0.5, x)[0]
    assert abs(special.logsumexp(parts, b=[0.4, 0.2, 0.4]) - whole) < 1e-14
    assert repr(target) == "Empirical(N=4, d=2, 3 classes)"


def test_an_unknown_class():
    """A label that no point has, or a target without labels, is a ValueError that names the classes there are."""
    with pytest.raises(ValueError, match=r"expected a label, one of 0, 1; received 2; remedy: choose"):
        Empirical(np.zeros((2, 1)), labels=[0, 1]).restrict(2)
    with pytest.raises(ValueError, match=r"none: the data have none; received 0; remedy: pass labels"):
        Empirical(np.zeros((2, 1))).restrict(0)


@pytest.mark.parametrize("make", [lambda: np.random.default_rng(7), lambda: torch.Generator().manual_seed(7)])
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_samples(make, kind):
    """Samples are data points, in float64, as often as their weights say within 6 standard errors, and repeat."""
    n, weights = 20_000, np.array([0.1, 0.6, 0.3])
    points = np.array([[0.0, 5.0], [1.0, 6.0], [2.0, 7.0]], np.float32)
    target = Empirical(kind(points), weights)
    found = target.sample(n, make())
    assert isinstance(found, np.ndarray if isinstance(make(), np.random.Generator) else torch.Tensor)
    found = np.asarray(found)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found[:, 1], found[:, 0] + 5)
    shares = np.bincount(found[:, 0].astype(int), minlength=3) / n
    assert (np.abs(shares - weights) < 6 * np.sqrt(weights * (1 - weights) / n)).all()
    np.testing.assert_array_equal(found, np.asarray(target.sample(n, make())))
    x, x_data, noise = (np.asarray(a) for a in Path(Linear(), target).sample_joint(0.25, 50, make()))
    np.testing.assert_allclose(x, 0.75 * x_data + 0.25 * noise, rtol=1e-12, atol=1e-12)


TWO = [[0.0], [1.0]]


@pytest.mark.parametrize(
    ("points", "options", "error"),
    [
        ([[0.0], [math.nan]], {}, ValueError),
        ([[math.inf], [1.0]], {}, ValueError),
        (torch.tensor([[math.nan]]), {}, ValueError),
        ([0.0, 1.0], {}, ValueError),
        (np.zeros((0, 3)), {}, ValueError),
        (np.zeros((3, 0)), {}, ValueError),
        (np.zeros((2, 2, 2)), {}, ValueError),
        (TWO, {"weights": [0.5, 0.6]}, ValueError),
        (TWO, {"weights": [1.0, 0.0]}, ValueError),
        (TWO, {"weights": [1.5, -0.5]}, ValueError),
        (TWO, {"weights": [math.nan, 1.0]}, ValueError),
        (TWO, {"weights": [1.0]}, ValueError),
        (TWO, {"labels": [1]}, ValueError),
        (TWO, {"labels": [[0, 1]]}, ValueError),
        (TWO, {"block": 0}, ValueError),
        ([["a"], ["b"]], {}, TypeError),
        ([[1j]], {}, TypeError),
        (torch.tensor([[1j]]), {}, TypeError),
    ],
)
def test_bad_data(points, options, error):
    """Data that are no finite distribution of points are an error in three parts."""
    with pytest.raises(error, match=r"expected .*; received .*; remedy: "):
        Empirical(points, **options)


def test_bad_use():
    """Points of another shape or type, other generators, and closed-form flows are refused."""
    path = Path(Linear(), Empirical(TWO))
    refused = {
        r"x of shape \(B, 1\)": (ValueError, lambda: path.velocity(0.5, np.ones((3, 2)))),
        "x of a floating type": (TypeError, lambda: path.velocity(0.5, np.ones((3, 1), int))),
        "a numpy or torch generator": (TypeError, lambda: path.sample(0.5, 3, 7)),
        "ends of the flow at which the law has a density": (ValueError, lambda: path.flow(1.0, 0.0, np.ones((1, 1)))),
        "a prediction": (TypeError, lambda: path.jacobian(0.5, np.ones((1, 1)), "velocity")),
    }
    for expected, (error, call) in refused.items():
        with pytest.raises(error, match=rf"expected {expected}.*; received .*; remedy: "):
            call()
    assert isinstance(path.target, Target)
    assert isinstance(Gaussian([0.0], 1.0), Target)
    assert path.predict(Velocity, 0.5, np.ones((1, 1))).shape == (1, 1)
