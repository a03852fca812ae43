"""Discrete diffusion at 60 digits, by the formulas of its papers; and noise that is known in advance."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf


def products(betas):
    """Return ᾱ of the indices −1, 0, …, T − 1 as products of 1 − β; call it where 60 digits are on."""
    found = [mpf(1)]
    for beta in betas:
        found.append(found[-1] * (1 - mpf(beta)))
    return found


def posterior(signal, beta, index):
    """Return the factors of x_t and x_0, and the variance, of q(x_{t−1}|x_t, x_0), from Bayes' rule on two normals.

    Precisions add: that of x_t given x_{t−1}, and that of x_{t−1} given x_0.
    """
    beta = mpf(beta)
    if index == 0:
        return mpf(0), mpf(1), mpf(0)
    step, before = (1 - beta) / beta, 1 / (1 - signal[index])
    variance = 1 / (step + before)
    return variance * mpmath.sqrt(1 - beta) / beta, variance * mpmath.sqrt(signal[index]) * before, variance


def ddim(signal, index, eta):
    """Return the factors of x_t, x_0 and ξ of Song et al. (2021), eq. 12, with σ_t(η) of eq. 16."""
    now, before = signal[index + 1], signal[index]
    spread = mpf(eta) * mpmath.sqrt((1 - before) / (1 - now)) * mpmath.sqrt(1 - now / before)
    towards = mpmath.sqrt(1 - before - spread**2) / mpmath.sqrt(1 - now)
    return towards, mpmath.sqrt(before) - towards * mpmath.sqrt(now), spread


def network(timesteps, x):
    """Something that depends on the timestep and is not linear in x; with v as well where x has channels."""
    shape = (-1,) + (1,) * (x.ndim - 1)
    scaled = 0 * x + timesteps.reshape(shape)
    scaled = scaled.astype(x.dtype) / 1000 if isinstance(x, np.ndarray) else scaled / 1000
    return 0.8 * x / (1 + 0.1 * x * x) + 0.1 * scaled


def bin_probability(x, mean, log_variance, levels):
    """Return the log-probability of a bin from the difference of two error functions, with digits to spare."""
    with mpmath.workdps(60):
        s, half = mpmath.exp(mpf(log_variance) / 2), mpf(1) / (levels - 1)
        low = -mpmath.inf if x < -1 + half else (mpf(x) - half - mpf(mean)) / s
        high = mpmath.inf if x > 1 - half else (mpf(x) + half - mpf(mean)) / s
        if low + high > 0:
            low, high = -high, -low
        return mpmath.log((mpmath.erfc(-high / mpmath.sqrt(2)) - mpmath.erfc(-low / mpmath.sqrt(2))) / 2)


class Known:
    """Noise that is written down: ``rows[index]`` is drawn in the step that begins at an index; else zero."""

    def __init__(self, rows):
        self.rows = rows
        self.drawn = []

    def increments(self, x):
        def noise(t0, t1):
            index = round(t0) - 1
            self.drawn.append((index, t0 - t1))
            return np.asarray(self.rows.get(index, np.zeros(x.shape)), dtype=x.dtype)

        return noise


def gaussian_model(chain, mean, variance, learned):
    """Return the noise prediction that is exact for data from N(m, c), and v for the exact variance of each step.

    x_{i−1} given x_i is normal with variance β̃ + g²Var(x_data|x_i), g the factor of the data in the posterior mean.
    """

    def model(timesteps, x):
        index = np.searchsorted(chain.timesteps, np.asarray(timesteps)[0])
        signal = products(chain.betas[: index + 1])
        alpha, sigma2 = mpmath.sqrt(signal[-1]), 1 - signal[-1]
        total = signal[-1] * variance + sigma2
        slope, centre = float(mpmath.sqrt(sigma2) / total), float(alpha * mean)
        guess = slope * (x - centre)
        if not learned:
            return guess
        wanted = float(mpmath.log(exact_variance(chain.betas, index, variance)))
        low, high = (float(chain.log_variances[name][index]) for name in ("small", "large"))
        return np.concatenate([guess, np.full_like(x, 2 * (wanted - low) / (high - low) - 1)], axis=1)

    return model


def exact_variance(betas, index, variance):
    """Return the variance of x_{i−1} given x_i under data of variance c."""
    signal = products(betas[: index + 1])
    _, gain, small = posterior(signal, betas[index], index)
    sigma2 = 1 - signal[-1]
    return small + gain**2 * variance * sigma2 / (signal[-1] * variance + sigma2)
