"""Samplers written out from their textbooks as functions (model, x, times) -> x, right ones and wrong ones."""

from itertools import pairwise

import numpy as np


def euler(model, x, times):
    for t0, t1 in pairwise(times):
        x = x + (t1 - t0) * model(t0, x)
    return x


def midpoint(model, x, times):
    for t0, t1 in pairwise(times):
        h = t1 - t0
        x = x + h * model(t0 + h / 2, x + h / 2 * model(t0, x))
    return x


def runge_kutta(a32, model, x, times):
    """The classical method has a32 = 1/2; any other value breaks the conditions of order 3."""
    for t0, t1 in pairwise(times):
        h = t1 - t0
        k1 = model(t0, x)
        k2 = model(t0 + h / 2, x + h / 2 * k1)
        k3 = model(t0 + h / 2, x + h * ((0.5 - a32) * k1 + a32 * k2))
        k4 = model(t1, x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def classical(model, x, times):
    return runge_kutta(0.5, model, x, times)


def perturbed(model, x, times):
    return runge_kutta(0.4, model, x, times)


def adams_for_equal_steps(model, x, times):
    """AB2 weights 3/2 and -1/2 need only smooth steps; those of AB3 need equal ones. The start is classical."""
    x1 = classical(model, x, times[:2])
    x2 = classical(model, x1, times[1:3])
    slopes = [model(times[0], x), model(times[1], x1)]
    x = x2
    for t0, t1 in pairwise(times[2:]):
        slopes = [*slopes[-2:], model(t0, x)]
        x = x + (t1 - t0) / 12 * (23 * slopes[2] - 16 * slopes[1] + 5 * slopes[0])
    return x


def multistep(share, model, x, times):
    """DPM-Solver++(3M) with D2 = share·2(D1_0 − D1_1)/(r0 + r1), for the data prediction on α = 1 − t, σ = t.

    The integral of e^λ times the quadratic through three predictions, by hand: with h the step in λ, φ1 = 1 − e^{−h},
    φ2 = φ1/h − 1, φ3 = φ2/h + 1/2. The first two steps are classical ones for d(x/α)/dλ = x̂ − x/α.
    """

    def ratio(t):
        return np.log((1 - t) / t)

    def time(value):
        return 1 / (1 + np.exp(value))

    def field(value, y):
        t = time(value)
        return model(t, (1 - t) * y) - y

    known = []
    for t0, t1 in pairwise(times):
        h = ratio(t1) - ratio(t0)
        if len(known) < 2:
            known.append((ratio(t0), model(t0, x)))
            x = (1 - t1) * classical(field, x / (1 - t0), [ratio(t0), ratio(t1)])
            continue
        known = [*known[-2:], (ratio(t0), model(t0, x))]
        (l2, x2), (l1, x1), (l0, x0) = known
        r0, r1 = (l0 - l1) / h, (l1 - l2) / h
        first, before = (x0 - x1) / r0, (x1 - x2) / r1
        d1 = first + r0 / (r0 + r1) * (first - before)
        d2 = share * 2 * (first - before) / (r0 + r1)
        phi1 = -np.expm1(-h)
        phi2 = phi1 / h - 1
        phi3 = phi2 / h + 0.5
        x = t1 / t0 * x + (1 - t1) * (phi1 * x0 - phi2 * d1 + phi3 * d2)
    return x


def third_order(model, x, times):
    return multistep(1.0, model, x, times)


def half_the_curvature(model, x, times):
    return multistep(0.5, model, x, times)


def euler_maruyama(model, x, times, noise):
    """The reverse SDE with w = σ on α = 1 − t, σ = t: drift v + ε̂/2 with the noise prediction, v = (ε̂ − x)/(1 − t)."""
    for t0, t1 in pairwise(times):
        predicted = model(t0, x)
        drift = (predicted - x) / (1 - t0) + predicted / 2
        x = x + (t1 - t0) * drift + np.sqrt(t0 * abs(t1 - t0)) * noise(x)
    return x
