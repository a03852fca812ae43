"""Adaptive steps of SDEs: the error follows the tolerance, refused steps bias nothing, limits end in a status."""

import math

import numpy as np
import pytest
import torch
from noise_sources import each_library, equal, numbers, ones
from refusals import PARTS, Recorder, refused

from solvers import (
    SDE,
    SRA1,
    Adaptive,
    EulerMaruyama,
    Event,
    NonFiniteError,
    Pole,
    PoleError,
    ShARK,
    StochasticHeun,
    solve,
    uniform,
)
from solvers.noise import Antithetic, BrownianPath, PerSample

LOOSE = Adaptive(EulerMaruyama(), rtol=1e-2, atol=1e-2)
METHODS = [EulerMaruyama(), StochasticHeun()]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)

with_areas = pytest.mark.parametrize("method", [*METHODS, SRA1(), ShARK()], ids=lambda method: type(method).__name__)


def varying(time, x):
    """A drift that is soft and stiff in turn, and bends."""
    return -(1.0 + 6.0 * math.cos(3.0 * time) ** 2) * (x + 0.5 * np.sin(2.0 * x))


SEASONS = SDE(varying, lambda time: 1.0 + 0.5 * math.sin(4.0 * time))
# The second column is the path itself.
BESIDE = SDE(lambda time, x: x * np.array([-40.0, 0.0]) / (1.0 + x * x), lambda time: 1.0)


class Asked:
    """A path that remembers the steps that were asked for."""

    def __init__(self, path):
        self.path = path
        self.interval = path.interval
        self.steps = []

    def increments(self, x):
        noise = self.path.increments(x)
        return lambda t0, t1: self.steps.append((t0, t1)) or noise(t0, t1)


@pytest.mark.covering(4)
@with_areas
def test_the_strong_error_follows_the_tolerance(method):
    """Errors of a step go like h^(p + ½) and add up to h^p: the error goes like the tolerance to p/(p + ½)."""
    path, x, tolerances = BrownianPath(3, stop=2.0, start=0.0), np.ones((100, 1)), 10.0 ** -np.arange(1.0, 2.9, 0.45)
    fine = solve(SEASONS, x, uniform(2048, 0.0, 2.0), StochasticHeun(), rng=path).x
    errors, nfe = [], []
    for tolerance in tolerances:
        found = solve(SEASONS, x, [0.0, 2.0], Adaptive(method, rtol=tolerance, atol=tolerance), rng=path)
        assert found.status == "success"
        errors.append(math.sqrt(((found.x - fine) ** 2).mean()))
        nfe.append(found.nfe)
    expected = method.strong_order / (method.strong_order + 0.5)
    assert abs(np.polyfit(np.log(tolerances), np.log(errors), 1)[0] - expected) < 0.1
    # Against uniform steps of the same cost: where the problem is soft, the steps are longer.
    n = nfe[-1] // method.evaluations
    even = solve(SEASONS, x, uniform(n, 0.0, 2.0), method, rng=path).x
    assert errors[-1] < math.sqrt(((even - fine) ** 2).mean())


@each_method
def test_refused_steps_leave_the_path_alone(method):
    """A coordinate without drift ends at the path's own increment to rounding, refusals or not, at saved times too."""
    path, x, ts = Asked(BrownianPath(8, depth=20)), np.full((50, 2), 0.1), [1.0, 0.71, 0.2, 0.0]
    found = solve(BESIDE, x, ts, Adaptive(method, rtol=1e-3, atol=1e-3, first_step=0.5), rng=path, save=True)
    assert found.status == "success"
    assert found.rejected[0] >= 3
    noise = path.path.increments(x)
    for state, time in zip(found.xs, ts):
        np.testing.assert_allclose(state[:, 1], 0.1 + noise(1.0, time)[:, 1], rtol=0, atol=1e-13)
    taken = sorted({t for step in path.steps for t in step}, reverse=True)
    assert set(ts) <= set(taken)
    naive = [noise(*step)[:, 1] for step in dict.fromkeys(path.steps)]
    assert abs(0.1 + sum(naive) - found.x[:, 1]).max() > 0.1


