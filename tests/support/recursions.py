"""Mean and variance of samplers on N(m, c), step by step, from formulas written by hand over the oracles of ``zoo``.

Every function takes a case, a choice of w where there is one, a grid, m and c, and returns mean, variance and
cross-covariance at the last time, from the exact marginal at the first. Nothing here calls a solver.
"""

from __future__ import annotations

import math
from itertools import pairwise

import mpmath
from mpmath import mpf


def levels(case, time):
    """Return α, σ and their derivatives as floats."""
    with mpmath.workdps(40):
        s = mpf(time)
        return tuple(float(f(s)) for f in (case.alpha, case.sigma, case.d_alpha, case.d_sigma))


def ends(case, time):
    """Return α and σ as floats, also where a derivative is infinite."""
    with mpmath.workdps(40):
        return float(case.alpha(mpf(time))), float(case.sigma(mpf(time)))


def rates(case, choice, time, c):
    """Return ρ², the slope a = ρ̇/ρ + w/2ρ² of the reverse drift, and w."""
    alpha, sigma, d_alpha, d_sigma = levels(case, time)
    rho2 = alpha * alpha * c + sigma * sigma
    with mpmath.workdps(40):
        w = float(choice.value(case, mpf(time))) if choice is not None else 0.0
    # σσ̇ is finite where σ̇ is not; the cases with such a start are not evaluated at it.
    return rho2, (alpha * d_alpha * c + sigma * d_sigma) / rho2 + w / (2 * rho2), w


def compose(case, ts, m, c, step):
    """Compose steps (factor, variance added, rate at which the mean leaves the path's) into a law."""
    alpha, sigma = ends(case, ts[0])
    mean, variance, cross = alpha * m, alpha * alpha * c + sigma * sigma, alpha * alpha * c + sigma * sigma
    for t0, t1 in pairwise(ts):
        factor, added, centre0, centre1 = step(t0, t1)
        mean = centre1 * m + factor * (mean - centre0 * m)
        variance, cross = factor * factor * variance + added, factor * cross
    return mean, variance, cross


def euler_maruyama(case, choice, ts, m, c):
    """z⁺ = (1 − ha)z + √(hw)ξ around a centre that moves by Euler's step of α."""

    def step(t0, t1):
        h, (_, a, w) = t0 - t1, rates(case, choice, t0, c)
        alpha, _, d_alpha, _ = levels(case, t0)
        return 1 - h * a, h * w, alpha, alpha - h * d_alpha

    return compose(case, ts, m, c, step)


def stochastic_heun(case, choice, ts, m, c):
    """z⁺ = z − ½h(a₀z + a₁(z − ha₀z + n)) + n with n = ½(√w₀ + √w₁)√h ξ; Heun's method where w = 0."""

    def step(t0, t1):
        h, (_, a0, w0), (_, a1, w1) = t0 - t1, rates(case, choice, t0, c), rates(case, choice, t1, c)
        spread = 0.5 * (math.sqrt(w0) + math.sqrt(w1)) * math.sqrt(h) * (1 - 0.5 * h * a1)
        alpha, _, d_alpha, _ = levels(case, t0)
        next_alpha, _, next_d_alpha, _ = levels(case, t1)
        # The centre follows the same rule with slopes α̇ + a(μ − α): its predictor misses α₁ by a little.
        predictor = alpha - h * d_alpha
        slope = next_d_alpha + a1 * (predictor - next_alpha)
        factor = 1 - 0.5 * h * (a0 + a1) + 0.5 * h * h * a0 * a1
        return factor, spread * spread, alpha, alpha - 0.5 * h * (d_alpha + slope)

    return compose(case, ts, m, c, step)


def clock(case, choice, t, s):
    """Integrate w/σ² from s to t at 40 digits, with panels that shrink towards both ends."""
    with mpmath.workdps(40):
        t, s = min(mpf(t), 1 - mpf(10) ** -20), mpf(s)
        marks = {s, t} | {u for k in range(1, 21) for u in (mpf(10) ** -k, 1 - mpf(10) ** -k) if s < u < t}
        return mpmath.quad(lambda u: choice.value(case, u) / case.sigma(u) ** 2, sorted(marks), maxdegree=7)


def exponential(case, choice, ts, m, c):
    """x_s = C x_t + (α_s − α_t C)x̂ + σ_s√(1 − C²σ_t²/σ_s²)ξ with x̂ = m + αc(x − αm)/ρ²; σ_s = 0 gives α_s x̂."""

    def step(t0, t1):
        (alpha, sigma), (alpha_s, sigma_s) = ends(case, t0), ends(case, t1)
        pull = alpha * c / (alpha * alpha * c + sigma * sigma)
        if sigma_s == 0:
            return alpha_s * pull, 0.0, alpha, alpha_s
        with mpmath.workdps(40):
            theta = clock(case, choice, t0, t1) if choice is not None else mpf(0)
            keep, fresh = float(mpmath.exp(-theta / 2)) * sigma_s / sigma, float(-mpmath.expm1(-theta))
        return keep + (alpha_s - alpha * keep) * pull, sigma_s * sigma_s * fresh, alpha, alpha_s

    return compose(case, ts, m, c, step)
