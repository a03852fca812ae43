"""Estimated divergences: unbiased, with the variance of the textbook, and with a standard error that says so."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy.stats import sem

from solvers import ODE, RK4, Adaptive, Dopri5, solve, uniform
from solvers.likelihood import (
    divergence,
    gaussian_probes,
    hutch_plus_plus,
    hutchinson,
    log_likelihood,
    rademacher_probes,
)

GRID = uniform(10, 0.0, 1.0)
SIGNS = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4)), dtype=torch.float64)
MATRIX = np.random.default_rng(5).standard_normal((4, 4))


def linear(matrix):
    """Return x ↦ Ax on rows."""
    matrix = torch.as_tensor(matrix, dtype=torch.float64)
    return lambda time, x: x @ matrix.T


def generator(seed):
    return torch.Generator().manual_seed(seed)


def zeros(*shape):
    return torch.zeros(*shape, dtype=torch.float64)


def flat_prior(x):
    return x.reshape(len(x), -1).sum(1) * 0


def variance(matrix, kind):
    """Return the variance of one probe, by the formulas of Avron and Toledo for the symmetric part."""
    part = 0.5 * (matrix + matrix.T)
    total = 2 * (part**2).sum()
    return total if kind is gaussian_probes else total - 2 * (np.diag(part) ** 2).sum()


def test_all_sign_vectors():
    """The mean over all 2^d sign vectors is the trace, for a field that is not linear, with and without a sketch."""
    x = torch.tensor(MATRIX[:3], dtype=torch.float64)

    def field(time, x):
        return torch.sin(linear(MATRIX)(time, x)) * (1 + x.roll(1, dims=1))

    slopes = torch.stack([torch.autograd.functional.jacobian(lambda r: field(0, r[None])[0], row) for row in x])
    exact = slopes.diagonal(dim1=1, dim2=2).sum(1)
    each = torch.stack([hutchinson(field, sign[None])(0.0, x) for sign in SIGNS])
    torch.testing.assert_close(each.mean(0), exact, rtol=1e-13, atol=1e-13)
    assert float(each.std(0).min()) > 0.1
    torch.testing.assert_close(hutchinson(field, SIGNS)(0.0, x), exact, rtol=1e-13, atol=1e-13)
    for size in (1, 2, 3):
        sketch = gaussian_probes(x, size, generator(size))
        torch.testing.assert_close(hutch_plus_plus(field, sketch, SIGNS)(0.0, x), exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("together", [None, 3])
@pytest.mark.parametrize("shape", [(5, 4), (5, 2, 2)], ids=str)
def test_in_any_shape_and_in_chunks(shape, together):
    """Points of any shape have the estimates of their flat selves, however many directions are taken at once."""
    x = torch.tensor(np.random.default_rng(0).standard_normal(shape))
    flat = linear(MATRIX)

    def field(time, x):
        return flat(time, x.reshape(5, 4)).reshape(shape)

    probes, sketch = rademacher_probes(x, 7, generator(1)), gaussian_probes(x, 2, generator(2))
    exact = torch.full((5,), float(np.trace(MATRIX)), dtype=torch.float64)
    torch.testing.assert_close(divergence(field, together)(0.0, x), exact, rtol=1e-14, atol=1e-14)
    products = np.einsum("mbi,ij,mbj->b", probes.reshape(7, 5, 4), MATRIX, probes.reshape(7, 5, 4)) / 7
    found = hutchinson(field, probes, together)(0.0, x)
    np.testing.assert_allclose(found, products, rtol=1e-13)
    rest = hutch_plus_plus(field, sketch, probes, together)(0.0, x)
    flat_rest = hutch_plus_plus(flat, sketch.reshape(2, 5, 4), probes.reshape(7, 5, 4))(0.0, x.reshape(5, 4))
    torch.testing.assert_close(rest, flat_rest, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [gaussian_probes, rademacher_probes])
def test_standard_error_over_a_trajectory(kind):
    """The variance over 4,000 points is that of the integrated matrix, and the mean of the squared errors says so.

    The matrix turns with time, so the errors of single times do not add up to that of the integral. A quadratic form
    has a kurtosis below 15, so a mean of N squares is within √(15/N) of its value, and six of these are allowed.
    """
    first, second = MATRIX, MATRIX.T @ MATRIX
    flows = [linear(first), linear(second)]

    def drift(time, x):
        return math.cos(3 * time) * flows[0](time, x) + math.sin(3 * time) * flows[1](time, x)

    x = zeros(4000, 4)
    trace = hutchinson(drift, kind(x, 8, generator(3)))
    found = log_likelihood(ODE(drift), x, GRID, RK4(), flat_prior, trace)
    whole = first * math.sin(3) / 3 + second * (1 - math.cos(3)) / 3
    wanted, allowed = variance(whole, kind) / 8, 6 * math.sqrt(15 / 4000)
    assert found.estimates.shape == (4000, 8)
    assert abs(float(((found.value - np.trace(whole)) ** 2).mean()) / wanted - 1) < allowed
    assert abs(float((found.standard_error**2).mean()) / wanted - 1) < allowed
    np.testing.assert_allclose(found.standard_error, sem(found.estimates.numpy(), axis=1), rtol=1e-10)
    mean = found.mean()
    assert abs(mean.value - np.trace(whole)) < 6 * math.sqrt(wanted / 4000)
    assert abs(mean.probe_error / math.sqrt(wanted / 4000) - 1) < allowed
    assert abs(mean.point_error / mean.probe_error - 1) < allowed  # the points differ by their probes alone


def test_shared_probes_do_not_average_out():
    """With probes in common the error of the mean over the batch is that of one point, and is reported so."""
    x, drift = zeros(50, 4), linear(MATRIX)
    probes = rademacher_probes(x, 4000, generator(4), shared=True)
    assert probes.shape == (4000, 4)
    found = log_likelihood(ODE(drift), x, uniform(1, 0.0, 1.0), RK4(), flat_prior, hutchinson(drift, probes))
    wanted = math.sqrt(variance(MATRIX, rademacher_probes) / 4000)
    assert abs(found.mean().probe_error / wanted - 1) < 0.1
    assert found.mean().point_error < 1e-12
    own = log_likelihood(
        ODE(drift), x, uniform(1, 0.0, 1.0), RK4(), flat_prior, hutchinson(drift, probes[:, None].repeat(1, 50, 1))
    )
    torch.testing.assert_close(own.estimates, found.estimates, rtol=1e-12, atol=1e-12)


def test_errors_that_are_known_or_cannot_be():
    """An exact divergence leaves no error; one probe cannot tell its own; one point has no spread."""
    x, drift = torch.ones(3, 4, dtype=torch.float64), linear(MATRIX)
    exact = log_likelihood(ODE(drift), x, GRID, RK4(), lambda x: x.sum(1))
    assert exact.standard_error.tolist() == [0.0] * 3
    assert exact.mean()[1:] == (0.0, 0.0)
    one = log_likelihood(
        ODE(drift), x, GRID, RK4(), flat_prior, hutchinson(drift, rademacher_probes(x, 1, generator(0)))
    )
    with pytest.raises(ValueError, match="at least two probes"):
        _ = one.standard_error
    assert one.mean().probe_error is None
    assert one.mean().point_error > 0
    with pytest.raises(ValueError, match="at least two points"):
        log_likelihood(ODE(drift), x[:1], GRID, RK4(), flat_prior).mean()


def test_one_probe_for_a_whole_solve_costs_no_steps():
    """With a fixed probe an adaptive solve calls the model about as often as without; a redrawn one never ends."""
    calls = []

    def model(time, x):
        calls.append(time)
        return torch.tanh(linear(MATRIX)(time, x)) * math.cos(time)

    x = torch.tensor(np.random.default_rng(1).standard_normal((16, 4)))
    settings = Adaptive(Dopri5(), rtol=1e-6, atol=1e-6, max_steps=200)
    alone = solve(ODE(model), x, [0.0, 1.0], settings).nfe
    calls.clear()
    flow = ODE(model)
    found = log_likelihood(
        flow, x, [0.0, 1.0], settings, flat_prior, hutchinson(model, rademacher_probes(x, 4, generator(0)))
    )
    assert len(calls) == found.nfe <= 1.5 * alone
    source = generator(0)

    def redrawn(time, x):
        return hutchinson(model, rademacher_probes(x, 1, source))(time, x)

    with pytest.raises(ValueError, match="status 'max-steps'"):
        log_likelihood(flow, x, [0.0, 1.0], settings, flat_prior, redrawn)


def decaying(power, size=40):
    """Return a symmetric matrix with eigenvalues i^−power in random directions."""
    basis, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((size, size)))
    return (basis * np.arange(1, size + 1.0) ** -power) @ basis.T


def test_hutch_plus_plus_on_a_decaying_spectrum():
    """With 30 derivatives of a matrix with eigenvalues 1/i² Hutch++ has under a hundredth of Hutchinson's variance."""
    matrix, x = decaying(2.0), zeros(500, 40)
    probes, sketch = rademacher_probes(x, 30, generator(6)), rademacher_probes(x, 10, generator(7))
    plain = hutchinson(linear(matrix), probes)(0.0, x) - np.trace(matrix)
    better = hutch_plus_plus(linear(matrix), sketch, probes[:10])(0.0, x) - np.trace(matrix)
    assert abs(float((plain**2).mean()) / (variance(matrix, rademacher_probes) / 30) - 1) < 0.3
    assert float((better**2).mean()) < 0.01 * float((plain**2).mean())


