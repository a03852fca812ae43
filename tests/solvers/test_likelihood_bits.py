"""Bits per dimension: laws whose discrete probabilities are known, and what is refused."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from solvers.likelihood import bits_per_dimension, dequantise

LEVELS, INTERVAL = 8, (-1.0, 3.0)
LAW = norm(0.4, 0.7)


@pytest.mark.parametrize(
    ("levels", "interval"), [(256, (-1.0, 1.0)), (256, (0.0, 1.0)), (2, (0.0, 5.0)), (7, (1.0, 2.0))]
)
def test_uniform_data_needs_all_its_bits(levels, interval):
    """A density constant on the interval gives log2 L bits to each dimension, whatever the scale."""
    density = -12 * math.log(interval[1] - interval[0])
    found = bits_per_dimension(np.full(3, density), 12, levels, interval)
    np.testing.assert_allclose(found, math.log2(levels), rtol=1e-14)


def test_the_bound_and_the_probability_of_a_bin():
    """The mean over the noise is quadrature's, above −log2 P(y) of scipy; many draws of one point reach it."""
    edges = np.linspace(*INTERVAL, LEVELS + 1)
    exact = -np.log2(np.diff(LAW.cdf(edges)))
    uniforms = np.broadcast_to(((np.arange(4000) + 0.5) / 4000)[:, None], (4000, LEVELS))
    x = dequantise(np.arange(LEVELS), uniforms, LEVELS, INTERVAL)
    one_by_one = bits_per_dimension(LAW.logpdf(x).reshape(-1), 1, LEVELS, INTERVAL).reshape(x.shape)
    for k in range(LEVELS):
        a, b = edges[k], edges[k + 1]
        mean = quad(lambda u: -math.log2(math.exp(LAW.logpdf(u)) * (b - a)), a, b)[0] / (b - a)  # noqa: B023
        assert abs(one_by_one[:, k].mean() - mean) < 1e-6
        assert mean > exact[k]
    np.testing.assert_allclose(bits_per_dimension(LAW.logpdf(x), 1, LEVELS, INTERVAL), exact, rtol=1e-6)


def test_draws_are_averaged_without_overflow():
    """Log-densities far from 0 are averaged as numbers of their own size; a draw without density adds nothing."""
    found = bits_per_dimension(np.array([[-5000.0], [-5000.0 + math.log(3.0)]]), 10, levels=None)
    np.testing.assert_allclose(found, (5000.0 - math.log(2.0)) / (10 * math.log(2.0)), rtol=1e-14)
    half = bits_per_dimension(np.array([[-math.inf], [0.0]]), 1, levels=None)
    np.testing.assert_allclose(half, 1.0, rtol=1e-14)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_levels_come_back(library):
    """Dequantised values lie in the share of their level, in the library and dtype of the noise."""
    values, noise = (
        np.random.default_rng(0).integers(0, 256, (5, 3)),
        np.random.default_rng(1).random((5, 3), np.float32),
    )
    make = {"numpy": np.asarray, "torch": torch.tensor, "jax": jnp.asarray}[library]
    x = dequantise(make(values), make(noise))
    assert x.dtype == make(noise).dtype
    np.testing.assert_array_equal(np.floor((np.asarray(x, np.float64) + 1) * 128), values)
    bits = bits_per_dimension(x.sum(1), 3)
    np.testing.assert_allclose(bits, 7 - np.asarray(x, np.float64).sum(1) / 3 / math.log(2), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: bits_per_dimension(np.zeros(3), 0), ValueError, "dimensions: how many values"),
        (lambda: bits_per_dimension(np.zeros(3), 3, 0), ValueError, "levels: the number of values"),
        (lambda: bits_per_dimension(np.zeros(3), 3, interval=(1.0, 1.0)), ValueError, r"interval: \(low, high\)"),
        (lambda: bits_per_dimension(np.zeros((1, 2, 3)), 3), ValueError, r"log_p of shape \(B,\)"),
        (lambda: bits_per_dimension(np.arange(3), 3), TypeError, "real floating dtype"),
        (lambda: dequantise(np.arange(3), np.arange(3)), TypeError, "real floating dtype"),
    ],
)
def test_refusals(call, kind, words):
    """Counts, widths and arrays that make no sense are refused in three parts."""
    with pytest.raises(kind, match=words) as error:
        call()
    assert all(part in str(error.value) for part in ("expected ", "; received ", "; remedy: "))
