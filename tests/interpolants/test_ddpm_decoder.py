"""The probability of a bin, in the middle and in its tails, against error functions at 60 digits."""

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from interpolants.ddpm import discretised_log_likelihood
from tests.support.chains import bin_probability

PARTS = r"expected .*; received .*; remedy: "

CASES = [
    (round(y) / 127.5 - 1, mean, log_variance)
    for y in (0, 1, 77, 128, 254, 255)
    for mean in (-40.0, -1.0, -0.003, 0.0, 0.0041, 0.6, 1.0, 7.0)
    for log_variance in (-14.0, -9.2, -4.0, 0.0, 3.0)
]


def test_decoder_in_double_precision():
    """The probability of a bin of 8 bits to 1e-10 of its logarithm, from the middle to 44000 deviations out."""
    x, mean, spread = (np.array(part) for part in zip(*CASES, strict=True))
    found = discretised_log_likelihood(x, mean, spread)
    exact = [bin_probability(*case, 256) for case in CASES]
    assert max(abs(f / e - 1) if abs(e) > 1e-3 else abs(f - e) for f, e in zip(found, exact, strict=True)) < 1e-10
    assert min(exact) < -(10**8)


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_decoder_in_single_precision(library):
    """float32 has the logarithm to 1e-4 of itself, in torch and in jax, where x, μ and s are exact in it."""
    make = {"torch": torch.as_tensor, "jax": jnp.asarray}[library]
    # Levels whose centres and bins are dyadic: −1, −¾, …, 1 need δ = 1/8 = 1/(L − 1).
    cases = [(x / 4, mean, v) for x in range(-4, 5) for mean in (-30.0, -0.5, 0.0, 0.25, 2.0) for v in (-8.0, 0.0, 2.0)]
    parts = [make(np.array(part, np.float32)) for part in zip(*cases, strict=True)]
    found = discretised_log_likelihood(*parts, levels=9)
    assert str(found.dtype).endswith("float32")
    for value, case in zip(np.asarray(found), cases, strict=True):
        exact = float(bin_probability(*case, 9))
        assert abs(value - exact) < 1e-4 * abs(exact) + 1e-6


@pytest.mark.parametrize("levels", [2, 3, 256])
def test_probabilities_of_all_levels_are_one(levels):
    """The bins fill the line: their probabilities add up to 1."""
    x = np.linspace(-1, 1, levels)
    for mean, log_variance in ((0.0, 0.0), (0.4, -9.0), (-3.0, 1.0)):
        total = np.exp(discretised_log_likelihood(x, np.full(levels, mean), log_variance, levels)).sum()
        assert abs(total - 1) < 1e-13


def test_decoder_has_finite_gradients_everywhere():
    """No NaN in value or gradient at any of the extremes, in both precisions; right ones where they are moderate."""
    for dtype in (torch.float32, torch.float64):
        x, mean, spread = (torch.tensor(part, dtype=dtype) for part in zip(*CASES, strict=True))
        mean.requires_grad_()
        spread.requires_grad_()
        found = discretised_log_likelihood(x, mean, spread)
        assert torch.isfinite(found).all()
        for gradient in torch.autograd.grad(found.sum(), (mean, spread)):
            assert torch.isfinite(gradient).all()
    x = torch.tensor([-1.0, 1 / 127.5 - 1, 0.1 / 127.5, 1.0], dtype=torch.float64)
    mean = torch.tensor([-0.99, -0.98, 0.0, 0.95], dtype=torch.float64, requires_grad=True)
    spread = torch.tensor([-8.0, -7.0, -9.0, -6.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m, v: discretised_log_likelihood(x, m, v), (mean, spread))


def test_gradients_in_the_tails():
    """The gradient at the mean is −(φ(high) − φ(low))/(s·P), in single precision to 1e-3, from 0 to 10⁵ deviations."""
    for x in (-1.0, 0.0, 1.0):
        for away in (-1e3, -30.0, -2.0, 0.5, 4.0, 300.0):
            mean = torch.tensor([x - away], requires_grad=True)
            log_variance = -9.0
            found = torch.autograd.grad(discretised_log_likelihood(torch.tensor([x]), mean, log_variance).sum(), mean)
            with mpmath.workdps(60):
                s, half = mpmath.exp(mpf(log_variance) / 2), mpf(1) / 255
                ends = [-mpmath.inf if x == -1 else (away - half) / s, mpmath.inf if x == 1 else (away + half) / s]
                density = mpmath.npdf(ends[1]) - mpmath.npdf(ends[0])
                exact = -density / s / mpmath.exp(bin_probability(x, x - away, log_variance, 256))
            assert abs(float(found[0]) - exact) < 1e-3 * abs(exact) + 1e-6


def test_refused_levels():
    """One level is no image."""
    for levels in (1, True, 2.5):
        with pytest.raises(ValueError, match=PARTS):
            discretised_log_likelihood(np.zeros(2), np.zeros(2), 0.0, levels)