@with_areas
def test_the_law_is_that_of_the_sde(method):
    """Ornstein–Uhlenbeck from 1: mean e^{−θt} and variance (1 − e^{−2θt})/2θ in 3000 rows, z = 6, backwards too."""
    theta, rows = 3.0, 3_000
    mean, variance = math.exp(-theta), (1.0 - math.exp(-2.0 * theta)) / (2.0 * theta)
    for ts, sign in (([0.0, 1.0], 1.0), ([1.0, 0.0], -1.0)):
        problem = SDE(lambda time, x, sign=sign: -sign * theta * x, lambda time: 1.0)
        settings = Adaptive(method, rtol=1e-2, atol=1e-2)
        end = solve(problem, np.ones(rows), ts, settings, rng=BrownianPath(5, depth=12)).x
        # The bias at this tolerance is below 0.005.
        assert abs(end.mean() - mean) < 6.0 * math.sqrt(variance / rows) + 5e-3
        assert abs(end.var() - variance) < 6.0 * variance * math.sqrt(2.0 / rows) + 5e-3


def test_evaluations_at_the_start_of_a_step_are_made_once():
    """Whole step, first half and the next trial share one: Euler–Maruyama needs two a step, one a refusal."""
    field = Recorder(lambda time, x: BESIDE.drift(time, x))
    problem, settings = SDE(field, lambda time: 1.0), Adaptive(EulerMaruyama(), rtol=1e-3, atol=1e-3, first_step=0.5)
    found = solve(problem, np.full((50, 2), 0.1), [1.0, 0.0], settings, rng=BrownianPath(8))
    assert found.rejected[0] > 0
    assert found.nfe == len(field.calls) == 2 * found.accepted[0] + found.rejected[0]


@each_library
def test_every_library_and_source(library):
    """torch and jax take the steps of numpy to their precision; pairs and trees go along the path as arrays do."""
    x, settings = ones(library, (6, 2)) * 0.5, Adaptive(StochasticHeun(), rtol=1e-2, atol=1e-2)
    problem = SDE(lambda time, x: -3.0 * x * (1.0 / (1.0 + x * x)), lambda time: 1.0)
    found = solve(problem, x, [1.0, 0.0], settings, rng=BrownianPath(2))
    assert found.x.dtype == x.dtype
    assert found.status == "success"
    if library == "torch":
        exact = solve(problem, numbers(x), [1.0, 0.0], settings, rng=BrownianPath(2))
        assert exact.accepted[0] == found.accepted[0]
        np.testing.assert_allclose(found.x.numpy(), exact.x, atol=1e-12)
        split = SDE(lambda time, tree: [problem.drift(time, tree[0])], problem.diffusion)
        assert equal(solve(split, [x], [1.0, 0.0], settings, rng=BrownianPath(2)).x[0], found.x)


def test_steps_end_at_places_of_few_bits():
    """The ends are multiples of a power of two not far below the step, the same whatever the rounding of the errors."""
    path = Asked(BrownianPath(8))
    found = solve(BESIDE, np.full((20, 2), 0.1), [1.0, 0.0], Adaptive(EulerMaruyama(), rtol=1e-3, atol=1e-3), rng=path)
    assert found.accepted[0] > 20
    # A step that is halved twice to meet the end, and its own half.
    assert all((end * 2.0 ** (6 - math.floor(math.log2(start - end)))).is_integer() for start, end in path.steps)


def test_pairs_along_a_path():
    """Antithetic rows of a path: where the SDE is odd, rows of a pair started oppositely stay opposite."""
    problem, x = SDE(lambda time, x: -(x**3), lambda time: 1.0), np.array([[0.4], [-0.4]])
    end = solve(problem, x, [0.0, 1.0], LOOSE, rng=Antithetic(BrownianPath(2))).x
    assert end[0] == -end[1]


def test_derivatives_flow():
    """The derivative of a linear SDE's end by its start is that of the steps: near e^{−1}."""
    x = torch.ones(4, 1, dtype=torch.float64, requires_grad=True)
    problem, settings = SDE(lambda time, x: -x, lambda time: 0.5), Adaptive(StochasticHeun(), rtol=1e-4, atol=1e-4)
    end = solve(problem, x, [0.0, 1.0], settings, rng=BrownianPath(2)).x
    (slope,) = torch.autograd.grad(end.sum(), x)
    np.testing.assert_allclose(slope.numpy(), math.exp(-1.0), rtol=1e-3)


