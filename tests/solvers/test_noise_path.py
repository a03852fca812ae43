"""A Brownian path is one function of time: on every grid, in every order, in both directions."""

import math
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from noise_sources import WAVY, Bent, each_library, equal, numbers, ones

from solvers import SDE, EulerMaruyama, StochasticHeun, solve, uniform
from solvers.noise import Antithetic, BrownianPath, PerSample, with_area

TIMES = [1.0, 0.93, 0.5, 0.3000001, 0.3, 0.1, 0.0]


def roundoff(library):
    """A few roundings of a value of size 1; jax has single precision, and an area divides by the step."""
    return 1e-5 if library == "jax" else 1e-14


@each_library
def test_increments_add_up_and_areas_meet_chens_relation(library):
    """W over [s, t] is the sum over parts; so is the integral, each part counted from its start."""
    noise = BrownianPath(5).increments(ones(library, (6, 2)))
    for s, u, t in ((0.0, 0.3, 0.9), (0.2, 0.77, 1.0), (1.0, 0.61, 0.1)):
        whole, first, second = (
            [numbers(part) for part in with_area(noise, *times)] for times in ((s, t), (s, u), (u, t))
        )
        assert equal(noise(s, t), whole[0])
        np.testing.assert_allclose(first[0] + second[0], whole[0], rtol=0, atol=roundoff(library))
        lengths = [abs(b - a) for a, b in ((s, t), (s, u), (u, t))]
        integral = [h * (0.5 * W + H) for h, (W, H) in zip(lengths, (whole, first, second))]
        joined = integral[1] + integral[2] + lengths[2] * first[0]
        np.testing.assert_allclose(joined, integral[0], rtol=0, atol=roundoff(library))


@each_library
def test_both_directions_have_one_path(library):
    """From t1 to t0 the increment has the other sign and the area the same; which end is the start does not matter."""
    x = ones(library, (3,))
    noise, turned = BrownianPath(5).increments(x), BrownianPath(5, start=0.0, stop=1.0).increments(x)
    (up, area_up), (down, area_down) = with_area(noise, 0.2, 0.7), with_area(noise, 0.7, 0.2)
    assert equal(up, -down)
    assert equal(area_up, area_down)
    assert equal(turned(0.2, 0.7), up)
    assert not numbers(noise(0.3, 0.3)).any()
    assert not numbers(with_area(noise, 0.3, 0.3)[1]).any()


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_order_of_questions_does_not_matter(library):
    """Forwards, backwards, at random and alone, the same bits; rows are those of the ids in every batch."""
    x, source = ones(library, (5, 3)), BrownianPath(7, depth=20)
    pairs = [(s, t) for s in TIMES for t in TIMES if s != t]
    noise = source.increments(x)
    first = {pair: with_area(noise, *pair) for pair in pairs}
    shuffled = [pairs[k] for k in np.random.default_rng(0).permutation(len(pairs))]
    for order in (pairs[::-1], shuffled):
        noise = source.increments(x)
        assert all(equal(a, b) for pair in order for a, b in zip(with_area(noise, *pair), first[pair]))
    alone = BrownianPath(7, depth=20, first=3).increments(x[3:])
    chosen = BrownianPath(7, depth=20, ids=[4, 0]).increments(x[:2])
    for pair in pairs[:5]:
        assert equal(source.increments(x)(*pair), first[pair][0])
        assert equal(alone(*pair), first[pair][0][3:])
        assert equal(chosen(*pair)[1], first[pair][0][0])


def test_libraries_agree():
    """numpy and torch have the same path to rounding; lower precision rounds the increments."""
    x = np.ones((4, 3))
    exact = with_area(BrownianPath(2).increments(x), 0.9, 0.123)
    for dtype, error in ((torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 2e-2)):
        found = with_area(BrownianPath(2).increments(torch.ones(4, 3, dtype=dtype)), 0.9, 0.123)
        for a, b in zip(found, exact):
            assert a.dtype == dtype
            np.testing.assert_allclose(a.double().numpy(), b, rtol=0, atol=error)


@each_library
def test_the_law_on_a_grid_that_is_not_dyadic(library):
    """Increments and areas of adjoining steps are independent with variances h and h/12: z = 6 in 40000 rows."""
    noise = BrownianPath(11, start=-1.0, stop=2.0, depth=8).increments(ones(library, (40_000,)))
    grid = [-0.9, -0.3, 0.44, 1.7]
    columns, variances = [], []
    for s, t in pairwise(grid):
        columns += [numbers(part).astype(float) for part in with_area(noise, s, t)]
        variances += [t - s, (t - s) / 12.0]
    normal = np.stack(columns) / np.sqrt(variances)[:, None]
    covariance = normal @ normal.T / normal.shape[1]
    spread = np.sqrt((1.0 + np.eye(len(normal))) / normal.shape[1])
    assert (abs(covariance - np.eye(len(normal))) < 6.0 * spread).all()
    assert (abs(normal.mean(1)) < 6.0 / math.sqrt(normal.shape[1])).all()
    assert abs(numbers(noise(-1.0, 2.0)).astype(float)).max() < 12.0


