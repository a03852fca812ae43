"""Mixtures compiled by numba agree with the arrays, and can be called from compiled ensembles."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path as File

import numpy as np
import pytest

from interpolants import (
    GVP,
    VP,
    Data,
    Gaussian,
    GaussianMixture,
    Linear,
    LowRank,
    Noise,
    Path,
    Schedule,
    Score,
    Velocity,
    t,
)
from tests.support.zoo import MIXTURE

numba = pytest.importorskip("numba")
ROOT = File(__file__).resolve().parents[2]
RNG = np.random.default_rng(12)
WEIGHTS, MEANS = np.array([0.2, 0.5, 0.3]), RNG.standard_normal((3, 4))
FACTORS = RNG.standard_normal((3, 4, 2))
TARGETS = {
    "full": MIXTURE,
    "diagonal": GaussianMixture(WEIGHTS, MEANS, RNG.uniform(0.1, 1, (3, 4))),
    "isotropic": GaussianMixture(WEIGHTS, MEANS, [0.1, 0.5, 1.0]),
    "low-rank": GaussianMixture(WEIGHTS, MEANS, LowRank(FACTORS, [0.1, 0.2, 0.3])),
    "gaussian": Gaussian([0.5, -1.0], [[1.0, 0.4], [0.4, 0.3]]),
}
SLOW = [("isotropic", Linear(), Score), ("low-rank", Linear(), Noise), ("gaussian", VP(), Data)]
PAIRS = [("full", VP(), Velocity), ("diagonal", GVP(), Velocity), ("low-rank", Linear(), Velocity)]
PAIRS += [pytest.param(*pair, marks=pytest.mark.slow) for pair in SLOW]


@cache
def compiled(name, schedule, prediction):
    """Compile once for all tests."""
    return TARGETS[name].compiled(schedule, prediction)


@pytest.mark.covering(3)
@pytest.mark.parametrize(("name", "schedule", "prediction"), PAIRS, ids=lambda v: getattr(v, "name", v))
def test_agrees_with_the_arrays(name, schedule, prediction):
    """At all times, both ends included, and far away, for one point and many, it agrees to 8 ulp of the size."""
    target = TARGETS[name]
    field, path = compiled(name, schedule, prediction), Path(schedule, target)
    x = np.concatenate([RNG.standard_normal((20, target.dimension)), 50 * RNG.standard_normal((5, target.dimension))])
    for time in (0.0, 1e-9, 0.2, 0.5, 0.93, 1.0):
        exact = path.predict(prediction, time, x)
        size = 8 * np.finfo(float).eps * np.maximum(1.0, np.abs(exact).max(1, keepdims=True))
        # The exponent of a softmax is as large as |x|²/σ², and so is its rounding.
        size = size * (1 + 0.1 * np.abs(path.log_density(time, x))[:, None])
        assert (np.abs(field(time, x) - exact) <= size).all()
        np.testing.assert_array_equal(field(time, x[0]), field(time, x[:1])[0])


@pytest.mark.slow
def test_inside_a_compiled_ensemble():
    """A compiled loop over particles, each with its own time, calls it without the interpreter."""
    field = compiled("full", VP(), Velocity)

    def euler(x, steps):
        for b in range(x.shape[0]):
            for k in range(steps):
                x[b] -= field(1 - k / steps, x[b]) / steps
        return x

    x = RNG.standard_normal((10, 2))
    found, exact = numba.njit(euler)(x.copy(), 50), x.copy()
    path = Path(VP(), MIXTURE)
    for k in range(50):
        exact -= path.velocity(1 - k / 50, exact) / 50
    np.testing.assert_allclose(found, exact, rtol=1e-11, atol=1e-12)


@pytest.mark.slow
def test_a_schedule_of_ones_own():
    """Any schedule of expressions is compiled; VP's infinite slope at t = 0 does no harm."""
    schedule = Schedule("quadratic", 1 - t**2, t**2)
    field = TARGETS["isotropic"].compiled(schedule)
    x = RNG.standard_normal((3, 4))
    np.testing.assert_allclose(field(0.3, x), Path(schedule, TARGETS["isotropic"]).velocity(0.3, x), rtol=1e-13)


def test_refusals():
    """Zero eigenvalues, what is no schedule, no prediction, or has no expressions, is refused in three parts."""
    measured = Schedule.from_callables(lambda s: np.cos(np.pi * s / 2), lambda s: np.sin(np.pi * s / 2), name="m")
    with pytest.raises(ValueError, match=r"expected positive eigenvalues.*; received .*; remedy: "):
        GaussianMixture([1.0], [[0.0]], 0.0).compiled(Linear())
    for arguments in (("linear",), (Linear(), "velocity"), (measured,)):
        with pytest.raises(TypeError, match=r"expected .*; received .*; remedy: "):
            MIXTURE.compiled(*arguments)


@pytest.mark.slow
def test_the_benchmark_runs():
    """The benchmark's short run ends well; its stored record has a ratio for every case."""
    script = ROOT / "benchmarks" / "mixtures.py"
    run = subprocess.run([sys.executable, str(script), "--smoke"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    rows = json.loads((ROOT / "benchmarks/results/mixtures.json").read_text())["rows"]
    assert len(rows) == len(run.stdout.splitlines())
    assert all(row["ratio"] > 0 for row in rows)