def test_limits_end_in_a_status():
    """max_steps, min_step, max_step and the resolution of the path hold, with the state at the time reached."""
    x, tight = np.ones((5, 1)), {"rtol": 1e-6, "atol": 1e-6}
    found = solve(
        SEASONS, x, [0.0, 0.01, 1.0], Adaptive(EulerMaruyama(), max_steps=9, **tight), rng=BrownianPath(1), save=True
    )
    assert (found.status, int(found.accepted[0] + found.rejected[0])) == ("max-steps", 9)
    assert 0.0 < found.time < 1.0
    assert found.ts[-1] == found.time
    assert equal(found.xs[-1], found.x)
    for settings, path in (
        (Adaptive(EulerMaruyama(), min_step=1e-2, **tight), BrownianPath(1)),
        (Adaptive(EulerMaruyama(), **tight), BrownianPath(1, depth=6)),
    ):
        found = solve(SEASONS, x, [0.0, 1.0], settings, rng=path)
        assert found.status == "min-step"
        assert found.time < 1.0
    asked = Asked(BrownianPath(1))
    found = solve(SEASONS, x, [0.0, 1.0], Adaptive(EulerMaruyama(), rtol=1.0, atol=1.0, max_step=0.05), rng=asked)
    assert found.accepted[0] >= 20
    assert max(b - a for a, b in asked.steps) <= 0.05 + 1e-15


def test_saving_changes_no_step():
    """The same times give the same steps, saved or not."""
    x, settings, ts = np.ones((5, 1)), Adaptive(StochasticHeun(), rtol=1e-2, atol=1e-2), [0.0, 0.3, 0.31, 1.0]
    saved, plain = (solve(SEASONS, x, ts, settings, rng=BrownianPath(1), save=save) for save in (True, False))
    assert equal(saved.x, plain.x)
    assert saved.accepted == plain.accepted
    assert saved.xs.shape == (4, 5, 1)
    assert equal(saved.xs[-1], saved.x)


@pytest.mark.parametrize(
    ("rng", "words"),
    [
        (None, "a path that can be refined, .* received None"),
        (np.random.default_rng(0), "received a Generator"),
        (PerSample(0), "received a PerSample"),
        (Antithetic(PerSample(0)), "received a Antithetic"),
        (BrownianPath(0, start=0.5), r"a path over the grid, 1.0 to 0.0; received one over \[0.0, 0.5\]"),
    ],
    ids=["none", "generator", "rows", "pairs", "short"],
)
def test_noise_that_cannot_be_refined_is_refused_before_the_first_call(rng, words):
    """Fresh noise after a refusal would bias the law: the error names the path to make."""
    field = Recorder()
    error = refused(ValueError, words, SDE(field, lambda time: 1.0), np.ones(2), [1.0, 0.0], LOOSE, rng=rng)
    assert "rng=BrownianPath(seed, start=1.0, stop=0.0)" in str(error)
    assert field.calls == []


def test_what_paths_have_not_is_refused():
    """Steps per sample, events, poles on the interval, steps that know their place."""
    for build, words in (
        (lambda: Adaptive(EulerMaruyama(), per_sample=True), "one step for the whole batch with EulerMaruyama"),
        (lambda: Adaptive(EulerMaruyama(), events=(Event(max),)), "no events with EulerMaruyama"),
        (lambda: Adaptive(Placed()), "whose steps do not depend on their place"),
    ):
        with pytest.raises(ValueError, match=words) as error:
            build()
        assert all(part in str(error.value) for part in PARTS)
    field = Recorder()
    problem = SDE(field, lambda time: 1.0, poles=(Pole(0.0, "1/t diverges"),))
    refused(
        PoleError,
        "end the grid beside 0.0",
        problem,
        np.ones(2),
        [1.0, 0.0],
        LOOSE,
        rng=BrownianPath(0),
    )
    assert field.calls == []


def test_numbers_that_are_not_finite_are_named():
    """A drift that breaks is approached, and the error carries what was reached; so is a diffusion below 0."""
    breaks = SDE(lambda time, x: x * (math.nan if time < 0.45 else -1.0), lambda time: 0.1)
    error = refused(
        NonFiniteError,
        "NaN or infinity in step .* to 0.4",
        breaks,
        np.ones(3),
        [1.0, 0.0],
        Adaptive(StochasticHeun(), rtol=1e-2, atol=1e-2),
        rng=BrownianPath(0, depth=30),
    )
    assert abs(error.solution.time - 0.45) < 1e-6
    negative = SDE(lambda time, x: -x, lambda time: time - 0.5)
    refused(
        ValueError,
        "at least 0, at time",
        negative,
        np.ones(3),
        [1.0, 0.0],
        LOOSE,
        rng=BrownianPath(0),
    )


class Placed(EulerMaruyama):
    """A method whose steps depend on their place in the grid."""

    def on(self, times):
        return self