@pytest.mark.parametrize("method", [EulerMaruyama(), StochasticHeun()], ids=lambda m: type(m).__name__)
def test_strong_order_on_one_path(method):
    """On one path the error to a fine grid halves with the step: strong order 1, for steps on no common grid too."""
    source, x = BrownianPath(3), ones("numpy", (300,)) * 0.4
    fine = solve(WAVY, x, uniform(2048), StochasticHeun(), rng=source).x
    steps = np.array([16, 32, 53, 100, 128])
    errors = [math.sqrt(((solve(WAVY, x, uniform(int(n)), method, rng=source).x - fine) ** 2).mean()) for n in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope + 1.0) < 0.1
    fresh = solve(WAVY, x, uniform(128), method, rng=np.random.default_rng(0)).x
    assert math.sqrt(((fresh - fine) ** 2).mean()) > 20 * errors[-1]


def test_below_its_resolution_a_path_is_still_one():
    """In a leaf increments are finite, add up, and vanish with the step; the coarse path does not depend on depth."""
    x = ones("numpy", (50,))
    noise = BrownianPath(3, depth=4).increments(x)
    parts = [noise(s, s + 0.01) for s in (0.51, 0.52, 0.53)]
    np.testing.assert_allclose(sum(parts), noise(0.51, 0.54), atol=1e-14)
    assert abs(noise(0.52, 0.52 + 1e-12)).max() < 1e-9
    assert BrownianPath(3, depth=4).resolution == 1 / 16
    assert equal(noise(0.25, 0.75), BrownianPath(3, depth=30).increments(x)(0.25, 0.75))


@pytest.mark.parametrize(
    "source",
    [lambda: np.random.default_rng(0), lambda: PerSample(0), lambda: BrownianPath(0)],
    ids=["rng", "rows", "path"],
)
def test_memory_does_not_grow_with_the_steps(source):
    """Eight times the steps have the same peak, to a few per cent."""
    peaks = []
    for n in (15, 120):
        x, grid = np.ones((2000, 2)), uniform(n)
        solve(WAVY, x, uniform(3), Bent(), rng=source())
        tracemalloc.start()
        solve(WAVY, x, grid, Bent(), rng=source())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.parametrize(
    ("build", "kind", "words"),
    [
        (lambda: BrownianPath("a"), TypeError, "seed: a whole number"),
        (lambda: BrownianPath(0, 1.0, 1.0), ValueError, "1.0 followed by 1.0"),
        (lambda: BrownianPath(0, 1.0, math.inf), ValueError, "inf at index 1"),
        (lambda: BrownianPath(0, depth=31), ValueError, "depth: at most 30; received 31"),
        (lambda: BrownianPath(0, depth=0), ValueError, "at least 1; received 0"),
        (lambda: BrownianPath(0, first=1, ids=[1]), ValueError, "first or ids"),
        (
            lambda: BrownianPath(0).increments(np.ones(2))(1.0, -0.1),
            ValueError,
            "times of the path, 0.0 to 1.0; received -0.1",
        ),
    ],
    ids=range(7),
)
def test_what_is_refused(build, kind, words):
    """Ends, depths and times that are none, in three parts."""
    with pytest.raises(kind, match=words) as error:
        build()
    assert all(part in str(error.value) for part in ("expected ", "; received ", "; remedy: "))


def test_a_grid_outside_the_path_is_refused_before_the_first_call():
    """A path that does not reach over the grid is an error that names the one to make."""
    calls = []
    problem = SDE(lambda time, x: calls.append(time) or -x, lambda time: 1.0)
    words = (
        r"a path over the grid, 1.0 to 0.0; received one over \[0.1, 1.0\]; remedy: .*BrownianPath\(seed, start=1.0, "
    )
    with pytest.raises(ValueError, match=words):
        solve(problem, np.ones(2), uniform(4), EulerMaruyama(), rng=BrownianPath(0, stop=0.1))
    assert calls == []


def test_a_grid_below_the_resolution_is_refused():
    """Steps shorter than a leaf would see too little noise: refused before the first evaluation; equal ones are not."""
    sde, x = SDE(lambda time, x: -x, lambda time: 1.0), np.ones((2, 1))
    assert np.isfinite(solve(sde, x, uniform(64), EulerMaruyama(), rng=BrownianPath(0, depth=6)).x).all()
    with pytest.raises(ValueError, match=r"the shortest is 0\.0154; received one whose leaves are 0\.0156 long"):
        solve(sde, x, uniform(65), EulerMaruyama(), rng=BrownianPath(0, depth=6))
    with pytest.raises(ValueError, match="resolves the steps"):
        solve(sde, x, uniform(65), EulerMaruyama(), rng=Antithetic(BrownianPath(0, depth=6)))