def test_hutch_plus_plus_has_the_variance_of_what_the_sketch_left():
    """Given the sketch, its variance is that of Hutchinson on (I − QQᵀ)A(I − QQᵀ), and the standard error knows it."""
    matrix, x = decaying(0.5, 8), zeros(4000, 8)
    sketch = gaussian_probes(x, 2, generator(8), shared=True)
    trace = hutch_plus_plus(linear(matrix), sketch, rademacher_probes(x, 6, generator(9)))
    found = log_likelihood(ODE(linear(matrix)), x, uniform(1, 0.0, 1.0), RK4(), flat_prior, trace)
    basis, _ = np.linalg.qr(matrix.T @ sketch.numpy().T)
    rest = np.eye(8) - basis @ basis.T
    wanted = variance(rest @ matrix @ rest, rademacher_probes) / 6
    assert abs(float(((found.value - np.trace(matrix)) ** 2).mean()) / wanted - 1) < 6 * math.sqrt(15 / 4000)
    assert abs(float((found.standard_error**2).mean()) / wanted - 1) < 6 * math.sqrt(15 / 4000)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_hutch_plus_plus_is_exact_up_to_the_rank_of_its_sketch(rank):
    """A derivative of rank at most k leaves nothing to estimate, whichever side its range is on."""
    rng = np.random.default_rng(rank)
    matrix = rng.standard_normal((9, rank)) @ rng.standard_normal((rank, 9))
    x = zeros(4, 9)
    trace = hutch_plus_plus(linear(matrix), gaussian_probes(x, 3, generator(1)), gaussian_probes(x, 2, generator(2)))
    estimates = trace.with_drift(0.0, x)[1]
    assert estimates.shape == (4, 2)
    np.testing.assert_allclose(estimates, np.trace(matrix), rtol=1e-12)
    every = hutch_plus_plus(linear(MATRIX), gaussian_probes(zeros(1, 4), 6, generator(1)), SIGNS[:1])
    np.testing.assert_allclose(every(0.0, zeros(2, 4)[:1]), np.trace(MATRIX), rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_derivatives_of_hutch_plus_plus(value):
    """Over all signs the derivative by a parameter is exact, also at 0, where a new network begins and QR has none."""
    u, v = torch.tensor(MATRIX[:2])
    scale, x = torch.tensor(value, dtype=torch.float64, requires_grad=True), zeros(1, 4)
    sketch = gaussian_probes(x, 2, generator(1))
    trace = hutch_plus_plus(lambda time, x: scale * (x @ v)[:, None] * u, sketch, SIGNS)
    trace(0.0, x).sum().backward()
    torch.testing.assert_close(scale.grad, (u * v).sum(), rtol=1e-12, atol=0)


def test_jax():
    """The three divergences in jax, from one evaluation, with keys as generators."""
    matrix = jnp.asarray(MATRIX, jnp.float32)
    x = jnp.ones((3, 4), jnp.float32)
    calls = []

    def field(time, x):
        calls.append(time)
        return x @ matrix.T

    probes, sketch = rademacher_probes(x, 5, jax.random.key(0)), gaussian_probes(x, 4, jax.random.key(1))
    assert {float(entry) for entry in np.unique(probes)} == {-1.0, 1.0}
    for trace in (divergence(field), divergence(field, 3), hutch_plus_plus(field, sketch, probes)):
        calls.clear()
        np.testing.assert_allclose(trace(0.5, x), np.trace(MATRIX), rtol=2e-4)
        assert calls == [0.5]
    found = log_likelihood(ODE(field), x, uniform(2, 0.0, 1.0), RK4(), flat_prior, hutchinson(field, probes))
    products = np.einsum("mbi,ij,mbj->bm", probes, MATRIX, probes)
    np.testing.assert_allclose(found.estimates, products, rtol=1e-4, atol=1e-4)


def test_probes_are_drawn_from_the_generator_given():
    """Same seed, same probes; dtype and shape of the points; ±1 with means of their own for every point."""
    x = np.zeros((3, 2), np.float32)
    first, again = (gaussian_probes(x, 4, np.random.default_rng(0)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first.shape, first.dtype) == ((4, 3, 2), np.float32)
    signs = rademacher_probes(np.zeros((500, 8)), 4, np.random.default_rng(0))
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) < 6 / math.sqrt(signs.size)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda x: gaussian_probes(x, 0, generator(0)), ValueError, "number of probes, at least 1"),
        (lambda x: gaussian_probes(x, 2, np.random.default_rng(0)), TypeError, "a torch.Generator"),
        (lambda x: gaussian_probes(x[0], 2, generator(0)), ValueError, r"points of shape \(B, …\)"),
        (lambda x: hutchinson(linear(MATRIX), 3.0), ValueError, r"probes: an array of shape \(m, …\)"),
        (lambda x: hutchinson(linear(MATRIX), x[:0]), ValueError, "m at least 1"),
        (lambda x: hutch_plus_plus(linear(MATRIX), x[0], x), ValueError, "sketch: an array"),
        (lambda x: hutchinson(linear(MATRIX), zeros(2, 3))(0.0, x), ValueError, r"shape \(m, 2, 4\) or \(m, 4\)"),
        (lambda x: hutchinson(linear(MATRIX), zeros(5, 3, 4))(0.0, x), ValueError, "directions like the points"),
        (lambda x: hutchinson(linear(MATRIX), zeros(2, 4).float())(0.0, x), ValueError, "dtype torch.float64"),
        (lambda x: hutchinson(linear(MATRIX), np.zeros((2, 4)))(0.0, x), ValueError, "directions like the points"),
        (lambda x: divergence(linear(MATRIX), 0), ValueError, "together: how many directions at once, at least 1"),
    ],
)
def test_refusals(call, kind, words):
    """Directions that are none, or do not fit, are refused in three parts."""
    with pytest.raises(kind, match=words) as error:
        call(zeros(2, 4))
    assert all(part in str(error.value) for part in ("expected ", "; received ", "; remedy: "))
