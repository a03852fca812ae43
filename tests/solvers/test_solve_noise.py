"""Increments have the law of a Wiener process and come from the generator that was passed."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from solvers import SDE, EulerMaruyama, solve, uniform
from solvers.noise import increments

LIBRARIES = {
    "numpy": (np.zeros(20_000), lambda seed: np.random.default_rng(seed)),
    "torch": (torch.zeros(20_000, dtype=torch.float64), lambda seed: torch.Generator().manual_seed(seed)),
}
each_library = pytest.mark.parametrize("library", LIBRARIES)


@each_library
@pytest.mark.parametrize(("t0", "t1"), [(0.0, 0.25), (1.0, 0.96), (0.3, 0.1)])
def test_increments_are_normal_with_the_variance_of_the_step(library, t0, t1):
    """An increment is N(0, |h|) in both directions of time: Kolmogorov–Smirnov does not object."""
    x, make = LIBRARIES[library]
    dW = np.asarray(increments(make(0), x)(t0, t1))
    assert stats.kstest(dW, "norm", args=(0.0, math.sqrt(abs(t1 - t0)))).pvalue > 1e-3


@each_library
def test_increments_are_independent(library):
    """Successive increments of one solve are uncorrelated and differ."""
    x, make = LIBRARIES[library]
    noise = increments(make(0), x)
    first, second = np.asarray(noise(1.0, 0.5)), np.asarray(noise(0.5, 0.0))
    assert abs(stats.pearsonr(first, second).statistic) < 4 / math.sqrt(len(first))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_increments_are_like_the_state(dtype):
    """Shape and dtype are those of the state, in numpy and torch."""
    x = np.zeros((3, 4), dtype=dtype)
    dW = increments(np.random.default_rng(0), x)(1.0, 0.5)
    assert (dW.shape, dW.dtype) == (x.shape, x.dtype)
    tensor = torch.from_numpy(x)
    drawn = increments(torch.Generator(), tensor)(1.0, 0.5)
    assert (drawn.shape, drawn.dtype, drawn.device) == (tensor.shape, tensor.dtype, tensor.device)


@each_library
def test_noise_comes_from_the_generator_alone(library):
    """The global generators are neither used nor moved."""
    x, make = LIBRARIES[library]
    before_numpy, before_torch = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    solve(SDE(lambda time, x: -x, lambda time: 1.0), x, uniform(3), EulerMaruyama(), rng=make(0))
    np.testing.assert_array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before_torch)


def test_a_solve_has_the_law_of_the_sde():
    """The end of pure noise ∫g dW over a fine grid is normal with variance ∫g² dt, in decreasing time."""
    problem = SDE(lambda time, x: np.zeros_like(x), lambda time: 1.0 + time)
    end = solve(problem, np.zeros(20_000), uniform(200), EulerMaruyama(), rng=np.random.default_rng(0)).x
    variance = 7.0 / 3.0
    low, high = stats.chi2.ppf([1e-3, 1 - 1e-3], end.size) / end.size
    assert low * variance < end.var() < high * variance


def test_jax_key():
    """A jax key draws the noise of jax states, another one for each step."""
    jax = pytest.importorskip("jax")
    x = jax.numpy.zeros(1000)
    noise = increments(jax.random.key(0), x)
    first, second = noise(1.0, 0.75), noise(0.75, 0.5)
    assert first.dtype == x.dtype
    assert abs(float(first.std()) - 0.5) < 0.05
    assert float(abs(first - second).max()) > 0


class Elsewhere(torch.Generator):
    """A generator that says it lives on an accelerator, for machines without one."""

    device = torch.device("cuda:0")


@pytest.mark.parametrize(
    ("x", "rng", "kind", "words"),
    [
        (np.zeros(2), None, TypeError, r"received None; remedy: pass rng=np\.random\.default_rng"),
        (torch.zeros(2), None, TypeError, r"received None; remedy: pass rng=torch\.Generator\('cpu'\)"),
        (np.zeros(2), torch.Generator(), TypeError, "received torch Generator"),
        (torch.zeros(2), np.random.default_rng(0), TypeError, "received numpy Generator"),
        (np.zeros(2), np.random.RandomState(0), TypeError, "RandomState"),
        (np.zeros(2), 7, TypeError, "received builtins int"),
        (torch.zeros(2), Elsewhere(), ValueError, "a generator on cpu, the device of x; received one on cuda:0"),
    ],
    ids=["none-numpy", "none-torch", "torch-numpy", "numpy-torch", "legacy", "seed", "device"],
)
def test_a_wrong_generator_is_refused_before_the_first_call(x, rng, kind, words):
    """No generator, one of another library or on another device is an error in three parts; nothing was evaluated."""
    calls = []

    def field(time, x):
        calls.append(time)
        return -x

    with pytest.raises(kind, match=words) as error:
        solve(SDE(field, lambda time: 1.0), x, uniform(3), EulerMaruyama(), rng=rng)
    assert all(part in str(error.value) for part in ("expected ", "; received ", "; remedy: "))
    assert calls == []
